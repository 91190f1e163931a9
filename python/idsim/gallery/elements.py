"""Rows in the three stored element types: conversion into them, out of them, and the test for NaN and Inf."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from idsim.gallery.format import storage_dtype

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["as_matrix", "gallery_dtype", "nonfinite_rows", "to_storage", "widen"]

# A 16-bit float is NaN or infinite just when all its exponent bits are set.
_EXPONENT_BITS = {"float16": np.uint16(0x7C00), "bfloat16": np.uint16(0x7F80)}


def as_matrix(vectors: object, dim: int | None = None) -> NDArray[np.generic]:
    """Return `vectors` as a matrix of a type that can be stored.

    Parameters
    ----------
    vectors : array-like
        ``[n, d]`` of float16, float32, float64 or bfloat16 (an ``ml_dtypes`` array).
    dim : int, optional
        The number of columns that the matrix must have.

    Raises
    ------
    TypeError
        The elements are of another type.
    ValueError
        The array is no matrix, or has another number of columns.
    """
    matrix = np.asarray(vectors)
    if matrix.dtype.name not in ("float16", "float32", "float64", "bfloat16"):
        raise TypeError(f"vectors must be float16, bfloat16, float32 or float64, not {matrix.dtype}")
    if matrix.ndim != 2:
        raise ValueError(f"vectors must be a matrix [n, d], not {matrix.ndim}-dimensional")
    if dim is not None and matrix.shape[1] != dim:
        raise ValueError(f"vectors have {matrix.shape[1]} columns, the gallery has {dim}")
    return matrix


def gallery_dtype(dtype: np.dtype[np.generic]) -> str:
    """Return the gallery type that holds rows of a NumPy type (float64 rows are rounded to float32)."""
    return "float32" if dtype.name == "float64" else dtype.name


def to_storage(matrix: NDArray[np.generic], dtype: str) -> NDArray[np.generic]:
    """Return a matrix as C-contiguous rows of the stored type.

    Widening is exact; narrowing (float64 to float32, anything to a 16-bit type) rounds to nearest, ties to
    even, and what is too large becomes infinite.

    Parameters
    ----------
    matrix : ndarray
        ``[n, d]`` of float16, bfloat16, float32 or float64.
    dtype : str
        ``float32``, ``float16`` or ``bfloat16``.
    """
    target = storage_dtype(dtype)
    if matrix.dtype.name == "bfloat16":
        bits = np.ascontiguousarray(matrix).view(np.uint16)
        if dtype == "bfloat16":
            return bits.astype(target, copy=False)
        matrix = _widen_bfloat16(bits)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        if dtype == "bfloat16":
            return _round_to_bfloat16(matrix.astype(np.float32)).astype(target, copy=False)
        return np.ascontiguousarray(matrix, dtype=target)


def widen(stored: NDArray[np.generic], dtype: str) -> NDArray[np.float32] | NDArray[np.float16]:
    """Return stored rows as numbers: float32 and float16 as they are, bfloat16 as float32 (exact)."""
    return _widen_bfloat16(stored) if dtype == "bfloat16" else stored  # type: ignore[return-value]


def nonfinite_rows(stored: NDArray[np.generic], dtype: str) -> NDArray[np.int64]:
    """Return the numbers of the rows that hold NaN or an infinity, ascending."""
    if dtype == "float32":
        finite = np.isfinite(stored)
    else:
        bits = stored.view(np.uint16)
        mask = _EXPONENT_BITS[dtype]
        finite = (bits & mask) != mask
    return np.flatnonzero(~finite.all(axis=1))


def _widen_bfloat16(bits: NDArray[np.generic]) -> NDArray[np.float32]:
    wide: NDArray[np.uint32] = np.left_shift(bits, 16, dtype=np.uint32)
    return wide.view(np.float32)


def _round_to_bfloat16(matrix: NDArray[np.float32]) -> NDArray[np.uint16]:
    bits = np.ascontiguousarray(matrix).view(np.uint32)
    # Adding half of the last kept bit, less one for even ones, carries into the kept bits to round.
    rounded = ((bits + (((bits >> 16) & 1) + 0x7FFF)) >> 16).astype(np.uint16)
    return np.where(np.isnan(matrix), np.uint16(0x7FC0), rounded)
