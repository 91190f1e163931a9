"""From finished shards to the rows of a gallery and the table of failures."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.audit.inputs import BOX_COLUMNS, RECORD_COLUMNS, tree_hash
from idsim.gallery import GalleryWriter
from idsim.parquet import import_pyarrow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from idsim.audit.embedding import ShardPlan
    from idsim.audit.shards import Shard
    from idsim.matchers.base import Matcher
    from idsim.sources import ImageSource

__all__ = ["failures", "write_gallery"]


def write_gallery(
    path: Path, plan: ShardPlan, source: ImageSource, matcher: Matcher, missing: str
) -> dict[str, Any]:
    """Write the gallery of a run and return what it holds.

    Raises
    ------
    ValueError
        No picture has a face.
    """
    description = json.dumps(matcher.describe(), sort_keys=True)
    statuses: dict[str, int] = {"ok": 0, "no_face": 0, "unreadable": 0}
    hashes: list[str] = []
    for _, shard in _shards(plan):
        for record in shard.records:
            statuses[record["status"]] += 1
            hashes.append(record["sha256"])
    if not statuses["ok"]:
        raise ValueError(f"{source.path}: no picture has a face; the reasons: {_reasons(plan)}")
    facts: dict[str, Any] = {
        "images": len(source),
        "faces": statuses["ok"],
        "no_face": statuses["no_face"],
        "unreadable": statuses["unreadable"],
        "images_sha256": tree_hash(source.items, hashes),
        "source_kind": source.kind,
        "metric": matcher.metric,
        "matcher": description,
        "matcher_sha256": hashlib.sha256(description.encode()).hexdigest(),
    }
    with GalleryWriter(path, matcher.dim, metadata=facts, nonfinite="keep") as writer:
        for start, shard in _shards(plan):
            _append(writer, source, start, shard, keep=missing == "keep")
    return {key: value for key, value in facts.items() if key != "matcher"}


def _append(writer: GalleryWriter, source: ImageSource, start: int, shard: Shard, *, keep: bool) -> None:
    records = shard.records
    found = np.array([record["status"] == "ok" for record in records])
    vectors = np.full((len(records), writer.dim), np.nan, np.float32)
    vectors[found] = shard.vectors
    rows = np.arange(len(records)) if keep else np.flatnonzero(found)
    if not len(rows):
        return
    kept = [records[row] for row in rows.tolist()]
    numbers = (start + rows).tolist()
    identities = source.identities
    writer.append(
        vectors[rows],
        ids=[source.items[number] for number in numbers],
        groups=None if identities is None else [identities[number] for number in numbers],
        columns=_columns(kept),
    )


def _columns(records: list[dict[str, Any]]) -> dict[str, Any]:
    pa = import_pyarrow()
    kinds = {"faces": pa.int32(), "confidence": pa.float64(), "norm": pa.float64()}
    boxes = [record["box"] or [None] * len(BOX_COLUMNS) for record in records]
    return {
        **{
            name: pa.array([record[name] for record in records], kinds.get(name, pa.string()))
            for name in ("status", *RECORD_COLUMNS)
        },
        **{name: pa.array([box[side] for box in boxes], pa.int32()) for side, name in enumerate(BOX_COLUMNS)},
    }


def failures(plan: ShardPlan, source: ImageSource) -> dict[str, list[str]]:
    """Return the columns of the table of failures: what was left out, then pictures without an embedding."""
    rows = [(name, "list", reason) for name, reason in source.skipped]
    for start, shard in _shards(plan):
        for number, record in enumerate(shard.records, start):
            if record["status"] != "ok":
                rows.append((source.items[number], _stage(record), record["reason"]))
    return {name: [row[column] for row in rows] for column, name in enumerate(("name", "stage", "reason"))}


def _stage(record: dict[str, Any]) -> str:
    if record["status"] == "unreadable":
        return "decode" if record["sha256"] else "read"
    return "embed" if record["faces"] and record["route"] and "finite" in record["reason"] else "detect"


def _reasons(plan: ShardPlan) -> str:
    found = {record["reason"] for _, shard in _shards(plan) for record in shard.records}
    return "; ".join(sorted(found)[:3])


def _shards(plan: ShardPlan) -> Iterator[tuple[int, Shard]]:
    """Yield first picture and content of every shard.

    Raises
    ------
    ValueError
        One is gone, or its pictures changed.
    """
    for number in plan.numbers:
        shard = plan.read(number)
        if shard is None:
            start, stop = plan.bounds(number)
            items = plan.source.items
            raise ValueError(f"pictures changed while the run went on: {items[start]} to {items[stop - 1]}")
        yield plan.bounds(number)[0], shard
