"""How a gallery of any kind, an array, an `idsim.Index` or an `idsim.Gallery`, is fed to a scan.

A kind of gallery is a `Source`: it knows how to feed all its rows to a scan, in one part or in many. Every
question asks through `fed_scans`, which cuts the queries so that their scratch stays within a memory budget.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from idsim.arrays import as_matrix, cuda_device
from idsim.memory import DEFAULT_MEMORY_BUDGET, sent_row_bytes
from idsim.options import resolve_threads, skips

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from idsim import _core
    from idsim.devices import Place
    from idsim.options import Metric, Nonfinite, Progress
    from idsim.split import SplitPrepared

__all__ = ["HostSource", "ScanFeed", "Source", "as_source", "check_dims", "fed_scans", "labels_of"]


# Queries that are worked on together even where memory is short.
_LEAST_CHUNK = 32


class ScanFeed:
    """Takes the gallery of one scan, in parts and in any order.

    Parameters
    ----------
    scan : scan of the extension module
        What is fed: of the CPU or of a CUDA device (`idsim.engines`).
    metric : {"cosine", "dot", "l2"}
        Of its scores.
    skip_nonfinite : bool
        Leave out gallery rows with NaN or Inf; else they raise.
    threads : int
        Of every part.
    """

    def __init__(self, scan: Any, metric: Metric, skip_nonfinite: bool, threads: int) -> None:
        self._scan = scan
        self._metric: Metric = metric
        self._skip = skip_nonfinite
        self._threads = threads

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
        prepared: _core.Prepared | _core.CudaPrepared | SplitPrepared,
        first_id: int = 0,
        *,
        groups: NDArray[np.int64] | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Add prepared gallery rows (rows with NaN or Inf were dealt with when they were prepared)."""
        self._scan.feed_prepared(prepared, first_id, groups, self._threads, progress)

    def feed_file(
        self,
        file: _core.FileGallery,
        first_id: int = 0,
        *,
        groups: NDArray[np.int64] | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Add gallery rows that are in files; ``OSError`` with the name of one that cannot be read."""
        self._scan.feed_file(file, first_id, groups, self._threads, self._skip, progress)


Scan = TypeVar("Scan")


class Source(Protocol):
    """A gallery that can be fed to a scan."""

    @property
    def device(self) -> Place:
        """The CUDA device, or devices, that the rows lie on; None: the host, or files."""

    @property
    def pinned(self) -> bool:
        """Whether only the engine of that device can be fed."""

    @property
    def array(self) -> Any:
        """The array of the rows, where they are one; for its library's current stream."""

    @property
    def dim(self) -> int:
        """Columns."""

    def __len__(self) -> int: ...

    def resolve_metric(self, metric: Metric | None) -> Metric:
        """Return the metric to use; refuse one that the source does not serve."""

    def feed_into(
        self, scan: ScanFeed, *, groups: NDArray[np.int64] | None, progress: Progress | None
    ) -> None:
        """Feed all rows, with their labels where there are some."""

    def vectors(self, start: int, stop: int) -> Any:
        """Return rows `start` to `stop` as an array."""


class HostSource:
    """What a `Source` says whose rows lie on the host or in files: any engine can be fed with them."""

    device: Place = None
    pinned = False
    array: Any = None


class _ArraySource(HostSource):
    """An array as a source."""

    def __init__(self, matrix: Any) -> None:
        self._matrix = matrix
        self.array = matrix
        self.dim = int(matrix.shape[1])
        self.device = cuda_device(matrix)

    def __len__(self) -> int:
        return int(self._matrix.shape[0])

    def sent_to_device(self) -> tuple[str, int]:
        """Return how the rows reach a device, and the bytes of one; of `idsim.memory.form_of`."""
        return "host_rows" if self.device is None else "device_rows", sent_row_bytes(self._matrix)

    def resolve_metric(self, metric: Metric | None) -> Metric:
        return metric or "cosine"

    def feed_into(
        self, scan: ScanFeed, *, groups: NDArray[np.int64] | None, progress: Progress | None
    ) -> None:
        scan.feed(self._matrix, 0, groups=groups, progress=progress)

    def vectors(self, start: int, stop: int) -> Any:
        if (start, stop) == (0, len(self)):
            return self._matrix
        return self._matrix[start:stop]


def as_source(gallery: Any, name: str) -> Source:
    """Return an Index or a Gallery as it is, and an array as a source; `name` is for messages."""
    if hasattr(gallery, "feed_into"):
        source: Source = gallery
        return source
    return _ArraySource(as_matrix(gallery, name))


def check_dims(queries: Source, gallery: Source) -> None:
    """Raise `ValueError` where the columns of queries and gallery differ."""
    if queries.dim != gallery.dim:
        msg = f"gallery must have {queries.dim} columns like queries, not {gallery.dim}"
        raise ValueError(msg)


def fed_scans(
    queries: Source,
    gallery: Source,
    make: Callable[[Any, int, int], Scan],
    *,
    metric: Metric,
    result_bytes: int,
    query_chunk: int | None = None,
    groups: NDArray[np.int64] | None,
    nonfinite: Nonfinite,
    threads: int | None,
    memory_budget: int | None,
    progress: Progress | None,
) -> Iterator[tuple[int, int, Scan]]:
    """Return an iterator of ``(start, stop, scan)``: a scan for these queries, fed with the whole gallery.

    Parameters
    ----------
    queries, gallery : Source
        Of the same number of columns.
    make : callable
        ``make(rows, start, stop)`` returns the scan for these queries.
    metric : {"cosine", "dot", "l2"}
        Of the scan.
    result_bytes : int
        What a scan keeps for each query beside its row.
    query_chunk : int, optional
        Queries that go together. Default: as many as the budget holds.
    groups : ndarray, optional
        int64 labels of the gallery's rows.
    nonfinite, threads
        As in `idsim.search`.
    memory_budget : int, optional
        Bytes of scratch for the queries. Default 1 GiB.
    progress : callable, optional
        Called with gallery rows done, as a share of the whole call, and in all.

    Raises
    ------
    ValueError
        The budget does not hold 32 queries.
    MemoryError
        There is no room even for the fewest queries; where there is room for fewer, they are halved.
    """
    # Where the queries are no array in memory, their chunk is.
    chunk_bytes = 0 if isinstance(queries, _ArraySource) else 4 * queries.dim
    chunk = query_chunk
    if chunk is None:
        chunk = _query_chunk(len(queries), queries.dim, result_bytes + chunk_bytes, memory_budget)
    skip, workers = skips(nonfinite), resolve_threads(threads)
    progress = _never_back(progress)
    count, total = len(queries), len(gallery)

    def fed(start: int, stop: int) -> Scan:
        scan = make(queries.vectors(start, stop), start, stop)
        share = _part_of(progress, start, stop, count, total)
        gallery.feed_into(ScanFeed(scan, metric, skip, workers), groups=groups, progress=share)
        return scan

    def feed_chunks() -> Iterator[tuple[int, int, Scan]]:
        start, size = 0, max(chunk, 1)
        while start < max(count, 1):
            stop = min(start + size, count)
            try:
                scan = fed(start, stop)
            except MemoryError:
                size = (stop - start) // 2
                if size < _LEAST_CHUNK:
                    raise
                continue
            yield start, stop, scan
            del scan
            start += size

    return feed_chunks()


def labels_of(groups: NDArray[np.int64] | None, start: int, stop: int) -> NDArray[np.int64] | None:
    """Return the labels of rows `start` to `stop`, where there are labels."""
    return None if groups is None else groups[start:stop]


def _query_chunk(count: int, dim: int, result_bytes: int, memory_budget: int | None) -> int:
    """Return how many queries fit the scratch budget (float32 copy, codes, packed panels, results)."""
    budget = DEFAULT_MEMORY_BUDGET if memory_budget is None else memory_budget
    per_query = 8 * dim + result_bytes + 256
    fit = budget // per_query
    if fit >= count:
        return count
    if fit < _LEAST_CHUNK:
        msg = (
            f"memory_budget must be at least {_LEAST_CHUNK * per_query} bytes, for {_LEAST_CHUNK} queries of "
            f"{dim} columns and their results, not {budget}"
        )
        raise ValueError(msg)
    return int(fit // _LEAST_CHUNK * _LEAST_CHUNK)


def _never_back(progress: Progress | None) -> Progress | None:
    """Let queries that are scanned again, fewer at a time, not report what was reported before."""
    if progress is None:
        return None
    most = 0

    def report(done: int, total: int) -> bool | None:
        nonlocal most
        most = max(most, done)
        return progress(most, total)

    return report


def _part_of(progress: Progress | None, start: int, stop: int, count: int, rows: int) -> Progress | None:
    """Let the pass over the gallery for queries start to stop report as its share of the whole call."""
    if progress is None or stop - start == count:
        return progress
    before, after = rows * start // count, rows * stop // count
    return lambda done, _: progress(before + done * (after - before) // max(rows, 1), rows)
