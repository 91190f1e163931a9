"""Work on several devices at once, each in a thread of its own."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, Protocol

from idsim.errors import CudaError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from idsim.options import Progress

__all__ = ["OnDevice", "on_each"]

_POLL_SECONDS = 0.05


class OnDevice(Protocol):
    """What works on one device."""

    @property
    def device(self) -> int:
        """Its number."""


def on_each(
    engines: Sequence[OnDevice],
    work: Callable[[int, Progress], Any],
    total: int = 0,
    progress: Progress | None = None,
) -> list[Any]:
    """Return ``work(i, report)`` for every device, each called in a thread of its own.

    The caller's thread answers Ctrl-C and calls `progress` with the sum over the devices. A device that fails stops the
    others, but for those that may still find a bad row before its own. Nothing is raised before all have stopped.
    """
    done, stopped = [0] * len(engines), [False] * len(engines)

    def report_of(i: int) -> Progress:
        def report(rows: int, _: int) -> bool:
            done[i] = rows
            return not stopped[i]

        return report

    def stop(first: int) -> None:
        stopped[first:] = [True] * (len(engines) - first)

    with ThreadPoolExecutor(len(engines), thread_name_prefix="idsim-device") as pool:
        futures = [pool.submit(work, i, report_of(i)) for i in range(len(engines))]
        try:
            pending = set(futures)
            while pending:
                finished, pending = wait(pending, _POLL_SECONDS, FIRST_COMPLETED)
                for future in finished:
                    if (error := future.exception()) is not None:
                        stop(futures.index(future) if isinstance(error, ValueError) else 0)
                if progress is not None and pending and progress(sum(done), total) is False:
                    msg = "cancelled by the progress callback"
                    raise KeyboardInterrupt(msg)
        except BaseException:
            stop(0)
            raise
    _raise_first(engines, futures)
    if progress is not None:
        progress(total, total)
    return [future.result() for future in futures]


def _raise_first(engines: Sequence[OnDevice], futures: Sequence[Future[Any]]) -> None:
    """Raise the error of the first device that has one, with the device's name where it is about the device."""
    errors = [(engine, e) for engine, f in zip(engines, futures, strict=True) if (e := f.exception())]
    if not errors:
        return
    # Devices that were stopped report the interrupt that stopped them.
    engine, error = next((pair for pair in errors if not isinstance(pair[1], KeyboardInterrupt)), errors[0])
    if isinstance(error, (CudaError, MemoryError)):
        raise type(error)(f"cuda:{engine.device}: {error}") from error
    raise error
