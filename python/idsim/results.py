"""What the engine returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Certificate", "Comparison", "Pairs", "ScoreDistribution", "TopK"]


@dataclass(frozen=True)
class Certificate:
    """Why a search result is exact.

    The results do not depend on how the work was cut; the counts of candidates and rescored pairs do.

    Attributes
    ----------
    pairs : int
        Query-row pairs decided.
    candidates : int
        Pairs whose upper bound reached the threshold of their query at the time.
    rescored : int
        Pairs decided by the canonical float64 score. All others were rejected by their bound.
    skipped_rows : int
        Gallery rows left out because they hold NaN or Inf (``nonfinite="skip"``).
    reach : ndarray
        float32 [q]: the final threshold of each query, its k-th best score. The bound of every pair that was
        rejected lies on the worse side of it (or of ``threshold`` where fewer than k rows were found).
    """

    pairs: int
    candidates: int
    rescored: int
    skipped_rows: int
    reach: NDArray[np.float32]


class _TopKFields(NamedTuple):
    scores: Any
    ids: Any


class TopK(_TopKFields):
    """Scores and ids of the best gallery rows of every query; unpacks as ``scores, ids``.

    Attributes
    ----------
    scores : array
        float32 [q, k], best first; -inf (l2: +inf) where there are fewer than k rows.
    ids : array
        int64 [q, k] gallery rows; equal scores stand in ascending order of id; -1 where there is no row.
    certificate : Certificate or None
        Given where it was asked for.
    """

    certificate: Certificate | None = None


class Pairs(NamedTuple):
    """Pairs of rows whose score reaches a threshold, ordered by row, then column.

    Attributes
    ----------
    rows : ndarray
        int64 [p] rows of the first array.
    columns : ndarray
        int64 [p] rows of the second array.
    scores : ndarray
        float32 [p] canonical scores.
    """

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    scores: NDArray[np.float32]


class Comparison(NamedTuple):
    """The best rows of every query, and all pairs that reach a threshold.

    Attributes
    ----------
    scores : array
        float32 [q, k], best first; -inf (l2: +inf) where there are fewer than k rows.
    ids : array
        int64 [q, k] gallery rows; equal scores stand in ascending order of id; -1 where there is no row.
    pairs : Pairs
        The pairs.
    """

    scores: Any
    ids: Any
    pairs: Pairs


@dataclass(frozen=True)
class ScoreDistribution:
    """Histogram of the cosine of all pairs.

    Bins at and above ``tail`` hold canonical scores and are exact. A pair below was binned by an estimate
    that is within ``max_error`` of its score; `bracket` turns that into certain limits.

    Attributes
    ----------
    edges : ndarray
        float64 [bins + 1], equal steps on [-1, 1]. A bin holds its lower edge; the last holds 1 too.
    counts : ndarray
        uint64 [bins], all pairs.
    mated, non_mated : ndarray or None
        uint64 [bins] each: pairs of equal and of different labels, where labels were given.
    tail : float
        From here on the counts are exact; +inf where no tail was asked for.
    max_error : float
        Largest distance between an estimate and its canonical score.
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.uint64]
    mated: NDArray[np.uint64] | None
    non_mated: NDArray[np.uint64] | None
    tail: float
    max_error: float

    @property
    def total(self) -> int:
        """Number of pairs."""
        return int(self.counts.sum())

    def bracket(self, threshold: float, *, which: str = "all") -> tuple[int, int]:
        """Return certain limits on the number of pairs with score >= threshold.

        Parameters
        ----------
        threshold : float
            A score.
        which : {"all", "mated", "non_mated"}
            Which pairs.

        Returns
        -------
        low, high : int
            Equal where the threshold is a bin edge at or above ``tail``.

        Raises
        ------
        ValueError
            ``which`` needs labels that were not given, or the threshold is NaN.
        """
        if np.isnan(threshold):
            msg = "threshold must not be NaN"
            raise ValueError(msg)
        counts = {"all": self.counts, "mated": self.mated, "non_mated": self.non_mated}.get(which)
        if counts is None:
            msg = f"which={which!r} needs a distribution with groups"
            raise ValueError(msg)
        # Every pair whose score may reach the tail was binned by its score; an estimate that lies in a bin
        # at or above the tail therefore never does.
        slack = 0.0 if threshold >= self.tail else self.max_error
        first_surely = int(np.searchsorted(self.edges[:-1], threshold + slack, side="left"))
        first_maybe = int(np.searchsorted(self.edges[:-1], threshold - slack, side="right")) - 1
        low = int(counts[first_surely:].sum())
        high = int(counts[max(first_maybe, 0) :].sum())
        return low, high
