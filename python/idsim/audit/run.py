"""A scan from its description to its result: sets, embeddings, comparisons, statistics, files."""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from idsim.audit.configuration.config import ScanConfig, read_config
from idsim.audit.device_workers import run_on_devices
from idsim.audit.execution import Execution
from idsim.audit.finishing import Known, copy_scores, finish
from idsim.audit.folder import PROVENANCE, SUMMARY, locked, open_folder
from idsim.audit.pairs.asking import comparisons_of
from idsim.audit.persons.thumbnails import COPIES
from idsim.audit.reopening import note_origin
from idsim.audit.run_plan import write_plan
from idsim.audit.setting_up import KNOWN_FILES, set_up
from idsim.audit.shards import replace_file
from idsim.audit.times import Times
from idsim.audit.work import Job
from idsim.sources.decoding import DecoderPool

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence
    from pathlib import Path

    from idsim.audit.pairs.pairing import Pairing
    from idsim.audit.setting_up import SetUp

__all__ = ["Progress", "ScanResult", "scan"]


class Progress(Protocol):
    """Told how far a stage is."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Take note of `done` of `total` steps of `stage`."""


@dataclass(frozen=True)
class ScanResult:
    """A finished scan.

    Attributes
    ----------
    folder : Path
        The run folder.
    summary : dict
        The content of ``summary.json``.
    resumed : bool
        Whether everything was there already.
    """

    folder: Path
    summary: dict[str, Any]
    resumed: bool = False


def scan(
    config: ScanConfig | str | os.PathLike[str],
    *,
    job: Job | None = None,
    devices: Sequence[str] = (),
    merge_only: bool = False,
    progress: Progress | None = None,
) -> ScanResult:
    """Run the identity-leakage audit, or finish one that was interrupted.

    Parameters
    ----------
    config : ScanConfig or path-like
        The scan, or the TOML file that describes it (docs/scan.md).
    job : Job, optional
        Do only this job's part of the shards; other jobs, on any machine that sees the run folder, do the others.
    devices : sequence of str, optional
        A process on each of them shares the shards: ``["cuda:0", "cuda:1"]``; a name may be there twice.
    merge_only : bool
        Compute no shard: only write the results of shards that are all there.
    progress : callable, optional
        Called with ``(stage, done, total)``.

    Returns
    -------
    ScanResult
        The run folder and the summary. The files in the folder have the same bytes however often the run was
        interrupted, and by however many jobs and devices.

    Raises
    ------
    Unfinished
        Shards of other jobs are missing, or shards at all where `merge_only`.
    ValueError
        The configuration or an input cannot be used, or the run folder is of another scan; what is wrong or
        differs is named.
    ModuleNotFoundError
        An extra is missing: ``dlib`` for pictures.
    GalleryError, MatcherError, OSError
        A file cannot be used.
    """
    settings = config if isinstance(config, ScanConfig) else read_config(config)
    tell: Progress = progress or _silent
    folder = settings.place(settings.run.dir) / settings.run.name
    part = Job(0, 0) if merge_only else job or Job()
    with contextlib.ExitStack() as stack:
        pictures = any(alone.uses_images for alone in settings.alone().values())
        pool = stack.enter_context(contextlib.closing(DecoderPool())) if pictures else None
        times = Times()
        with times.measured("set up"):
            prepared = set_up(settings, folder, pool, devices[0] if devices else "", tell)
        stack.enter_context(locked(folder, shared=part.count > 1))
        open_folder(folder, settings.resolved(), prepared.provenance)
        if prepared.known:
            replace_file(folder / KNOWN_FILES, (json.dumps(prepared.known, sort_keys=True) + "\n").encode())
        if settings.source is not None:
            note_origin(folder, settings.source)
        done = folder / SUMMARY
        if done.exists():
            return ScanResult(folder, json.loads(done.read_bytes()), resumed=True)
        write_plan(folder, settings, prepared.all_works)
        if len(devices) > 1:
            run_on_devices(settings, folder, devices, prepared.all_works, part, tell)
        pairings = Execution(prepared.all_works, part, tell, times).run()
        if part.count > 1:
            stack.enter_context(locked(folder, name=".merge"))
            if done.exists():
                return ScanResult(folder, json.loads(done.read_bytes()), resumed=True)
        result = _finish(settings, folder, prepared, pairings, tell, times)
        times.write(folder)
        return result


def _silent(stage: str, done: int, total: int) -> None:
    """Take no note of the progress."""


def _finish(
    config: ScanConfig,
    folder: Path,
    prepared: SetUp,
    pairings: dict[str, Pairing],
    tell: Progress,
    times: Times,
) -> ScanResult:
    """Compute the statistics and write the final files."""
    known = Known(
        lambda work, variant: comparisons_of(work, pairings.get(work.label), variant),
        lambda variant: copy_scores(pairings.get(COPIES), variant),
        hashlib.sha256((folder / PROVENANCE).read_bytes()).digest(),
    )
    summary = finish(config, folder, prepared.works, known, tell, times=times)
    tell("statistics", 1, 1)
    return ScanResult(folder, summary)
