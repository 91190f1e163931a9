"""What the analyses of one synthetic set work with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.audit.faces import encode_labels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from idsim.audit.configuration.config import ScanConfig
    from idsim.audit.evaluation import Baseline, PointResult, Sets
    from idsim.audit.faces import FaceSet
    from idsim.audit.pairs.compared import Compared
    from idsim.audit.pairs.comparing import Comparisons
    from idsim.results import Pairs

__all__ = ["Context", "refused"]

# Draws of permutation tests over all persons: about a minute of them.
MOST_SHUFFLED = 1_000_000_000
FEWEST_PERMUTATIONS = 99

# More comparisons for one analysis must be asked for: about a minute of them on two cores.
MOST_PAIRS = 10_000_000_000


def refused(sentence: str) -> dict[str, Any]:
    """Return the entry of an analysis that cannot be made."""
    return {"refused": sentence}


@dataclass(frozen=True)
class Context:
    """One synthetic set beside the real ones.

    Attributes
    ----------
    config : ScanConfig
        The scan with one matcher.
    baseline : Baseline
        What the real sets say.
    sets : Sets
        The sets.
    points : list of PointResult
        The operating points, the primary one first.
    """

    config: ScanConfig
    baseline: Baseline
    sets: Sets
    points: list[PointResult]
    _known: dict[tuple[str, str], Compared | None] = field(default_factory=dict, init=False, repr=False)

    @property
    def comparisons(self) -> Comparisons:
        """Scores between the sets."""
        return self.baseline.comparisons

    @property
    def metric(self) -> str:
        """``l2``: lower is better; anything else: higher is better."""
        return self.comparisons.metric

    @property
    def confidence(self) -> float:
        """Of the intervals."""
        return self.config.statistics.confidence

    @property
    def threshold(self) -> float | None:
        """Of the primary operating point."""
        return self.points[0].point.threshold

    @property
    def has_vectors(self) -> bool:
        """Whether the sets have embeddings."""
        return all(faces.vectors.shape[1] > 0 for faces in self.sets.faces.values())

    @property
    def _pairs(self) -> int:
        """Pairs that an analysis compares which searches every set in itself and in the others."""
        return sum(len(faces.rows) for faces in self.sets.faces.values()) ** 2

    @property
    def small(self) -> bool:
        """Whether the sets may be searched in each other once more without being asked."""
        return self._pairs <= MOST_PAIRS

    def affordable(self, analysis: str) -> bool:
        """Whether an analysis that needs many more comparisons is to be made."""
        wanted = getattr(self.config.analysis, analysis)
        return bool(wanted == "yes" or (wanted == "auto" and self.small))

    def too_much(self, analysis: str) -> str:
        """Return why an analysis is left out."""
        if getattr(self.config.analysis, analysis) == "no":
            return f"[analysis] {analysis} is 'no'"
        return (
            f"it would compare {self._pairs:.2g} more pairs: it is made up to {MOST_PAIRS:.2g}, or where [analysis] "
            f"{analysis} is 'yes'"
        )

    def rng(self, stage: int) -> np.random.Generator:
        """Return the source of chance of one analysis."""
        return np.random.default_rng([self.config.run.seed, 100 + stage])

    def faces(self, name: str) -> FaceSet | None:
        """Return a set; None where there is no such set."""
        return self.baseline.probes if name == "probes" else self.sets.faces[name]

    def compared(self, rows: str, columns: str) -> Compared | None:
        """Return the comparison of two sets; None where it was not made."""
        if (rows, columns) not in self._known:
            first, second = self.faces(rows), self.faces(columns)
            found = None
            if first is not None and second is not None:
                found = self.comparisons.compared(first, second)
            self._known[rows, columns] = found
        return self._known[rows, columns]

    def reaching(self, rows: str, columns: str, threshold: float) -> Pairs | None:
        """Return the pairs of two sets that reach a threshold; None where not all of them are known."""
        found = self.compared(rows, columns)
        return found.reaching(threshold) if found is not None and found.holds(threshold) else None

    def persons(self, name: str) -> NDArray[np.int64]:
        """Return the person (synthetic: cluster) of every embedding of a set, as codes."""
        faces = self.faces(name)
        assert faces is not None, "asked of sets that there are"
        return faces.codes()[0]

    def item_clusters(self) -> NDArray[np.int64]:
        """Return the cluster of every synthetic item, also of those without a face."""
        return encode_labels(self.sets.synthetic.labels)[0]

    def item_weights(self) -> NDArray[np.float64]:
        """Return 1 / size of its cluster for every synthetic item."""
        clusters = self.item_clusters()
        return 1.0 / np.bincount(clusters)[clusters]

    def permutations(self, units: int) -> int:
        """Return how many exchanges are made where each shuffles so many persons."""
        most = max(FEWEST_PERMUTATIONS, MOST_SHUFFLED // max(1, units))
        return min(self.config.statistics.permutations, most)
