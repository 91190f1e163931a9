"""One process per device that shares the shards of a scan; each takes the next when it is free."""

from __future__ import annotations

from typing import TYPE_CHECKING

from idsim.audit.execution import Execution
from idsim.audit.setting_up import set_up
from idsim.audit.times import Times
from idsim.audit.work import Job
from idsim.device_processes import share
from idsim.sources.decoding import DecoderPool, default_workers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from idsim.audit.configuration.config import ScanConfig
    from idsim.audit.work import PairTask, Work

    Tell = Callable[[str, int, int], None]
    # Set and variant with the numbers of shards to embed, or a comparison.
    Task = tuple[str, str, list[int]] | PairTask

__all__ = ["run_on_devices"]

MAX_STRETCH = 16  # shards that a device takes at once


def run_on_devices(
    config: ScanConfig, folder: Path, devices: Sequence[str], works: list[Work], job: Job, tell: Tell
) -> None:
    """Embed and compare a job's part on several devices; results are in the shards.

    Raises
    ------
    IdsimError
        A process died.
    ValueError
        A file changed meanwhile.
    """
    execution = Execution(works, job, tell, Times())
    execution.read()
    tasks: list[Task] = []
    for name, variant in [
        *((name, "") for name in works[0].real),
        *(("synthetic", v) for v in execution.variants()),
    ]:
        missing = execution.missing(name, variant)
        size = max(1, min(MAX_STRETCH, len(missing) // (4 * len(devices))))
        tasks += [(name, variant, missing[start : start + size]) for start in range(0, len(missing), size)]
    _share(tasks, config, folder, devices, "embed", tell)
    execution.read()
    if execution.start_pairing():
        _share(execution.waiting(), config, folder, devices, "compare", tell)


def _share(
    tasks: Sequence[Task], config: ScanConfig, folder: Path, devices: Sequence[str], stage: str, tell: Tell
) -> None:
    done, total = 0, sum(map(_shards, tasks))

    def finished(task: Task, _: None) -> None:
        nonlocal done
        done += _shards(task)
        tell(f"{stage}, shards", done, total)

    if tasks:
        share(tasks, devices, _start, (config, folder, len(devices)), _work, finished, _shown)


def _shards(task: Task) -> int:
    return len(task[2]) if isinstance(task, tuple) else 1


def _shown(task: Task) -> str:
    if not isinstance(task, tuple):
        return task.name
    name, variant, numbers = task
    return f"{variant or name}, shards {numbers[0]} to {numbers[-1]}"


# --- in a worker process --------------------------------------------------------------------------

_worker: list[Execution] = []  # one, set when the process starts


def _start(device: str, config: ScanConfig, folder: Path, processes: int) -> None:
    pool = DecoderPool(max(1, default_workers() // processes))
    works = set_up(config, folder, pool, device, _silent).all_works
    _worker.append(Execution(works, Job(), _silent, Times()))


def _work(task: Task) -> None:
    execution = _worker[0]
    if isinstance(task, tuple):
        for _ in execution.embed(*task):
            pass
        return
    if not execution.pairings:
        execution.read()
        execution.start_pairing()
    execution.compare(execution.pairings[task.label], task)


def _silent(stage: str, done: int, total: int) -> None:
    """Take no note of the progress."""
