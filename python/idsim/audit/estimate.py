"""What a scan will cost, told before it starts: pictures and pairs, bytes, and seconds by a short measurement."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from idsim.audit.configuration.config import ScanConfig, read_config
from idsim.audit.parts import PicturePart
from idsim.audit.representing import Stages, represent_all
from idsim.audit.run_plan import Stage, make_plan
from idsim.audit.setting_up import set_up
from idsim.sources.decoding import DecoderPool
from idsim.topk import search

if TYPE_CHECKING:
    import os

    from idsim.audit.run import Progress
    from idsim.audit.work import Work

__all__ = ["Estimate", "estimate"]

SAMPLED_PICTURES = 8
QUERIES, ROWS = 512, 65_536  # of the timed search


@dataclass(frozen=True)
class Estimate:
    """One stage with what it takes.

    Attributes
    ----------
    stage : Stage
        What there is to do.
    seconds : float or None
        On this machine, one stage at a time; None where nothing could be measured.
    """

    stage: Stage
    seconds: float | None


def estimate(
    config: ScanConfig | str | os.PathLike[str], *, progress: Progress | None = None
) -> list[Estimate]:
    """Return the stages of a scan with estimates; nothing is written.

    Pictures are estimated from eight of the training set, drawn ones from none: they are left without a time.
    Comparisons are estimated from a search of random vectors of the same length, on the CPU.

    Raises
    ------
    ValueError, GalleryError, MatcherError, ModuleNotFoundError, OSError
        As `idsim.audit.scan`.
    """
    settings = config if isinstance(config, ScanConfig) else read_config(config)
    folder = settings.place(settings.run.dir) / settings.run.name
    tell = progress or (lambda *_: None)
    with contextlib.ExitStack() as stack:
        pictures = any(alone.uses_images for alone in settings.alone().values())
        pool = stack.enter_context(contextlib.closing(DecoderPool())) if pictures else None
        works = set_up(settings, folder, pool, "", tell).all_works
        found = []
        for work in works:
            rates = {"embed": _picture_rate(work), "compare": _pair_rate(work)}
            for stage in make_plan(folder, [work]):
                rate = rates[stage.name.partition(" ")[0]]
                found.append(Estimate(stage, stage.amount / rate if rate else None))
        return found


def _picture_rate(work: Work) -> float | None:
    part = work.real["training"]
    if not isinstance(part, PicturePart):
        return None
    contents = part.plan.source.pictures(0, min(SAMPLED_PICTURES, part.total))
    started = time.perf_counter()
    count = sum(1 for _ in represent_all(contents, part.matcher, SAMPLED_PICTURES, Stages()))
    return count / (time.perf_counter() - started)


def _pair_rate(work: Work) -> float | None:
    if work.comparisons is not None or not work.matcher["dim"]:
        return None
    rows = np.random.default_rng(0).standard_normal((ROWS, work.matcher["dim"]), dtype=np.float32)
    started = time.perf_counter()
    search(rows[:QUERIES], rows, 5, metric=work.matcher["metric"])
    return QUERIES * ROWS / (time.perf_counter() - started)
