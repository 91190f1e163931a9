"""What is kept of comparing two sets, of any size: best matches of every face, and the pairs of the tail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.results import Pairs

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Compared", "better_is_higher", "reaches"]


def better_is_higher(scores: Any, metric: str) -> NDArray[np.float64]:
    """Return scores as float64 with higher ones better: distances (``l2``) change their sign."""
    wide = np.asarray(scores, dtype=np.float64)
    return -wide if metric == "l2" else wide


def reaches(scores: Any, threshold: float, metric: str) -> NDArray[np.bool_]:
    """Return whether each score is at least the threshold; of distances (``l2``) whether it is at most it."""
    wide = np.asarray(scores, dtype=np.float64)
    return np.asarray(wide <= threshold if metric == "l2" else wide >= threshold)


@dataclass(frozen=True)
class Compared:
    """The comparison of all faces of one set, the rows, with all of another, the columns.

    A set compared with itself has no pair of one person in it: neither among the best matches nor in the tail,
    where each unordered pair is listed once, row < column. Its best matches are those of the tail: where fewer than
    k pairs of a face are listed, the others are not known.

    Attributes
    ----------
    metric : str
        ``l2``: lower is better; anything else: higher is better.
    scores, ids : ndarray
        float32 and int64 ``[rows, k]``: best matches of every row, best first; id -1 and the worst score beyond
        the last.
    level : float
        Every pair that reaches it is in `tail`.
    tail : Pairs
        The pairs that reach `level`, by row, then column.
    """

    metric: str
    scores: NDArray[np.float32]
    ids: NDArray[np.int64]
    level: float
    tail: Pairs

    def holds(self, threshold: float) -> bool:
        """Whether every pair that reaches a threshold is in the tail."""
        return threshold <= self.level if self.metric == "l2" else threshold >= self.level

    def reaching(self, threshold: float) -> Pairs:
        """Return the pairs of the tail that reach a threshold.

        Raises
        ------
        ValueError
            The threshold is looser than `level`: pairs that reach it may not be listed.
        """
        if not self.holds(threshold):
            raise ValueError(
                f"pairs are listed from {self.level:g} on, and a threshold of {threshold:g} is looser"
            )
        keep = reaches(self.tail.scores, threshold, self.metric)
        rows, columns, scores = self.tail
        return Pairs(rows[keep], columns[keep], scores[keep])
