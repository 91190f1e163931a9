"""Progress of work that comes in blocks."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from idsim.options import Progress

__all__ = ["BlockProgress"]

SECONDS_BETWEEN_CALLS = 0.1


class BlockProgress:
    """Reports the rows of finished blocks, and those inside a long one, a few times a second.

    Parameters
    ----------
    progress : callable or None
        Called with (rows done, rows in all); returning False cancels.
    total : int
        Rows in all.
    """

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress = progress
        self._total = total
        self._next = 0.0

    def inside(self, first: int) -> Progress | None:
        """Return the callback for the work on one block whose first row is `first`."""
        progress = self._progress
        if progress is None:
            return None
        return lambda done, _: progress(first + done, self._total)

    def finished(self, rows: int) -> None:
        """Report that all rows before row `rows` are done.

        Raises
        ------
        KeyboardInterrupt
            The callback returned False.
        """
        if self._progress is None or (rows < self._total and time.monotonic() < self._next):
            return
        self._next = time.monotonic() + SECONDS_BETWEEN_CALLS
        if self._progress(rows, self._total) is False:
            raise KeyboardInterrupt("cancelled by the progress callback")
