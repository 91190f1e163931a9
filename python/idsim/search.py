"""Exact top-k search over arrays of embeddings.

Every score is the canonical one of ``docs/precision.md``: the same bits for any number of threads, any
batch, any instruction set and any order of work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from idsim import _core
from idsim.arrays import as_matrix, as_output, like_queries
from idsim.options import checked_k, resolve_exclude, resolve_threads, skips, worst_score
from idsim.results import Certificate, TopK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from idsim.options import Exclude, Exclusion, Metric, Nonfinite, Progress

__all__ = ["TopKScan", "search"]

DEFAULT_MEMORY_BUDGET = 1 << 30


class TopKScan:
    """Top-k over a gallery that comes in parts, in any order.

    Parameters
    ----------
    queries : array
        [q, d].
    k : int
        Results per query.
    metric : {"cosine", "dot", "l2"}
        Of the score.
    exclude_self : bool
        Leave out query i against the gallery row with id i + ``first_query_id``.
    query_groups : ndarray, optional
        int64 [q]: leave out gallery rows of the same label (`feed` takes theirs).
    threshold : float, optional
        Worst score to return.
    nonfinite : {"raise", "skip"}
        What to do with a gallery row that holds NaN or Inf.
    threads : int, optional
        Default: one per core.
    first_query_id : int
        Number of query 0 in the caller's whole set: for ``exclude_self`` and for messages.

    Raises
    ------
    ValueError
        A query holds NaN or Inf, or k is negative.
    """

    def __init__(
        self,
        queries: Any,
        k: int,
        *,
        metric: Metric = "cosine",
        exclude_self: bool = False,
        query_groups: NDArray[np.int64] | None = None,
        threshold: float | None = None,
        nonfinite: Nonfinite = "raise",
        threads: int | None = None,
        first_query_id: int = 0,
    ) -> None:
        k = checked_k(k)
        matrix = as_matrix(queries, "queries")
        self._queries = queries
        self._shape = (int(matrix.shape[0]), int(k))
        self._skip = skips(nonfinite)
        self._metric: Metric = metric
        self._threads = resolve_threads(threads)
        self._scan = _core.TopKScan(
            matrix, metric, k, worst_score(metric, threshold), exclude_self, first_query_id, query_groups
        )

    @property
    def metric(self) -> Metric:
        """The metric of the scores."""
        return self._metric

    @property
    def skips_nonfinite(self) -> bool:
        """Whether gallery rows with NaN or Inf are left out (False: they raise)."""
        return self._skip

    def feed(
        self,
        rows: Any,
        first_id: int = 0,
        *,
        groups: NDArray[np.int64] | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Add gallery rows [n, d] with ids ``first_id``, ``first_id + 1``, ..."""
        matrix = as_matrix(rows, "gallery")
        self._scan.feed(matrix, first_id, groups, self._threads, self._skip, progress)

    def feed_prepared(
        self,
        prepared: _core.Prepared,
        first_id: int = 0,
        *,
        groups: NDArray[np.int64] | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Add prepared gallery rows (rows with NaN or Inf were dealt with when they were prepared)."""
        self._scan.feed_prepared(prepared, first_id, groups, self._threads, progress)

    def finish(self, out: tuple[Any, Any] | None = None) -> TopK:
        """Return the result; the scan is not to be fed again."""
        if out is None:
            scores = np.empty(self._shape, np.float32)
            ids = np.empty(self._shape, np.int64)
            self._scan.finish(scores, ids)
            return TopK(like_queries(scores, self._queries), like_queries(ids, self._queries))
        scores = as_output(out[0], "scores", self._shape, np.float32)
        ids = as_output(out[1], "ids", self._shape, np.int64)
        self._scan.finish(scores, ids)
        return TopK(*out)

    def certificate(self) -> Certificate:
        """Return what the filter did so far."""
        counts = self._scan.certificate()
        return Certificate(
            counts["pairs"],
            counts["candidates"],
            counts["rescored"],
            counts["skipped_rows"],
            counts["reach"],
        )


def search(
    queries: Any,
    gallery: Any,
    k: int = 10,
    *,
    metric: Metric | None = None,
    exclude: Exclude = None,
    threshold: float | None = None,
    nonfinite: Nonfinite = "raise",
    out: tuple[Any, Any] | None = None,
    threads: int | None = None,
    memory_budget: int | None = None,
    progress: Progress | None = None,
    certificate: bool = False,
) -> TopK:
    """Find the k gallery rows with the best score for each query, exactly.

    Parameters
    ----------
    queries : array
        [q, d] float32, float16, bfloat16 or float64 on the CPU: NumPy, torch, or anything with DLPack.
    gallery : array, Index or Gallery
        [n, d]; need not have the dtype or library of the queries.
    k : int
        Results per query, 0 or more; where k > n the rest is id -1 and score -inf (l2: +inf).
    metric : {"cosine", "dot", "l2"}, optional
        Score. l2 is the Euclidean distance, smaller is better. Default: cosine, or the metric of the Index.
    exclude : None, "self" or (query_groups, gallery_groups)
        "self": query i skips gallery row i. Labels (integers or strings, one per row): a query skips the
        gallery rows of its own label.
    threshold : float, optional
        Worst score to return; results that do not reach it are padding.
    nonfinite : {"raise", "skip"}
        A gallery row with NaN or Inf raises, or is never returned.
    out : (scores, ids), optional
        float32 [q, k] and int64 [q, k] to write to, NumPy or torch, contiguous.
    threads : int, optional
        Default: one per core that the process may run on.
    memory_budget : int, optional
        Bytes of scratch; queries are worked on in chunks that fit. Default 1 GiB.
    progress : callable, optional
        Called with (rows done, rows in all) a few times a second; returning False cancels
        (KeyboardInterrupt).
    certificate : bool
        Attach a `Certificate` to the result.

    Returns
    -------
    TopK
        ``scores`` float32 [q, k] and ``ids`` int64 [q, k], best first, equal scores by ascending id; torch
        tensors where the queries are torch tensors. A zero row has cosine 0 with every row.

    Raises
    ------
    ValueError
        Shapes do not fit, or a row holds NaN or Inf (the first is named).
    TypeError
        A dtype or object that is not accepted.

    Examples
    --------
    >>> import numpy as np, idsim
    >>> gallery = np.eye(4, dtype=np.float32)
    >>> scores, ids = idsim.search(gallery[2:3] + 0.1 * gallery[0:1], gallery, k=2)
    >>> ids
    array([[2, 0]])
    """
    source = gallery if hasattr(gallery, "feed_into") else _ArraySource(as_matrix(gallery, "gallery"))
    metric = source.resolve_metric(metric)
    matrix = as_matrix(queries, "queries")
    n_queries, dim, k = int(matrix.shape[0]), int(matrix.shape[1]), checked_k(k)
    if dim != source.dim:
        msg = f"gallery must have {dim} columns like queries, not {source.dim}"
        raise ValueError(msg)
    exclusion = resolve_exclude(exclude, n_queries, len(source))
    chunk = query_chunk(n_queries, dim, k, memory_budget)
    if chunk >= n_queries:
        scan = _make_scan(queries, k, metric, exclusion, threshold, nonfinite, threads, 0, n_queries)
        source.feed_into(scan, groups=exclusion.gallery_groups, progress=progress)
        result = scan.finish(out)
        if certificate:
            result.certificate = scan.certificate()
        return result

    scores, ids = _outputs(out, n_queries, k)
    parts = []
    for start in range(0, n_queries, chunk):
        stop = min(start + chunk, n_queries)
        scan = _make_scan(
            matrix[start:stop], k, metric, exclusion, threshold, nonfinite, threads, start, stop
        )
        source.feed_into(
            scan,
            groups=exclusion.gallery_groups,
            progress=_part_of(progress, start, stop, n_queries, len(source)),
        )
        scan.finish((scores[start:stop], ids[start:stop]))
        parts.append(scan.certificate())
    result = (
        TopK(*out) if out is not None else TopK(like_queries(scores, queries), like_queries(ids, queries))
    )
    if certificate:
        result.certificate = _join_certificates(parts)
    return result


class _ArraySource:
    """An array as a source of gallery parts."""

    def __init__(self, matrix: Any) -> None:
        self._matrix = matrix
        self.dim = int(matrix.shape[1])

    def __len__(self) -> int:
        return int(self._matrix.shape[0])

    def resolve_metric(self, metric: Metric | None) -> Metric:
        return metric or "cosine"

    def feed_into(
        self, scan: TopKScan, *, groups: NDArray[np.int64] | None, progress: Progress | None
    ) -> None:
        scan.feed(self._matrix, 0, groups=groups, progress=progress)


def _make_scan(
    queries: Any,
    k: int,
    metric: Metric,
    exclusion: Exclusion,
    threshold: float | None,
    nonfinite: Nonfinite,
    threads: int | None,
    start: int,
    stop: int,
) -> TopKScan:
    groups = exclusion.query_groups
    return TopKScan(
        queries,
        k,
        metric=metric,
        exclude_self=exclusion.self_pairs,
        query_groups=None if groups is None else groups[start:stop],
        threshold=threshold,
        nonfinite=nonfinite,
        threads=threads,
        first_query_id=start,
    )


def query_chunk(n_queries: int, dim: int, k: int, memory_budget: int | None) -> int:
    """Return how many queries fit the scratch budget (float32 copy, two digits of codes, packed panels, lists)."""
    budget = DEFAULT_MEMORY_BUDGET if memory_budget is None else memory_budget
    per_query = 9 * dim + 24 * k + 256
    fit = budget // per_query
    if fit >= n_queries:
        return n_queries
    if fit < 32:
        msg = f"memory_budget must be at least {32 * per_query} bytes for d = {dim} and k = {k}, not {budget}"
        raise ValueError(msg)
    return int(fit // 32 * 32)


def _outputs(out: tuple[Any, Any] | None, q: int, k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    if out is None:
        return np.empty((q, k), np.float32), np.empty((q, k), np.int64)
    return as_output(out[0], "scores", (q, k), np.float32), as_output(out[1], "ids", (q, k), np.int64)


def _part_of(progress: Progress | None, start: int, stop: int, n_queries: int, rows: int) -> Progress | None:
    """Let the pass over the gallery for queries start to stop report as its share of the whole call."""
    if progress is None:
        return None
    before, after = rows * start // n_queries, rows * stop // n_queries
    return lambda done, _: progress(before + done * (after - before) // max(rows, 1), rows)


def _join_certificates(parts: Sequence[Certificate]) -> Certificate:
    return Certificate(
        pairs=sum(p.pairs for p in parts),
        candidates=sum(p.candidates for p in parts),
        rescored=sum(p.rescored for p in parts),
        skipped_rows=max(p.skipped_rows for p in parts),
        reach=np.concatenate([p.reach for p in parts]),
    )
