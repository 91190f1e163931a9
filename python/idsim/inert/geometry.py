"""Shapes, strides and offsets from files, checked in unbounded integers, and arrays read by them."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from idsim.inert.blobs import Blob
from idsim.inert.records import Array, Storage, Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from idsim.inert.records import Element

    Refuse = Callable[[str], NoReturn]

__all__ = ["EXACT_ELEMENTS", "checked_shape", "checked_tensor", "elements", "read_float32"]

MAX_DIMENSIONS = 8
MAX_EXTENT = 2**48
PIECE_BYTES = 4 << 20

# What float32 holds exactly.
EXACT_ELEMENTS = ("f4", "f2", "bf2")


def checked_shape(refuse: Refuse, value: object) -> tuple[int, ...]:
    """Return a shape or strides: at most eight integers from 0 to 2^48."""
    if type(value) not in (tuple, list):
        refuse("a shape is not a tuple")
    counts: tuple[Any, ...] = tuple(value)  # type: ignore[arg-type]
    if len(counts) > MAX_DIMENSIONS or any(type(n) is not int or not 0 <= n <= MAX_EXTENT for n in counts):
        refuse(f"a shape or its strides are not up to {MAX_DIMENSIONS} integers from 0 on")
    return counts


def checked_tensor(refuse: Refuse, storage: object, offset: object, size: object, stride: object) -> Tensor:
    """Return a tensor whose elements lie in its storage, each element at a place of its own, without gaps.

    Views that repeat elements would be larger than their bytes. Dimensions may stand in any order, as in
    ``channels_last``.
    """
    if type(storage) is not Storage:
        refuse("a tensor has no storage")
    shape, strides = checked_shape(refuse, size), checked_shape(refuse, stride)
    if type(offset) is not int or offset < 0 or len(shape) != len(strides):
        refuse("a tensor's offset, shape and strides do not fit together")
    count = prod(shape)
    if offset + count > storage.count:
        refuse(f"{count} elements from {offset} on are not in a storage of {storage.count}")
    expected = 1
    for axis in reversed(storage_order(shape, strides)):
        if shape[axis] != 1 and count:
            if strides[axis] != expected:
                refuse(f"the strides {strides} of the shape {shape} repeat elements or leave gaps")
            expected *= shape[axis]
    return Tensor(storage, offset, shape, strides)


def storage_order(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[int, ...]:
    """Return the axes in the order in which they are stored, slowest first; those of extent 1 come last."""
    return tuple(sorted(range(len(shape)), key=lambda axis: (shape[axis] == 1, -strides[axis])))


def read_float32(
    blob: Blob, code: str, shape: tuple[int, ...], order: tuple[int, ...]
) -> NDArray[np.float32]:
    """Read an array and widen it exactly.

    Parameters
    ----------
    blob : Blob
        The bytes of its elements, and no others.
    code : str
        The type of the elements, one of `EXACT_ELEMENTS`.
    shape : tuple of int
        The shape.
    order : tuple of int
        The axes as they are stored, slowest first.

    Returns
    -------
    ndarray
        float32, C-contiguous, its own memory.
    """
    array = np.empty(shape, np.float32)
    real = [axis for axis in order if shape[axis] != 1]
    stored = array.reshape(-1) if real == sorted(real) else array.transpose(order)
    if not array.size:
        return array
    if code == "f4" and stored.ndim == 1:
        blob.file.read_into(stored.data, blob.start)
        return array
    # In pieces along the slowest axis: the elements never stand in memory a second time as a whole.
    size = len(blob) // len(stored)
    rows = max(1, PIECE_BYTES // size)
    for row in range(0, len(stored), rows):
        part = stored[row : row + rows]
        raw = np.empty(part.shape, "<u2" if code == "bf2" else f"<{code}")
        blob.file.read_into(raw.reshape(-1).data, blob.start + row * size)
        part[...] = (raw.astype("<u4") << 16).view("<f4") if code == "bf2" else raw
    return array


def elements(value: Tensor | Array) -> tuple[Blob, Element, tuple[int, ...]]:
    """Return the bytes of the elements of a tensor or array, their type, and the axes as they are stored."""
    if isinstance(value, Tensor):
        blob, element = value.storage.blob, value.storage.element
        assert blob is not None, "storages have their bytes before the value of a file is used"
        start = blob.start + value.offset * element.size
        part = Blob(blob.file, start, start + prod(value.shape) * element.size)
        return part, element, storage_order(value.shape, value.strides)
    assert value.blob is not None
    assert value.element is not None
    axes = tuple(range(len(value.shape)))
    return value.blob, value.element, tuple(reversed(axes)) if value.fortran else axes
