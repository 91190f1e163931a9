"""Arrays as members of a bundle: .npy without objects, and nothing believed that was not checked."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from idsim.audit.bundling.archive import BundleArchive

__all__ = ["array_bytes", "read_integers", "read_scores"]

SMALL = 1 << 31
MAX_HEADER_BYTES = 4096


def array_bytes(array: NDArray[Any]) -> bytes:
    """Return an array as ``.npy``: floats as float32, whole numbers as int32 where they fit, else int64."""
    if array.dtype.kind == "f":
        plain = np.ascontiguousarray(array, "<f4")
    else:
        small = not array.size or (int(array.min()) >= -SMALL and int(array.max()) < SMALL)
        plain = np.ascontiguousarray(array, "<i4" if small else "<i8")
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, plain, (1, 0), allow_pickle=False)
    return buffer.getvalue()


def read_scores(bundle: BundleArchive, name: str, *shape: int | None) -> NDArray[np.float32]:
    """Return the float32 array of a member; None in its shape stands for any number."""
    return _read(bundle, name, ("<f4",), shape).astype(np.float32)


def read_integers(
    bundle: BundleArchive, name: str, *shape: int | None, low: int, high: int
) -> NDArray[np.int64]:
    """Return the whole numbers of a member as int64.

    Raises
    ------
    BundleError
        It is no such array, or a number is below `low` or not below `high`.
    """
    values = _read(bundle, name, ("<i4", "<i8"), shape).astype(np.int64)
    if values.size and (int(values.min()) < low or int(values.max()) >= high):
        bundle.refuse(name, f"its numbers must be from {low} to {high - 1}")
    return values


def _read(
    bundle: BundleArchive, name: str, kinds: tuple[str, ...], shape: tuple[int | None, ...]
) -> NDArray[Any]:
    data = bundle.read(name)
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        if version != (1, 0):
            raise ValueError(f"version {version}")
        found, fortran, dtype = np.lib.format.read_array_header_1_0(stream, MAX_HEADER_BYTES)
    except (ValueError, EOFError, SyntaxError) as error:
        bundle.refuse(name, f"it is no .npy array ({error})")
    if dtype.str not in kinds or fortran:
        bundle.refuse(name, f"it must be an array of {' or '.join(kinds)} in C order, not {dtype.str}")
    fits = len(found) == len(shape) and all(
        wanted in (None, size) for wanted, size in zip(shape, found, strict=True)
    )
    if not fits:
        bundle.refuse(name, f"its shape is {list(found)}, where {_wanted(shape)} is needed")
    if len(data) - stream.tell() != math.prod(found) * dtype.itemsize:
        bundle.refuse(name, "its header announces another number of bytes than it has")
    return np.frombuffer(data, dtype, offset=stream.tell()).reshape(found)


def _wanted(shape: tuple[int | None, ...]) -> str:
    return f"[{', '.join('any' if size is None else str(size) for size in shape)}]"
