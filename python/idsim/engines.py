"""Which engine answers a question: the CPU's, or that of a CUDA device. The bytes of the answers are the same.

An engine makes the scans of the extension module and places their results; what feeds the scans and reads their
answers does not know which engine it was.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim import _core
from idsim.arrays import as_output, cuda_device, is_torch, like_queries
from idsim.errors import CudaError
from idsim.options import checked_precision, resolve_threads

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Groups = NDArray[np.int64] | None

__all__ = [
    "CpuEngine",
    "CudaEngine",
    "Engine",
    "chosen_device",
    "engine_for",
    "parse_device",
    "stream_handle",
]

DEFAULT_MEMORY_BUDGET = 1 << 30
# Where arrays on the host are worked on when no device is named; tests set it to "cuda".
default_device: str | None = None


class CpuEngine:
    """The engine of the CPU."""

    device: int | None = None
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
        A quarter of it is for parts of galleries that are streamed to the device. Default 1 GiB.
    precision : {"auto", "int8", "float16", "float32"}
        Of the codes that scans make; float32: they make none.
    """

    _topk = _core.CudaTopKScan
    _count = _core.CudaCountScan
    _pairs = _core.CudaPairScan
    _distribution = _core.CudaDistributionScan

    def __init__(self, device: int, stream: int, memory_budget: int | None, precision: str = "auto") -> None:
        self.device: int = device
        self.stream = stream
        budget = DEFAULT_MEMORY_BUDGET if memory_budget is None else memory_budget
        self._place = (device, stream, budget // 4, precision)

    def topk_bytes(self, dim: int, k: int) -> int:
        """Return the bytes of device memory that a query of a top-k scan takes beside its row."""
        return _core.CudaTopKScan.bytes_per_query(dim, k)

    def outputs(
        self, out: tuple[Any, Any] | None, queries: Any, shape: tuple[int, int]
    ) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
        """Return what the caller gets, and the same memory as `finish` wants it.

        Results of queries on the device are allocated there by the queries' library.
        """
        if out is None and cuda_device(queries) is not None:
            out = _empty_like(queries, shape, "float32"), _empty_like(queries, shape, "int64")
        if out is None or cuda_device(out[0]) is None:
            return super().outputs(out, queries, shape)
        for array, name, dtype in zip(out, ("scores", "ids"), ("float32", "int64"), strict=True):
            _check_on_device(array, name, shape, dtype, self.device)
        return out, out

    def finish(self, scan: Any, scores: Any, ids: Any) -> None:
        """Write the results of a top-k scan, in stream order where they lie on the device."""
        if isinstance(scores, np.ndarray):
            scan.finish(scores, ids)
        else:
            scan.finish_on_device(_address(scores), _address(ids))

    def output(self, out: Any, x: Any, shape: tuple[int, int]) -> tuple[Any, Any]:
        """Return the float32 rows that the caller gets, and the same memory as `normalize` wants it."""
        if out is None and cuda_device(x) is not None:
            out = _empty_like(x, shape, "float32")
        if out is None or cuda_device(out) is None:
            return super().output(out, x, shape)
        _check_on_device(out, "rows", shape, "float32", self.device)
        return out, out

    def normalize(self, rows: Any, out: Any, threads: int | None) -> None:  # noqa: ARG002 - of the CPU
        """Write rows of unit length."""
        if isinstance(out, np.ndarray):
            _core.cuda_normalize(rows, out, self.device, self.stream)
        else:
            _core.cuda_normalize_on_device(rows, _address(out), self.device, self.stream)


Engine = CpuEngine


def parse_device(device: str | None) -> int | None:
    """Return the number of the CUDA device that "cuda" or "cuda:N" names; None for "cpu" and None.

    Raises
    ------
    ValueError
        Another name.
    CudaError
        There is no such device, or no CUDA backend.
    """
    if device is None or device == "cpu":
        return None
    name, colon, number = device.partition(":")
    if name != "cuda" or (colon and not number.isdecimal()):
        msg = f"device must be 'cpu', 'cuda' or 'cuda:N', not {device!r}"
        raise ValueError(msg)
    build = _core.build_info()
    if not build["cuda_devices"]:
        raise CudaError(build["cuda_reason"])
    return int(number or 0)


def chosen_device(device: str | None, lies_on: int | None) -> int | None:
    """Return the CUDA device to use, None for the CPU: the one named, else where the arrays lie."""
    if device is None and lies_on is not None:
        return lies_on
    return parse_device(device or default_device)


def engine_for(
    device: str | None,
    stream: Any,
    memory_budget: int | None,
    queries: Any,
    gallery: Any,
    precision: str = "auto",
) -> Engine:
    """Return the engine for a question.

    Parameters
    ----------
    device : None, "cpu", "cuda" or "cuda:N"
        None: where the gallery lies, or the queries.
    stream : object, optional
        A cudaStream_t as a number, or an object with ``__cuda_stream__``, ``cuda_stream`` (torch) or ``ptr`` (CuPy).
        None: the current stream of the library of the arrays.
    memory_budget : int, optional
        Bytes of scratch.
    queries, gallery : Source
        The question's rows.
    precision : {"auto", "int8", "float16", "float32"}
        How closely the filter is to look at pairs.

    Raises
    ------
    ValueError
        The engine does not have the precision, or the gallery is an Index that keeps other codes.
    """
    number = chosen_device(device, gallery.device if gallery.device is not None else queries.device)
    if device is None and gallery.pinned:
        number = gallery.device
    if gallery.pinned and gallery.device != number:
        msg = (
            f"the Index was made for {_place_name(gallery.device)}, the question is for {_place_name(number)}"
        )
        raise ValueError(msg)
    checked_precision(precision, number)
    if gallery.pinned and precision not in {"auto", gallery.precision}:
        kept = gallery.precision
        msg = f"the Index keeps {kept} codes: precision must be 'auto' or {kept!r}, not {precision!r}"
        raise ValueError(msg)
    if number is None:
        return CpuEngine()
    handle = stream_handle(stream, number, gallery.array, queries.array)
    return CudaEngine(number, handle, memory_budget, precision)


def _place_name(device: int | None) -> str:
    return "the CPU" if device is None else f"device 'cuda:{device}'"


def stream_handle(stream: Any, device: int, *arrays: Any) -> int:
    """Return the cudaStream_t, as a number, that work on `device` belongs on; see `engine_for`."""
    if isinstance(stream, int):
        return stream
    if hasattr(stream, "__cuda_stream__"):
        return int(stream.__cuda_stream__()[1])
    for name in ("cuda_stream", "ptr"):
        if hasattr(stream, name):
            return int(getattr(stream, name))
    if stream is not None:
        msg = f"stream must be a handle or an object with __cuda_stream__, not {type(stream).__name__}"
        raise TypeError(msg)
    for array in arrays:
        if cuda_device(array) is None:
            continue
        if is_torch(array):
            return int(sys.modules["torch"].cuda.current_stream(device).cuda_stream)
        if type(array).__module__.partition(".")[0] == "cupy":
            return int(sys.modules["cupy"].cuda.get_current_stream().ptr)
    return 0


def _empty_like(queries: Any, shape: tuple[int, int], dtype: str) -> Any:
    """Allocate an array on the device with the library of the queries."""
    if is_torch(queries):
        torch = sys.modules["torch"]
        return torch.empty(shape, dtype=getattr(torch, dtype), device=queries.device)
    library = sys.modules[type(queries).__module__.partition(".")[0]]
    if not hasattr(library, "empty"):
        msg = f"results for queries of {library.__name__} have to be given as out="
        raise TypeError(msg)
    return library.empty(shape, dtype=dtype)


def _address(array: Any) -> int:
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
