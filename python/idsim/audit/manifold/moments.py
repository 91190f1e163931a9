"""How far the faces of a set spread: mean cosine, and how many directions their variance takes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from idsim.audit.manifold.distances import embedded
from idsim.audit.rates.grouped import Estimate, group_codes, student_quantile
from idsim.audit.rates.intervals import Interval

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.random import Generator
    from numpy.typing import NDArray

__all__ = ["Spread", "spread"]

BLOCK_ROWS = 16_384  # 64 MiB of float64 at d = 512
JACKKNIFE_GROUPS = 40
FEWEST_PERSONS = 10

# Below this many rows per dimension the sample covariance has visibly too few large directions.
ROWS_PER_DIMENSION = 10


@dataclass(frozen=True)
class Spread:
    """The spread of a set of faces.

    Attributes
    ----------
    mean_cosine : Estimate
        Mean cosine over all pairs of faces of different persons. Refused for ``l2``.
    resultant_length : Estimate
        Length of the mean of the unit vectors, 0 to 1 (Mardia and Jupp 2000, 9.2). Refused for ``l2``.
    rms_distance : Estimate
        Root of the mean squared Euclidean distance over all pairs of faces.
    participation_ratio : Estimate
        ``(sum l)^2 / sum l^2`` over the eigenvalues l of the covariance: directions that share the variance.
    effective_rank : Estimate
        ``exp(-sum p log p)`` with ``p = l / sum l`` (Roy and Vetterli 2007, here of the covariance).
    dimension : int
        Columns of the embeddings.
    note : str
        Empty, or why the last two are too low.
    """

    mean_cosine: Estimate
    resultant_length: Estimate
    rms_distance: Estimate
    participation_ratio: Estimate
    effective_rank: Estimate
    dimension: int
    note: str


class _Sums(NamedTuple):
    """Sums over groups of persons; rows of the leading axis are groups.

    Attributes
    ----------
    rows, total : ndarray
        float64 ``[g]`` number and float64 ``[g, d]`` sum of the rows.
    own, own_rows : ndarray
        float64 ``[g]``: squared length of each person's sum, and squared number of rows, added up.
    gram : ndarray
        float64 ``[g, d, d]``: products of the rows less the mean of all.
    """

    rows: NDArray[np.float64]
    total: NDArray[np.float64]
    own: NDArray[np.float64]
    own_rows: NDArray[np.float64]
    gram: NDArray[np.float64]

    def without(self, group: int) -> _Sums:
        """Return the sums over all other groups, as one group."""
        return _Sums(*(part.sum(axis=0, keepdims=True) - part[group][None] for part in self))

    def together(self) -> _Sums:
        """Return the sums over all groups, as one group."""
        return _Sums(*(part.sum(axis=0, keepdims=True) for part in self))


def spread(
    vectors: NDArray[np.float32],
    metric: str,
    rng: Generator,
    *,
    persons: NDArray[np.int64] | None = None,
    confidence: float = 0.95,
) -> Spread:
    """Return the spread of a set, exactly, in two passes over its rows.

    Intervals: delete-a-group jackknife over 40 random groups of persons (Shao and Tu 1995, 5.2), with
    Student's t. Memory: 40 matrices d x d.

    Parameters
    ----------
    vectors : ndarray
        float32 ``[n, d]``: embeddings.
    metric : {"cosine", "l2"}
        How their matcher compares.
    rng : numpy.random.Generator
        Draws the groups.
    persons : ndarray, optional
        int64 ``[n]``: person or cluster of every row. Default: each row is one.
    confidence : float
        Of the intervals.

    Raises
    ------
    ValueError
        Arguments do not fit, or a row is zero.
    """
    points = embedded(vectors, metric)
    codes = group_codes(persons, len(points), "persons")
    count = int(codes.max()) + 1 if len(codes) else 0
    if count < FEWEST_PERSONS:
        refused = Estimate(
            None, None, len(points), count, f"fewer than {FEWEST_PERSONS} persons or clusters: {count}"
        )
        return Spread(refused, refused, refused, refused, refused, points.shape[1], "")
    groups = min(JACKKNIFE_GROUPS, count)
    group_of = rng.permutation(count) % groups
    sums = _sums(points, codes, group_of, groups)
    centre = sums.total.sum(axis=0) / len(points)
    full = _statistics(sums.together(), centre)
    left = np.stack([_statistics(sums.without(group), centre) for group in range(groups)])
    variance = (groups - 1) / groups * ((left - left.mean(axis=0)) ** 2).sum(axis=0)
    half = student_quantile(confidence, groups - 1) * np.sqrt(variance)
    method = f"delete-a-group jackknife over {groups} groups of persons"
    estimates = [
        Estimate(float(value), Interval(float(value - h), float(value + h), method), len(points), count)
        for value, h in zip(full, half, strict=True)
    ]
    if metric != "cosine":
        no_sphere = Estimate(None, None, len(points), count, "the matcher does not compare by cosine")
        estimates[:2] = [no_sphere, no_sphere]
    few = len(points) < ROWS_PER_DIMENSION * points.shape[1]
    note = (
        f"{len(points)} rows in {points.shape[1]} dimensions: participation ratio and effective rank of the "
        "sample are below those of the population"
        if few
        else ""
    )
    cosine, resultant, distance, participation, rank = estimates
    return Spread(cosine, resultant, distance, participation, rank, points.shape[1], note)


def _sums(
    points: NDArray[np.float32], codes: NDArray[np.int64], group_of: NDArray[np.int64], groups: int
) -> _Sums:
    """Return the sums over the groups; `group_of` gives the group of every person."""
    dim = points.shape[1]
    centre = sum((block.sum(axis=0) for block in _blocks(points)), np.zeros(dim)) / len(points)
    sums = _Sums(
        np.zeros(groups),
        np.zeros((groups, dim)),
        np.zeros(groups),
        np.zeros(groups),
        np.zeros((groups, dim, dim)),
    )
    order = np.lexsort((codes, group_of[codes]))
    sorted_codes = codes[order]
    starts = np.flatnonzero(np.r_[True, np.diff(sorted_codes) != 0])
    ends = np.r_[starts[1:], len(order)]
    group = group_of[sorted_codes[starts]]
    # A block holds whole persons of one group.
    block = group * (len(order) // BLOCK_ROWS + 1) + starts // BLOCK_ROWS
    edges = np.flatnonzero(np.r_[True, np.diff(block) != 0, True])
    for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        rows = points[order[starts[low] : ends[high - 1]]].astype(np.float64)
        own = np.add.reduceat(rows, starts[low:high] - starts[low], axis=0)
        place = int(group[low])
        sums.rows[place] += len(rows)
        sums.total[place] += own.sum(axis=0)
        sums.own[place] += float((own**2).sum())
        sums.own_rows[place] += float(((ends[low:high] - starts[low:high]).astype(np.float64) ** 2).sum())
        rows -= centre
        sums.gram[place] += rows.T @ rows
    return sums


def _blocks(points: NDArray[np.float32]) -> Iterator[NDArray[np.float64]]:
    for start in range(0, len(points), BLOCK_ROWS):
        yield points[start : start + BLOCK_ROWS].astype(np.float64)


def _statistics(sums: _Sums, centre: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the five numbers of `Spread` of one group of sums, products being about `centre`."""
    n, total = float(sums.rows[0]), sums.total[0]
    squared = float(total @ total)
    pairs = n * n - float(sums.own_rows[0])
    cosine = (squared - float(sums.own[0])) / pairs if pairs > 0 else math.nan
    shift = total / n - centre
    covariance = (sums.gram[0] - n * np.outer(shift, shift)) / (n - 1)
    values = np.maximum(0.0, np.linalg.eigvalsh(covariance))
    trace = float(values.sum())
    shares = values[values > 0] / trace if trace > 0 else np.ones(1)
    return np.array(
        [
            cosine,
            math.sqrt(squared) / n,
            math.sqrt(2.0 * trace),
            1.0 / float((shares**2).sum()),
            math.exp(-float((shares * np.log(shares)).sum())),
        ]
    )
