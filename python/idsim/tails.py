"""Questions about fixed thresholds: how many rows reach them, and which pairs do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.feeding import as_source, check_dims, fed_scans, labels_of
from idsim.options import float32_thresholds, resolve_exclude, worst_score
from idsim.placement import engine_for
from idsim.results import Pairs

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from idsim.options import Exclude, Metric, Nonfinite, Precision, Progress

__all__ = ["count_above", "join_pairs", "pairs_above"]


def count_above(
    queries: Any,
    gallery: Any,
    thresholds: ArrayLike,
    *,
    metric: Metric | None = None,
    exclude: Exclude = None,
    nonfinite: Nonfinite = "raise",
    threads: int | None = None,
    memory_budget: int | None = None,
    progress: Progress | None = None,
    device: str | None = None,
    stream: Any = None,
    precision: Precision = "auto",
) -> NDArray[np.int64]:
    """Count, for each query, the gallery rows whose score reaches each threshold, exactly.

    Parameters
    ----------
    queries : array, Index or Gallery
        [q, d]; of an Index or a Gallery as many rows at a time as the memory budget holds.
    gallery : array, Index or Gallery
        [n, d]; a Gallery is streamed from disk.
    thresholds : array_like
        [t] scores, compared as float64; any order. Far fewer than all pairs should reach the loosest:
        pairs near a threshold cost a canonical score each.
    metric, exclude, nonfinite, threads, memory_budget, progress, device, stream, precision
        As in `search`.

    Returns
    -------
    ndarray
        int64 [q, t]: rows with score >= threshold (l2: <=).

    Raises
    ------
    ValueError, TypeError
        As in `search`; thresholds hold NaN.
    GalleryError
        A file of the Gallery is shorter than it was, or cannot be read.
    """
    source, rows = as_source(gallery, "gallery"), as_source(queries, "queries")
    metric = source.resolve_metric(metric)
    check_dims(rows, source)
    levels = float32_thresholds(thresholds, metric)
    exclusion = resolve_exclude(exclude, len(rows), len(source))

    engine = engine_for(device, stream, memory_budget, rows, source, precision)

    def make(chunk: Any, start: int, stop: int) -> Any:
        labels = labels_of(exclusion.query_groups, start, stop)
        return engine.count(chunk, metric, levels.tolist(), exclusion.self_pairs, start, labels)

    scans = fed_scans(
        rows,
        source,
        make,
        metric=metric,
        result_bytes=8 * levels.size,
        groups=exclusion.gallery_groups,
        nonfinite=nonfinite,
        threads=threads,
        memory_budget=memory_budget,
        progress=progress,
    )
    counts = np.empty((len(rows), levels.size), np.int64)
    for start, stop, scan in scans:
        scan.finish(counts[start:stop])
        del scan  # its memory, before the next one is made
    return counts


def pairs_above(
    queries: Any,
    gallery: Any = None,
    threshold: float = 0.0,
    *,
    metric: Metric | None = None,
    exclude: Exclude = None,
    max_pairs: int = 100_000_000,
    nonfinite: Nonfinite = "raise",
    threads: int | None = None,
    memory_budget: int | None = None,
    progress: Progress | None = None,
    device: str | None = None,
    stream: Any = None,
    precision: Precision = "auto",
) -> Pairs:
    """Find all pairs whose score reaches a threshold: an exact similarity join.

    Parameters
    ----------
    queries : array, Index or Gallery
        [q, d]; of an Index or a Gallery as many rows at a time as the memory budget holds.
    gallery : array, Index or Gallery, optional
        [n, d]; a Gallery is streamed from disk. Default: the queries themselves, each unordered pair once
        (row < column).
    threshold : float
        Score >= threshold is kept (l2: <=).
    max_pairs : int
        Refuse to collect more (24 bytes each).
    metric, exclude, nonfinite, threads, memory_budget, progress, device, stream, precision
        As in `search`.

    Returns
    -------
    Pairs
        ``rows`` int64, ``columns`` int64, ``scores`` float32, by row, then column.

    Raises
    ------
    ValueError
        More than ``max_pairs`` pairs; else as in `search`.
    GalleryError
        A file of a Gallery is shorter than it was, or cannot be read.
    """
    rows = as_source(queries, "queries")
    source = rows if gallery is None else as_source(gallery, "gallery")
    metric = source.resolve_metric(metric)
    check_dims(rows, source)
    exclusion = resolve_exclude(exclude, len(rows), len(source))
    worst, found = worst_score(metric, threshold), 0
    engine = engine_for(device, stream, memory_budget, rows, source, precision)

    def make(chunk: Any, start: int, stop: int) -> Any:
        labels = labels_of(exclusion.query_groups, start, stop)
        triangle = gallery is None
        return engine.pairs(
            chunk, metric, worst, max_pairs, found, exclusion.self_pairs, triangle, start, labels
        )

    parts = []
    for start, _, scan in fed_scans(
        rows,
        source,
        make,
        metric=metric,
        result_bytes=0,
        groups=exclusion.gallery_groups,
        nonfinite=nonfinite,
        threads=threads,
        memory_budget=memory_budget,
        progress=progress,
    ):
        part = Pairs(*scan.finish())
        del scan  # its memory, before the next one is made
        found += len(part.rows)
        parts.append(part._replace(rows=part.rows + start))
    return join_pairs(parts)


def join_pairs(parts: list[Pairs]) -> Pairs:
    """Return the pairs of one or more chunks of queries, in their order."""
    if len(parts) == 1:
        return parts[0]
    return Pairs(*(np.concatenate(column) for column in zip(*parts, strict=True)))
