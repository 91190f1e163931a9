"""Names of devices, and the streams that work on them belongs on."""

from __future__ import annotations

import sys
from typing import Any

from idsim import _core
from idsim.arrays import cuda_device, is_torch
from idsim.errors import CudaError

__all__ = ["Place", "device_name", "parse_device", "stream_handle"]

#: The CPU; a CUDA device; or several, which share a gallery.
Place = int | tuple[int, ...] | None


def parse_device(device: str | None) -> Place:
    """Return the place that a name stands for.

    Parameters
    ----------
    device : None or str
        "cpu" (or None), "cuda", "cuda:N", "cuda:N,M" (several devices) or "cuda:all".

    Raises
    ------
    ValueError
        Another name, or a device twice.
    CudaError
        There is no such device, or no CUDA backend.
    """
    if device is None or device == "cpu":
        return None
    name, colon, numbers = device.partition(":")
    listed = numbers.split(",")
    if name != "cuda" or (colon and numbers != "all" and not all(n.isdecimal() for n in listed)):
        msg = f"device must be 'cpu', 'cuda', 'cuda:N', 'cuda:N,M' or 'cuda:all', not {device!r}"
        raise ValueError(msg)
    build = _core.build_info()
    count = build["cuda_devices"]
    if not count:
        raise CudaError(build["cuda_reason"])
    if not colon:
        return 0
    devices = tuple(range(count)) if numbers == "all" else tuple(map(int, listed))
    if len(set(devices)) < len(devices):
        msg = f"device names a device twice: {device!r}"
        raise ValueError(msg)
    if len(devices) > 1 and max(devices) >= count:
        msg = f"device {device!r}: there are {count} CUDA devices, 'cuda:0' to 'cuda:{count - 1}'"
        raise CudaError(msg)
    return devices if len(devices) > 1 else devices[0]


def device_name(place: Place) -> str:
    """Return the name of a place, as `parse_device` reads it."""
    if place is None:
        return "cpu"
    return f"cuda:{place}" if isinstance(place, int) else "cuda:" + ",".join(map(str, place))


def stream_handle(stream: Any, device: int, *arrays: Any) -> int:
    """Return the cudaStream_t, as a number, that work on a device belongs on.

    Parameters
    ----------
    stream : object, optional
        A cudaStream_t as a number, or an object with ``__cuda_stream__``, ``cuda_stream`` (torch) or ``ptr`` (CuPy).
        None: the current stream of the library of the arrays.
    device : int
        Its number.
    *arrays : object
        The first that lies on a device and whose library has a current stream decides.
    """
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
            return int(sys.modules["cupy"].cuda.get_current_stream(device).ptr)
    return 0
