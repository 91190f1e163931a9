"""Rows of unit length."""

from __future__ import annotations

from typing import Any

import numpy as np

from idsim import _core
from idsim.arrays import as_matrix, as_output, like_queries
from idsim.options import resolve_threads

__all__ = ["normalize"]


def normalize(x: Any, *, out: Any = None, threads: int | None = None) -> Any:
    """Scale rows to unit length.

    Parameters
    ----------
    x : array
        [n, d] float32, float16, bfloat16 or float64.
    out : array, optional
        float32 [n, d], contiguous; written and returned.
    threads : int, optional
        Default: one per core.

    Returns
    -------
    array
        float32 [n, d]: each element divided in float64 by the row's float64 norm and rounded once, so rows of
        any scale come out right. A zero row stays zero.

    Raises
    ------
    ValueError
        A row holds NaN or Inf; the first is named.
    """
    matrix = as_matrix(x, "x")
    shape = (int(matrix.shape[0]), int(matrix.shape[1]))
    if out is None:
        result = np.empty(shape, np.float32)
        _core.normalize(matrix, result, resolve_threads(threads))
        return like_queries(result, x)
    _core.normalize(matrix, as_output(out, "rows", shape, np.float32), resolve_threads(threads))
    return out
