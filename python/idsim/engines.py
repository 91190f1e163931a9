"""Which engine answers a question: the CPU's, or that of a CUDA device. The bytes of the answers are the same.

An engine makes the scans of the extension module and places their results; what feeds the scans and reads their
answers does not know which engine it was.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from idsim import _core
from idsim.arrays import as_output, cuda_device, is_torch, like_queries
from idsim.memory import DEFAULT_MEMORY_BUDGET, budget_of_index, feasible, sent_row_bytes
from idsim.options import resolve_threads

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Groups = NDArray[np.int64] | None

__all__ = ["CpuEngine", "CudaEngine", "Engine", "RowPlace", "address_of"]

#: Where an index on a device keeps the rows that lie on the host.
RowPlace = Literal["auto", "device", "host"]


class CpuEngine:
    """The engine of the CPU."""

    _topk: Any = _core.TopKScan
    _count: Any = _core.CountScan
    _pairs: Any = _core.PairScan
    _distribution: Any = _core.DistributionScan
    _place: tuple[
        Any, ...
    ] = ()  # last arguments of every scan: device, stream, bytes for parts of a gallery, and precision

    def topk(
        self, rows: Any, metric: str, k: int, worst: float, exclude_self: bool, first: int, groups: Groups
    ) -> Any:
        """Return a scan for the k best; `first` is the number of the first query."""
        return self._topk(rows, metric, k, worst, exclude_self, first, groups, *self._place)

    #: Whether a scan for the k best lists pairs too: `topk_and_pairs`.
    lists_with_topk = True

    def topk_and_pairs(
        self,
        rows: Any,
        metric: str,
        k: int,
        worst: float,
        max_pairs: int,
        found: int,
        exclude_self: bool,
        triangle: bool,
        first: int,
        groups: Groups,
    ) -> Any:
        """Return a scan for the k best, k >= 1, that lists all pairs up to the score `worst` as well."""
        none = float("inf") if metric == "l2" else float("-inf")
        return _core.TopKScan(
            rows, metric, k, none, exclude_self, first, groups, worst, max_pairs, found, triangle
        )

    def count(
        self, rows: Any, metric: str, levels: list[float], exclude_self: bool, first: int, groups: Groups
    ) -> Any:
        """Return a scan that counts rows above thresholds."""
        return self._count(rows, metric, levels, exclude_self, first, groups, *self._place)

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
        return self._pairs(
            rows, metric, worst, max_pairs, found, exclude_self, triangle, first, groups, *self._place
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
        return self._distribution(rows, bins, tail, exclude_self, triangle, first, groups, *self._place)

    def topk_bytes(self, dim: int, k: int) -> int:
        """Return the bytes of scratch that a query of a top-k scan takes beside its row."""
        return dim + 24 * k

    def query_chunk(self, queries: Any, gallery: Any, k: int) -> int | None:  # noqa: ARG002 - of a device
        """Return how many queries of a top-k search go together; None: as many as the budget holds."""
        return None

    def outputs(
        self, out: tuple[Any, Any] | None, queries: Any, shape: tuple[int, int]
    ) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
        """Return what the caller gets, and the same memory as `finish` wants it."""
        if out is None:
            scores, ids = np.empty(shape, np.float32), np.empty(shape, np.int64)
            return (like_queries(scores, queries), like_queries(ids, queries)), (scores, ids)
        return out, (
            as_output(out[0], "scores", shape, np.float32),
            as_output(out[1], "ids", shape, np.int64),
        )

    def handed_over(self, result: Any, like: Any, rows: int = 0) -> Any:  # noqa: ARG002 - of devices
        """Return an array of results, when all work on it is queued, as one of the library of `like`.

        `rows` is how many ids there are, for a library that cuts integers to 32 bits.
        """
        return result

    def finish(self, scan: Any, scores: Any, ids: Any) -> None:
        """Write the results of a top-k scan."""
        scan.finish(scores, ids)

    def output(self, out: Any, x: Any, shape: tuple[int, int]) -> tuple[Any, Any]:
        """Return the float32 rows that the caller gets, and the same memory as `normalize` wants it."""
        if out is None:
            rows = np.empty(shape, np.float32)
            return like_queries(rows, x), rows
        return out, as_output(out, "rows", shape, np.float32)

    def normalize(self, rows: Any, out: Any, threads: int | None) -> None:
        """Write rows of unit length."""
        _core.normalize(rows, out, resolve_threads(threads))


class CudaEngine(CpuEngine):
    """The engine of a CUDA device.

    Parameters
    ----------
    device : int
        Its number.
    stream : int
        The cudaStream_t that work goes on.
    memory_budget : int, optional
        Bytes of the device for a search (`idsim.memory`); of other scans, a quarter of it is for parts of galleries.
        Default 1 GiB.
    precision : {"auto", "int8", "float16", "float32"}
        Of the codes that scans make; float32: they make none.
    """

    _topk = _core.CudaTopKScan
    _count = _core.CudaCountScan
    _pairs = _core.CudaPairScan
    _distribution = _core.CudaDistributionScan
    lists_with_topk = False

    def __init__(self, device: int, stream: int, memory_budget: int | None, precision: str = "auto") -> None:
        self.device: int = device
        self.stream = stream
        self.memory_budget = memory_budget
        self.precision = precision
        self.follow(DEFAULT_MEMORY_BUDGET if memory_budget is None else memory_budget, precision)

    def follow(self, budget: int, precision: str) -> None:
        """Let the scans to come take so many bytes of the device, and code what has no codes like this."""
        self.part_bytes = budget // 4
        self._place = (self.device, self.stream, self.part_bytes, precision)

    def query_chunk(self, queries: Any, gallery: Any, k: int) -> int | None:
        """Return how many queries of a top-k search go together, as planned with the scans to come."""
        plan = feasible(queries, gallery, k, self.device, self.memory_budget, self.precision)
        self.follow(plan.budget, plan.precision)
        return plan.query_chunk

    def outputs(
        self, out: tuple[Any, Any] | None, queries: Any, shape: tuple[int, int]
    ) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
        """Return what the caller gets, through `handed_over`, and the same memory as `finish` wants it."""
        if out is None and cuda_device(queries) is not None:
            scores = _empty_like(queries, shape, "float32", self.stream)
            out = scores, _empty_like(queries, shape, "int64", self.stream)
        if out is None or cuda_device(out[0]) is None:
            return super().outputs(out, queries, shape)
        for array, name, dtype in zip(out, ("scores", "ids"), ("float32", "int64"), strict=True):
            _check_on_device(array, name, shape, dtype, self.device)
        return out, out

    def handed_over(self, result: Any, like: Any, rows: int = 0) -> Any:
        """Return an array of results, when all work on it is queued, as one of the library of `like`."""
        if not isinstance(result, _core.CudaArray):
            return result
        taken = _importer(like)(result)
        if str(taken.dtype) == "int32" and rows > 1 << 31:
            msg = f"ids up to {rows - 1} do not fit the int32 of the queries' library; for JAX, set jax_enable_x64"
            raise OverflowError(msg)
        return taken

    def finish(self, scan: Any, scores: Any, ids: Any) -> None:
        """Write the results of a top-k scan, in stream order where they lie on the device."""
        if isinstance(scores, np.ndarray):
            scan.finish(scores, ids)
        else:
            scan.finish_on_device(address_of(scores), address_of(ids))

    def prepare(
        self, rows: Any, metric: str, skip_nonfinite: bool, place: RowPlace, first_row: int = 0
    ) -> _core.CudaPrepared:
        """Return a gallery prepared on the device; `first_row` is the number of its first row, for messages.

        Raises
        ------
        MemoryError
            The codes do not fit the device, or the budget.
        """
        n, dim = int(rows.shape[0]), int(rows.shape[1])
        budget = budget_of_index(self.device) if self.memory_budget is None else self.memory_budget
        plan = _core.plan_index(
            n, dim, sent_row_bytes(rows), budget, self.precision, _core.cuda_int8_tensor_cores(self.device)
        )
        if self.memory_budget is not None and plan["code_bytes"] > budget:
            msg = (
                f"the codes of {n} rows of {dim} columns take {plan['code_bytes']} bytes, and memory_budget is "
                f"{budget}; an Index on the CPU is searched with device='cuda' too, its codes are streamed"
            )
            raise MemoryError(msg)

        def prepared(on_host: bool) -> _core.CudaPrepared:
            return _core.CudaPrepared(
                rows, metric, skip_nonfinite, on_host, self.device, self.stream, self.precision, first_row
            )

        if place != "auto" or cuda_device(rows) is not None:
            return prepared(place == "host")
        if plan["rows_fit"]:
            try:
                return prepared(False)
            except MemoryError:
                pass  # others took what was free
        return prepared(True)

    def output(self, out: Any, x: Any, shape: tuple[int, int]) -> tuple[Any, Any]:
        """Return the float32 rows that the caller gets, through `handed_over`, and the memory to write to."""
        if out is None and cuda_device(x) is not None:
            out = _empty_like(x, shape, "float32", self.stream)
        if out is None or cuda_device(out) is None:
            return super().output(out, x, shape)
        _check_on_device(out, "rows", shape, "float32", self.device)
        return out, out

    def normalize(self, rows: Any, out: Any, threads: int | None) -> None:  # noqa: ARG002 - of the CPU
        """Write rows of unit length."""
        if isinstance(out, np.ndarray):
            _core.cuda_normalize(rows, out, self.device, self.stream)
        else:
            _core.cuda_normalize_on_device(rows, address_of(out), self.device, self.stream)


Engine = CpuEngine


def _empty_like(queries: Any, shape: tuple[int, int], dtype: str, stream: int) -> Any:
    """Allocate an array on the device of the queries, with their library where its arrays can be written to.

    Else it is idsim's own, for `_owned_by_library` to hand over when it has been written.
    """
    device = cuda_device(queries)
    assert device is not None
    if is_torch(queries):
        torch = sys.modules["torch"]
        return torch.empty(shape, dtype=getattr(torch, dtype), device=queries.device)
    library = sys.modules[type(queries).__module__.partition(".")[0]]
    if hasattr(library, "empty"):
        with library.cuda.Device(device):
            return library.empty(shape, dtype=dtype)
    _importer(queries)
    return _core.CudaArray(shape, dtype, device, stream)


def _importer(queries: Any) -> Any:
    """Return the function by which the library of the queries takes an array over."""
    namespace = getattr(queries, "__array_namespace__", None)
    library = sys.modules[type(queries).__module__.partition(".")[0]]
    take = getattr(namespace() if namespace else library, "from_dlpack", None)
    if take is None:
        msg = f"results for queries of {library.__name__} have to be given as out="
        raise TypeError(msg)
    return take


def address_of(array: Any) -> int:
    """Return where an array lies on its device."""
    return int(array.__cuda_array_interface__["data"][0])


def _check_on_device(array: Any, name: str, shape: tuple[int, int], dtype: str, device: int | None) -> None:
    """Refuse an output array that the engine cannot write to."""
    interface = getattr(array, "__cuda_array_interface__", None)
    if interface is None or cuda_device(array) != device:
        got = type(array).__name__
        msg = (
            f"out: {name} must be an array on device 'cuda:{device}' with __cuda_array_interface__, not {got}"
        )
        raise TypeError(msg)
    found = np.dtype(interface["typestr"])
    if found != np.dtype(dtype):
        msg = f"out: {name} must be {dtype}, not {found.name}"
        raise TypeError(msg)
    dense = interface.get("strides") in {None, (shape[1] * found.itemsize, found.itemsize)}
    if tuple(interface["shape"]) != shape or not dense or interface["data"][1]:
        msg = f"out: {name} must be a writable, contiguous array of shape {shape}, not {tuple(interface['shape'])}"
        raise ValueError(msg)
