"""The audit's questions answered from stored comparisons; what they do not hold is computed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.audit.pairs.compared import Compared, reaches
from idsim.audit.pairs.comparing import VectorComparisons
from idsim.results import Pairs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from idsim.audit.faces import FaceSet
    from idsim.audit.pairs.comparing import Comparisons, Impostors
    from idsim.options import Metric

__all__ = ["StoredComparisons"]

# Where a larger share of the faces has no listed match, each is searched for again: such pairs are few in number.
FEW_KNOWN = 0.5


class StoredComparisons:
    """Comparisons of embeddings that were made before.

    Parameters
    ----------
    metric : {"cosine", "l2"}
        How embeddings are compared.
    load : callable
        Returns the comparison of two sets, by the names of rows and columns, or None; asked once for each.
    engine : Comparisons, optional
        Answers what is not stored; default: the engine, from the embeddings.
    """

    complete = True

    def __init__(
        self,
        metric: Metric,
        load: Callable[[str, str], Compared | None],
        engine: Comparisons | None = None,
    ) -> None:
        self.metric = metric
        self._load, self._engine = load, engine or VectorComparisons(metric)
        self._known: dict[tuple[str, str], Compared | None] = {}

    def stored(self, rows: str, columns: str) -> Compared | None:
        """Return the comparison of two sets, by their names; None where it was not made."""
        if (rows, columns) not in self._known:
            self._known[rows, columns] = self._load(rows, columns)
        return self._known[rows, columns]

    def best(
        self, queries: FaceSet, gallery: FaceSet, count: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return scores and numbers of the best matches."""
        found = self.stored(queries.name, gallery.name)
        wanted = min(count, len(gallery.rows))
        if found is None or queries.name == gallery.name or found.scores.shape[1] < wanted:
            return self._engine.best(queries, gallery, count)
        return found.scores[:, :wanted], found.ids[:, :wanted]

    def compared(self, queries: FaceSet, gallery: FaceSet) -> Compared | None:
        """Return a whole comparison; None where it was not made."""
        return self.stored(queries.name, gallery.name)

    def reaching(self, queries: FaceSet, gallery: FaceSet, threshold: float) -> Pairs | None:
        """Return the pairs that reach a threshold; None where the sets were not compared."""
        found = self.stored(queries.name, gallery.name)
        if found is not None and found.holds(threshold):
            return found.reaching(threshold)
        turned = self.stored(gallery.name, queries.name)
        if turned is not None and turned.holds(threshold):
            return _turned(turned.reaching(threshold))
        if found is None and turned is None:
            return None
        return self._engine.reaching(queries, gallery, threshold)

    def claimed_fmr(self, threshold: float) -> float | None:
        """Return None: a similarity claims no error rate."""
        return self._engine.claimed_fmr(threshold)

    def claimed_threshold(self, fmr: float) -> float | None:
        """Return None: a similarity claims no error rate."""
        return self._engine.claimed_threshold(fmr)

    def mated(self, sets: Sequence[FaceSet]) -> tuple[NDArray[np.float32], int]:
        """Return the scores of up to 100,000 pairs of images of one person, and the persons in them."""
        return self._engine.mated(sets)

    def impostors(
        self, faces: FaceSet, codes: NDArray[np.int64], searched: tuple[FaceSet, NDArray[np.int64]] | None
    ) -> Impostors | None:
        """Return the comparisons of persons of a set."""
        own = self.stored(faces.name, faces.name)
        engine = self._engine.impostors(faces, codes, searched)
        if own is None or engine is None:
            return engine
        best = own if searched is None else self.stored(faces.name, searched[0].name)
        return _StoredImpostors(engine, own, best)

    def further(self, question: tuple[str, ...], compute: Callable[[], NDArray[Any]]) -> NDArray[np.float32]:
        """Return scores that only embeddings tell."""
        return self._engine.further(question, compute)


class _StoredImpostors:
    """Impostor comparisons of a set that was compared with itself; `engine` answers what is not stored."""

    def __init__(self, engine: Impostors, own: Compared, best: Compared | None) -> None:
        self.metric, self.persons = engine.metric, engine.persons
        self.searched, self.separate = engine.searched, engine.separate
        self._engine, self._own, self._best = engine, own, best

    def best(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return score and number of the best match of every face among the searched of other persons."""
        if self._best is None or not self._best.scores.shape[1]:
            return self._engine.best()
        scores, ids = self._best.scores[:, 0], self._best.ids[:, 0]
        return self._engine.best() if (ids < 0).mean() > FEW_KNOWN else (scores, ids)

    def known(self, scores: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return for every score whether all comparisons that are as good are known."""
        return np.isfinite(scores) if self.separate else reaches(scores, self._own.level, self.metric)

    def pairs(self, threshold: float) -> Pairs:
        """Return the unordered pairs of different persons that reach a threshold."""
        return self._own.reaching(threshold) if self._own.holds(threshold) else self._engine.pairs(threshold)

    def tail(self, count: int) -> NDArray[np.float32]:
        """Return at least the `count` best scores of unordered pairs of different persons, best first."""
        scores = self._own.tail.scores
        if len(scores) < count:
            return self._engine.tail(count)
        ascending = np.sort(scores)
        return ascending if self.metric == "l2" else ascending[::-1].copy()


def _turned(pairs: Pairs) -> Pairs:
    order = np.lexsort((pairs.rows, pairs.columns))
    return Pairs(pairs.columns[order], pairs.rows[order], pairs.scores[order])
