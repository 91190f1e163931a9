"""Arrays on a CUDA device for tests: torch's where there is a device, stand-ins where the device is emulated.

Emulated devices have the host's memory, so a NumPy array that calls itself a CUDA array is one; the emulator is told
which device it belongs to.
"""

from __future__ import annotations

import contextlib
import ctypes
import types
import weakref
from typing import Any

import numpy as np

from idsim import _core
from support import emulator

CUDA = 2  # kDLCUDA


class _Tensor(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32)]


class _Versioned(ctypes.Structure):
    _fields_ = [
        ("version", ctypes.c_uint32 * 2),
        ("manager", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    ]


class DeviceArray:
    """A NumPy array on an emulated device; remembers the streams that it was asked for."""

    def __init__(self, array: np.ndarray, device: int = 0) -> None:
        self.array = array
        self.device = device
        self.streams: list[Any] = []

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def dtype(self) -> np.dtype:
        return self.array.dtype

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {**self.array.__array_interface__, "version": 3}

    def __dlpack_device__(self) -> tuple[int, int]:
        return CUDA, self.device

    def __dlpack__(self, *, stream: Any = None, max_version: tuple[int, int] | None = None) -> Any:
        self.streams.append(stream)
        capsule = self.array.__dlpack__(max_version=(1, 0))
        get = ctypes.pythonapi.PyCapsule_GetPointer
        get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
        managed = ctypes.cast(get(capsule, b"dltensor_versioned"), ctypes.POINTER(_Versioned))
        managed.contents.tensor.device_type = CUDA
        managed.contents.tensor.device_id = self.device
        return capsule

    def __getitem__(self, key: Any) -> DeviceArray:
        return DeviceArray(self.array[key], self.device)


def owned(array: np.ndarray, device: int) -> np.ndarray:
    """Tell the emulator that this memory is a device's, for as long as the array lives."""
    address = array.ctypes.data
    emulator.claim(address, array.nbytes, device)
    weakref.finalize(array, emulator.disclaim, address)
    return array


_devices = [0]  # the current one is the last


@contextlib.contextmanager
def _device(number: int) -> Any:
    _devices.append(number)
    try:
        yield
    finally:
        _devices.pop()


def empty(shape: tuple[int, ...], dtype: str) -> DeviceArray:
    """Allocate on the current device, as an array library does; see `install`."""
    return DeviceArray(owned(np.empty(shape, dtype), _devices[-1]), _devices[-1])


def install(monkeypatch: Any) -> None:
    """Let idsim allocate as it does with CuPy: by the top-level module of the class of the queries."""
    import support

    monkeypatch.setattr(support, "empty", empty, raising=False)
    monkeypatch.setattr(support, "cuda", types.SimpleNamespace(Device=_device), raising=False)


def to_device(array: np.ndarray, device: int = 0) -> Any:
    """Return an array on a device with these values."""
    if _core.build_info()["cuda_emulated"]:
        return DeviceArray(owned(np.array(array), device), device)
    import torch

    return torch.from_numpy(np.ascontiguousarray(array)).to(f"cuda:{device}")


def to_host(array: Any) -> np.ndarray:
    """Return the values of an array on the device."""
    return array.array if isinstance(array, DeviceArray) else array.cpu().numpy()
