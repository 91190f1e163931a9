"""Principal axes and k-means cells of a set of points, in NumPy and in blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

__all__ = ["Partition", "k_means", "principal_axes"]

BLOCK_ROWS = 16_384
RESTARTS = 10
RESTART_ROWS = 50_000
MOST_ROUNDS = 300
TOLERANCE = 1e-6  # of the loss, per round


@dataclass(frozen=True)
class Partition:
    """Cells around centres, in the space of some principal axes.

    Attributes
    ----------
    mean, axes : ndarray
        float64 ``[d]`` and ``[d, c]``: a point is projected as ``(x - mean) @ axes``.
    centres : ndarray
        float64 ``[cells, c]``.
    """

    mean: NDArray[np.float64]
    axes: NDArray[np.float64]
    centres: NDArray[np.float64]

    def project(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return float32 ``[n, c]``."""
        projected = np.empty((len(points), self.axes.shape[1]), np.float32)
        for start in range(0, len(points), BLOCK_ROWS):
            block = points[start : start + BLOCK_ROWS].astype(np.float64)
            projected[start : start + BLOCK_ROWS] = (block - self.mean) @ self.axes
        return projected

    def cells(self, projected: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return int64 ``[n]``: the nearest centre of every projected point, the first of equals."""
        return _round(projected, self.centres)[0]


def principal_axes(
    points: NDArray[np.float32], components: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean float64 ``[d]`` and the axes of largest variance float64 ``[d, components]``.

    From the covariance, summed in blocks. The largest entry of every axis is positive.
    """
    dim = points.shape[1]
    mean = np.zeros(dim)
    for start in range(0, len(points), BLOCK_ROWS):
        mean += points[start : start + BLOCK_ROWS].sum(axis=0, dtype=np.float64)
    mean /= len(points)
    products = np.zeros((dim, dim))
    for start in range(0, len(points), BLOCK_ROWS):
        block = points[start : start + BLOCK_ROWS].astype(np.float64) - mean
        products += block.T @ block
    axes = np.linalg.eigh(products)[1][:, ::-1][:, :components]
    signs = np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    return mean, axes * signs


def k_means(points: NDArray[np.float32], cells: int, rng: Generator) -> NDArray[np.float64]:
    """Return float64 ``[cells, c]``: centres of k-means.

    Ten starts by k-means++ (Arthur and Vassilvitskii 2007) on at most 50,000 random points, each improved by
    Lloyd's rounds there; the best one then goes on over all points. Rounds end when the sum of squared distances
    falls by less than 1e-6 of itself, at the latest after 300. Centres are in lexicographic order.

    Parameters
    ----------
    points : ndarray
        float32 ``[n, c]``.
    cells : int
        How many, from 1 to n.
    rng : numpy.random.Generator
        Source of the starts.

    Raises
    ------
    ValueError
        More cells than points, or fewer than one.
    """
    if not 1 <= cells <= len(points):
        raise ValueError(f"cells must be from 1 to the number of points, {len(points)}, not {cells}")
    sample = points
    if len(points) > RESTART_ROWS:
        sample = points[np.sort(rng.permutation(len(points))[:RESTART_ROWS])]
    starts = [_lloyd(sample, _plus_plus(sample, cells, rng)) for _ in range(RESTARTS)]
    best = min(starts, key=lambda found: found[1])[0]
    centres = best if sample is points else _lloyd(points, best)[0]
    return np.asarray(centres[np.lexsort(centres.T[::-1])])


def _plus_plus(points: NDArray[np.float32], cells: int, rng: Generator) -> NDArray[np.float64]:
    chosen = [int(rng.integers(len(points)))]
    nearest = np.full(len(points), np.inf)
    while len(chosen) < cells:
        centre = points[chosen[-1]].astype(np.float64)
        nearest = np.minimum(nearest, ((points - centre) ** 2).sum(axis=1))
        total = np.cumsum(nearest)
        if total[-1] <= 0:  # fewer different points than cells
            chosen.append(int(rng.integers(len(points))))
            continue
        place = int(np.searchsorted(total, rng.random() * total[-1], side="right"))
        chosen.append(min(place, len(points) - 1))
    return points[chosen].astype(np.float64)


def _lloyd(points: NDArray[np.float32], centres: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Return the centres after Lloyd's rounds, and the sum of squared distances to them."""
    before = np.inf
    for _ in range(MOST_ROUNDS):
        _, sums, counts, loss = _round(points, centres)
        if before - loss <= TOLERANCE * loss:
            break
        before = loss
        centres = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centres)
    return centres, loss


def _round(
    points: NDArray[np.float32], centres: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], float]:
    """Return the cell of every point, sums and numbers of the points of every cell, and the loss."""
    cells, loss = np.empty(len(points), np.int64), 0.0
    sums, counts = np.zeros(centres.shape), np.zeros(len(centres))
    for start in range(0, len(points), BLOCK_ROWS):
        wide = points[start : start + BLOCK_ROWS].astype(np.float64)
        # Squared distances less the square of the point, which all centres share.
        squared = (centres**2).sum(axis=1) - 2.0 * np.einsum("nc,kc->nk", wide, centres)
        place = squared.argmin(axis=1)
        cells[start : start + BLOCK_ROWS] = place
        indicator = (place[:, None] == np.arange(len(centres))).astype(np.float64)
        sums += np.einsum("nk,nc->kc", indicator, wide)
        counts += indicator.sum(axis=0)
        loss += float((wide**2).sum() + squared.min(axis=1).sum())
    return cells, sums, counts, max(0.0, loss)
