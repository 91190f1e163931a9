"""Arrays that touch an unreadable page: a read or write past them is a crash.

A sanitizer does not see an overrun inside the parent buffer of a NumPy view, and an ordinary
allocation has slack on both sides; these arrays have none.
"""

from __future__ import annotations

import ctypes
import mmap

import numpy as np
import numpy.typing as npt

PROT_NONE = 0
PAGE = mmap.PAGESIZE


def guarded(array: npt.NDArray, side: str = "after") -> npt.NDArray:
    """Return a writable C-ordered copy that ends (or begins) against an unreadable page.

    Parameters
    ----------
    array : array of any shape and dtype
    side : {"after", "before"}
        "after": the byte past the end is unreadable; "before": the byte before the start is.
    """
    if side not in ("after", "before"):
        raise ValueError(f"side must be 'after' or 'before', not {side!r}")
    body = max(1, -(-array.nbytes // PAGE)) * PAGE
    region = mmap.mmap(-1, body + PAGE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(region))
    wall = start + body if side == "after" else start
    if ctypes.CDLL(None, use_errno=True).mprotect(ctypes.c_void_p(wall), PAGE, PROT_NONE) != 0:
        raise OSError(ctypes.get_errno(), "mprotect refused the guard page")
    offset = body - array.nbytes if side == "after" else PAGE
    result = np.frombuffer(region, dtype=array.dtype, count=array.size, offset=offset)
    result = result.reshape(array.shape)
    result[...] = array
    return result


def both_sides(array: npt.NDArray) -> list[npt.NDArray]:
    """Return two copies: one against a wall at its end, one against a wall at its start."""
    return [guarded(array, "after"), guarded(array, "before")]
