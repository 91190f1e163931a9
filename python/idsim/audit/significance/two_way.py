"""Bootstrap of sums over (cluster, person) cells, where every image may count.

`idsim.audit.resampling.bootstrap_rates` draws how often each unit with a hit comes up, which suits few hits. Here
units are drawn by number, which costs the same whatever a unit holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from idsim.audit.intervals import Interval

__all__ = ["interval_entry", "percentiles", "resampled_sums"]


def resampled_sums(
    masses: NDArray[Any], units: int, replicates: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return how much sums change when units are drawn with replacement.

    Parameters
    ----------
    masses : ndarray
        float64 ``[u, q]``: what every unit adds to each of q sums; units left out add nothing.
    units : int
        All units, at least u.
    replicates : int
        How many draws of `units` units.
    rng : numpy.random.Generator
        Source of the draws.

    Returns
    -------
    ndarray
        float64 ``[replicates, q]``: each sum less its value without resampling.
    """
    listed = len(masses)
    if listed > units:
        raise ValueError(f"{listed} units have a mass, and there are {units}")
    result = np.zeros((replicates, masses.shape[1]))
    if not listed:
        return result
    for replicate, count in enumerate(rng.binomial(units, listed / units, size=replicates).tolist()):
        result[replicate] = masses[rng.integers(0, listed, count)].sum(axis=0)
    result -= masses.sum(axis=0)
    return result


def percentiles(estimate: float, deviations: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    """Return the percentile interval of an estimate from its bootstrap deviations."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(deviations, [tail, 1 - tail])
    return estimate + float(low), estimate + float(high)


def interval_entry(interval: Interval) -> dict[str, float | str]:
    """Return an interval as plain JSON values."""
    return {"low": interval.low, "high": interval.high, "method": interval.method}
