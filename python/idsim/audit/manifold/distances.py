"""Euclidean distances between embeddings, whichever way their matcher compares.

A matcher that compares by cosine puts faces on the unit sphere: there the Euclidean distance is the chord,
``d^2 = 2 - 2 cos``, exactly and strictly decreasing in the cosine, so both order pairs alike. A matcher that
compares by Euclidean distance is taken as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from idsim.topk import search
from idsim.unit_rows import normalize

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Neighbours", "checked_rows", "cosine_to_distance", "distance_to_cosine", "embedded", "neighbours"]


def checked_rows(vectors: Any, name: str, least: int = 1) -> NDArray[np.float32]:
    """Return float32 ``[n, d]``.

    Raises
    ------
    ValueError
        No matrix, or fewer than `least` rows.
    """
    rows = np.asarray(vectors, dtype=np.float32)
    if rows.ndim != 2:
        raise ValueError(f"{name} must be a matrix [n, d], not an array of {rows.ndim} dimensions")
    if len(rows) < least:
        raise ValueError(f"{name} must have at least {least} rows, not {len(rows)}")
    return rows


def embedded(vectors: Any, metric: str, name: str = "vectors") -> NDArray[np.float32]:
    """Return the points between which Euclidean distances are taken.

    Parameters
    ----------
    vectors : array
        float32 ``[n, d]``: embeddings.
    metric : {"cosine", "l2"}
        How the matcher compares. ``cosine``: rows of unit length; ``l2``: the rows themselves.
    name : str
        For messages.

    Raises
    ------
    ValueError
        No matrix, another metric, or a row without length whose cosine says nothing.
    """
    rows = checked_rows(vectors, name)
    if metric == "l2":
        return rows
    if metric != "cosine":
        raise ValueError(f"metric must be 'cosine' or 'l2', not {metric!r}")
    unit: NDArray[np.float32] = np.asarray(normalize(rows))
    empty = np.flatnonzero(~unit.any(axis=1))
    if len(empty):
        raise ValueError(
            f"{name} row {empty[0]} is zero and has no direction ({len(empty)} such rows in all)"
        )
    return unit


def cosine_to_distance(cosines: Any) -> NDArray[np.float64]:
    """Return ``sqrt(2 - 2 cos)``: the Euclidean distance between unit vectors of that cosine."""
    return np.sqrt(np.maximum(0.0, 2.0 - 2.0 * np.asarray(cosines, dtype=np.float64)))


def distance_to_cosine(distances: Any) -> NDArray[np.float64]:
    """Return ``1 - d^2 / 2``: the cosine of unit vectors at that Euclidean distance."""
    return 1.0 - np.asarray(distances, dtype=np.float64) ** 2 / 2.0


class Neighbours(NamedTuple):
    """The nearest other points of some points of a set.

    Attributes
    ----------
    rows : ndarray
        int64 ``[q]``: the points.
    distances : ndarray
        float32 ``[q, k]``, ascending; infinite where there are fewer than k others.
    ids : ndarray
        int64 ``[q, k]``: the others; -1 where there is none.
    """

    rows: NDArray[np.int64]
    distances: NDArray[np.float32]
    ids: NDArray[np.int64]


def neighbours(
    points: NDArray[np.float32],
    k: int,
    *,
    persons: NDArray[np.int64] | None = None,
    rows: NDArray[np.int64] | None = None,
) -> Neighbours:
    """Return the k nearest other points of the same set.

    Parameters
    ----------
    points : ndarray
        float32 ``[n, d]``, of `embedded`.
    k : int
        Neighbours.
    persons : ndarray, optional
        int64 ``[n]``: points of the same person are no neighbours. Default: only the point itself is not.
    rows : ndarray, optional
        int64 ``[q]``: points whose neighbours are wanted, among all others; default: all. A sample of them is
        exact for what it holds, and costs as much less.

    Raises
    ------
    ValueError
        `persons` or `rows` do not fit the points.
    """
    count = len(points)
    if persons is not None and np.shape(persons) != (count,):
        raise ValueError(f"persons must have shape ({count},), not {np.shape(persons)}")
    chosen = np.arange(count) if rows is None else np.asarray(rows, dtype=np.int64)
    if len(chosen) and (chosen.min() < 0 or chosen.max() >= count):
        raise ValueError(f"rows must be numbers from 0 to {count - 1}")
    labels = np.arange(count) if persons is None else np.asarray(persons, dtype=np.int64)
    queries = points if rows is None else points[chosen]
    alone = rows is None and persons is None
    found = search(queries, points, k, metric="l2", exclude="self" if alone else (labels[chosen], labels))
    return Neighbours(chosen, np.asarray(found.scores), np.asarray(found.ids))
