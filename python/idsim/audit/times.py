"""How long the stages of a scan took: a file beside the results, which do not depend on it."""

from __future__ import annotations

import contextlib
import resource
import threading
import time
from typing import TYPE_CHECKING, Any

from idsim import _core
from idsim.audit.representing import Stages
from idsim.audit.tables import write_json
from idsim.options import resolve_threads

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["TIMES", "Times"]

TIMES = "times.json"


class Times:
    """Seconds and amounts of every stage, and the peak of the memory."""

    def __init__(self) -> None:
        self.stages = Stages()
        self._noted: dict[str, list[float]] = {}
        self._lock = threading.Lock()
        self._started = time.perf_counter()

    def add(self, stage: str, seconds: float, amount: int) -> None:
        """Take note of work: pictures, pairs compared, or items measured."""
        with self._lock:
            entry = self._noted.setdefault(stage, [0.0, 0])
            entry[0] += seconds
            entry[1] += amount

    @contextlib.contextmanager
    def measured(self, stage: str, amount: int = 0) -> Iterator[None]:
        """Take note of the time of a block."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.add(stage, time.perf_counter() - started, amount)

    def entries(self) -> dict[str, Any]:
        """Return what was noted; stages overlap, so that they may be longer together than the whole."""
        with self._lock:
            noted = {name: {"seconds": round(s, 3), "amount": int(n)} for name, (s, n) in self._noted.items()}
        pictures = {
            name: {"seconds": round(seconds, 3), "pictures": int(count), "workers": int(workers)}
            for name, (count, seconds, workers) in self.stages.times().items()
        }
        kib = max(
            resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
        return {
            "machine": {
                "kernels": _core.available_isas()[-1],
                "threads": resolve_threads(None),
                "cuda_devices": _core.build_info()["cuda_devices"],
            },
            "seconds": round(time.perf_counter() - self._started, 3),
            "peak_memory_bytes": kib * 1024,
            "stages": noted,
            "picture_stages": pictures,
        }

    def write(self, folder: Path) -> None:
        """Write what was noted."""
        write_json(folder / TIMES, self.entries())
