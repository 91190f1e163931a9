"""Scores relative to what their row and their column usually score: a second opinion where hubs are suspected.

A hub scores high with everybody. Relative to its own mean and deviation its scores are ordinary, and pairs of two
ordinary faces that are alike stand out. Statistics are exact over all pairs, from sums and second moments: their cost
grows with rows, not with pairs. Thresholds must be calibrated on normalised scores as well.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ScoreStatistics", "complete_above", "cosine_statistics", "mutual_proximity", "s_norm"]

SLICE_ROWS = 1 << 14

# The logarithm of the normal tail is tabled: linear steps of 2^-9 err by at most 5e-7, its curvature being below 1.
STEP = 2.0**-9
LIMIT = 37.0  # erfc is a normal float64 number up to here


class ScoreStatistics(NamedTuple):
    """Mean and standard deviation of the scores of every row against all rows of another set.

    Attributes
    ----------
    means, deviations : ndarray
        float64 ``[n]``.
    """

    means: NDArray[np.float64]
    deviations: NDArray[np.float64]


def cosine_statistics(queries: NDArray[np.float32], gallery: NDArray[np.float32]) -> ScoreStatistics:
    """Return mean and deviation of the cosines of every query with all gallery rows, exactly.

    Parameters
    ----------
    queries, gallery : ndarray
        float32 ``[m, d]`` and ``[n, d]``, of any length; two different sets. A zero row scores 0.

    Raises
    ------
    ValueError
        The gallery is empty.
    """
    if not len(gallery):
        raise ValueError("the statistics of scores need a gallery with at least one row")
    dim = gallery.shape[1]
    total, moment = np.zeros(dim), np.zeros((dim, dim))
    for start in range(0, len(gallery), SLICE_ROWS):
        rows = _unit(gallery[start : start + SLICE_ROWS])
        total += rows.sum(axis=0)
        moment += rows.T @ rows
    means, squares = np.empty(len(queries)), np.empty(len(queries))
    for start in range(0, len(queries), SLICE_ROWS):
        rows = _unit(queries[start : start + SLICE_ROWS])
        part = slice(start, start + len(rows))
        means[part] = rows @ total / len(gallery)
        squares[part] = np.einsum("ij,ij->i", rows @ moment, rows) / len(gallery)
    return ScoreStatistics(means, np.sqrt(np.maximum(squares - means**2, 0.0)))


def s_norm(
    scores: NDArray[np.float32],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    of_rows: ScoreStatistics,
    of_columns: ScoreStatistics,
) -> NDArray[np.float64]:
    """Return the symmetrically normalised scores of pairs: the mean of the two standard scores.

    Kenny 2010, "Bayesian speaker verification with heavy-tailed priors" (s-norm), with all other rows as the cohort.

    Parameters
    ----------
    scores, rows, columns : ndarray
        float32 and int64 ``[p]``: the pairs; similarities, higher is better.
    of_rows, of_columns : ScoreStatistics
        Of the row set against the column set, and the reverse.

    Raises
    ------
    ValueError
        A row or column of a pair scores the same with everybody: it has no standard score.
    """
    left, right = _standard(scores, rows, columns, of_rows, of_columns)
    return (left + right) / 2


def mutual_proximity(
    scores: NDArray[np.float32],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    of_rows: ScoreStatistics,
    of_columns: ScoreStatistics,
) -> NDArray[np.float64]:
    """Return ``-log10(1 - MP)`` of pairs: how rare a score is for its row and for its column together.

    MP is the probability that a random score of the row *and* one of the column are both lower, the two being
    normal and independent (Schnitzer, Flexer, Schedl and Widmer 2012, "Local and global scaling reduce hubs in
    space", section 3.2, Gaussian approximation). It is 1 to many digits in the tail, hence the logarithm.

    Parameters
    ----------
    scores, rows, columns, of_rows, of_columns
        As in `s_norm`.

    Raises
    ------
    ValueError
        As in `s_norm`.
    """
    left, right = (_log_tail(z) for z in _standard(scores, rows, columns, of_rows, of_columns))
    # 1 - (1 - a)(1 - b) = a + b - ab, of logarithms, with the larger one taken out.
    larger, smaller = np.maximum(left, right), np.minimum(left, right)
    beyond = larger + np.log1p(np.exp(smaller - larger) - np.exp(smaller))
    return np.asarray(-beyond / math.log(10), dtype=np.float64)


def complete_above(level: float, of_rows: ScoreStatistics, of_columns: ScoreStatistics) -> float:
    """Return the s-norm above which a tail that lists every pair with a score of at least `level` is complete.

    A pair below the level cannot have a higher normalised score; between this number and the lowest normalised
    score of the tail, pairs may be missing.
    """
    highest = [
        float(
            np.max((level - of.means[of.deviations > 0]) / of.deviations[of.deviations > 0], initial=-np.inf)
        )
        for of in (of_rows, of_columns)
    ]
    return sum(highest) / 2


def _standard(
    scores: NDArray[np.float32],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    of_rows: ScoreStatistics,
    of_columns: ScoreStatistics,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    wide = scores.astype(np.float64)
    parts = []
    for name, index, of in (("row", rows, of_rows), ("column", columns, of_columns)):
        spread = of.deviations[index]
        if not (spread > 0).all():
            raise ValueError(f"{name} {int(index[np.argmin(spread > 0)])} scores the same with everybody")
        parts.append((wide - of.means[index]) / spread)
    return parts[0], parts[1]


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = rows.astype(np.float64)
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    return np.asarray(np.divide(wide, norms, out=np.zeros_like(wide), where=norms > 0), dtype=np.float64)


@cache
def _tail_table() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    places = np.arange(-LIMIT, LIMIT + STEP / 2, STEP)
    return places, np.array([math.log(0.5 * math.erfc(z / math.sqrt(2))) for z in places.tolist()])


def _log_tail(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the logarithm of the probability that a standard normal number exceeds `z`."""
    near = np.interp(z, *_tail_table())
    far = np.maximum(z, LIMIT)
    # The asymptotic series of Mills' ratio; its next term is 15 / z^6.
    series = np.log1p(-1 / far**2 + 3 / far**4)
    distant = -(far**2) / 2 - np.log(far * math.sqrt(2 * math.pi)) + series
    return np.where(z > LIMIT, distant, near)
