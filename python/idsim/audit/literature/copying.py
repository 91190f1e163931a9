"""The data-copying statistic C_T of Meehan, Chaudhuri and Dasgupta (AISTATS 2020)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from idsim.audit.literature.partition import Partition, k_means, principal_axes
from idsim.audit.rates.grouped import Estimate, group_codes, normal_interval
from idsim.topk import search

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

__all__ = ["CopyingCell", "DataCopying", "copying_cells", "data_copying"]

COMPONENTS = 64
CELLS = 3
LEAST_SYNTHETIC = 20


@dataclass(frozen=True)
class CopyingCell:
    """One cell of the data-copying test.

    Attributes
    ----------
    synthetic, holdout : int
        Faces with a distance to the training set in it.
    z : float or None
        Mann-Whitney Z of the synthetic distances against those of the holdout; well below 0: nearer to training.
        None where the cell is not used.
    farther : float or None
        Chance that a synthetic face is farther from training than a face of the holdout, ties split.
    """

    synthetic: int
    holdout: int
    z: float | None
    farther: float | None


@dataclass(frozen=True)
class DataCopying:
    """The data-copying statistic.

    Attributes
    ----------
    statistic : Estimate
        ``C_T``: the Z of the used cells, weighted by their share of the holdout. Well below 0: copying; well above
        0: synthetic faces farther from training than real ones are. It grows with the root of the numbers of
        faces.
    farther : Estimate
        The same average of `CopyingCell.farther`, which does not grow: 0.5 without copying.
    cells : tuple of CopyingCell
        Used are those with more than 20 synthetic faces and at least one of the holdout.
    """

    statistic: Estimate
    farther: Estimate
    cells: tuple[CopyingCell, ...]


def data_copying(
    synthetic: NDArray[np.float32],
    holdout: NDArray[np.float32],
    *,
    synthetic_cells: NDArray[np.int64] | None = None,
    holdout_cells: NDArray[np.int64] | None = None,
    clusters: NDArray[np.int64] | None = None,
    persons: NDArray[np.int64] | None = None,
    confidence: float = 0.95,
) -> DataCopying:
    """Return ``C_T`` from distances to the training set.

    Parameters
    ----------
    synthetic, holdout : ndarray
        float ``[m]`` and ``[n]``: distance of every face to its nearest one of the training set (cosines: their
        negative). In the paper, nearest inside the same cell: `copying_cells`. Infinite where there is none: such a
        face takes no part.
    synthetic_cells, holdout_cells : ndarray, optional
        int64: cell of every face, from 0. Default: all in one.
    clusters, persons : ndarray, optional
        int64: the independent units of the intervals, which are those of a two-sample rank statistic (DeLong,
        DeLong and Clarke-Pearson 1988; for groups Obuchowski 1997).
    confidence : float
        Of the intervals.

    Raises
    ------
    ValueError
        Shapes do not fit.
    """
    near = [np.asarray(values, dtype=np.float64) for values in (synthetic, holdout)]
    place = [
        _checked_cells(values, cells, name)
        for values, cells, name in zip(
            near, (synthetic_cells, holdout_cells), ("synthetic", "holdout"), strict=True
        )
    ]
    units = [
        group_codes(clusters, len(near[0]), "clusters"),
        group_codes(persons, len(near[1]), "persons"),
    ]
    members = [
        [
            np.flatnonzero((inside == cell) & np.isfinite(values))
            for values, inside in zip(near, place, strict=True)
        ]
        for cell in range(max(int(inside.max(initial=-1)) for inside in place) + 1)
    ]
    used = [len(one) > LEAST_SYNTHETIC and len(other) > 0 for one, other in members]
    weighed = sum(len(other) for (_, other), use in zip(members, used, strict=True) if use)
    cells: list[CopyingCell] = []
    influence = [[np.zeros(len(values)) for values in near] for _ in range(2)]
    totals = [0.0, 0.0]
    for (one, other), use in zip(members, used, strict=True):
        m, n = len(one), len(other)
        if not use:
            cells.append(CopyingCell(m, n, None, None))
            continue
        above = _placements(near[0][one], near[1][other])
        below = 1.0 - _placements(near[1][other], near[0][one])
        share, per_share = float(above.mean()), math.sqrt(12 * n * m / (n + m + 1))
        # (U - (n m / 2 - 1/2)) / sqrt(n m (n + m + 1) / 12), the half being the continuity correction
        z = (share - 0.5) * per_share + 0.5 / math.sqrt(n * m * (n + m + 1) / 12)
        cells.append(CopyingCell(m, n, z, share))
        for which, (value, scale) in enumerate(((z, per_share), (share, 1.0))):
            totals[which] += n / weighed * value
            influence[which][0][one] = n / weighed * scale * (above - share) / m
            influence[which][1][other] = n / weighed * scale * (below - share) / n
    statistic, farther = (
        _estimate(total, parts, units, confidence, any(used))
        for total, parts in zip(totals, influence, strict=True)
    )
    return DataCopying(statistic, farther, tuple(cells))


def _checked_cells(
    values: NDArray[np.float64], cells: NDArray[np.int64] | None, name: str
) -> NDArray[np.int64]:
    place = np.zeros(len(values), np.int64) if cells is None else np.asarray(cells, dtype=np.int64)
    if values.ndim != 1 or values.shape != place.shape:
        raise ValueError(f"{name} distances {values.shape} and cells {place.shape} must have one length")
    if (place < 0).any():
        raise ValueError(f"cells of {name} faces must be numbers from 0")
    return place


def copying_cells(
    synthetic: NDArray[np.float32],
    training: NDArray[np.float32],
    holdout: NDArray[np.float32],
    rng: Generator,
    *,
    components: int = COMPONENTS,
    cells: int = CELLS,
    clusters: NDArray[np.int64] | None = None,
    persons: NDArray[np.int64] | None = None,
    confidence: float = 0.95,
) -> DataCopying:
    """Return ``C_T`` as dgm-eval does it, over all faces: 64 principal axes and 3 k-means cells of training.

    Distances are Euclidean along those axes, to the nearest training face of the same cell.

    Parameters
    ----------
    synthetic, training, holdout : ndarray
        float32 ``[*, d]``: points, as `idsim.audit.manifold.embedded` gives them.
    rng : numpy.random.Generator
        Starts of k-means.
    components, cells : int
        Principal axes (fewer where d is less), and cells.
    clusters, persons, confidence
        As in `data_copying`: clusters of `synthetic`, persons of `holdout`.

    Raises
    ------
    ValueError
        Shapes do not fit, or there are fewer training faces than cells.
    """
    mean, axes = principal_axes(training, min(components, training.shape[1]))
    axes_only = Partition(mean, axes, np.empty((0, axes.shape[1])))
    known = axes_only.project(training)
    partition = Partition(mean, axes, k_means(known, cells, rng))
    own = partition.cells(known)
    found = []
    for points in (synthetic, holdout):
        projected = partition.project(points)
        place = partition.cells(projected)
        near = np.full(len(points), np.inf, np.float32)
        for cell in range(cells):
            inside = place == cell
            if inside.any() and (own == cell).any():
                scores, _ = search(projected[inside], known[own == cell], 1, metric="l2")
                near[inside] = np.asarray(scores)[:, 0]
        found.append((near, place))
    return data_copying(
        found[0][0],
        found[1][0],
        synthetic_cells=found[0][1],
        holdout_cells=found[1][1],
        clusters=clusters,
        persons=persons,
        confidence=confidence,
    )


def _placements(values: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return for every value the share of others that are less, ties split."""
    ascending = np.sort(others)
    less = np.searchsorted(ascending, values, side="left")
    not_more = np.searchsorted(ascending, values, side="right")
    return (less + not_more) / (2.0 * len(others))


def _estimate(
    total: float,
    influence: list[NDArray[np.float64]],
    units: list[NDArray[np.int64]],
    confidence: float,
    used: bool,
) -> Estimate:
    faces = sum(len(part) for part in influence)
    groups = [int(codes.max()) + 1 if len(codes) else 0 for codes in units]
    if not used:
        reason = f"no cell has more than {LEAST_SYNTHETIC} synthetic faces and a face of the holdout"
        return Estimate(None, None, faces, sum(groups), reason)
    variance = 0.0
    for part, codes, count in zip(influence, units, groups, strict=True):
        if count < 2:
            return Estimate(total, None, faces, sum(groups))
        variance += float((np.bincount(codes, weights=part) ** 2).sum()) * count / (count - 1)
    method = "placements of both samples, over clusters and persons"
    return Estimate(total, normal_interval(total, variance, confidence, method), faces, sum(groups))
