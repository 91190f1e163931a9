"""The inputs of a scan of scores: the ids of the sets, and the scores between them."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.audit.faces import FaceSet
from idsim.audit.inputs import given_labels
from idsim.audit.scores.score_comparisons import ScoreComparisons
from idsim.audit.scores.score_files import read_columns
from idsim.audit.scores.score_tables import Reading, Side, open_table
from idsim.errors import MatcherError
from idsim.files import InputFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from idsim.audit.configuration.config import ScanConfig, SetConfig
    from idsim.audit.scores.score_config import ScoresConfig

__all__ = ["load_comparisons", "load_ids", "reading_of", "sides_of"]

STATUS = ("ok", "no_face", "unreadable")


def load_ids(name: str, part: SetConfig, config: ScanConfig) -> tuple[FaceSet, dict[str, Any]]:
    """Read the ids of a set, and what tells this input from another.

    The file is CSV with the column ``id`` and, if wanted, ``group`` (person or cluster) and ``status``: ``ok``, or
    ``no_face`` and ``unreadable`` for items that the matcher could not enrol.

    Raises
    ------
    MatcherError
        The file cannot be read, or an id is empty or there twice, or a status unknown.
    ValueError
        There is no id, or the labels do not fit.
    """
    path = config.place(part.ids)
    header, rows = read_columns(path, ("id", "group", "status"), "id")
    items: dict[str, int] = {}
    records = []
    for number, row in enumerate(rows):
        item, status = row["id"], row.get("status") or "ok"
        if not item or item in items:
            raise MatcherError(path, f"id {number + 1}", f"{item[:80]!r} is empty or there twice")
        if status not in STATUS:
            raise MatcherError(
                path, f"id {number + 1}", f"status is {status[:40]!r}, not one of {', '.join(STATUS)}"
            )
        items[item] = number
        reason = "" if status == "ok" else "by the file of ids"
        records.append({"status": status, "reason": reason, "route": "", "faces": int(status == "ok")})
    if not items:
        raise ValueError(f"[{name}] ids: {path} names nothing")
    names = list(items)
    groups = [row["group"] for row in rows] if "group" in header else []
    labels = given_labels(name, part, config, names, groups)
    present = np.flatnonzero([record["status"] == "ok" for record in records]).astype(np.int64)
    faces = FaceSet(name, names, labels, np.empty((len(present), 0), np.float32), present, records)
    states = [record["status"] for record in records]
    content = hashlib.sha256(json.dumps([names, labels, states]).encode()).hexdigest()
    return faces, {"ids": len(names), "sha256": content}


def load_comparisons(
    config: ScanConfig,
    settings: ScoresConfig,
    sets: dict[str, FaceSet],
    tell: Callable[[int, int], None],
) -> tuple[ScoreComparisons, dict[str, Any]]:
    """Read and check all scores, and return them with what tells these inputs from others.

    Raises
    ------
    MatcherError, GalleryError
        A file cannot be used; rows are named.
    """
    reading, sides = reading_of(settings), sides_of(sets)
    tables, fingerprints = {}, {}
    given = settings.given()
    for number, (key, (probes, gallery)) in enumerate(given.items()):
        path = config.place(getattr(settings, key))
        tables[probes, gallery] = open_table(path, sides[probes], sides[gallery], reading)
        fingerprints[key] = _fingerprint(path)
        tell(number + 1, len(given))
    return ScoreComparisons(tables, sides, reading), fingerprints


def reading_of(settings: ScoresConfig) -> Reading:
    """Return how the files of scores are read."""
    return Reading(
        not settings.higher_is_better, settings.score_scale, settings.complete, settings.floor or 0.0
    )


def sides_of(sets: dict[str, FaceSet]) -> dict[str, Side]:
    """Return the ids of every set, and which of them have a face."""
    sides = {}
    for name, faces in sets.items():
        present = np.zeros(len(faces.items), np.bool_)
        present[faces.rows] = True
        sides[name] = Side(name, {item: number for number, item in enumerate(faces.items)}, present)
    return sides


def _fingerprint(path: Path) -> dict[str, Any]:
    with InputFile(path, MatcherError) as file:
        entry = file.hash()
    return {"bytes": entry.bytes, "sha256": entry.sha256}
