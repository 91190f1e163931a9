"""The distribution of cosine over all pairs, in one pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.feeding import as_source, check_dims, fed_scans, labels_of
from idsim.options import as_groups, float32_thresholds
from idsim.placement import engine_for
from idsim.results import ScoreDistribution

if TYPE_CHECKING:
    from idsim.options import Nonfinite, Progress

__all__ = ["score_distribution"]

_MAX_BINS = 1 << 16


def score_distribution(
    a: Any,
    b: Any = None,
    *,
    groups: Any = None,
    bins: int = 4096,
    tail: float | None = None,
    exclude: str | None = None,
    nonfinite: Nonfinite = "raise",
    threads: int | None = None,
    memory_budget: int | None = None,
    progress: Progress | None = None,
    device: str | None = None,
    stream: Any = None,
) -> ScoreDistribution:
    """Count the cosines of all pairs of rows in fixed bins on [-1, 1].

    Parameters
    ----------
    a : array, Index or Gallery
        [m, d]. The side that is held in memory: of an Index or a Gallery as many rows are read at a time as
        the memory budget holds, and b is read once for each such chunk. Where only one side is a large
        Gallery, let it be b.
    b : array, Index or Gallery, optional
        [n, d]; an Index must be of metric "cosine". The side that passes by: a Gallery is streamed from disk.
        Default: all unordered pairs of different rows of ``a``.
    groups : array_like or (array_like, array_like), optional
        Labels of the rows of a (and of b): pairs of equal labels are counted as mated, the rest as
        non-mated. Of a Gallery: ``gallery.groups().codes``.
    bins : int
        A power of two up to 65536.
    tail : float, optional
        Every bin at or above it is exact. Pairs that may reach it cost a canonical score each.
    exclude : None or "self"
        "self": leave out row i of a against row i of b.
    nonfinite, threads, memory_budget, progress, device, stream
        As in `search`.

    Returns
    -------
    ScoreDistribution

    Raises
    ------
    ValueError, TypeError
        As in `search`; bins is no power of two.
    GalleryError
        A file of a Gallery is shorter than it was, or cannot be read.
    """
    if not 1 <= bins <= _MAX_BINS or bins & (bins - 1):
        msg = f"bins must be a power of two from 1 to {_MAX_BINS}, not {bins}"
        raise ValueError(msg)
    if exclude not in {None, "self"}:
        msg = f"exclude must be None or 'self', not {exclude!r}"
        raise ValueError(msg)
    rows = as_source(a, "a")
    source = rows if b is None else as_source(b, "b")
    metric = source.resolve_metric("cosine")
    check_dims(rows, source)
    groups_a, groups_b = _resolve_groups(groups, len(rows), None if b is None else len(source))
    edge = np.inf if tail is None else float(float32_thresholds(tail, metric)[0])

    engine = engine_for(device, stream, memory_budget, rows, source)

    def make(chunk: Any, start: int, stop: int) -> Any:
        labels = labels_of(groups_a, start, stop)
        return engine.distribution(chunk, bins, edge, exclude == "self", b is None, start, labels)

    non_mated, mated = np.zeros(bins, np.uint64), np.zeros(bins, np.uint64)
    worst_row = max_error = 0.0
    for _, _, scan in fed_scans(
        rows,
        source,
        make,
        metric=metric,
        result_bytes=0,
        groups=groups_b,
        nonfinite=nonfinite,
        threads=threads,
        memory_budget=memory_budget,
        progress=progress,
    ):
        scan.add_to(non_mated, mated)
        # The first chunk meets every row of the other side, so the error does not depend on the chunks.
        worst_row = max(worst_row, scan.worst_row)
        max_error = max(max_error, scan.max_error(worst_row))
        del scan  # its memory, before the next one is made
    return ScoreDistribution(
        edges=np.linspace(-1.0, 1.0, bins + 1),
        counts=non_mated + mated,
        mated=None if groups is None else mated,
        non_mated=None if groups is None else non_mated,
        tail=float("inf") if tail is None else float(tail),
        max_error=max_error,
    )


def _resolve_groups(groups: Any, rows_a: int, rows_b: int | None) -> tuple[Any, Any]:
    if groups is None:
        return None, None
    if rows_b is not None and not isinstance(groups, tuple):
        msg = "groups must be a pair (labels of a, labels of b) where b is given"
        raise TypeError(msg)
    pair = as_groups(*groups) if rows_b is not None else as_groups(groups, groups)
    for name, labels, rows in zip(
        ("a", "b"), pair, (rows_a, rows_a if rows_b is None else rows_b), strict=True
    ):
        if labels.shape != (rows,):
            msg = f"groups: labels of {name} must have shape ({rows},), not {labels.shape}"
            raise ValueError(msg)
    return pair
