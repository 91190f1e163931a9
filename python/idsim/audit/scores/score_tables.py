"""All known scores between two sets: a sparse table in memory, or a dense matrix that is read in blocks.

Inside, higher is better: distances are negated. What is not listed is worse than the table's `level`, or equal to
it at most where the level says so; above it, everything is known.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from idsim.audit.scores.score_files import read_rows
from idsim.errors import MatcherError
from idsim.files import InputFile
from idsim.gallery.npy import read_header

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from idsim.audit.scores.score_files import Rows

__all__ = ["COMPLETE", "SCALES", "Chunk", "Reading", "Scale", "ScoreTable", "Side", "open_table"]

COMPLETE = ("true", "topk", "thresholded")

MAX_SCORES = 200_000_000  # of a sparse table: 2.4 GB, for a moment four times as much
BLOCK_ELEMENTS = 1 << 22

EXACT_INTEGER = 1 << 24  # float32 holds whole numbers up to here


class Scale(NamedTuple):
    """What scores mean.

    Attributes
    ----------
    low, high : float
        Scores lie between them.
    per_decade : float
        How much a score grows where the claimed false accept rate falls to a tenth; 0: it claims none.
    """

    low: float
    high: float
    per_decade: float = 0.0


SCALES = {
    "": Scale(-np.inf, np.inf),
    "cosine": Scale(-1.001, 1.001),
    "distance": Scale(0.0, np.inf),
    "-log10far": Scale(0.0, np.inf, 1.0),
    "-12log10far": Scale(0.0, np.inf, 12.0),
}


class Chunk(NamedTuple):
    """Some scores, ordered by row, then column; higher is better."""

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    scores: NDArray[np.float32]


@dataclass(frozen=True)
class Side:
    """The ids of a set, and which of them have a face.

    Attributes
    ----------
    name : str
        Of the set.
    ids : dict
        ``id -> number`` in order.
    present : ndarray
        bool ``[n]``.
    """

    name: str
    ids: dict[str, int]
    present: NDArray[np.bool_]


class ScoreTable(Protocol):
    """Scores of probes (rows) against a gallery (columns), numbered as their ids are.

    Of a set against itself: every unordered pair once, row < column.

    Attributes
    ----------
    level : float
        Every pair with a score of at least this is listed.
    """

    @property
    def level(self) -> float:
        """Every pair with a score of at least this is listed."""

    def chunks(self) -> Iterator[Chunk]:
        """Yield all scores, a bounded number at a time."""


@dataclass(frozen=True)
class Reading:
    """How files of scores are read.

    Attributes
    ----------
    lower : bool
        Lower scores are better.
    scale : str
        A key of `SCALES`.
    complete : {"true", "topk", "thresholded"}
        Whether every pair has a score, or each probe's best ones, or all that reach `floor`.
    floor : float
        Of ``thresholded``, as in the files.
    """

    lower: bool
    scale: str
    complete: str
    floor: float

    def bad(self, scores: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return which scores cannot be: not finite, off the scale, or worse than the floor."""
        low, high, _ = SCALES[self.scale]
        wrong = ~np.isfinite(scores) | (scores < low) | (scores > high)
        if self.complete == "thresholded":
            wrong |= scores > self.floor if self.lower else scores < self.floor
        return wrong

    def reason(self, score: float) -> str:
        """Return why a score cannot be."""
        low, high, _ = SCALES[self.scale]
        if not np.isfinite(score):
            return f"the score {score:g} is not finite"
        if not low <= score <= high:
            return f"the score {score:g} is not one of the scale {self.scale}"
        return f"the score {score:g} does not reach the floor {self.floor:g}"

    def oriented(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return scores with higher ones better, or such scores back in the files' way."""
        return -scores if self.lower else scores


def open_table(path: Path, probes: Side, gallery: Side, reading: Reading) -> ScoreTable:
    """Return the scores in a file, all checked.

    Parameters
    ----------
    path : Path
        Parquet, CSV or bob's text, see `read_rows`; or a ``.npy`` matrix with a row for every id of the probes and
        a column for every id of the gallery, in their order.
    probes, gallery : Side
        The two sets; the same one for a set against itself.
    reading : Reading
        What the scores mean.

    Raises
    ------
    MatcherError, GalleryError
        The file is damaged, or names an unknown id, lists a pair twice, holds a score that is not finite or off the
        scale, or lacks pairs that it claims to have; rows are named.
    """
    if path.suffix == ".npy":
        return DenseTable(path, probes, gallery, reading)
    return SparseTable(path, probes, gallery, reading)


class SparseTable:
    """The scores that a table lists, 12 bytes each."""

    def __init__(self, path: Path, probes: Side, gallery: Side, reading: Reading) -> None:
        self._path, self._probes, self._gallery = path, probes, gallery
        self._same = probes is gallery
        rows, columns, scores, numbers = self._read(reading)
        self.level = self._level(rows, columns, scores, reading)
        swapped = (rows > columns) & self._same
        low, high = np.where(swapped, columns, rows), np.where(swapped, rows, columns)
        order = np.lexsort((numbers, high, low))
        if self._same:
            order = order[low[order] != high[order]]
        low, high, scores, swapped = low[order], high[order], scores[order], swapped[order]
        again = np.flatnonzero((low[1:] == low[:-1]) & (high[1:] == high[:-1])) + 1
        self._check_twice(again, scores, swapped, numbers[order])
        keep = np.ones(len(low), np.bool_)
        keep[again] = False
        self._scores = Chunk(low[keep], high[keep], scores[keep])
        if reading.complete == "true":
            self._check_complete()

    def chunks(self) -> Iterator[Chunk]:
        """Yield all scores."""
        rows, columns, scores = self._scores
        for start in range(0, len(rows), BLOCK_ELEMENTS):
            part = slice(start, start + BLOCK_ELEMENTS)
            yield Chunk(rows[part].astype(np.int64), columns[part].astype(np.int64), scores[part])

    def _read(
        self, reading: Reading
    ) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32], NDArray[np.int64]]:
        rows, columns = [np.empty(0, np.int32)], [np.empty(0, np.int32)]
        scores, numbers, total = [np.empty(0, np.float32)], [np.empty(0, np.int64)], 0
        for block in read_rows(self._path):
            total += len(block.scores)
            if total > MAX_SCORES:
                raise MatcherError(
                    self._path,
                    f"row {block.first}",
                    f"more than {MAX_SCORES:,} scores: give a dense .npy matrix, or those that reach a floor",
                )
            rows.append(self._codes(block.probes, self._probes, block))
            columns.append(self._codes(block.galleries, self._gallery, block))
            bad = np.flatnonzero(reading.bad(block.scores))
            if len(bad):
                place, score = f"row {block.first + bad[0]}", float(block.scores[bad[0]])
                raise MatcherError(self._path, place, reading.reason(score))
            scores.append(reading.oriented(block.scores))
            numbers.append(np.arange(block.first, block.first + len(block.scores), dtype=np.int64))
        return np.concatenate(rows), np.concatenate(columns), np.concatenate(scores), np.concatenate(numbers)

    def _codes(self, names: Sequence[str], side: Side, block: Rows) -> NDArray[np.int32]:
        codes = np.fromiter((side.ids.get(name, -1) for name in names), np.int32)
        bad = np.flatnonzero((codes < 0) | ~side.present[codes])
        if len(bad):
            number = int(bad[0])
            why = "is not among the ids" if codes[number] < 0 else "has no face by the ids"
            raise MatcherError(
                self._path, f"row {block.first + number}", f"{names[number][:80]!r} {why} of {side.name}"
            )
        return codes

    def _level(
        self,
        rows: NDArray[np.int32],
        columns: NDArray[np.int32],
        scores: NDArray[np.float32],
        reading: Reading,
    ) -> float:
        if reading.complete == "true":
            return -np.inf
        if reading.complete == "thresholded":
            return -reading.floor if reading.lower else reading.floor
        others = rows != columns if self._same else np.ones(len(rows), np.bool_)
        counts = np.bincount(rows[others], minlength=len(self._probes.ids))
        least = np.full(len(counts), np.inf, np.float32)
        np.minimum.at(least, rows, scores)
        full = int(self._gallery.present.sum()) - self._same
        short = self._probes.present & (counts < full)
        nothing = np.flatnonzero(short & (counts == 0))
        if len(nothing):
            name = list(self._probes.ids)[int(nothing[0])]
            raise MatcherError(
                self._path,
                "rows",
                f"complete is 'topk', and {len(nothing)} probes have no score, such as {name!r}",
            )
        # A pair that is not listed may be as good as the worst one that is, not better.
        return float(np.nextafter(least[short].max(), np.float32(np.inf))) if short.any() else -np.inf

    def _check_twice(
        self,
        again: NDArray[np.int64],
        scores: NDArray[np.float32],
        swapped: NDArray[np.bool_],
        numbers: NDArray[np.int64],
    ) -> None:
        """Refuse a pair that is listed twice; a set against itself may list both orders with one score."""
        wrong = (swapped[again] == swapped[again - 1]) | (scores[again] != scores[again - 1])
        if wrong.any():
            place = int(again[np.flatnonzero(wrong)[0]])
            raise MatcherError(
                self._path,
                f"row {int(numbers[place])}",
                f"the pair of row {int(numbers[place - 1])} is listed again"
                + (" in the other order with another score" if swapped[place] != swapped[place - 1] else ""),
            )

    def _check_complete(self) -> None:
        count = int(self._probes.present.sum())
        expected = count * (count - 1) // 2 if self._same else count * int(self._gallery.present.sum())
        if len(self._scores.rows) != expected:
            raise MatcherError(
                self._path,
                "rows",
                f"complete is 'true', and {len(self._scores.rows):,} of {expected:,} pairs have a score",
            )


class DenseTable:
    """A matrix of all scores, read in blocks of rows; of a set against itself, what is above the diagonal."""

    level = -np.inf

    def __init__(self, path: Path, probes: Side, gallery: Side, reading: Reading) -> None:
        self._path, self._probes, self._gallery, self._reading = path, probes, gallery, reading
        if reading.complete != "true":
            raise MatcherError(
                path, "complete", f"a matrix has every score, and complete is {reading.complete!r}"
            )
        with InputFile(path, MatcherError) as file:
            header = read_header(file)
            self._changed = os.fstat(file.fileno()).st_mtime_ns
        shape = (len(probes.ids), len(gallery.ids))
        if header.shape != shape:
            raise MatcherError(
                path,
                "shape",
                f"it is {list(header.shape)}, where {probes.name} x {gallery.name} are {list(shape)}",
            )
        if header.dtype.str[1:] not in ("f4", "f2", "i2", "u2", "i1", "u1", "i4"):
            raise MatcherError(path, "dtype", f"it is {header.dtype}: save float32, float16 or whole numbers")
        self._header = header
        for _ in self.chunks():
            pass

    def chunks(self) -> Iterator[Chunk]:
        """Yield all scores."""
        columns = np.flatnonzero(self._gallery.present)
        width = len(self._gallery.ids)
        step = max(1, BLOCK_ELEMENTS // max(1, width))
        with InputFile(self._path, MatcherError) as file:
            if os.fstat(file.fileno()).st_mtime_ns != self._changed:
                raise MatcherError(self._path, "file", "it changed while the scan ran")
            for start in range(0, len(self._probes.ids), step):
                stop = min(start + step, len(self._probes.ids))
                block = np.empty((stop - start, width), self._header.dtype)
                file.read_into(
                    block.reshape(-1).view(np.uint8).data, self._header.offset + start * block[0].nbytes
                )
                rows = np.flatnonzero(self._probes.present[start:stop])
                yield self._chunk(block[rows][:, columns], rows + start, columns)

    def _chunk(
        self, block: NDArray[np.generic], rows: NDArray[np.int64], columns: NDArray[np.int64]
    ) -> Chunk:
        if block.dtype.kind != "f" and (np.abs(block.astype(np.int64)) > EXACT_INTEGER).any():
            raise MatcherError(
                self._path, "scores", f"a whole number above {EXACT_INTEGER} is not exact in float32"
            )
        keep = np.ones(block.shape, np.bool_)
        if self._probes is self._gallery:
            keep = rows[:, None] < columns
        scores = block.astype(np.float32)
        bad = np.argwhere(self._reading.bad(scores) & keep)
        if len(bad):
            row, column = bad[0]
            place = f"row {rows[row]}, column {columns[column]} (from 0)"
            raise MatcherError(self._path, place, self._reading.reason(float(scores[row, column])))
        places = np.nonzero(keep)
        return Chunk(rows[places[0]], columns[places[1]], self._reading.oriented(scores[places]))
