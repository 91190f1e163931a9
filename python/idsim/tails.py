"""Questions about fixed thresholds: how many rows reach them, and which pairs do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from idsim import _core
from idsim.arrays import as_matrix
from idsim.options import float32_thresholds, resolve_exclude, resolve_threads, skips, worst_score
from idsim.results import Pairs

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from idsim.options import Exclude, Metric, Nonfinite, Progress

__all__ = ["count_above", "pairs_above"]


def count_above(
    queries: Any,
    gallery: Any,
    thresholds: ArrayLike,
    *,
    metric: Metric = "cosine",
    exclude: Exclude = None,
    nonfinite: Nonfinite = "raise",
    threads: int | None = None,
    progress: Progress | None = None,
) -> NDArray[np.int64]:
    """Count, for each query, the gallery rows whose score reaches each threshold, exactly.

    Parameters
    ----------
    queries, gallery : array
        [q, d] and [n, d].
    thresholds : array_like
        [t] scores, compared as float64; any order. Far fewer than all pairs should reach the loosest:
        pairs near a threshold cost a canonical score each.
    metric, exclude, nonfinite, threads, progress
        As in `search`.

    Returns
    -------
    ndarray
        int64 [q, t]: rows with score >= threshold (l2: <=).

    Raises
    ------
    ValueError, TypeError
        As in `search`; thresholds hold NaN.
    """
    matrix, rows = as_matrix(queries, "queries"), as_matrix(gallery, "gallery")
    levels = float32_thresholds(thresholds, metric)
    exclusion = resolve_exclude(exclude, int(matrix.shape[0]), int(rows.shape[0]))
    scan = _core.CountScan(matrix, metric, levels.tolist(), exclusion.self_pairs, 0, exclusion.query_groups)
    scan.feed(rows, 0, exclusion.gallery_groups, resolve_threads(threads), skips(nonfinite), progress)
    counts = np.empty((int(matrix.shape[0]), levels.size), np.int64)
    scan.finish(counts)
    return counts


def pairs_above(
    queries: Any,
    gallery: Any = None,
    threshold: float = 0.0,
    *,
    metric: Metric = "cosine",
    exclude: Exclude = None,
    max_pairs: int = 100_000_000,
    nonfinite: Nonfinite = "raise",
    threads: int | None = None,
    progress: Progress | None = None,
) -> Pairs:
    """Find all pairs whose score reaches a threshold: an exact similarity join.

    Parameters
    ----------
    queries : array
        [q, d].
    gallery : array, optional
        [n, d]. Default: the queries themselves, each unordered pair once (row < column).
    threshold : float
        Score >= threshold is kept (l2: <=).
    max_pairs : int
        Refuse to collect more (24 bytes each).
    metric, exclude, nonfinite, threads, progress
        As in `search`.

    Returns
    -------
    Pairs
        ``rows`` int64, ``columns`` int64, ``scores`` float32, by row, then column.

    Raises
    ------
    ValueError
        More than ``max_pairs`` pairs; else as in `search`.
    """
    matrix = as_matrix(queries, "queries")
    rows = matrix if gallery is None else as_matrix(gallery, "gallery")
    exclusion = resolve_exclude(exclude, int(matrix.shape[0]), int(rows.shape[0]))
    scan = _core.PairScan(
        matrix,
        metric,
        worst_score(metric, threshold),
        max_pairs,
        exclusion.self_pairs,
        gallery is None,
        0,
        exclusion.query_groups,
    )
    scan.feed(rows, 0, exclusion.gallery_groups, resolve_threads(threads), skips(nonfinite), progress)
    return Pairs(*scan.finish())
