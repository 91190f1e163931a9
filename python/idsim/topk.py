"""Exact top-k search over arrays of embeddings.

Every score is the canonical one of ``docs/precision.md``: the same bits for any number of threads, any
batch, any instruction set and any order of work.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim import _core
from idsim.arrays import as_matrix
from idsim.devices import parse_device
from idsim.feeding import HostSource, ScanFeed, as_source, check_dims, fed_scans, labels_of
from idsim.memory import planned
from idsim.options import checked_k, checked_precision, resolve_exclude, resolve_threads, skips, worst_score
from idsim.placement import engine_for
from idsim.results import Certificate, TopK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from idsim.memory import MemoryPlan
    from idsim.options import Exclude, Metric, Nonfinite, Precision, Progress

__all__ = ["TopKScan", "memory_plan", "search"]


class TopKScan(ScanFeed):
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
    device, stream, memory_budget, precision
        As in `search`; default: where the queries lie.

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
        device: str | None = None,
        stream: Any = None,
        memory_budget: int | None = None,
        precision: Precision = "auto",
    ) -> None:
        k = checked_k(k)
        rows = as_source(queries, "queries")
        self._queries = queries
        self._shape = (len(rows), k)
        self._engine = engine_for(device, stream, memory_budget, rows, rows, precision)
        self._top = self._engine.topk(
            as_matrix(queries, "queries"),
            metric,
            k,
            worst_score(metric, threshold),
            exclude_self,
            first_query_id,
            query_groups,
        )
        super().__init__(self._top, metric, skips(nonfinite), resolve_threads(threads))

    def finish(self, out: tuple[Any, Any] | None = None) -> TopK:
        """Return the result; the scan is not to be fed again."""
        given, (scores, ids) = self._engine.outputs(out, self._queries, self._shape)
        self._engine.finish(self._top, scores, ids)
        return TopK(*(self._engine.handed_over(part, self._queries) for part in given))

    def certificate(self) -> Certificate:
        """Return what the filter did so far."""
        return _certificate(self._top)


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
    device: str | None = None,
    stream: Any = None,
    precision: Precision = "auto",
) -> TopK:
    """Find the k gallery rows with the best score for each query, exactly.

    Parameters
    ----------
    queries : array, Index or Gallery
        [q, d] float32, float16, bfloat16 or float64: NumPy, torch, CuPy, or anything with DLPack, on the CPU or on a
        CUDA device. Of an Index or a Gallery the rows serve, as many at a time as the memory budget holds.
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
        float32 [q, k] and int64 [q, k] to write to, NumPy or torch (or CuPy on a device), contiguous.
    threads : int, optional
        Default: one per core that the process may run on.
    memory_budget : int, optional
        Bytes of scratch, on a device of its memory (`memory_plan`); queries are worked on in chunks that fit. Default
        1 GiB.
    progress : callable, optional
        Called with (rows done, rows in all) a few times a second; returning False cancels
        (KeyboardInterrupt).
    certificate : bool
        Attach a `Certificate` to the result.
    device : None, "cpu", "cuda", "cuda:N", "cuda:N,M" or "cuda:all", optional
        Where the work is done; what lies elsewhere is copied there, a gallery part by part. Several devices work
        on a range of the gallery each. Default: where the gallery lies, or else the queries.
    stream : object, optional
        On one CUDA device: the stream of the work, a handle or an object with ``__cuda_stream__``. Default: the current
        stream of the arrays' library.
    precision : {"auto", "int8", "float16", "float32"}, optional
        On a CUDA device: what finds the pairs that may count, codes of the rows or (float32) the rows themselves. It
        changes the time, never the answer. "auto" takes 16 bits where k is a large share of n, and no codes for up to
        eight queries over rows that have none. An Index keeps the codes that it was made with.

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
    MemoryError
        There is no room even for 32 queries.

    Examples
    --------
    >>> import numpy as np, idsim
    >>> gallery = np.eye(4, dtype=np.float32)
    >>> scores, ids = idsim.search(gallery[2:3] + 0.1 * gallery[0:1], gallery, k=2)
    >>> ids
    array([[2, 0]])
    """
    source, rows = as_source(gallery, "gallery"), as_source(queries, "queries")
    metric = source.resolve_metric(metric)
    check_dims(rows, source)
    count, k = len(rows), checked_k(k)
    exclusion = resolve_exclude(exclude, count, len(source))
    engine = engine_for(device, stream, memory_budget, rows, source, precision)

    def make(chunk: Any, start: int, stop: int) -> Any:
        labels = labels_of(exclusion.query_groups, start, stop)
        worst = worst_score(metric, threshold)
        return engine.topk(chunk, metric, k, worst, exclusion.self_pairs, start, labels)

    scans = fed_scans(
        rows,
        source,
        make,
        metric=metric,
        result_bytes=engine.topk_bytes(rows.dim, k),
        query_chunk=engine.query_chunk(rows, source, k),
        groups=exclusion.gallery_groups,
        nonfinite=nonfinite,
        threads=threads,
        memory_budget=memory_budget,
        progress=progress,
    )
    given, (scores, ids) = engine.outputs(out, queries, (count, k))
    parts = []
    for start, stop, scan in scans:
        engine.finish(scan, scores[start:stop], ids[start:stop])
        if certificate:
            parts.append(_certificate(scan))
        del scan  # its memory, before the next one is made
    result = TopK(*(engine.handed_over(part, queries, len(source)) for part in given))
    if certificate:
        result.certificate = _join_certificates(parts)
    return result


class _Shape(HostSource):
    """Rows of which only the shape is known."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self._rows, self.dim = (operator.index(size) for size in shape)

    def __len__(self) -> int:
        return self._rows


def _rows_or_shape(rows: Any, name: str) -> Any:
    return _Shape(rows) if isinstance(rows, tuple) else as_source(rows, name)


def memory_plan(
    queries: Any,
    gallery: Any,
    k: int = 10,
    *,
    device: str = "cuda",
    memory_budget: int | None = None,
    precision: Precision = "auto",
) -> MemoryPlan:
    """Tell how a search on a CUDA device would be cut, and what it would take of the device's memory.

    `search` with the same arguments does what the plan says, unless the device runs out of memory that was free.

    Parameters
    ----------
    queries, gallery : array, Index or Gallery; or (int, int)
        As of `search`; or their shape, for float32 rows on the host.
    k : int
        Results per query.
    device : "cuda", "cuda:N", "cuda:N,M" or "cuda:all"
        Its free memory, of several devices the least, bounds the budget; on a machine without a device nothing does.
    memory_budget : int, optional
        Bytes of the device, or of each, that the search may take. Default 1 GiB.
    precision : {"auto", "int8", "float16", "float32"}, optional
        As of `search`.

    Returns
    -------
    MemoryPlan
        ``str`` of it is a table. Its ``query_chunk`` is 0 where the budget does not hold 32 queries.

    Raises
    ------
    ValueError
        The columns differ, or there is no such device.

    Examples
    --------
    >>> import idsim
    >>> plan = idsim.memory_plan((65_536, 512), (10_000_000, 512), k=10, memory_budget=1 << 32)
    >>> plan.passes, plan.total <= plan.budget
    (1, True)
    """
    rows, source = _rows_or_shape(queries, "queries"), _rows_or_shape(gallery, "gallery")
    check_dims(rows, source)
    checked_precision(precision, on_device=True)
    place = parse_device(device) if _core.build_info()["cuda_devices"] else None
    plan, _ = planned(rows, source, checked_k(k), place, memory_budget, precision)
    return plan


def _certificate(scan: Any) -> Certificate:
    counts = scan.certificate()
    return Certificate(
        counts["pairs"],
        counts["candidates"],
        counts["rescored"],
        counts["skipped_rows"],
        counts["reach"],
    )


def _join_certificates(parts: Sequence[Certificate]) -> Certificate:
    return Certificate(
        pairs=sum(p.pairs for p in parts),
        candidates=sum(p.candidates for p in parts),
        rescored=sum(p.rescored for p in parts),
        skipped_rows=max(p.skipped_rows for p in parts),
        reach=np.concatenate([p.reach for p in parts]),
    )
