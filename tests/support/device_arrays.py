"""Arrays on a CUDA device for tests: torch's where there is a device, stand-ins where the device is emulated.

The emulated device has the host's memory, so a NumPy array that calls itself a CUDA array is one.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from idsim import _core

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
    """A NumPy array on the emulated device; remembers the streams that it was asked for."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = np.asarray(array)
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
        return CUDA, 0

    def __dlpack__(self, *, stream: Any = None, max_version: tuple[int, int] | None = None) -> Any:
        self.streams.append(stream)
        capsule = self.array.__dlpack__(max_version=(1, 0))
        get = ctypes.pythonapi.PyCapsule_GetPointer
        get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
        managed = ctypes.cast(get(capsule, b"dltensor_versioned"), ctypes.POINTER(_Versioned))
        managed.contents.tensor.device_type = CUDA
        return capsule

    def __getitem__(self, key: Any) -> DeviceArray:
        return DeviceArray(self.array[key])


def empty(shape: tuple[int, ...], dtype: str) -> DeviceArray:
    """Allocate as an array library does; idsim finds this function by the module of `DeviceArray`."""
    return DeviceArray(np.empty(shape, dtype))


def to_device(array: np.ndarray) -> Any:
    """Return an array on the device with these values."""
    if _core.build_info()["cuda_emulated"]:
        return DeviceArray(array)
    import torch

    return torch.from_numpy(np.ascontiguousarray(array)).cuda()


def to_host(array: Any) -> np.ndarray:
    """Return the values of an array on the device."""
    return array.array if isinstance(array, DeviceArray) else array.cpu().numpy()
