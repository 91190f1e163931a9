"""Rows of the tables of a run: pairs, images and failures. Working files, with the names of the files."""

from __future__ import annotations

import csv
import hashlib
import hmac
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from idsim.audit.evaluation import Evaluation, Matches
    from idsim.audit.faces import FaceSet

    # What pseudonyms are made with; or, without it, the known ones by kind and name.
    Key = bytes | Mapping[tuple[str, str], str]

__all__ = [
    "failures",
    "image_columns",
    "known_number",
    "pair_columns",
    "pseudonym",
    "pseudonyms",
    "read_names",
]

# 40 bits: two of 100,000 names share one with a chance of 0.5 %; nothing is computed from pseudonyms.
PSEUDONYM_DIGITS = 10
INITIALS = {"synthetic": "S", "training": "T", "holdout": "H"}


def pseudonym(key: Key, kind: str, name: str) -> str:
    """Return the pseudonym of an item or person: the same in every file of a run.

    The key is the hash of ``provenance.json``, which contains the hashes of all inputs: without the inputs,
    names cannot be tried out. A replication bundle has the pseudonyms instead of the key.
    """
    if not isinstance(key, bytes):
        return key[kind, name]
    digest = hmac.new(key, f"{kind}\0{name}".encode(), hashlib.sha256).hexdigest()
    return f"{INITIALS[kind.partition(' ')[0]]}-{digest[:PSEUDONYM_DIGITS]}"


def known_number(value: Any) -> float | None:
    """Return a number as a float; None for NaN and the infinite score of a match that is not known."""
    return float(value) if np.isfinite(value) else None


def pseudonyms(key: Key, kind: str, names: list[str]) -> dict[str, str]:
    """Return the pseudonym of every name."""
    return {name: pseudonym(key, kind, name) for name in dict.fromkeys(names)}


def pair_columns(evaluation: Evaluation, key: Key) -> dict[str, list[Any]]:
    """Return the best matches of every synthetic image in both galleries, by image, gallery and rank."""
    columns: dict[str, list[Any]] = {
        name: []
        for name in (
            "synthetic", "synthetic_pseudonym", "cluster", "gallery", "rank", "image", "image_pseudonym",
            "person", "person_pseudonym", "score", "calibration_share", "reaches_primary",
        )
    }  # fmt: skip
    sets = evaluation.sets
    synthetic = sets.synthetic
    sides = [(sets.training, evaluation.training), (sets.holdout, evaluation.holdout)]
    names = [
        (pseudonyms(key, faces.name, faces.items), pseudonyms(key, f"{faces.name} person", faces.labels))
        for faces, _ in sides
    ]
    own = pseudonyms(key, "synthetic", synthetic.items)
    for row, item in enumerate(synthetic.rows.tolist()):
        for (faces, matches), (image_names, person_names) in zip(sides, names, strict=True):
            for rank, place in enumerate(matches.ids[row].tolist()):
                if place < 0:
                    break
                image = int(faces.rows[place])
                values = (
                    synthetic.items[item], own[synthetic.items[item]], synthetic.labels[item], faces.name,
                    rank + 1, faces.items[image], image_names[faces.items[image]], faces.labels[image],
                    person_names[faces.labels[image]], float(matches.scores[row, rank]),
                    known_number(matches.share[row, rank]), _reaches(evaluation, float(matches.scores[row, rank])),
                )  # fmt: skip
                for column, value in zip(columns.values(), values, strict=True):
                    column.append(value)
    return columns


def _reaches(evaluation: Evaluation, score: float) -> bool | None:
    threshold = evaluation.primary.point.threshold
    if threshold is None:
        return None
    return score <= threshold if evaluation.metric == "l2" else score >= threshold


def image_columns(
    sets: Sequence[FaceSet], matches: tuple[Matches, Matches] | None, key: Key
) -> dict[str, list[Any]]:
    """Return one row per item of every set: what became of it.

    With the best matches in training and holdout of the synthetic set, if `matches` are given.
    """
    columns: dict[str, list[Any]] = {}
    for faces in sets:
        names = pseudonyms(key, faces.name, faces.items)
        best = [_best_scores(faces, matches and matches[side]) for side in (0, 1)]
        for row, item in enumerate(faces.items):
            record = faces.records[row] if faces.records else {}
            box = record.get("box") or [None] * 4
            values = {
                "set": faces.name, "item": item, "pseudonym": names[item], "label": faces.labels[row],
                "status": record.get("status", "ok"), "reason": record.get("reason", ""),
                "route": record.get("route", ""), "faces": record.get("faces", 0),
                "left": box[0], "top": box[1], "right": box[2], "bottom": box[3],
                "confidence": record.get("confidence"), "norm": record.get("norm"),
                "sha256": record.get("sha256"), "best_training": best[0][row], "best_holdout": best[1][row],
            }  # fmt: skip
            for name, value in values.items():
                columns.setdefault(name, []).append(value)
    return columns


def _best_scores(faces: FaceSet, matches: Matches | None) -> list[float | None]:
    best = np.full(len(faces.items), np.nan)
    if matches is not None and faces.name == "synthetic":
        best[faces.rows] = matches.scores[:, 0]
    return [known_number(score) for score in best]


def failures(sets: Sequence[FaceSet], skipped: dict[str, list[tuple[str, str]]]) -> list[dict[str, str]]:
    """Return every item without an embedding and every file that was left out, with the reason."""
    result = []
    for faces in sets:
        for item, record in zip(faces.items, faces.records, strict=True):
            if record["status"] != "ok":
                reason = str(record.get("reason") or "the embedding is not finite")
                status = str(record["status"])
                result.append({"set": faces.name, "item": item, "status": status, "reason": reason})
        for item, reason in skipped.get(faces.name, []):
            result.append({"set": faces.name, "item": item, "status": "skipped", "reason": reason})
    return sorted(result, key=lambda entry: (entry["set"], entry["item"]))


def read_names(folder: Path, tables: list[str]) -> dict[str, str]:
    """Return ``pseudonym -> name`` of the items and persons of a finished run, from its table of pairs."""
    path = folder / next(name for name in tables if name.startswith("pairs."))
    columns = [
        ("synthetic_pseudonym", "synthetic"),
        ("image_pseudonym", "image"),
        ("person_pseudonym", "person"),
    ]
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        table = pq.read_table(path, columns=[name for pair in columns for name in pair])
        rows = table.to_pydict()
        return {
            key: name
            for first, second in columns
            for key, name in zip(rows[first], rows[second], strict=True)
        }
    with path.open(newline="", encoding="utf-8") as file:
        entries = list(csv.DictReader(file))
    return {entry[first]: entry[second] for entry in entries for first, second in columns}
