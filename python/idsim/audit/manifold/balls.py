"""Precision, recall, density and coverage of one set against another, exactly and without a distance matrix.

Kynkäänniemi, Karras, Laine, Lehtinen and Aila 2019 (precision, recall); Naeem, Oh, Uh, Choi and Yoo 2020 (density,
coverage). A face is inside the ball of another when their distance is less than that one's distance to its k-th
neighbour.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from idsim.audit.rates.grouped import Estimate, grouped_mean, grouped_share
from idsim.tails import count_above, pairs_above

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Overlap", "ball_counts", "expected_coverage", "overlap"]

# Balls of similar radius are asked for together. The largest ones, of a few odd faces, hold far more points:
# they are cut into slices that double, the others into equal parts.
EQUAL_SLICES = 16
SMALLEST_SLICE = 64

SAMPLED_POINTS = 128
LISTED_PAIRS = 4_000_000  # about 100 MB of them at a time


@dataclass(frozen=True)
class Overlap:
    """How a synthetic set covers a real one.

    Intervals are conditional on the set whose balls are meant: that another real set would have other balls is
    not in them.

    Attributes
    ----------
    precision : Estimate
        Share of synthetic faces inside the ball of at least one real face.
    recall : Estimate
        Share of real faces inside the ball of at least one synthetic face.
    density : Estimate
        Mean number of real balls that a synthetic face is in, over k; 1 is expected of equal distributions.
    coverage : Estimate
        Share of real faces with a synthetic face inside their ball.
    expected_coverage : float
        Of equal distributions and these numbers of faces.
    neighbours : int
        k.
    """

    precision: Estimate
    recall: Estimate
    density: Estimate
    coverage: Estimate
    expected_coverage: float
    neighbours: int


def expected_coverage(synthetic: int, real: int, k: int) -> float:
    """Return the coverage expected of two samples of one continuous distribution.

    A real face is missed when its k nearest among all other faces are real:
    ``1 - prod_i=1..k (real - i) / (real + synthetic - i)`` (Naeem et al. 2020, lemma 2, for unequal sizes).
    """
    missed = 1.0
    for i in range(1, k + 1):
        missed *= max(0, real - i) / (real + synthetic - i)
    return 1.0 - missed


def overlap(
    synthetic: NDArray[np.float32],
    real: NDArray[np.float32],
    synthetic_radii: NDArray[np.float32],
    real_radii: NDArray[np.float32],
    k: int,
    *,
    clusters: NDArray[np.int64] | None = None,
    persons: NDArray[np.int64] | None = None,
    confidence: float = 0.95,
) -> Overlap:
    """Return precision, recall, density and coverage.

    All four depend on the numbers of faces. To compare the overlap with a training set and a holdout, take equally
    many of both.

    Parameters
    ----------
    synthetic, real : ndarray
        float32 ``[m, d]`` and ``[n, d]``, of `embedded`.
    synthetic_radii, real_radii : ndarray
        float32 ``[m]`` and ``[n]``: distance of every face to its k-th neighbour in its own set: the last column
        of the distances of `neighbours`.
    k : int
        That k, 5 in both papers.
    clusters, persons : ndarray, optional
        int64 ``[m]`` and ``[n]``: the units of the intervals.
    confidence : float
        Of the intervals.

    Raises
    ------
    ValueError
        Shapes do not fit, a set is empty, or a radius is not finite: there are fewer than k neighbours.
    """
    radii = [
        _checked_radii(synthetic_radii, len(synthetic), "synthetic_radii"),
        _checked_radii(real_radii, len(real), "real_radii"),
    ]
    if k < 1:
        raise ValueError(f"k must be 1 or more, not {k}")
    inside, holds = ball_counts(synthetic, real, radii[1])
    recalled, _ = ball_counts(real, synthetic, radii[0])
    return Overlap(
        precision=grouped_share(inside > 0, clusters, confidence),
        recall=grouped_share(recalled > 0, persons, confidence),
        density=grouped_mean(inside / k, clusters, confidence),
        coverage=grouped_share(holds > 0, persons, confidence),
        expected_coverage=expected_coverage(len(synthetic), len(real), k),
        neighbours=k,
    )


def ball_counts(
    points: NDArray[np.float32], centres: NDArray[np.float32], radii: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count points inside balls that have each a radius of its own.

    Centres are sorted by radius and cut into slices; for each, the engine lists the pairs within the largest
    radius of the slice, and those within their own radius are counted.

    Parameters
    ----------
    points, centres : ndarray
        float32 ``[m, d]`` and ``[n, d]``.
    radii : ndarray
        float32 ``[n]``: a pair counts when its Euclidean distance is less.

    Returns
    -------
    per_point, per_centre : ndarray
        int64 ``[m]`` balls that each point is in, and int64 ``[n]`` points in each ball.
    """
    per_point, per_centre = np.zeros(len(points), np.int64), np.zeros(len(centres), np.int64)
    order = np.argsort(radii, kind="stable")
    for low, high in _slices(len(order)):
        members = order[low:high]
        part, limits = centres[members], radii[members]
        largest = float(limits[-1])
        step = _points_at_a_time(points, part, largest)
        for start in range(0, len(points), step):
            block = points[start : start + step]
            rows, columns, scores = pairs_above(block, part, largest, metric="l2")
            inside = scores < limits[columns]
            per_point[start : start + step] += np.bincount(rows[inside], minlength=len(block))
            per_centre[members] += np.bincount(columns[inside], minlength=len(members))
    return per_point, per_centre


def _slices(count: int) -> list[tuple[int, int]]:
    """Return slices of ascending radii."""
    widest = max(SMALLEST_SLICE, -(-count // EQUAL_SLICES))
    edges, width = [count], SMALLEST_SLICE
    while edges[-1] > 0:
        edges.append(max(0, edges[-1] - width))
        width = min(2 * width, widest)
    return list(zip(edges[:0:-1], edges[-2::-1], strict=True))


def _points_at_a_time(points: NDArray[np.float32], centres: NDArray[np.float32], radius: float) -> int:
    """Return how many points may be asked for together, from how many centres an even sample of them has."""
    rows = np.unique(np.linspace(0, len(points) - 1, SAMPLED_POINTS).astype(np.int64))
    found = float(count_above(points[rows], centres, [radius], metric="l2").mean())
    return max(1, min(len(points), int(LISTED_PAIRS / (found + len(centres) / (4 * SAMPLED_POINTS)))))


def _checked_radii(radii: NDArray[np.float32], rows: int, name: str) -> NDArray[np.float32]:
    given = np.asarray(radii, dtype=np.float32)
    if not rows:
        raise ValueError(f"there are no faces that {name} belong to")
    if given.shape != (rows,):
        raise ValueError(f"{name} must have shape ({rows},), not {given.shape}")
    bad = np.flatnonzero(~np.isfinite(given))
    if len(bad):
        raise ValueError(f"{name} of row {bad[0]} is not finite: there are fewer than k neighbours")
    return given
