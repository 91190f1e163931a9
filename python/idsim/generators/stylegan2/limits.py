"""What reading a checkpoint may use."""

from __future__ import annotations

from idsim.walls import Limits

__all__ = ["limits_of"]


def limits_of(file_bytes: int) -> Limits:
    """Return the limits for a file of `file_bytes` bytes.

    Memory: Python and NumPy, the weights, and half-precision weights widened. Written: the weights, at most twice
    the file, and their names. Time: a gigabyte takes about ten seconds.
    """
    return Limits(
        address_space=(1 << 30) + 3 * file_bytes,
        written=(16 << 20) + 2 * file_bytes,
        seconds=20 + file_bytes // (50 << 20),
    )
