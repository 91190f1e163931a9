"""Cells of synthetic cluster and person, and how much sums over them vary.

Pairs of images are not independent: those of one cluster share a synthetic identity, those of one person a real
one. A *cell* holds all pairs of one cluster and one person.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from idsim.results import Pairs

__all__ = ["Cells", "effective_number", "find_cells", "reweighting_variance", "two_way_variance"]


class Cells(NamedTuple):
    """The cells that hold a pair, ordered by cluster, then person.

    Attributes
    ----------
    clusters, persons : ndarray
        int64 ``[c]``: codes.
    pairs : ndarray
        int64 ``[c]``: pairs of images in the cell.
    """

    clusters: NDArray[np.int64]
    persons: NDArray[np.int64]
    pairs: NDArray[np.int64]


def find_cells(pairs: Pairs, clusters: NDArray[np.int64], persons: NDArray[np.int64]) -> Cells:
    """Return the cells of pairs of images.

    Parameters
    ----------
    pairs : Pairs
        Rows are synthetic embeddings, columns real ones.
    clusters, persons : ndarray
        int64 ``[rows]`` and ``[columns]``: code of the cluster and of the person of every embedding.
    """
    width = int(persons.max()) + 1 if len(persons) else 1
    keys, counts = np.unique(clusters[pairs.rows] * width + persons[pairs.columns], return_counts=True)
    return Cells(keys // width, keys % width, counts.astype(np.int64))


def reweighting_variance(units: NDArray[np.int64], mass: NDArray[np.float64], total: int) -> float:
    """Return the variance of the sum of masses when `total` units are drawn with replacement.

    ``sum_u m_u^2 - (sum_u m_u)^2 / total`` with m_u the mass of unit u: what a bootstrap of the units gives in
    the limit of many replicates. Units without mass need no entry.
    """
    sums = np.bincount(units, weights=mass) if len(units) else np.zeros(1)
    return max(0.0, float((sums**2).sum() - sums.sum() ** 2 / max(1, total)))


def two_way_variance(first: float, second: float, cells: float) -> float:
    """Return the variance of a sum whose terms share units of two kinds.

    ``V_first + V_second - V_cells``, not less than either (Cameron, Gelbach and Miller 2011): what both kinds
    explain is counted once.
    """
    return max(first + second - cells, first, second)


def effective_number(rate: float, variance: float, most: float) -> float:
    """Return how many independent trials give a rate that variance, at most `most`."""
    plain = rate * (1 - rate)
    return min(most, plain / variance) if variance > 0 and plain > 0 else most
