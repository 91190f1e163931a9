"""One question on several devices: each scans its ranges of the gallery in a thread of its own.

What is fed is cut into contiguous ranges, one for each device. Which rows a device sees does not change what is kept
of them, so the merged results are those of one device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from idsim import _core
from idsim.arrays import cuda_device
from idsim.devices import stream_handle
from idsim.each_device import on_each
from idsim.engines import CpuEngine, CudaEngine, address_of
from idsim.memory import feasible
from idsim.merge import merge_topk

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from idsim.engines import Groups, RowPlace
    from idsim.options import Progress

__all__ = ["SplitEngine", "SplitPrepared"]

_ROWS_OF_TILE = 128
_ROW_PLACES = ("device", "mapped", "fetched")


class SplitEngine(CpuEngine):
    """The engine of several CUDA devices.

    Parameters
    ----------
    engines : sequence of CudaEngine
        One for each device, in the order of their ranges.
    """

    lists_with_topk = False

    def __init__(self, engines: Sequence[CudaEngine]) -> None:
        self.engines = tuple(engines)

    def topk(
        self, rows: Any, metric: str, k: int, worst: float, exclude_self: bool, first: int, groups: Groups
    ) -> Any:
        """Return a scan for the k best; `first` is the number of the first query."""
        given = (metric, k, worst, exclude_self, first, groups)
        return _SplitTopK(self.engines, rows, lambda engine, own: engine.topk(own, *given), metric, k)

    def count(
        self, rows: Any, metric: str, levels: list[float], exclude_self: bool, first: int, groups: Groups
    ) -> Any:
        """Return a scan that counts rows above thresholds."""
        given = (metric, levels, exclude_self, first, groups)
        return _SplitCount(self.engines, rows, lambda engine, own: engine.count(own, *given))

    def pairs(
        self,
        rows: Any,
        metric: str,
        worst: float,
        max_pairs: int,
        found: int,
        exclude_self: bool,
        triangle: bool,
        first: int,
        groups: Groups,
    ) -> Any:
        """Return a scan for all pairs above a threshold."""
        given = (metric, worst, max_pairs, found, exclude_self, triangle, first, groups)
        return _SplitPairs(
            self.engines, rows, lambda engine, own: engine.pairs(own, *given), max_pairs, found
        )

    def distribution(
        self,
        rows: Any,
        bins: int,
        tail: float,
        exclude_self: bool,
        triangle: bool,
        first: int,
        groups: Groups,
    ) -> Any:
        """Return a scan for the distribution of all pairs."""
        given = (bins, tail, exclude_self, triangle, first, groups)
        return _SplitDistribution(self.engines, rows, lambda engine, own: engine.distribution(own, *given))

    def topk_bytes(self, dim: int, k: int) -> int:
        """Return the bytes of each device that a query of a top-k scan takes beside its row."""
        return self.engines[0].topk_bytes(dim, k)

    def query_chunk(self, queries: Any, gallery: Any, k: int) -> int | None:
        """Return how many queries of a top-k search go together, as planned with the scans to come."""
        place = tuple(engine.device for engine in self.engines)
        asked = self.engines[0]
        plan = feasible(queries, gallery, k, place, asked.memory_budget, asked.precision)
        for engine in self.engines:
            engine.follow(plan.budget, plan.precision)
        return plan.query_chunk

    def outputs(
        self, out: tuple[Any, Any] | None, queries: Any, shape: tuple[int, int]
    ) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
        """Return what the caller gets, through `handed_over`, and the same memory as `finish` wants it."""
        holder = queries if out is None else out[0]
        home = cuda_device(holder)
        if home is None:
            return super().outputs(out, queries, shape)
        return self._engine_of(home, holder).outputs(out, queries, shape)

    def handed_over(self, result: Any, like: Any, rows: int = 0) -> Any:
        """Return an array of results as one of the library of `like`."""
        return self.engines[0].handed_over(result, like, rows)

    def finish(self, scan: Any, scores: Any, ids: Any) -> None:
        """Write the merged results of a top-k scan; on a device, too, they are there when this returns."""
        merged = scan.merged()
        for result, to in zip(merged, (scores, ids), strict=True):
            if isinstance(to, np.ndarray):
                to[...] = result
            else:
                home = self._engine_of(cuda_device(to), to)
                _core.cuda_copy_to_device(result, address_of(to), home.device, home.stream)

    def output(self, out: Any, x: Any, shape: tuple[int, int]) -> tuple[Any, Any]:  # noqa: ARG002
        """Refuse: rows are normalised on one device."""
        msg = "normalize works on one device"
        raise ValueError(msg)

    def prepare(self, rows: Any, metric: str, skip_nonfinite: bool, place: RowPlace) -> SplitPrepared:
        """Return a gallery prepared on all devices, a range on each."""
        ranges = _ranges(int(rows.shape[0]), len(self.engines))
        locals_ = _Localised(rows, self.engines)

        def work(i: int, _: Progress) -> Any:
            engine, (start, stop) = self.engines[i], ranges[i]
            own = locals_.slice(i, start, stop)
            prepared = engine.prepare(own, metric, skip_nonfinite, place, start)
            return prepared, own.nbytes if isinstance(own, _core.CudaArray) else prepared.row_bytes

        parts = on_each(self.engines, work)
        return SplitPrepared(
            [start for start, _ in ranges], [part for part, _ in parts], sum(size for _, size in parts)
        )

    def _engine_of(self, device: int | None, array: Any) -> CudaEngine:
        """Return the engine of a device, which need not be one that scans."""
        assert device is not None
        for engine in self.engines:
            if engine.device == device:
                return engine
        return CudaEngine(device, stream_handle(None, device, array), None)


class SplitPrepared:
    """A gallery prepared on several devices.

    Parameters
    ----------
    starts : sequence of int
        First rows of the ranges.
    parts : sequence of CudaPrepared
        The ranges.
    row_bytes : int
        Of the devices, for copies of rows.
    """

    def __init__(self, starts: Sequence[int], parts: Sequence[_core.CudaPrepared], row_bytes: int) -> None:
        self.starts, self.parts = tuple(starts), tuple(parts)
        self.row_bytes = row_bytes
        self.device = tuple(part.device for part in parts)
        self.rows = sum(part.rows for part in parts)
        self.dim = parts[0].dim
        self.precision = parts[0].precision
        self.skipped_rows = sum(part.skipped_rows for part in parts)
        self.code_bytes = sum(part.code_bytes for part in parts)
        #: The slowest that some device reads its rows from.
        self.row_place = max((part.row_place for part in parts), key=_ROW_PLACES.index)


class _SplitScan:
    """A scan on each device.

    Parameters
    ----------
    engines : sequence of CudaEngine
        Of the devices.
    queries : array
        On the host or on any device.
    make : callable
        ``make(engine, queries)`` returns a device's scan.
    """

    def __init__(
        self, engines: Sequence[CudaEngine], queries: Any, make: Callable[[CudaEngine, Any], Any]
    ) -> None:
        self._engines = engines
        own = _Localised(queries, engines)
        self._count = int(queries.shape[0])
        self._scans = on_each(engines, lambda i, _: make(engines[i], own.slice(i, 0, self._count)))

    def feed(
        self, rows: Any, first_id: int, groups: Groups, threads: int, skip: bool, progress: Progress | None
    ) -> None:
        """Feed each device with its range of the rows."""
        own = _Localised(rows, self._engines)

        def feed(i: int, start: int, stop: int, labels: Groups, report: Progress) -> None:
            # Rows of another device come in parts that fit the budget; all others at once.
            step = own.part_rows(i) or stop - start
            for begin in range(start, stop, step):
                end = min(begin + step, stop)
                part = None if labels is None else labels[begin - start : end - start]
                done = begin - start
                self._scans[i].feed(
                    own.slice(i, begin, end), first_id + begin, part, threads, skip, _behind(report, done)
                )

        self._feed_ranges(int(rows.shape[0]), groups, feed, progress)

    def feed_file(
        self,
        file: _core.FileGallery,
        first_id: int,
        groups: Groups,
        threads: int,
        skip: bool,
        progress: Progress | None,
    ) -> None:
        """Feed each device with its range of the file."""

        def feed(i: int, start: int, stop: int, labels: Groups, report: Progress) -> None:
            part = file.slice(start, stop - start)
            self._scans[i].feed_file(part, first_id + start, labels, threads, skip, report)

        self._feed_ranges(file.rows, groups, feed, progress)

    def feed_prepared(
        self,
        prepared: SplitPrepared | _core.Prepared,
        first_id: int,
        groups: Groups,
        threads: int,
        progress: Progress | None,
    ) -> None:
        """Feed each device with what was prepared on it, or with its range of what was prepared on the CPU."""
        if isinstance(prepared, _core.Prepared):
            self._feed_codes(prepared, first_id, groups, progress)
            return
        starts, parts = prepared.starts, prepared.parts

        def work(i: int, report: Progress) -> None:
            start, stop = starts[i], starts[i] + parts[i].rows
            labels = None if groups is None else groups[start:stop]
            self._scans[i].feed_prepared(parts[i], first_id + start, labels, threads, report)

        on_each(self._engines, work, prepared.rows, progress)

    def _feed_codes(
        self, prepared: _core.Prepared, first_id: int, groups: Groups, progress: Progress | None
    ) -> None:
        def feed(i: int, start: int, stop: int, labels: Groups, report: Progress) -> None:
            self._scans[i].feed_range(prepared, start, stop, first_id + start, labels, report)

        self._feed_ranges(prepared.rows, groups, feed, progress)

    def _feed_ranges(
        self,
        rows: int,
        groups: Groups,
        feed: Callable[[int, int, int, Groups, Progress], None],
        progress: Progress | None,
    ) -> None:
        ranges = _ranges(rows, len(self._engines))

        def work(i: int, report: Progress) -> None:
            start, stop = ranges[i]
            if start < stop:
                feed(i, start, stop, None if groups is None else groups[start:stop], report)

        on_each(self._engines, work, rows, progress)


class _SplitTopK(_SplitScan):
    def __init__(self, engines: Any, queries: Any, make: Any, metric: str, k: int) -> None:
        super().__init__(engines, queries, make)
        self._metric, self._k = metric, k

    def merged(self) -> tuple[Any, Any]:
        """Return scores and ids of the whole gallery, on the host."""
        shape = (self._count, self._k)

        def work(i: int, _: Progress) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
            part = np.empty(shape, np.float32), np.empty(shape, np.int64)
            self._scans[i].finish(*part)
            return part

        return merge_topk(on_each(self._engines, work), metric=self._metric)  # type: ignore[arg-type]

    def certificate(self) -> dict[str, Any]:
        """Return what the filters did; each query's threshold is the tightest of the devices'."""
        parts = [scan.certificate() for scan in self._scans]
        tightest = np.minimum if self._metric == "l2" else np.maximum
        sums = {name: sum(part[name] for part in parts) for name in parts[0] if name != "reach"}
        return {**sums, "reach": tightest.reduce([part["reach"] for part in parts])}


class _SplitCount(_SplitScan):
    def finish(self, counts: NDArray[np.int64]) -> None:
        """Write the counts of all devices' rows."""
        counts[...] = 0
        own = np.empty_like(counts)
        for scan in self._scans:
            scan.finish(own)
            counts += own


class _SplitPairs(_SplitScan):
    def __init__(self, engines: Any, queries: Any, make: Any, max_pairs: int, found: int) -> None:
        super().__init__(engines, queries, make)
        self._max_pairs, self._found = max_pairs, found

    def finish(self) -> tuple[NDArray[Any], ...]:
        """Return queries, ids and scores of all devices, by query, then id."""
        parts = [scan.finish() for scan in self._scans]
        queries, ids, scores = (np.concatenate(column) for column in zip(*parts, strict=True))
        if len(queries) > self._max_pairs - self._found:
            msg = (
                f"more than max_pairs = {self._max_pairs} pairs reach the threshold; raise the threshold or "
                "max_pairs"
            )
            raise ValueError(msg)
        order = np.lexsort((ids, queries))
        return queries[order], ids[order], scores[order]


class _SplitDistribution(_SplitScan):
    def add_to(self, non_mated: NDArray[np.uint64], mated: NDArray[np.uint64]) -> None:
        """Add the counts of all devices' rows."""
        for scan in self._scans:
            scan.add_to(non_mated, mated)

    def max_error(self, worst_row: float) -> float:
        """Return the largest error of an estimate; every device has all queries."""
        return float(self._scans[0].max_error(worst_row))

    @property
    def worst_row(self) -> float:
        """The largest residual of a unit row met by any device."""
        return float(max(scan.worst_row for scan in self._scans))


class _Localised:
    """Rows of the host or of any device, as each device can read them."""

    def __init__(self, rows: Any, engines: Sequence[CudaEngine]) -> None:
        self._rows, self._engines = rows, engines
        self._device = cuda_device(rows)
        # Asked for in the caller's thread: current streams are a thread's own.
        self._stream = 0 if self._device is None else stream_handle(None, self._device, rows)

    def slice(self, i: int, start: int, stop: int) -> Any:
        """Return rows for device i: as they lie, or copied from another device."""
        rows = self._rows if (start, stop) == (0, int(self._rows.shape[0])) else self._rows[start:stop]
        engine = self._engines[i]
        if self._device in {None, engine.device}:
            return rows
        return _core.CudaArray.copy_of(rows, engine.device, engine.stream, self._stream)

    def part_rows(self, i: int) -> int | None:
        """Return how many rows to copy at a time; None where none are."""
        if self._device in {None, self._engines[i].device}:
            return None
        return max(1, self._engines[i].part_bytes // (8 * int(self._rows.shape[1])))


def _ranges(rows: int, parts: int) -> list[tuple[int, int]]:
    """Cut rows evenly into ranges, of whole tiles but for the last."""
    ends = [min(rows, -(-rows * i // parts // _ROWS_OF_TILE) * _ROWS_OF_TILE) for i in range(parts)]
    return list(zip(ends, [*ends[1:], rows], strict=True))


def _behind(report: Progress, rows: int) -> Progress:
    """Let a part of a range report as behind the rows before it."""
    return report if rows == 0 else lambda done, total: report(rows + done, total)
