"""The array zoo: every way to hold the same matrix, and what must be refused.

Each maker takes a float32 matrix and returns an object that holds the same values.
"""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from support.guard import guarded

if TYPE_CHECKING:
    from collections.abc import Callable

Matrix = npt.NDArray[np.float32]


class PlainSubclass(np.ndarray):
    """A subclass that changes nothing."""


class ArrayInterface:
    """Only ``__array_interface__``, as other libraries export their buffers."""

    def __init__(self, array: Matrix) -> None:
        self.owner = array
        self.__array_interface__ = array.__array_interface__


class ArrayMethod:
    """Only ``__array__``."""

    def __init__(self, array: Matrix) -> None:
        self.owner = array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Matrix:
        return self.owner if dtype is None else self.owner.astype(dtype)


class DLPackOnly:
    """Only the DLPack protocol, at a chosen version."""

    def __init__(self, array: Matrix, *, versioned: bool = True) -> None:
        self.owner = array
        self.versioned = versioned

    def __dlpack__(self, **options: Any) -> Any:
        if not self.versioned:
            return self.owner.__dlpack__()
        return self.owner.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.owner.__dlpack_device__()


class OldDLPack:
    """A producer from before DLPack 1.0, whose ``__dlpack__`` knows ``stream`` alone."""

    def __init__(self, array: Matrix) -> None:
        self.owner = array

    def __dlpack__(self, stream: Any = None) -> Any:
        return self.owner.__dlpack__()

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)


def frozen(array: Matrix) -> Matrix:
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def shifted(array: Matrix, by: int = 1) -> Matrix:
    raw = np.zeros(array.nbytes + by, np.uint8)
    view = np.ndarray(array.shape, array.dtype, raw.data, by)
    view[...] = array
    assert array.size == 0 or by % array.itemsize == 0 or not view.flags.aligned
    return view


def interleaved(array: Matrix) -> Matrix:
    record = np.zeros(len(array), np.dtype([("tag", "u1"), ("row", "f4", array.shape[1]), ("end", "u2")]))
    record["row"] = array
    return record["row"]


def mapped(array: Matrix) -> Matrix:
    with tempfile.NamedTemporaryFile(suffix=".npy") as file:
        np.save(file.name, array)
        return np.load(file.name, mmap_mode="r")


def tensor(array: Matrix) -> Any:
    import torch

    return torch.from_numpy(array.copy())


FORMS: dict[str, Callable[[Matrix], Any]] = {
    "C order": np.ascontiguousarray,
    "Fortran order": np.asfortranarray,
    "row stride 3": lambda a: np.repeat(a, 3, axis=0)[::3],
    "column stride 2": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "both strides": lambda a: np.repeat(np.repeat(a, 2, axis=0), 5, axis=1)[1::2, 4::5],
    "negative row stride": lambda a: a[::-1].copy()[::-1],
    "negative column stride": lambda a: a[:, ::-1].copy()[:, ::-1],
    "both negative": lambda a: a[::-1, ::-1].copy()[::-1, ::-1],
    "offset view": lambda a: np.pad(a, ((2, 3), (5, 1)))[2:-3, 5:-1],
    "read-only": frozen,
    "misaligned by 1": shifted,
    "misaligned by 2": lambda a: shifted(a, 2),
    "field of a record": interleaved,
    "byte-swapped": lambda a: a.astype(a.dtype.newbyteorder()),
    "memory map": mapped,
    "guarded": guarded,
    "subclass": lambda a: a.view(PlainSubclass),
    "array interface": ArrayInterface,
    "array method": ArrayMethod,
    "DLPack": DLPackOnly,
    "DLPack unversioned": lambda a: DLPackOnly(a, versioned=False),
    "DLPack old": OldDLPack,
    "DLPack read-only": lambda a: DLPackOnly(frozen(a)),
    "DLPack strided": lambda a: DLPackOnly(np.repeat(a, 2, axis=1)[:, ::2]),
    "torch": tensor,
    "torch transposed": lambda a: tensor(a.T.copy()).T,
    "torch strided": lambda a: tensor(np.repeat(a, 2, axis=0))[::2],
    "torch expanded columns": lambda a: tensor(np.pad(a, ((0, 0), (1, 2))))[:, 1:-2],
}
