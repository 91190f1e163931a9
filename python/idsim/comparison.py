"""The best matches of every query and all pairs above a threshold, of one pass over the pairs."""

from __future__ import annotations

import operator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from idsim.feeding import as_source, check_dims, fed_scans, labels_of
from idsim.options import checked_k, resolve_exclude, worst_score
from idsim.placement import engine_for
from idsim.results import Comparison, Pairs
from idsim.tails import join_pairs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from idsim.engines import Engine, Groups
    from idsim.feeding import Source
    from idsim.options import Exclude, Exclusion, Metric, Nonfinite, Precision, Progress

    Scans = Iterator[tuple[int, int, Any]]

__all__ = ["compare"]


def compare(
    queries: Any,
    gallery: Any = None,
    k: int = 1,
    *,
    threshold: float,
    first: int | None = None,
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
) -> Comparison:
    """Find the k best gallery rows of each query and all pairs whose score reaches a threshold, exactly.

    The bytes are those of `search` and `pairs_above`. On the CPU both come of one pass over the pairs, which takes
    little longer than `search` alone; on CUDA devices the two questions are asked one after the other.

    Parameters
    ----------
    queries : array, Index or Gallery
        [q, d]; of an Index or a Gallery as many rows at a time as the memory budget holds.
    gallery : array, Index or Gallery, optional
        [n, d]; a Gallery is streamed from disk. Default: the queries themselves, as with ``first=0``.
    k : int
        Best matches per query, 1 or more.
    threshold : float
        Pairs with score >= threshold are listed (l2: <=). It does not bound the best matches.
    first : int, optional
        The queries are the gallery's rows ``first``, ``first + 1``, ...: a part of the comparison of the gallery with
        itself. No row is matched with itself, and each unordered pair is listed once (row < column). The results of
        ranges of queries that follow one another, put one behind the other, are those of all queries.
    max_pairs : int
        Refuse to list more (24 bytes each).
    metric, exclude, nonfinite, threads, memory_budget, progress, device, stream, precision
        As in `search`; labels of ``exclude`` are one per query and one per gallery row here too.

    Returns
    -------
    Comparison
        ``scores`` float32 [q, k] and ``ids`` int64 [q, k] as of `search`; ``pairs`` as of `pairs_above`. With
        ``first``, rows of pairs are numbered in the gallery, like columns and ids.

    Raises
    ------
    ValueError
        More than ``max_pairs`` pairs; k is 0 (`pairs_above` gives pairs alone); ``first`` and the number of queries go
        beyond the gallery; else as in `search`. With ``first`` the rows of queries are named by gallery row.
    TypeError, MemoryError
        As in `search`.
    GalleryError
        A file of a Gallery is shorter than it was, or cannot be read.

    Examples
    --------
    >>> import numpy as np, idsim
    >>> rows = np.float32([[1, 0], [0, 1], [1, 0.1]])
    >>> scores, ids, pairs = idsim.compare(rows, k=1, threshold=0.9)
    >>> ids.ravel()
    array([2, 2, 0])
    >>> pairs.rows, pairs.columns
    (array([0]), array([2]))
    """
    rows = as_source(queries, "queries")
    source = rows if gallery is None else as_source(gallery, "gallery")
    metric = source.resolve_metric(metric)
    check_dims(rows, source)
    within = gallery is None or first is not None
    exclusion = resolve_exclude(exclude, len(rows), len(source))
    engine = engine_for(device, stream, memory_budget, rows, source, precision)
    asked = _Asked(
        engine,
        rows,
        source,
        metric,
        _checked_k(k),
        worst_score(metric, threshold),
        max_pairs,
        within,
        _checked_first(first, len(rows), len(source)),
        replace(exclusion, self_pairs=within or exclusion.self_pairs),
        {"nonfinite": nonfinite, "threads": threads, "memory_budget": memory_budget},
    )
    given, written = engine.outputs(None, queries, (len(rows), asked.k))
    ask = _ask_at_once if engine.lists_with_topk else _ask_in_turn
    pairs = ask(asked, *written, progress)
    scores, ids = (engine.handed_over(part, queries, len(source)) for part in given)
    return Comparison(scores, ids, join_pairs(pairs))


@dataclass(frozen=True)
class _Asked:
    """What is asked, checked."""

    engine: Engine
    rows: Source
    source: Source
    metric: Metric
    k: int
    threshold: float
    max_pairs: int
    within: bool  # one set
    first: int  # number of the first query
    exclusion: Exclusion
    how: dict[str, Any]

    def topk_scans(self, make: Callable[..., Any], progress: Progress | None) -> Scans:
        """Return scans, made by ``make(rows, number of the first, labels)``, that keep the best rows."""
        return self._scans(
            make,
            progress,
            self.engine.topk_bytes(self.rows.dim, self.k),
            self.engine.query_chunk(self.rows, self.source, self.k),
        )

    def pair_scans(self, make: Callable[..., Any], progress: Progress | None) -> Scans:
        """Return scans that keep pairs alone."""
        return self._scans(make, progress, 0, None)

    def _scans(
        self, make: Callable[..., Any], progress: Progress | None, result_bytes: int, query_chunk: int | None
    ) -> Scans:
        def of_chunk(chunk: Any, start: int, stop: int) -> Any:
            return make(chunk, self.first + start, labels_of(self.exclusion.query_groups, start, stop))

        return fed_scans(
            self.rows,
            self.source,
            of_chunk,
            metric=self.metric,
            result_bytes=result_bytes,
            query_chunk=query_chunk,
            groups=self.exclusion.gallery_groups,
            progress=progress,
            **self.how,
        )

    def numbered(self, found: tuple[Any, Any, Any], start: int) -> Pairs:
        """Return the pairs of a scan whose first query is `start`."""
        pairs = Pairs(*found)
        return pairs._replace(rows=pairs.rows + (self.first + start))


def _ask_at_once(asked: _Asked, scores: Any, ids: Any, progress: Progress | None) -> list[Pairs]:
    """Write the best rows, and return the pairs, of one scan per chunk of queries."""
    found: list[Pairs] = []

    def make(chunk: Any, first: int, labels: Groups) -> Any:
        return asked.engine.topk_and_pairs(
            chunk,
            asked.metric,
            asked.k,
            asked.threshold,
            asked.max_pairs,
            _count(found),
            asked.exclusion.self_pairs,
            asked.within,
            first,
            labels,
        )

    for start, stop, scan in asked.topk_scans(make, progress):
        asked.engine.finish(scan, scores[start:stop], ids[start:stop])
        found.append(asked.numbered(scan.finish_pairs(), start))
        del scan  # its memory, before the next one is made
    return found


def _ask_in_turn(asked: _Asked, scores: Any, ids: Any, progress: Progress | None) -> list[Pairs]:
    """Write the best rows, then return the pairs; the scans of each question have the memory for themselves."""
    engine, metric, without_self = asked.engine, asked.metric, asked.exclusion.self_pairs
    found: list[Pairs] = []

    def best(chunk: Any, first: int, labels: Groups) -> Any:
        return engine.topk(chunk, metric, asked.k, worst_score(metric, None), without_self, first, labels)

    def above(chunk: Any, first: int, labels: Groups) -> Any:
        limits = (asked.threshold, asked.max_pairs, _count(found))
        return engine.pairs(chunk, metric, *limits, without_self, asked.within, first, labels)

    for start, stop, scan in asked.topk_scans(best, _half(progress, first=True)):
        engine.finish(scan, scores[start:stop], ids[start:stop])
        del scan
    for start, _, scan in asked.pair_scans(above, _half(progress, first=False)):
        found.append(asked.numbered(scan.finish(), start))
        del scan
    return found


def _count(parts: list[Pairs]) -> int:
    return sum(len(part.rows) for part in parts)


def _half(progress: Progress | None, *, first: bool) -> Progress | None:
    """Let one of two passes report as its half of the whole call."""
    if progress is None:
        return None
    return lambda done, total: progress((done if first else total + done) // 2, total)


def _checked_k(k: Any) -> int:
    """Return k as an int of 1 or more."""
    count = checked_k(k)
    if count == 0:
        msg = "k must be 1 or more, not 0; pairs_above gives pairs alone"
        raise ValueError(msg)
    return count


def _checked_first(first: Any, queries: int, gallery: int) -> int:
    """Return the number of the first query, which has to be in the gallery with the others."""
    if first is None:
        return 0
    try:
        number = operator.index(first)
    except TypeError:
        msg = f"first must be an integer, not {type(first).__name__}"
        raise TypeError(msg) from None
    if not 0 <= number <= gallery - queries:
        msg = (
            f"first must be 0 or more and leave room for {queries} queries among {gallery} gallery rows, "
            f"not {number}"
        )
        raise ValueError(msg)
    return number
