"""Rows of unit length."""

from __future__ import annotations

from typing import Any

from idsim.arrays import as_matrix, cuda_device
from idsim.placement import chosen_device, engine_at

__all__ = ["normalize"]


def normalize(
    x: Any, *, out: Any = None, threads: int | None = None, device: str | None = None, stream: Any = None
) -> Any:
    """Scale rows to unit length.

    Parameters
    ----------
    x : array
        [n, d] float32, float16, bfloat16 or float64, on the CPU or on a CUDA device.
    out : array, optional
        float32 [n, d], contiguous; written and returned.
    threads : int, optional
        Default: one per core.
    device, stream
        As in `idsim.search`. Default: where x lies.

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
    engine = engine_at(chosen_device(device, cuda_device(matrix)), stream, None, x)
    given, result = engine.output(out, x, shape)
    engine.normalize(matrix, result, threads)
    return engine.handed_over(given, x)
