"""Arrays in and out: what the engine accepts, and the caller's library for what it returns.

NumPy and torch (CPU) arrays are read where they lie; any other library is read through DLPack. Results come
back as torch tensors where the queries were torch tensors, as NumPy arrays otherwise.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["as_matrix", "as_output", "cuda_device", "is_torch", "like_queries"]

_CUDA_DEVICES = frozenset({2, 13})  # kDLCUDA and kDLCUDAManaged of DLPack


class _Bfloat16Bits(np.ndarray):
    """uint16 that stand for bfloat16; the engine reads NumPy's uint16 as such."""


_FLOATS = frozenset({"float16", "float32", "float64"})


def is_torch(array: Any) -> bool:
    """Tell whether an object is a torch tensor, without importing torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(array, torch.Tensor)


def cuda_device(array: Any) -> int | None:
    """Return the number of the CUDA device that an array lies on; None for the CPU, and for anything else."""
    if isinstance(array, np.ndarray) or not hasattr(array, "__dlpack_device__"):
        return None
    kind, number = array.__dlpack_device__()
    return int(number) if int(kind) in _CUDA_DEVICES else None


def as_matrix(array: Any, name: str) -> Any:
    """Return an object that the engine can read as a matrix of embeddings.

    Parameters
    ----------
    array : array
        [rows, d] float32, float16, bfloat16 or float64 on the CPU: NumPy, torch, or anything with DLPack.
        Any strides; read-only and memory-mapped arrays too. Not copied, but for byte-swapped arrays.
    name : str
        Of the argument, for messages.

    Raises
    ------
    TypeError
        Another dtype (integers are never cast in silence), or no array.
    ValueError
        Not two dimensions.
    """
    matrix: NDArray[Any]
    if isinstance(array, _Bfloat16Bits) or (
        type(array) is np.ndarray and array.dtype == np.float32 and array.dtype.isnative
    ):
        matrix = array
    elif is_torch(array):
        return _checked_torch(array, name)
    elif isinstance(array, np.ndarray) or not hasattr(array, "__dlpack__"):
        matrix = _checked_numpy(array, name)
    elif hasattr(array, "shape"):
        return array
    else:
        matrix = _checked_numpy(np.from_dlpack(array), name)
    if matrix.ndim != 2:
        msg = f"{name} must have 2 dimensions [rows, d], not {matrix.ndim}"
        raise ValueError(msg)
    return matrix


def _checked_numpy(array: Any, name: str) -> NDArray[Any]:
    if isinstance(array, np.ma.MaskedArray):
        msg = f"{name} is a masked array; leave out or fill the masked rows first"
        raise TypeError(msg)
    matrix = np.asarray(array)
    if matrix.dtype.name == "bfloat16":
        return matrix.view(np.uint16).view(_Bfloat16Bits)
    if matrix.dtype.name not in _FLOATS:
        msg = f"{name} must be float32, float16, bfloat16 or float64, not {matrix.dtype.name}"
        raise TypeError(msg)
    return matrix if matrix.dtype.isnative else matrix.astype(matrix.dtype.newbyteorder("="))


def _checked_torch(tensor: Any, name: str) -> Any:
    if str(tensor.dtype).removeprefix("torch.") not in (*_FLOATS, "bfloat16"):
        msg = f"{name} must be float32, float16, bfloat16 or float64, not {tensor.dtype}"
        raise TypeError(msg)
    if tensor.ndim != 2:
        msg = f"{name} must have 2 dimensions [rows, d], not {tensor.ndim}"
        raise ValueError(msg)
    return tensor.detach()


def as_output(array: Any, name: str, shape: Sequence[int], dtype: type[np.generic]) -> NDArray[Any]:
    """Return a writable NumPy view of an output array given by the caller.

    Raises
    ------
    TypeError
        Not a NumPy array or torch tensor on the CPU, or another dtype.
    ValueError
        Another shape, not contiguous, or read-only.
    """
    view = array.detach().numpy() if is_torch(array) else array
    if not isinstance(view, np.ndarray) or view.dtype != dtype:
        got = getattr(view, "dtype", type(view).__name__)
        msg = f"out: {name} must be a {np.dtype(dtype).name} array of NumPy or torch, not {got}"
        raise TypeError(msg)
    if view.shape != tuple(shape) or not view.flags.c_contiguous or not view.flags.writeable:
        msg = f"out: {name} must be a writable, contiguous array of shape {tuple(shape)}, not {view.shape}"
        raise ValueError(msg)
    return view


def like_queries(array: NDArray[Any], queries: Any) -> Any:
    """Return a result in the array library of the queries, without a copy."""
    if not isinstance(queries, np.ndarray) and is_torch(queries):
        return sys.modules["torch"].from_numpy(array)
    return array
