"""Who draws the parts: this process, or one process per device."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from idsim.errors import IdsimError
from idsim.generators.series import Networks
from idsim.sampling.parts import Part, Plan, draw_part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["draw_parts", "open_networks"]

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


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
    context = multiprocessing.get_context("spawn")  # a fork inherits a CUDA context that it cannot use
    with ExitStack() as stack:
        pools = {
            number: stack.enter_context(
                ProcessPoolExecutor(1, context, _start_worker, (plan, device, os.getpid()))
            )
            for number, device in enumerate(devices)
        }
        try:
            _share(iter(parts), pools, devices, done)
        except BaseException:
            for pool in pools.values():
                pool.shutdown(wait=False, cancel_futures=True)
            raise


def _share(
    parts: Iterator[Part],
    pools: dict[int, ProcessPoolExecutor],
    devices: Sequence[str],
    done: Callable[[Part], None],
) -> None:
    running: dict[Future[None], tuple[int, Part]] = {}

    def start(number: int) -> None:
        part = next(parts, None)
        if part is not None:
            running[pools[number].submit(_work, part)] = number, part

    for number in pools:
        start(number)
    while running:
        finished, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in finished:
            number, part = running.pop(future)
            try:
                future.result()
            except BrokenProcessPool as error:
                raise IdsimError(
                    f"the worker on {devices[number]} died at {part.variant.name}, part {part.number}; finished "
                    "parts are kept, and the same command goes on"
                ) from error
            done(part)
            start(number)


# --- in a worker process --------------------------------------------------------------------------


class _Worker(NamedTuple):
    plan: Plan
    networks: Networks


_worker: list[_Worker] = []  # one, set when the process starts


def _start_worker(plan: Plan, device: str, parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends the run
    # A killed parent must not leave workers that write into a folder that the next run holds.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    _worker.append(_Worker(plan, open_networks(plan.config.noise, device)))


def _work(part: Part) -> None:
    worker = _worker[0]
    draw_part(worker.plan, part, worker.networks.get(part.variant.network))
