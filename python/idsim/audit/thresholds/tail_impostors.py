"""The tail of a set compared with itself as impostor comparisons, and by pairs of persons."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from idsim.audit.pairs.compared import better_is_higher, reaches
from idsim.audit.pairs.tails import UnsupportedError
from idsim.results import Pairs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from idsim.audit.pairs.compared import Compared

__all__ = ["PersonPairs", "TailImpostors", "pairs_at", "person_pairs"]


class PersonPairs(NamedTuple):
    """Pairs of persons with pairs of images in a tail, ordered by first, then second person.

    Attributes
    ----------
    first, second : ndarray
        int64 ``[c]``: codes of the persons, first < second.
    best : ndarray
        float64 ``[c]``: the best score of their images, higher is better (`better_is_higher`).
    hits : ndarray
        int64 ``[c]``: how many pairs of their images are in the tail.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    best: NDArray[np.float64]
    hits: NDArray[np.int64]

    def at(self, place: NDArray[np.generic]) -> PersonPairs:
        """Return the pairs of persons at places, or where a mask is true."""
        return PersonPairs(self.first[place], self.second[place], self.best[place], self.hits[place])

    def reaching(self, score: float) -> PersonPairs:
        """Return the pairs of persons whose best score, higher being better, is at least a score."""
        return self.at(self.best >= score)


def pairs_at(pairs: Pairs, place: NDArray[np.generic]) -> Pairs:
    """Return the pairs of images at places, or where a mask is true."""
    return Pairs(pairs.rows[place], pairs.columns[place], pairs.scores[place])


def person_pairs(tail: Pairs, persons: NDArray[np.int64], metric: str) -> PersonPairs:
    """Return the pairs of persons in a tail.

    Parameters
    ----------
    tail : Pairs
        Pairs of images of different persons.
    persons : ndarray
        int64 ``[n]``: person of every image, codes 0 .. k-1.
    metric : str
        ``l2``: lower is better.
    """
    if not len(tail.rows):
        none = np.empty(0, np.int64)
        return PersonPairs(none, none, np.empty(0), none)
    one, other = persons[tail.rows], persons[tail.columns]
    count = int(persons.max()) + 1
    keys = np.minimum(one, other) * count + np.maximum(one, other)
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    starts = np.flatnonzero(np.diff(keys, prepend=-1))
    best = np.maximum.reduceat(better_is_higher(tail.scores, metric)[order], starts)
    hits = np.diff(starts, append=len(keys))
    return PersonPairs(keys[starts] // count, keys[starts] % count, best, hits)


class TailImpostors:
    """Impostor comparisons of which the tail is known: what `Calibrator` needs, without the embeddings.

    Parameters
    ----------
    compared : Compared
        A set against itself: no pair of one person, each unordered pair once.
    persons : ndarray
        int64 ``[n]``: person of every face.
    keep : ndarray, optional
        bool ``[n]``: which faces take part; their numbers are those among the faces that do.
    """

    separate = False

    def __init__(
        self, compared: Compared, persons: NDArray[np.int64], keep: NDArray[np.bool_] | None = None
    ) -> None:
        self.metric, self.level, self._compared = compared.metric, compared.level, compared
        self._keep = np.ones(len(persons), np.bool_) if keep is None else keep
        self.persons = self.searched = persons[self._keep]
        self.listed = compared.tail
        if keep is not None:
            number = np.cumsum(keep) - 1
            both = keep[compared.tail.rows] & keep[compared.tail.columns]
            kept = pairs_at(compared.tail, both)
            self.listed = Pairs(number[kept.rows], number[kept.columns], kept.scores)

    def best(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return score and number of the best match of every face; number -1 where it does not reach the tail.

        A face whose best matches all take no part may still have one in the tail, where every pair is listed.
        """
        worst = np.float32(np.inf if self.metric == "l2" else -np.inf)
        ids = self._compared.ids[self._keep]
        scores = self._compared.scores[self._keep]
        there = (ids >= 0) & self._keep[np.maximum(ids, 0)]
        place = there.argmax(axis=1)[:, None]
        found = there.any(axis=1)
        best = np.where(found, np.take_along_axis(scores, place, 1)[:, 0], worst)
        number = np.cumsum(self._keep) - 1
        match = np.where(found, number[np.take_along_axis(ids, place, 1)[:, 0]], -1)
        self._fill_from_tail(np.flatnonzero(~found), best, match)
        return best, match

    def _fill_from_tail(
        self, missing: NDArray[np.int64], best: NDArray[np.float32], match: NDArray[np.int64]
    ) -> None:
        if not len(missing):
            return
        wanted = np.zeros(len(best), np.bool_)
        wanted[missing] = True
        rows, columns, scores = self.listed
        ahead, back = wanted[rows], wanted[columns]
        face = np.concatenate([rows[ahead], columns[back]])
        other = np.concatenate([columns[ahead], rows[back]])
        score = np.concatenate([scores[ahead], scores[back]])
        order = np.lexsort((other, -better_is_higher(score, self.metric), face))
        first = order[np.flatnonzero(np.diff(face[order], prepend=-1))]
        best[face[first]], match[face[first]] = score[first], other[first]

    def pairs(self, threshold: float) -> Pairs:
        """Return the pairs that reach a threshold.

        Raises
        ------
        UnsupportedError
            Pairs that reach it may not be listed.
        """
        looser = threshold > self.level if self.metric == "l2" else threshold < self.level
        if looser:
            raise UnsupportedError(
                f"pairs are listed from {self.level:g} on, and a threshold of {threshold:g} is looser"
            )
        return pairs_at(self.listed, reaches(self.listed.scores, threshold, self.metric))

    def tail(self, count: int) -> NDArray[np.float32]:
        """Return all scores of the tail, at least `count`, best first.

        Raises
        ------
        UnsupportedError
            Fewer are listed.
        """
        if len(self.listed.scores) < count:
            raise UnsupportedError(
                f"{len(self.listed.scores)} pairs are listed, from {self.level:g} on, and the {count}th best is "
                "needed"
            )
        ascending = np.sort(self.listed.scores)
        return ascending if self.metric == "l2" else ascending[::-1].copy()

    def known(self, scores: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return for every score whether all comparisons that are as good are known."""
        return reaches(scores, self.level, self.metric)
