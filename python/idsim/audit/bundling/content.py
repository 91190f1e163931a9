"""Sets, comparisons and scores of a run as members of a bundle, and back."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.audit.bundling.archive import json_bytes
from idsim.audit.bundling.arrays import array_bytes, read_integers, read_scores
from idsim.audit.faces import AbsentVectors, FaceSet
from idsim.audit.pairs.compared import Compared
from idsim.audit.scores.score_tables import Chunk
from idsim.results import Pairs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from idsim.audit.bundling.archive import BundleArchive, Content
    from idsim.audit.bundling.names import Names
    from idsim.audit.scores.score_tables import ScoreTable

__all__ = [
    "BundledScores",
    "compared_members",
    "faces_members",
    "read_compared",
    "read_faces",
    "read_level",
    "read_table",
    "table_members",
]

EMBEDDINGS = "embeddings.npy"
STATUS = ("ok", "no_face", "unreadable")
MAX_SCORES = 200_000_000  # of one table: they are in memory together


# --- sets -----------------------------------------------------------------------------------------


def faces_members(folder: str, faces: FaceSet, names: Names, embeddings: bool) -> dict[str, Content]:
    """Return the members that hold a set.

    Parameters
    ----------
    folder : str
        Where they are.
    faces : FaceSet
        With the names of the bundle.
    names : Names
        Of the run.
    embeddings : bool
        Whether the embeddings are among them.
    """

    def ranks(given: list[str]) -> Content:
        real = [names.real(name) for name in given]
        return array_bytes(np.array([names.rank[name] for name in real], np.int64))

    texts = [json.dumps(record, ensure_ascii=True) for record in faces.records]
    distinct = list(dict.fromkeys(texts))
    place = {text: number for number, text in enumerate(distinct)}
    cells = sorted(set(faces.strata or ()))
    about = {
        "name": faces.name,
        "items": len(faces.items),
        "dim": int(faces.vectors.shape[1]),
        "origin": faces.origin,
        "strata": None if faces.strata is None else cells,
        "records": [json.loads(text) for text in distinct],
    }
    members: dict[str, Content] = {
        "set.json": json_bytes(about),
        "items.npy": ranks(faces.items),
        "labels.npy": ranks(faces.labels),
        "rows.npy": array_bytes(faces.rows),
        "records.npy": array_bytes(np.array([place[text] for text in texts], np.int64)),
    }
    if faces.strata is not None:
        codes = {cell: number for number, cell in enumerate(cells)}
        members["strata.npy"] = array_bytes(np.array([codes[cell] for cell in faces.strata], np.int64))
    if embeddings and faces.vectors.shape[1]:
        members[EMBEDDINGS] = array_bytes(faces.vectors)
    return {f"{folder}/{name}": content for name, content in members.items()}


def read_faces(bundle: BundleArchive, folder: str, name: str, names: Sequence[str]) -> FaceSet:
    """Return a set; where its embeddings are not in the bundle, `AbsentVectors` stand for them.

    Parameters
    ----------
    bundle : BundleArchive
        The bundle.
    folder : str
        Where the members of the set are.
    name : str
        Of the set: ``training`` and the like.
    names : sequence of str
        All names of the bundle, in their order.

    Raises
    ------
    BundleError
        A member is missing, damaged, or no such thing.
    """
    place = f"{folder}/set.json"
    about = bundle.object(place)
    count, dim = about.get("items"), about.get("dim")
    if about.get("name") != name or type(count) is not int or type(dim) is not int or min(count, dim) < 0:
        bundle.refuse(place, f"it does not describe a set called {name}")
    items, labels = (
        [
            names[rank]
            for rank in read_integers(
                bundle, f"{folder}/{column}.npy", count, low=0, high=len(names)
            ).tolist()
        ]
        for column in ("items", "labels")
    )
    if len(set(items)) < len(items):
        bundle.refuse(f"{folder}/items.npy", "an item is there twice")
    records = _records(bundle, folder, place, about)
    rows = read_integers(bundle, f"{folder}/rows.npy", None, low=0, high=count)
    expected = [row for row, record in enumerate(records) if record["status"] == "ok"]
    if rows.tolist() != expected:
        bundle.refuse(f"{folder}/rows.npy", "it must name the items whose status is ok, in their order")
    vectors: Any = AbsentVectors(len(rows), dim)
    if not dim:
        vectors = np.empty((len(rows), 0), np.float32)
    elif f"{folder}/{EMBEDDINGS}" in bundle:
        vectors = read_scores(bundle, f"{folder}/{EMBEDDINGS}", len(rows), dim)
        if not np.isfinite(vectors).all():
            bundle.refuse(f"{folder}/{EMBEDDINGS}", "an embedding is not finite")
    origin = about.get("origin")
    if not isinstance(origin, dict):
        bundle.refuse(place, "origin is no object")
    strata = _strata(bundle, folder, place, about)
    return FaceSet(name, items, labels, vectors, rows, records, origin, strata)


def _records(bundle: BundleArchive, folder: str, place: str, about: dict[str, Any]) -> list[dict[str, Any]]:
    distinct = about.get("records")
    if not isinstance(distinct, list) or not all(map(_is_record, distinct)):
        bundle.refuse(place, "its records are not of this format")
    codes = read_integers(bundle, f"{folder}/records.npy", about["items"], low=0, high=len(distinct))
    return [distinct[code] for code in codes.tolist()]


def _is_record(record: Any) -> bool:
    """Whether a record of an item is one whose values later steps can take."""
    if not isinstance(record, dict) or record.get("status") not in STATUS:
        return False
    box = record.get("box")
    numbers = [record.get("confidence"), record.get("norm"), *(box if isinstance(box, list) else [])]
    texts = [record.get("reason"), record.get("route"), record.get("sha256")]
    return (
        (box is None or (isinstance(box, list) and len(box) == 4))
        and all(value is None or type(value) in (int, float) for value in numbers)
        and all(value is None or isinstance(value, str) for value in texts)
        and type(record.get("faces", 0)) is int
    )


def _strata(bundle: BundleArchive, folder: str, place: str, about: dict[str, Any]) -> list[str] | None:
    cells = about.get("strata")
    if cells is None:
        return None
    if not isinstance(cells, list) or not all(isinstance(cell, str) for cell in cells):
        bundle.refuse(place, "its strata are no strings")
    codes = read_integers(bundle, f"{folder}/strata.npy", about["items"], low=0, high=len(cells))
    return [cells[code] for code in codes.tolist()]


# --- comparisons ----------------------------------------------------------------------------------


def compared_members(folder: str, compared: Compared) -> dict[str, Content]:
    """Return the members that hold the comparison of two sets."""
    arrays = {
        "scores": compared.scores,
        "ids": compared.ids,
        "tail-rows": compared.tail.rows,
        "tail-columns": compared.tail.columns,
        "tail-scores": compared.tail.scores,
    }
    return {f"{folder}/{name}.npy": array_bytes(np.asarray(array)) for name, array in arrays.items()}


def read_compared(
    bundle: BundleArchive, folder: str, metric: str, level: float, rows: int, columns: int
) -> Compared:
    """Return the comparison of two sets of `rows` and `columns` embeddings.

    Raises
    ------
    BundleError
        A member is missing, damaged, or no such thing.
    """
    scores = read_scores(bundle, f"{folder}/scores.npy", rows, None)
    ids = read_integers(bundle, f"{folder}/ids.npy", rows, scores.shape[1], low=-1, high=columns)
    tail_rows = read_integers(bundle, f"{folder}/tail-rows.npy", None, low=0, high=rows)
    pairs = len(tail_rows)
    tail_columns = read_integers(bundle, f"{folder}/tail-columns.npy", pairs, low=0, high=columns)
    tail_scores = read_scores(bundle, f"{folder}/tail-scores.npy", pairs)
    return Compared(metric, scores, ids, level, Pairs(tail_rows, tail_columns, tail_scores))


def read_level(bundle: BundleArchive, place: str, text: Any) -> float:
    """Return the number that a text is; infinities are written in words."""
    try:
        level = float(text) if isinstance(text, str) else math.nan
    except ValueError:
        level = math.nan
    if math.isnan(level):
        bundle.refuse(place, f"the level {text!r} is no number")
    return level


# --- scores of matchers without vectors -----------------------------------------------------------


class BundledScores:
    """Scores between two sets that a bundle holds.

    Parameters
    ----------
    level : float
        Every pair with a score of at least this is listed.
    chunk : Chunk
        All of them.
    """

    def __init__(self, level: float, chunk: Chunk) -> None:
        self.level, self._chunk = level, chunk

    def chunks(self) -> Iterator[Chunk]:
        """Yield all scores."""
        yield self._chunk


def table_members(folder: str, table: ScoreTable) -> dict[str, Content]:
    """Return the members that hold a table of scores.

    Raises
    ------
    ValueError
        There are more than 200 million scores.
    """
    chunks, total = list[Chunk](), 0
    for chunk in table.chunks():
        chunks.append(Chunk(chunk.rows.astype(np.int32), chunk.columns.astype(np.int32), chunk.scores))
        total += len(chunk.scores)
        if total > MAX_SCORES:
            raise ValueError(f"a bundle holds up to {MAX_SCORES:,} scores of two sets, and here are more")
    empty = np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.float32)
    columns = [np.concatenate(parts) for parts in zip(empty, *chunks, strict=True)]
    return {
        f"{folder}/{name}.npy": array_bytes(column)
        for name, column in zip(("rows", "columns", "scores"), columns, strict=True)
    }


def read_table(bundle: BundleArchive, folder: str, level: float, rows: int, columns: int) -> BundledScores:
    """Return a table of scores between sets of `rows` and `columns` items.

    Raises
    ------
    BundleError
        A member is missing, damaged, or no such thing.
    """
    first = read_integers(bundle, f"{folder}/rows.npy", None, low=0, high=rows)
    second = read_integers(bundle, f"{folder}/columns.npy", len(first), low=0, high=columns)
    scores = read_scores(bundle, f"{folder}/scores.npy", len(first))
    if not np.isfinite(scores).all():
        bundle.refuse(f"{folder}/scores.npy", "a score is not finite")
    return BundledScores(level, Chunk(first, second, scores))
