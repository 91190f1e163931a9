"""Who draws the parts: this process, or one process per device."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from idsim.device_processes import share
from idsim.generators.series import Networks
from idsim.sampling.parts import Part, Plan, draw_part
from idsim.sampling.screen import Screen, open_screen
from idsim.sampling.screened import screen_part

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["draw_parts", "open_networks"]


def open_networks(noise: str, device: str) -> Networks:
    """Return the generators as a worker on `device` opens them."""
    return Networks(Path(), device=device or None, noise=noise or None)


def draw_parts(
    plan: Plan,
    parts: Sequence[Part],
    networks: Networks,
    done: Callable[[Part], None],
    screen: Screen | None = None,
) -> None:
    """Draw parts; `done` is called after each.

    Parameters
    ----------
    plan : Plan
        With several devices, and as many parts, each has a process of its own and takes the next part when it is free.
    parts : sequence of Part
        What is missing.
    networks : Networks
        Used where this process does the work.
    done : callable
        Called with the part.
    screen : Screen, optional
        Judges the pictures where this process does the work.

    Raises
    ------
    IdsimError
        A worker process died.
    """
    devices = plan.config.devices
    if len(devices) < 2 or len(parts) < len(devices):  # to start processes takes longer than a few parts
        for part in parts:
            _draw(plan, part, networks, screen)
            done(part)
        return

    def finished(part: Part, _: None) -> None:
        done(part)

    share(parts, devices, _start_worker, (plan,), _work, finished, _shown)


def _draw(plan: Plan, part: Part, networks: Networks, screen: Screen | None) -> None:
    generator = networks.get(part.variant.network)
    if screen is None:
        draw_part(plan, part, generator)
    else:
        screen_part(plan, part, generator, screen)


def _shown(part: Part) -> str:
    redraw = f"redraw {part.attempt}, " if part.attempt else ""
    return f"{part.variant.name}, {redraw}part {part.number}"


# --- in a worker process --------------------------------------------------------------------------


class _Worker(NamedTuple):
    plan: Plan
    networks: Networks
    screen: Screen | None


_worker: list[_Worker] = []  # one, set when the process starts


def _start_worker(device: str, plan: Plan) -> None:
    screen = None
    if plan.screen is not None:
        matcher, gallery = open_screen(plan.screen.config, device)
        screen = Screen(plan.screen.config, matcher, gallery, plan.screen.threshold)
    _worker.append(_Worker(plan, open_networks(plan.config.noise, device), screen))


def _work(part: Part) -> None:
    worker = _worker[0]
    _draw(worker.plan, part, worker.networks, worker.screen)
