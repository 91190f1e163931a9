"""Tasks shared by processes, one per device; each takes the next task when it is free."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TypeVar

from idsim.errors import IdsimError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["share"]

Task = TypeVar("Task")
Result = TypeVar("Result")

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def share(
    tasks: Iterable[Task],
    devices: Sequence[str],
    start: Callable[..., None],
    arguments: tuple[Any, ...],
    work: Callable[[Task], Result],
    done: Callable[[Task, Result], None],
    shown: Callable[[Task], str],
) -> None:
    """Work on tasks in one process per device.

    Parameters
    ----------
    tasks : iterable
        Taken in their order; results of finished ones stay where `work` puts them.
    devices : sequence of str
        Names may stand there twice.
    start : callable
        Called as ``start(device, *arguments)`` in each process before its first task.
    arguments : tuple
        Sent to every process.
    work : callable
        Called with a task, in a process.
    done : callable
        Called with a task and its result, in this process.
    shown : callable
        Names a task in errors.

    Raises
    ------
    IdsimError
        A process died.
    """
    context = multiprocessing.get_context("spawn")  # a fork inherits a CUDA context that it cannot use
    rest = iter(tasks)
    running: dict[Future[Result], tuple[int, Task]] = {}
    with ExitStack() as stack:
        pools = [
            stack.enter_context(
                ProcessPoolExecutor(1, context, _start_process, (os.getpid(), start, device, arguments))
            )
            for device in devices
        ]

        def submit(number: int) -> None:
            for task in rest:
                running[pools[number].submit(work, task)] = number, task
                return

        try:
            for number in range(len(pools)):
                submit(number)
            while running:
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    number, task = running.pop(future)
                    try:
                        result = future.result()
                    except BrokenProcessPool as error:
                        raise IdsimError(
                            f"the worker on {devices[number]} died at {shown(task)}; finished parts are kept, and "
                            "the same command goes on"
                        ) from error
                    done(task, result)
                    submit(number)
        except BaseException:
            for pool in pools:
                pool.shutdown(wait=False, cancel_futures=True)
            raise


def _start_process(parent: int, start: Callable[..., None], device: str, arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends the run
    # A killed parent must not leave workers that write into a folder that the next run holds.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    start(device, *arguments)
