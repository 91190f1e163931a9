"""The time that a call may take."""

from __future__ import annotations

import time


class Budget:
    """Seconds that run from now on."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self._started = seconds, time.monotonic()

    @property
    def left(self) -> float:
        """Return the seconds that are left."""
        return self.seconds - (time.monotonic() - self._started)
