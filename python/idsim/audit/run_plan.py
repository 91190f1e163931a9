"""The plan of a run, frozen when it starts: which shards there are, and how many of them are done."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from idsim.audit.diagnostics.inputs import shared_persons
from idsim.audit.folder import PROVENANCE, SUMMARY
from idsim.audit.pairs.pair_names import sets_of
from idsim.audit.parts import PicturePart
from idsim.audit.tables import write_json
from idsim.audit.work import pair_tasks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from idsim.audit.configuration.config import ScanConfig
    from idsim.audit.work import Work

__all__ = ["PLAN", "Stage", "make_plan", "read_status", "write_plan"]

PLAN = "plan.json"
VECTOR_BYTES = 4
MATCH_BYTES = 12  # a score and an id


@dataclass(frozen=True)
class Stage:
    """One stage of one matcher.

    Attributes
    ----------
    matcher : str
        Its name.
    name : str
        ``embed training``, ``compare SxT`` and the like.
    amount : int
        Pictures to embed, or pairs to compare.
    bytes : int
        That its shards take, without the pairs of the tail, whose number nobody knows before.
    files : tuple of str
        The shards, below the run folder.
    done : int
        How many of them are there.
    """

    matcher: str
    name: str
    amount: int
    bytes: int
    files: tuple[str, ...]
    done: int = 0


def make_plan(folder: Path, works: list[Work]) -> list[Stage]:
    """Return the stages of a scan; nothing is computed for it."""
    stages: list[Stage] = []
    for work in works:
        for part, variant in _parts(work):
            if isinstance(part, PicturePart):
                names = [str((part.plan.path(number)).relative_to(folder)) for number in part.plan.numbers]
                size = part.total * part.matcher.dim * VECTOR_BYTES
                stages.append(
                    Stage(
                        work.label or part.matcher.name,
                        f"embed {variant or part.name}",
                        part.total,
                        size,
                        tuple(names),
                    )
                )
        stages += _comparisons(folder, work)
    return stages


def _parts(work: Work) -> Iterator[tuple[Any, str]]:
    yield from ((part, "") for part in work.real.values())
    yield from ((part, variant) for variant, part in work.series.items())


def _comparisons(folder: Path, work: Work) -> list[Stage]:
    totals = {name: _kept(work, name) for name in work.real}
    grouped: dict[str, list[Any]] = {}
    for task in pair_tasks(work, totals):
        grouped.setdefault(task.pair, []).append(task)
    stages = []
    for pair, tasks in grouped.items():
        _, columns = sets_of(pair)
        width = work.config.output.matches
        pairs = sum(
            (task.stop - task.start)
            * (work.series[task.variant].total if columns == "synthetic" else totals[columns])
            for task in tasks
        )
        items = sum(task.stop - task.start for task in tasks)
        names = tuple(str((work.folder / task.name).relative_to(folder)) for task in tasks)
        label = work.label or work.matcher["name"]
        stages.append(Stage(label, f"compare {pair}", pairs, items * width * MATCH_BYTES, names))
    return stages


def _kept(work: Work, name: str) -> int:
    """Return the items of a real set; persons of the training set leave the holdout, where both have names."""
    part = work.real[name]
    if name != "holdout" or "each" in (work.config.training.labels, work.config.holdout.labels):
        return part.total
    known = shared_persons(work.real["training"].labels, part.labels)
    return sum(label not in known for label in part.labels)


def write_plan(folder: Path, config: ScanConfig, works: list[Work]) -> None:
    """Write the plan of a run, once."""
    if (folder / PLAN).exists():
        return
    stages = [
        {
            "matcher": stage.matcher,
            "stage": stage.name,
            "amount": stage.amount,
            "bytes": stage.bytes,
            "shards": len(stage.files),
            "files": list(stage.files),
        }
        for stage in make_plan(folder, works)
    ]
    write_json(folder / PLAN, {"run": config.run.name, "stages": stages})


def read_status(folder: Path) -> tuple[bool, list[Stage]]:
    """Return whether a run is finished, and its stages with the shards that are there.

    Raises
    ------
    ValueError
        The folder is no run of a scan.
    """
    if not (folder / PROVENANCE).exists() or not (folder / PLAN).exists():
        raise ValueError(f"{folder} is no run of a scan that has started")
    plan = json.loads((folder / PLAN).read_bytes())
    stages = [
        Stage(
            entry["matcher"],
            entry["stage"],
            entry["amount"],
            entry["bytes"],
            tuple(entry["files"]),
            sum((folder / name).exists() for name in entry["files"]),
        )
        for entry in plan["stages"]
    ]
    return (folder / SUMMARY).exists(), stages
