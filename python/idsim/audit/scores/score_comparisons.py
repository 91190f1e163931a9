"""The audit's questions answered from scores that a matcher gave, with what they do not tell refused by name."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.audit.pairs.compared import Compared
from idsim.audit.pairs.comparing import MAX_MATED_PAIRS, mated_pairs
from idsim.audit.pairs.pair_shards import best_of_tail
from idsim.audit.pairs.tails import MAX_PAIRS, TooLooseError, UnsupportedError
from idsim.audit.scores.score_tables import SCALES, Chunk
from idsim.results import Pairs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from idsim.audit.faces import FaceSet
    from idsim.audit.scores.score_tables import Reading, ScoreTable, Side

__all__ = ["ScoreComparisons", "ScoreImpostors"]


KEPT = 5  # best matches of every face

NOTHING = Chunk(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))


class ScoreComparisons:
    """Comparisons between the sets of a scan, from tables of scores.

    Parameters
    ----------
    tables : dict
        ``(probes, gallery) -> scores``, by the names of the sets.
    sides : dict
        The ids of every set, by its name.
    reading : Reading
        What the scores mean.

    Attributes
    ----------
    tables : dict
        As given.
    """

    def __init__(
        self, tables: dict[tuple[str, str], ScoreTable], sides: dict[str, Side], reading: Reading
    ) -> None:
        self.tables, self._sides, self._reading = tables, sides, reading
        self.metric = "l2" if reading.lower else "score"
        self.complete = reading.complete == "true"

    def claimed_fmr(self, threshold: float) -> float | None:
        """Return the false match rate that the scale claims for a threshold."""
        per_decade = SCALES[self._reading.scale].per_decade
        return 10 ** (-threshold / per_decade) if per_decade else None

    def claimed_threshold(self, fmr: float) -> float | None:
        """Return the threshold for which the scale claims a false match rate."""
        per_decade = SCALES[self._reading.scale].per_decade
        return round(-per_decade * math.log10(fmr), 9) if per_decade else None

    def best(
        self, queries: FaceSet, gallery: FaceSet, count: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return scores and numbers of the best matches that are listed; number -1 where there is none."""
        count = min(count, len(gallery.rows))
        chunks = self._between(queries, gallery)
        scores, ids = best_of(chunks, len(queries.rows), count)
        return self._reading.oriented(scores), ids

    def reaching(self, queries: FaceSet, gallery: FaceSet, threshold: float) -> Pairs | None:
        """Return the pairs that reach a threshold; None where the sets were not compared.

        Raises
        ------
        UnsupportedError
            Pairs that reach it may be missing in the files, or too many are there.
        """
        names = (queries.name, gallery.name)
        table = self.tables.get(names) or self.tables.get(names[::-1])
        if table is None:
            return None
        return self.collect(self._between(queries, gallery), threshold, table.level, " x ".join(names))

    def compared(self, queries: FaceSet, gallery: FaceSet) -> Compared | None:
        """Return the whole comparison of two sets, as far as the files list it; None where there is no file.

        Best matches beyond those of the tail are not told.
        """
        names = (queries.name, gallery.name)
        table = self.tables.get(names) or self.tables.get(names[::-1])
        if table is None or (not table.level > -math.inf and self._reading.complete != "true"):
            return None
        level = float(self._reading.oriented(np.array([table.level], np.float32))[0])
        own = names[0] == names[1]
        chunks = self._between(queries, gallery)
        if own:
            persons = queries.codes()[0]
            chunks = _different(chunks, persons, persons)
        try:
            tail = self.collect(chunks, level, table.level, " x ".join(names))
        except TooLooseError:
            return None
        if own:
            first, second = np.minimum(tail.rows, tail.columns), np.maximum(tail.rows, tail.columns)
            order = np.lexsort((second, first))
            tail = Pairs(first[order], second[order], tail.scores[order])
            scores, ids = best_of_tail(tail, len(queries.rows), KEPT, self.metric)
        else:
            scores, ids = self.best(queries, gallery, KEPT)
        return Compared(self.metric, scores, ids, level, tail)

    def mated(self, sets: Sequence[FaceSet]) -> tuple[NDArray[np.float32], int]:
        """Return the scores of pairs of images of one person, of the sets that were compared with themselves.

        A pair that is not listed has the worst score there is: it misses every threshold that the files support.
        """
        room, total, found = MAX_MATED_PAIRS, 0, [np.empty(0, np.float32)]
        for faces in sets:
            if (faces.name, faces.name) not in self.tables:
                continue
            left, right, persons = mated_pairs(faces, room)
            wanted = np.minimum(left, right) * len(faces.rows) + np.maximum(left, right)
            order = np.argsort(wanted)
            scores = np.full(len(wanted), -np.inf, np.float32)
            for rows, columns, values in self._between(faces, faces) if len(wanted) else ():
                codes = rows * len(faces.rows) + columns
                places = np.searchsorted(wanted, codes, sorter=order)
                places = order[np.minimum(places, len(order) - 1)]
                hit = wanted[places] == codes
                scores[places[hit]] = values[hit]
            found.append(scores)
            room, total = room - len(left), total + persons
        return self._reading.oriented(np.concatenate(found)), total

    def impostors(
        self, faces: FaceSet, codes: NDArray[np.int64], searched: tuple[FaceSet, NDArray[np.int64]] | None
    ) -> ScoreImpostors | None:
        """Return the comparisons of persons of a set; None where they were not compared."""
        own = self.tables.get((faces.name, faces.name))
        if own is None:
            return None
        if searched is None:
            return ScoreImpostors(self, lambda: self._between(faces, faces), own.level, codes)
        gallery, labels = searched
        other = self.tables.get((faces.name, gallery.name))
        if other is None:
            raise ValueError(f"[scores] has no scores of {faces.name} x {gallery.name} to search in")
        return ScoreImpostors(
            self,
            lambda: self._between(faces, faces),
            max(own.level, other.level),
            codes,
            (lambda: self._between(faces, gallery), labels),
        )

    def further(self, question: tuple[str, ...], compute: Callable[[], NDArray[Any]]) -> NDArray[np.float32]:
        """Raise UnsupportedError: there are no embeddings."""
        del compute
        raise UnsupportedError(f"the matcher gives scores, and {' '.join(question)} needs embeddings")

    def oriented(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return scores with higher ones better, or back in the files' way."""
        return self._reading.oriented(scores)

    def collect(self, chunks: Iterable[Chunk], threshold: float, level: float, what: str) -> Pairs:
        """Return the pairs of chunks that reach a threshold, ordered."""
        least = -threshold if self._reading.lower else threshold
        if least < level:
            limit = -level if self._reading.lower else level
            raise UnsupportedError(
                f"the scores of {what} are complete from {limit:g} on, and a threshold of {threshold:g} is looser"
            )
        parts, total = [NOTHING], 0
        for rows, columns, scores in chunks:
            keep = scores.astype(np.float64) >= least
            parts.append(Chunk(rows[keep], columns[keep], scores[keep]))
            total += len(parts[-1].rows)
            if total > MAX_PAIRS:
                raise TooLooseError(
                    f"more than {MAX_PAIRS} pairs reach a threshold of {threshold:g}, too many to list"
                )
        rows, columns, scores = _joined(parts)
        order = np.lexsort((columns, rows))
        return Pairs(rows[order], columns[order], self._reading.oriented(scores[order]))

    def _between(self, queries: FaceSet, gallery: FaceSet) -> Iterator[Chunk]:
        """Yield the scores of the embeddings of two sets, numbered as the sets number them."""
        table = self.tables.get((queries.name, gallery.name))
        places = self._places(queries), self._places(gallery)
        if table is not None:
            yield from _renumbered(table.chunks(), *places)
            return
        for rows, columns, scores in _renumbered(
            self.tables[gallery.name, queries.name].chunks(), places[1], places[0]
        ):
            yield Chunk(columns, rows, scores)

    def _places(self, faces: FaceSet) -> NDArray[np.int64]:
        """Return for every id of a set the number of its embedding, -1 where the set has none of it."""
        ids = self._sides[faces.name].ids
        places = np.full(len(ids), -1, np.int64)
        for number, row in enumerate(faces.rows.tolist()):
            places[ids[faces.items[row]]] = number
        return places


class ScoreImpostors:
    """Comparisons of faces of different persons, from tables of scores.

    Parameters
    ----------
    comparisons : ScoreComparisons
        Of the whole scan.
    own : callable
        Yields the scores of the set against itself, each unordered pair once.
    level : float
        Every pair with a score of at least this is listed; higher is better.
    persons : ndarray
        int64 ``[n]``: person of every face.
    searched : tuple, optional
        A callable that yields the scores of the set against the one that is searched, and the persons there.
    """

    def __init__(
        self,
        comparisons: ScoreComparisons,
        own: Callable[[], Iterator[Chunk]],
        level: float,
        persons: NDArray[np.int64],
        searched: tuple[Callable[[], Iterator[Chunk]], NDArray[np.int64]] | None = None,
    ) -> None:
        self._comparisons, self._own, self._level, self._other = comparisons, own, level, searched
        self.metric, self.persons = comparisons.metric, persons
        self.searched = searched[1] if searched else persons
        self.separate = searched is not None

    def best(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return score and number of the best listed match of every face among the searched of other persons."""
        chunks = self._other[0]() if self._other else _both_ways(self._own())
        scores, ids = best_of(_different(chunks, self.persons, self.searched), len(self.persons), 1)
        return self._comparisons.oriented(scores[:, 0]), ids[:, 0]

    def pairs(self, threshold: float) -> Pairs:
        """Return the unordered pairs of different persons that reach a threshold."""
        chunks = _different(self._own(), self.persons, self.persons)
        return self._comparisons.collect(chunks, threshold, self._level, "the calibration")

    def tail(self, count: int) -> NDArray[np.float32]:
        """Return the `count` best scores of unordered pairs of different persons, best first."""
        kept = np.empty(0, np.float32)
        for _, _, scores in _different(self._own(), self.persons, self.persons):
            kept = np.concatenate([kept, scores])
            if len(kept) > count:
                kept = np.partition(kept, len(kept) - count)[len(kept) - count :]
        if len(kept) < count:
            raise UnsupportedError(
                f"the calibration lists {len(kept)} scores of different persons, and the {count}th best is needed"
            )
        return self._comparisons.oriented(np.sort(kept)[::-1].copy())

    def known(self, scores: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return for every score whether all comparisons that are as good are known."""
        return np.asarray(self._comparisons.oriented(scores) >= self._level)


def best_of(
    chunks: Iterable[Chunk], queries: int, count: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the `count` best scores ``[queries, count]`` of every row, and their columns; ties by column."""
    best = NOTHING
    for chunk in chunks:
        few = _best_rows(_without_losers(chunk, count), count)
        best = _best_rows(_joined([best, few]), count)
    scores = np.full((queries, count), -np.inf, np.float32)
    ids = np.full((queries, count), -1, np.int64)
    ranks = np.arange(len(best.rows)) - np.searchsorted(best.rows, best.rows)
    scores[best.rows, ranks], ids[best.rows, ranks] = best.scores, best.columns
    return scores, ids


def _joined(chunks: Sequence[Chunk]) -> Chunk:
    return Chunk(
        np.concatenate([chunk.rows for chunk in chunks]),
        np.concatenate([chunk.columns for chunk in chunks]),
        np.concatenate([chunk.scores for chunk in chunks]),
    )


def _without_losers(chunk: Chunk, count: int) -> Chunk:
    """Return a chunk of whole rows of equal length without what cannot be among the best of its row."""
    starts = np.flatnonzero(np.diff(chunk.rows, prepend=-1))
    lengths = np.diff(starts, append=len(chunk.rows))
    if not len(lengths) or lengths.min() != lengths.max() or lengths[0] <= 2 * count:
        return chunk
    block = chunk.scores.reshape(len(lengths), -1)
    least = np.partition(block, block.shape[1] - count, axis=1)[:, block.shape[1] - count]
    keep = (block >= least[:, None]).reshape(-1)
    return Chunk(chunk.rows[keep], chunk.columns[keep], chunk.scores[keep])


def _best_rows(chunk: Chunk, count: int) -> Chunk:
    order = np.lexsort((chunk.columns, -chunk.scores, chunk.rows))
    rows = chunk.rows[order]
    kept = order[np.arange(len(rows)) - np.searchsorted(rows, rows) < count]
    return Chunk(chunk.rows[kept], chunk.columns[kept], chunk.scores[kept])


def _renumbered(
    chunks: Iterable[Chunk], rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> Iterator[Chunk]:
    for chunk in chunks:
        left, right = rows[chunk.rows], columns[chunk.columns]
        keep = (left >= 0) & (right >= 0)
        yield Chunk(left[keep], right[keep], chunk.scores[keep])


def _different(
    chunks: Iterable[Chunk], persons: NDArray[np.int64], others: NDArray[np.int64]
) -> Iterator[Chunk]:
    for chunk in chunks:
        keep = persons[chunk.rows] != others[chunk.columns]
        yield Chunk(chunk.rows[keep], chunk.columns[keep], chunk.scores[keep])


def _both_ways(chunks: Iterable[Chunk]) -> Iterator[Chunk]:
    for rows, columns, scores in chunks:
        yield Chunk(rows, columns, scores)
        yield Chunk(columns, rows, scores)
