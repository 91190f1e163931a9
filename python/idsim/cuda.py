"""Searches on a CUDA device: where arrays lie, on which stream work goes, and scans there.

The bytes of the results are those of the CPU engine.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim import _core
from idsim.arrays import as_matrix, as_output, is_torch, like_queries
from idsim.errors import CudaError
from idsim.options import checked_k, skips, worst_score
from idsim.results import Certificate, TopK

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from idsim.options import Metric, Nonfinite, Progress

__all__ = ["CudaTopKScan", "cuda_device", "parse_device", "stream_handle"]

_CUDA_DEVICES = frozenset({2, 13})  # kDLCUDA and kDLCUDAManaged of DLPack
_CODE_BYTES = 1 << 28  # of a gallery part that is coded at once


def cuda_device(array: Any) -> int | None:
    """Return the number of the CUDA device that an array lies on; None for the CPU."""
    if isinstance(array, np.ndarray) or not hasattr(array, "__dlpack_device__"):
        return None
    kind, number = array.__dlpack_device__()
    return int(number) if int(kind) in _CUDA_DEVICES else None


def parse_device(device: str | None) -> int | None:
    """Return the number of the CUDA device that "cuda" or "cuda:1" names; None for "cpu" and None.

    Raises
    ------
    ValueError
        Another name.
    CudaError
        There is no such device, or no CUDA backend.
    """
    if device is None or device == "cpu":
        return None
    name, _, number = device.partition(":")
    if name != "cuda" or (number and not number.isdecimal()) or device.endswith(":"):
        msg = f"device must be 'cpu', 'cuda' or 'cuda:N', not {device!r}"
        raise ValueError(msg)
    build = _core.build_info()
    if not build["cuda_devices"]:
        raise CudaError(build["cuda_reason"])
    return int(number or 0)


def stream_handle(stream: Any, device: int, *arrays: Any) -> int:
    """Return the cudaStream_t, as a number, that work belongs on.

    Parameters
    ----------
    stream : None, int or object
        The handle, or an object with ``__cuda_stream__``, ``cuda_stream`` (torch) or ``ptr`` (CuPy). None: the current
        stream of the library that the first of the arrays on a device comes from.
    device : int
        The CUDA device.
    *arrays : array
        The arguments of the call.
    """
    if stream is None:
        return _current_stream(device, *arrays)
    if isinstance(stream, int):
        return stream
    if hasattr(stream, "__cuda_stream__"):
        protocol = stream.__cuda_stream__
        return int((protocol() if callable(protocol) else protocol)[1])
    for name in ("cuda_stream", "ptr"):
        if hasattr(stream, name):
            return int(getattr(stream, name))
    msg = f"stream must be a handle or an object with __cuda_stream__, not {type(stream).__name__}"
    raise TypeError(msg)


def _current_stream(device: int, *arrays: Any) -> int:
    for array in arrays:
        if cuda_device(array) is None:
            continue
        if is_torch(array):
            return int(sys.modules["torch"].cuda.current_stream(device).cuda_stream)
        if type(array).__module__.partition(".")[0] == "cupy":
            return int(sys.modules["cupy"].cuda.get_current_stream().ptr)
        return 0
    return 0


class CudaTopKScan:
    """Top-k on a CUDA device over a gallery that comes in parts; see `idsim.TopKScan`.

    Parameters
    ----------
    queries : array
        [q, d], on the device or on the CPU.
    k, metric, exclude_self, query_groups, threshold, nonfinite, first_query_id
        As for `idsim.TopKScan`.
    device : int
        The CUDA device.
    stream : object, optional
        See `stream_handle`.
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
        first_query_id: int = 0,
        device: int = 0,
        stream: Any = None,
    ) -> None:
        matrix = as_matrix(queries, "queries")
        self._queries = queries
        self._shape = (int(matrix.shape[0]), checked_k(k))
        self._skip = skips(nonfinite)
        self._metric: Metric = metric
        self._scan = _core.CudaTopKScan(
            matrix,
            metric,
            self._shape[1],
            worst_score(metric, threshold),
            exclude_self,
            first_query_id,
            query_groups,
            device,
            stream_handle(stream, device, queries),
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
        """Add gallery rows [n, d], on the device or on the CPU, with ids ``first_id``, ``first_id + 1``, ..."""
        matrix = as_matrix(rows, "gallery")
        self._scan.feed(matrix, first_id, groups, self._skip, _CODE_BYTES)
        _report(progress, int(matrix.shape[0]))

    def feed_prepared(
        self,
        prepared: _core.CudaPrepared,
        first_id: int = 0,
        *,
        groups: NDArray[np.int64] | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Add gallery rows that were prepared on the device."""
        self._scan.feed_prepared(prepared, first_id, groups)
        _report(progress, prepared.rows)

    def finish(self, out: tuple[Any, Any] | None = None) -> TopK:
        """Return the result, on the device where the queries are; the scan is not to be fed again."""
        if out is None:
            out = self._outputs()
        if cuda_device(out[0]) is not None or cuda_device(out[1]) is not None:
            pointers = [
                _device_pointer(array, name, self._shape, dtype)
                for array, name, dtype in zip(out, ("scores", "ids"), ("float32", "int64"), strict=True)
            ]
            self._scan.finish_on_device(*pointers)
            return TopK(*out)
        scores = as_output(out[0], "scores", self._shape, np.float32)
        ids = as_output(out[1], "ids", self._shape, np.int64)
        self._scan.finish(scores, ids)
        return TopK(*out)

    def _outputs(self) -> tuple[Any, Any]:
        """Allocate the results with the library of the queries."""
        if cuda_device(self._queries) is not None:
            if is_torch(self._queries):
                torch = sys.modules["torch"]
                place = self._queries.device
                return (
                    torch.empty(self._shape, dtype=torch.float32, device=place),
                    torch.empty(self._shape, dtype=torch.int64, device=place),
                )
            namespace = getattr(self._queries, "__array_namespace__", lambda: None)()
            if hasattr(namespace, "empty"):
                return (
                    namespace.empty(self._shape, dtype=namespace.float32),
                    namespace.empty(self._shape, dtype=namespace.int64),
                )
        scores, ids = np.empty(self._shape, np.float32), np.empty(self._shape, np.int64)
        return like_queries(scores, self._queries), like_queries(ids, self._queries)

    def certificate(self) -> Certificate:
        """Return what the filter did so far; waits for the device."""
        counts = self._scan.certificate()
        return Certificate(
            counts["pairs"],
            counts["candidates"],
            counts["rescored"],
            counts["skipped_rows"],
            counts["reach"],
        )


def _report(progress: Progress | None, rows: int) -> None:
    if progress is not None and progress(rows, rows) is False:
        msg = "cancelled by the progress callback"
        raise KeyboardInterrupt(msg)


def _device_pointer(array: Any, name: str, shape: tuple[int, int], dtype: str) -> int:
    """Return the address of an output array on a device: torch, or anything with ``__cuda_array_interface__``."""
    interface = getattr(array, "__cuda_array_interface__", None)
    if interface is None:
        msg = f"out: {name} must be a CUDA array of torch or CuPy like the other one, not {type(array).__name__}"
        raise TypeError(msg)
    if np.dtype(interface["typestr"]) != np.dtype(dtype):
        msg = f"out: {name} must be {dtype}, not {np.dtype(interface['typestr']).name}"
        raise TypeError(msg)
    address, read_only = interface["data"]
    dense = interface.get("strides") in {None, (shape[1] * np.dtype(dtype).itemsize, np.dtype(dtype).itemsize)}
    if tuple(interface["shape"]) != shape or not dense or read_only:
        msg = f"out: {name} must be a writable, contiguous array of shape {shape}, not {tuple(interface['shape'])}"
        raise ValueError(msg)
    return int(address)
