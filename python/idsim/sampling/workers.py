"""Who draws the parts: this process, or one process per device."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from idsim.device_processes import share
from idsim.generators.series import Networks
from idsim.sampling.parts import Part, Plan, draw_part

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["draw_parts", "open_networks"]


def open_networks(noise: str, device: str) -> Networks:
    """Return the generators as a worker on `device` opens them."""
    return Networks(Path(), device=device or None, noise=noise or None)


def draw_parts(plan: Plan, parts: Sequence[Part], networks: Networks, done: Callable[[Part], None]) -> None:
    """Draw parts; `done` is called after each.

    Parameters
    ----------
    plan : Plan
        With several devices, each has a process of its own and takes the next part when it is free.
    parts : sequence of Part
        What is missing.
    networks : Networks
        Used where this process does the work.
    done : callable
        Called with the part.

    Raises
    ------
    IdsimError
        A worker process died.
    """
    devices = plan.config.devices
    if len(devices) < 2:
        for part in parts:
            draw_part(plan, part, networks.get(part.variant.network))
            done(part)
        return

    def finished(part: Part, _: None) -> None:
        done(part)

    share(parts, devices, _start_worker, (plan,), _work, finished, _shown)


def _shown(part: Part) -> str:
    return f"{part.variant.name}, part {part.number}"


# --- in a worker process --------------------------------------------------------------------------


class _Worker(NamedTuple):
    plan: Plan
    networks: Networks


_worker: list[_Worker] = []  # one, set when the process starts


def _start_worker(device: str, plan: Plan) -> None:
    _worker.append(_Worker(plan, open_networks(plan.config.noise, device)))


def _work(part: Part) -> None:
    worker = _worker[0]
    draw_part(worker.plan, part, worker.networks.get(part.variant.network))
