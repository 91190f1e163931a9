"""Intervals as the tests of this package make and show them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from idsim.audit.rates.intervals import Interval

__all__ = ["interval_entry", "percentiles"]


def percentiles(estimate: float, deviations: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    """Return the percentile interval of an estimate from its bootstrap deviations."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(deviations, [tail, 1 - tail])
    return estimate + float(low), estimate + float(high)


def interval_entry(interval: Interval) -> dict[str, float | str]:
    """Return an interval as plain JSON values."""
    return {"low": interval.low, "high": interval.high, "method": interval.method}
