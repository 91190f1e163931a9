"""An embedding run from its description to its gallery."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from idsim.audit.folder import SUMMARY, RunKind, locked, open_folder, software
from idsim.audit.representing import Stages
from idsim.audit.tables import write_json, write_table
from idsim.embedding.rows import failures, write_gallery
from idsim.embedding.workers import embed_shards, open_device_matcher, plan_of
from idsim.files import sync_folder
from idsim.gallery.format import MANIFEST
from idsim.sources import open_images

if TYPE_CHECKING:
    from pathlib import Path

    from idsim.audit.embedding import ShardPlan
    from idsim.embedding.config import EmbedConfig
    from idsim.matchers.base import Matcher
    from idsim.sources import ImageSource

__all__ = ["EmbedProgress", "EmbedResult", "embed"]

EMBEDDING = RunKind("embedding", "choose another output")
PARTIAL = "gallery"
TIMES = "times.json"
TELL_SECONDS = 0.2  # between two reports of progress


class EmbedProgress(Protocol):
    """Told how far a run is."""

    def __call__(self, done: int, total: int, rates: dict[str, float]) -> None:
        """Take note of `done` of `total` pictures, and of pictures per second that each stage could do alone."""


@dataclass(frozen=True)
class EmbedResult:
    """A finished run.

    Attributes
    ----------
    gallery : Path
        The gallery.
    folder : Path
        The folder of the run: configuration, provenance, table of failures, summary, times.
    summary : dict
        The content of ``summary.json``: counts, and hashes of pictures and matcher.
    times : dict
        Of every stage: pictures, seconds of all its workers together, workers, and pictures per second that it
        could do alone; empty where nothing was left to do.
    resumed : bool
        Whether everything was there already.
    """

    gallery: Path
    folder: Path
    summary: dict[str, Any]
    times: dict[str, Any]
    resumed: bool = False


def embed(
    config: EmbedConfig, *, matcher: Matcher | None = None, progress: EmbedProgress | None = None
) -> EmbedResult:
    """Embed the pictures of a source, or finish a run that was interrupted.

    Parameters
    ----------
    config : EmbedConfig
        The run.
    matcher : Matcher, optional
        Used instead of the one that `config` names; on one device only.
    progress : callable, optional
        Called with pictures done, pictures in all, and the rates of the stages.

    Returns
    -------
    EmbedResult
        The gallery has the same bytes however often the run was interrupted, and by however many workers.

    Raises
    ------
    ValueError
        The source cannot be used, a picture changed while the run went on, no picture has a face, or the folder is
        of another run; what is wrong or differs is named.
    FileExistsError
        Something else stands where the gallery goes.
    ModuleNotFoundError
        Pillow or pyarrow is missing (the extra ``audit``), or what the matcher needs.
    SourceError, MatcherError, CudaError, OSError
        A file or device cannot be used.
    """
    if matcher is not None and len(config.devices) > 1:
        raise ValueError("a matcher that is open already works on one device")
    tell: EmbedProgress = progress or _silent
    source = open_images(config.images, config.kind, config.split)
    if matcher is None:
        matcher = open_device_matcher(config, config.devices[0] if config.devices else "")
    provenance = {
        "source": source.fingerprint(),
        "matcher": matcher.describe(),
        "software": software(["torch", "onnxruntime"]),
    }
    folder = config.folder
    if config.output.exists() and not folder.exists():
        raise FileExistsError(f"{config.output} exists already, and nothing is ever overwritten")
    with locked(folder, EMBEDDING):
        open_folder(folder, config.resolved(), provenance, EMBEDDING)
        shards = folder / "shards"
        if (folder / SUMMARY).exists() and config.output.exists():
            summary = json.loads((folder / SUMMARY).read_bytes())
            shutil.rmtree(shards, ignore_errors=True)
            return EmbedResult(config.output, folder, summary, {}, resumed=True)
        shards.mkdir(exist_ok=True)
        times = _embed(config, source, matcher, tell)
        summary = _finish(config, source, matcher)
        shutil.rmtree(shards, ignore_errors=True)
        return EmbedResult(config.output, folder, summary, times)


def _silent(done: int, total: int, rates: dict[str, float]) -> None:
    """Take no note of the progress."""


def _embed(
    config: EmbedConfig, source: ImageSource, matcher: Matcher, tell: EmbedProgress
) -> dict[str, dict[str, float]]:
    plan = plan_of(config, source, matcher, None)
    missing = [number for number in plan.numbers if plan.read(number) is None]
    total, stages = len(source), Stages()
    done = total - sum(stop - start for start, stop in map(plan.bounds, missing))
    told = 0.0

    def count(pictures: int) -> None:
        nonlocal done, told
        done += pictures
        if done == total or time.monotonic() > told + TELL_SECONDS:
            told = time.monotonic()
            tell(done, total, stages.rates())

    tell(done, total, {})
    started = time.perf_counter()
    if missing:
        embed_shards(config, source, matcher, missing, stages, count)
    rates = stages.rates()
    times: dict[str, dict[str, float]] = {
        name: {
            "images": pictures, "seconds": round(seconds, 3), "workers": workers,
            "images_per_second": round(rates.get(name, 0.0), 3),
        }
        for name, (pictures, seconds, workers) in stages.times().items()
    }  # fmt: skip
    computed = sum(stop - start for start, stop in map(plan.bounds, missing))
    elapsed = time.perf_counter() - started
    times["all"] = {
        "images": computed, "seconds": round(elapsed, 3), "workers": max(1, len(config.devices)),
        "images_per_second": round(computed / elapsed, 3),
    }  # fmt: skip
    write_json(config.folder / TIMES, times)
    return times


def _finish(config: EmbedConfig, source: ImageSource, matcher: Matcher) -> dict[str, Any]:
    """Write the failures, the gallery and the summary from the shards."""
    plan = plan_of(config, source, matcher, None)
    folder = config.folder
    partial = folder / PARTIAL
    shutil.rmtree(partial, ignore_errors=True)
    counts = write_gallery(partial, plan, source, matcher, config.missing)
    table = write_table(folder / "failures", failures(plan, source))
    summary = {**counts, "skipped": len(source.skipped), "missing": config.missing, "failures": table.name}
    write_json(folder / SUMMARY, summary)
    _place(partial, config.output, plan)
    return summary


def _place(partial: Path, output: Path, plan: ShardPlan) -> None:
    """Give the gallery its name; one that an earlier start of this run put there may stand there already."""
    if output.exists():
        place = output / MANIFEST
        if not place.is_file() or place.read_bytes() != (partial / MANIFEST).read_bytes():
            raise FileExistsError(f"{output} exists already, and nothing is ever overwritten")
        shutil.rmtree(partial)
        return
    partial.rename(output)
    sync_folder(output.parent)
    sync_folder(plan.folder.parent)
