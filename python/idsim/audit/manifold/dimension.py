"""The intrinsic dimension of a set of faces, from the distances to nearest neighbours."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from idsim.audit.manifold.distances import Neighbours
from idsim.audit.rates.grouped import Estimate, group_codes, grouped_variance, student_quantile
from idsim.audit.rates.intervals import Interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Dimension", "levina_bickel", "two_nn"]

FEWEST_ROWS = 30


@dataclass(frozen=True)
class Dimension:
    """An intrinsic dimension at the scale of the k-th neighbour.

    Attributes
    ----------
    dimension : Estimate
        The estimate. Its interval covers the sampling of faces, not the bias of the method.
    neighbours : int
        k.
    scale : float
        Median distance to the k-th neighbour.
    left_out : int
        Rows without k neighbours, or with a neighbour at distance 0 (copies say nothing of a dimension).
    """

    dimension: Estimate
    neighbours: int
    scale: float | None
    left_out: int


def two_nn(
    near: Neighbours, *, persons: NDArray[np.int64] | None = None, confidence: float = 0.95
) -> Dimension:
    """Return the dimension from the ratio of the distances to the second and first neighbour.

    The ratio is Pareto distributed with the dimension for an exponent, whatever the density, as long as that is
    constant up to the second neighbour (Facco, d'Errico, Rodriguez and Laio 2017). The estimate is the unbiased
    maximum likelihood one, ``(n - 1) / sum log(r2 / r1)`` (Denti, Doimo, Laio and Mira 2022).

    Parameters
    ----------
    near : Neighbours
        Two or more per face; those beyond the second are not used.
    persons, confidence
        As in `levina_bickel`.
    """
    pair = Neighbours(near.rows, near.distances[:, :2], near.ids[:, :2])
    return levina_bickel(pair, persons=persons, confidence=confidence)


def levina_bickel(
    near: Neighbours, *, persons: NDArray[np.int64] | None = None, confidence: float = 0.95
) -> Dimension:
    """Return the maximum likelihood dimension from the distances to k neighbours.

    ``(n (k - 1) - 1) / sum_i sum_j<k log(r_ik / r_ij)``: the estimator of Levina and Bickel (2004) with inverse
    local dimensions averaged, as MacKay and Ghahramani (2005) derive it, unbiased for independent rows. It assumes
    that the density is constant inside the ball of the k-th neighbour; in high dimensions it is too low, because
    no affordable number of faces makes that ball small.

    Rows that share neighbours err together. The variance weighs the product of two rows by the share of points
    that both use, or takes persons as units, whichever is larger.

    Parameters
    ----------
    near : Neighbours
        Two or more per face.
    persons : ndarray, optional
        int64 ``[q]``: person or cluster of every face of `near`.
    confidence : float
        Of the interval.

    Raises
    ------
    ValueError
        Fewer than 2 neighbours per face, or distances that descend.
    """
    rows = np.asarray(near.distances, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] < 2:
        raise ValueError(f"there must be at least 2 neighbours per face, not distances of shape {rows.shape}")
    codes = group_codes(persons, len(rows), "persons")
    k = rows.shape[1]
    used = np.isfinite(rows).all(axis=1) & (rows[:, 0] > 0)
    kept = rows[used]
    if (np.diff(kept, axis=1) < 0).any():
        raise ValueError("distances must ascend from column to column")
    left_out = len(rows) - len(kept)
    scale = float(np.median(kept[:, -1])) if len(kept) else None
    logs = (np.log(kept[:, -1:]) - np.log(kept[:, :-1])).sum(axis=1)
    total = float(logs.sum())
    if len(kept) < FEWEST_ROWS or total <= 0:
        reason = (
            f"fewer than {FEWEST_ROWS} faces with {k} neighbours at a distance: {len(kept)}"
            if len(kept) < FEWEST_ROWS
            else "all neighbours are equally far"
        )
        return Dimension(Estimate(None, None, len(kept), 0, reason), k, scale, left_out)
    value = (len(kept) * (k - 1) - 1) / total
    variance, groups = grouped_variance(logs, codes[used])
    variance = max(variance, _shared_variance(logs, near.rows[used], near.ids[used]))
    interval = None
    if math.isfinite(variance):
        relative = student_quantile(confidence, groups - 1) * math.sqrt(variance) * len(kept) / total
        low, high = value * math.exp(-relative), value * math.exp(relative)
        interval = Interval(low, high, "delta method on the logarithm, with shared neighbours and persons")
    return Dimension(Estimate(value, interval, len(kept), groups), k, scale, left_out)


def _shared_variance(logs: NDArray[np.float64], rows: NDArray[np.int64], ids: NDArray[np.int64]) -> float:
    """Return the variance of the mean of `logs`: ``sum_ij w_ij e_i e_j / n^2``, w the share of points in common."""
    residuals = logs - logs.mean()
    k = ids.shape[1]
    used = np.concatenate([ids.ravel(), rows])
    sums = np.bincount(used, weights=np.concatenate([np.repeat(residuals, k), residuals]))
    return float((sums**2).sum() / (k + 1) / len(logs) ** 2)
