"""Comparisons between the faces of sets: by their embeddings, or whatever else gives scores.

The audit asks the same few questions of embeddings and of scores that a matcher gave: the best matches, the pairs
that reach a threshold, the pairs of one person.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from idsim import reference
from idsim.audit.pairs.tails import reaching_pairs
from idsim.tails import count_above
from idsim.topk import search

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from idsim.audit.faces import FaceSet
    from idsim.audit.pairs.compared import Compared
    from idsim.options import Metric
    from idsim.results import Pairs

__all__ = ["Comparisons", "Impostors", "VectorComparisons", "VectorImpostors", "mated_pairs"]

# Up to this many ordered pairs the impostor scores are simply all listed.
ALL_PAIRS = 1 << 20
SAMPLED_ROWS = 256

# Pairs of images of one person are scored in NumPy: enough for a miss rate, and no more.
MAX_MATED_PAIRS = 100_000


class Impostors(Protocol):
    """Comparisons of faces of different persons inside a set.

    Attributes
    ----------
    metric : str
        ``l2``: lower is better; anything else: higher is better.
    persons : ndarray
        int64 ``[n]``: code of the person of every face.
    searched : ndarray
        int64 ``[m]``: person of every face that the non-mated searches go through.
    separate : bool
        Whether they go through another set than the faces' own.
    """

    @property
    def metric(self) -> str:
        """How scores are compared."""

    @property
    def persons(self) -> NDArray[np.int64]:
        """Persons of the faces."""

    @property
    def searched(self) -> NDArray[np.int64]:
        """Persons of the faces that are searched."""

    @property
    def separate(self) -> bool:
        """Whether another set is searched."""

    def best(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return score and number of the best match of every face among the searched of other persons."""

    def pairs(self, threshold: float) -> Pairs:
        """Return the unordered pairs of different persons that reach a threshold."""

    def tail(self, count: int) -> NDArray[np.float32]:
        """Return at least the `count` best scores of unordered pairs of different persons, best first."""

    def known(self, scores: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return for every score whether all comparisons that are as good are known."""


class Comparisons(Protocol):
    """Comparisons between the sets of a scan.

    Attributes
    ----------
    metric : str
        ``l2``: lower is better; anything else: higher is better.
    complete : bool
        Whether every pair has a score.
    """

    @property
    def metric(self) -> str:
        """How scores are compared."""

    @property
    def complete(self) -> bool:
        """Whether every pair has a score."""

    def best(
        self, queries: FaceSet, gallery: FaceSet, count: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return scores and numbers ``[q, count]`` of the best matches; number -1 where there is none."""

    def reaching(self, queries: FaceSet, gallery: FaceSet, threshold: float) -> Pairs | None:
        """Return the pairs that reach a threshold; None where the sets were not compared."""

    def compared(self, queries: FaceSet, gallery: FaceSet) -> Compared | None:
        """Return the whole comparison of two sets; None where it was not made, or is not known."""

    def claimed_fmr(self, threshold: float) -> float | None:
        """Return the false match rate that the scores themselves claim for a threshold; None where they do not."""

    def claimed_threshold(self, fmr: float) -> float | None:
        """Return the threshold for which the scores themselves claim a false match rate."""

    def mated(self, sets: Sequence[FaceSet]) -> tuple[NDArray[np.float32], int]:
        """Return the scores of pairs of images of one person, and the number of persons in them."""

    def impostors(
        self, faces: FaceSet, codes: NDArray[np.int64], searched: tuple[FaceSet, NDArray[np.int64]] | None
    ) -> Impostors | None:
        """Return the comparisons of persons of a set; None where the set was not compared with itself."""

    def further(self, question: tuple[str, ...], compute: Callable[[], NDArray[Any]]) -> NDArray[np.float32]:
        """Return scores that only embeddings tell: computed, or known as the answer to a question."""


def mated_pairs(faces: FaceSet, room: int) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Return up to `room` pairs of embeddings of one person, as two columns, and the persons in them."""
    codes = faces.codes()[0]
    order = np.argsort(codes, kind="stable")
    left, right = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    persons = 0
    for members in np.split(order, np.flatnonzero(np.diff(codes[order])) + 1):
        if len(members) < 2 or room <= 0:
            continue
        first, second = np.triu_indices(len(members), 1)
        left.append(members[first[:room]])
        right.append(members[second[:room]])
        room -= len(left[-1])
        persons += 1
    return np.concatenate(left), np.concatenate(right), persons


class VectorImpostors:
    """Impostor comparisons of embeddings, by the engine.

    Parameters
    ----------
    vectors : ndarray
        float32 ``[n, d]``.
    persons : ndarray
        int64 ``[n]``: person of each.
    metric : {"cosine", "l2"}
        How scores are compared.
    searched : tuple of ndarray, optional
        Vectors and persons that non-mated searches go through; default: the set itself, without the searched
        person. Codes are shared with `persons`.
    """

    def __init__(
        self,
        vectors: NDArray[np.float32],
        persons: NDArray[np.int64],
        metric: Metric,
        searched: tuple[NDArray[np.float32], NDArray[np.int64]] | None = None,
    ) -> None:
        self.vectors, self.persons, self.metric = vectors, persons, metric
        self.gallery, self.searched = searched or (vectors, persons)
        self.separate = searched is not None

    def best(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return score and number of the best match of every face among the searched of other persons."""
        exclude = (self.persons, self.searched)
        scores, ids = search(self.vectors, self.gallery, 1, metric=self.metric, exclude=exclude)
        return np.asarray(scores)[:, 0], np.asarray(ids)[:, 0]

    def pairs(self, threshold: float) -> Pairs:
        """Return the unordered pairs of different persons that reach a threshold."""
        return reaching_pairs(self.vectors, None, threshold, self.metric, (self.persons, self.persons))

    def tail(self, count: int) -> NDArray[np.float32]:
        """Return at least the `count` best scores of unordered pairs of different persons, best first."""
        worst = np.inf if self.metric == "l2" else -2.0
        limit = worst if len(self.vectors) ** 2 <= ALL_PAIRS else self._loose_limit(count)
        scores = self.pairs(limit).scores
        if len(scores) < count:
            scores = self.pairs(worst).scores
        ascending = np.sort(scores)
        return ascending if self.metric == "l2" else ascending[::-1].copy()

    def known(self, scores: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return True for every score."""
        return np.ones(scores.shape, np.bool_)

    def _loose_limit(self, count: int) -> float:
        """Return a threshold that at least `count` comparisons reach, and not many more.

        A sample of rows gives candidates, one exact counting pass over all pairs picks among them.
        """
        rows = np.random.default_rng(0).permutation(len(self.vectors))[:SAMPLED_ROWS]
        wanted = min(len(self.vectors), 1 + 64 * count // len(self.vectors) + 16)
        sample, _ = search(
            self.vectors[rows],
            self.vectors,
            wanted,
            metric=self.metric,
            exclude=(self.persons[rows], self.persons),
        )
        values = np.unique(np.asarray(sample)[np.isfinite(sample)])
        candidates = np.unique(np.quantile(values, np.linspace(0.0, 1.0, 33), method="nearest"))
        reached = count_above(
            self.vectors,
            self.vectors,
            candidates.astype(np.float64),
            metric=self.metric,
            exclude=(self.persons, self.persons),
        ).sum(axis=0)
        enough = candidates[np.asarray(reached) >= 2 * count]
        if not len(enough):
            return np.inf if self.metric == "l2" else -2.0
        return float(enough.min() if self.metric == "l2" else enough.max())


class VectorComparisons:
    """Comparisons of embeddings, by the engine.

    Parameters
    ----------
    metric : {"cosine", "l2"}
        How embeddings are compared.
    """

    complete = True

    def __init__(self, metric: Metric) -> None:
        self.metric = metric

    def best(
        self, queries: FaceSet, gallery: FaceSet, count: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return scores and numbers of the best matches."""
        found = search(queries.vectors, gallery.vectors, min(count, len(gallery.rows)), metric=self.metric)
        return np.asarray(found.scores), np.asarray(found.ids)

    def reaching(self, queries: FaceSet, gallery: FaceSet, threshold: float) -> Pairs | None:
        """Return the pairs that reach a threshold."""
        return reaching_pairs(queries.vectors, gallery.vectors, threshold, self.metric)

    def compared(self, queries: FaceSet, gallery: FaceSet) -> Compared | None:  # noqa: ARG002 - of others
        """Return None: nothing is stored."""
        return None

    def claimed_fmr(self, threshold: float) -> None:
        """Return None: a similarity claims no error rate."""

    def claimed_threshold(self, fmr: float) -> None:
        """Return None: a similarity claims no error rate."""

    def mated(self, sets: Sequence[FaceSet]) -> tuple[NDArray[np.float32], int]:
        """Return the scores of up to 100,000 pairs of images of one person, and the persons in them."""
        room, total, scores = MAX_MATED_PAIRS, 0, [np.empty(0, np.float32)]
        for faces in sets:
            left, right, persons = mated_pairs(faces, room)
            if len(left):
                scores.append(reference.paired_scores(faces.vectors[left], faces.vectors[right], self.metric))
            room, total = room - len(left), total + persons
        return np.concatenate(scores), total

    def impostors(
        self, faces: FaceSet, codes: NDArray[np.int64], searched: tuple[FaceSet, NDArray[np.int64]] | None
    ) -> VectorImpostors:
        """Return the comparisons of persons of a set."""
        others = None if searched is None else (searched[0].vectors, searched[1])
        return VectorImpostors(faces.vectors, codes, self.metric, others)

    def further(
        self,
        question: tuple[str, ...],  # noqa: ARG002 - of others
        compute: Callable[[], NDArray[Any]],
    ) -> NDArray[np.float32]:
        """Return scores that only embeddings tell."""
        return np.asarray(compute(), np.float32)
