"""Means and shares over samples that come in groups: clusters of a synthetic set, persons of a real one.

Samples of one group are not independent, so groups are the units of every variance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.audit.rates.intervals import Interval, quantile, wilson, zero_errors_upper

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "Estimate",
    "grouped_mean",
    "grouped_share",
    "grouped_variance",
    "normal_interval",
    "student_quantile",
]


@dataclass(frozen=True)
class Estimate:
    """A number, its interval, and what it rests on.

    Attributes
    ----------
    value : float or None
        None where the data do not support it.
    interval : Interval or None
        Two-sided.
    n : int
        Samples.
    groups : int
        Independent groups that they come in.
    refusal : str
        Why there is no value; empty where there is one.
    """

    value: float | None
    interval: Interval | None
    n: int
    groups: int
    refusal: str = ""


def student_quantile(confidence: float, freedom: int) -> float:
    """Return the two-sided quantile of Student's t, from the normal one (Abramowitz and Stegun 26.7.5).

    Three terms of the expansion: within 1e-3 from 10 degrees of freedom on.
    """
    z = quantile(confidence)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + terms[0] / freedom + terms[1] / freedom**2 + terms[2] / freedom**3


def normal_interval(value: float, variance: float, confidence: float, method: str) -> Interval:
    """Return ``value ± z sqrt(variance)``."""
    half = quantile(confidence) * math.sqrt(max(0.0, variance))
    return Interval(value - half, value + half, method)


def group_codes(groups: NDArray[np.int64] | None, n: int, name: str = "groups") -> NDArray[np.int64]:
    """Return codes 0 .. g-1 of groups; without groups every sample is one.

    Raises
    ------
    ValueError
        There is not one group per sample.
    """
    if groups is None:
        return np.arange(n, dtype=np.int64)
    given = np.asarray(groups)
    if given.shape != (n,):
        raise ValueError(f"{name} must have shape ({n},), not {given.shape}")
    return np.unique(given, return_inverse=True)[1].reshape(-1).astype(np.int64)


def grouped_variance(values: NDArray[np.float64], groups: NDArray[np.int64] | None) -> tuple[float, int]:
    """Return the variance of the mean of `values`, groups being independent, and how many there are.

    The linearised variance of a ratio of totals, ``g/(g-1) sum_g (sum_i in g (x_i - mean))^2 / n^2``; infinite
    for a single group.
    """
    codes = group_codes(groups, len(values))
    count = int(codes.max()) + 1 if len(codes) else 0
    if count < 2:
        return math.inf, count
    residuals = np.bincount(codes, weights=values - values.mean(), minlength=count)
    return float((residuals**2).sum()) / len(values) ** 2 * count / (count - 1), count


def grouped_mean(
    values: NDArray[np.float64], groups: NDArray[np.int64] | None, confidence: float
) -> Estimate:
    """Return the mean of samples with a normal interval over groups.

    Parameters
    ----------
    values : ndarray
        float64 ``[n]``.
    groups : ndarray or None
        int64 ``[n]``: group of every sample; None: each is independent.
    confidence : float
        Of the two-sided interval.
    """
    wide = np.asarray(values, dtype=np.float64)
    variance, count = grouped_variance(wide, groups)
    if not len(wide):
        return Estimate(None, None, 0, 0, "there are no samples")
    value = float(wide.mean())
    if not math.isfinite(variance):
        return Estimate(value, None, len(wide), count)
    half = student_quantile(confidence, count - 1) * math.sqrt(variance)
    return Estimate(value, Interval(value - half, value + half, "Student's t over groups"), len(wide), count)


def grouped_share(flags: NDArray[Any], groups: NDArray[np.int64] | None, confidence: float) -> Estimate:
    """Return the share of samples with a property, with Wilson's interval over effectively independent ones.

    Parameters
    ----------
    flags : ndarray
        bool or float64 ``[n]`` in [0, 1]; one half is a tie.
    groups : ndarray or None
        int64 ``[n]``: group of every sample; None: each is independent.
    confidence : float
        Of the two-sided interval.
    """
    wide = np.asarray(flags, dtype=np.float64)
    variance, count = grouped_variance(wide, groups)
    if not len(wide):
        return Estimate(None, None, 0, 0, "there are no samples")
    rate = float(wide.mean())
    if rate in (0.0, 1.0):
        upper = zero_errors_upper(count, confidence)
        low, high = (0.0, upper) if rate == 0.0 else (1.0 - upper, 1.0)
        return Estimate(rate, Interval(low, high, "exact one-sided bound over groups"), len(wide), count)
    effective = 1.0
    if math.isfinite(variance):  # 0: all groups have the same mean
        effective = min(float(len(wide)), rate * (1 - rate) / variance) if variance else float(count)
    low, high = wilson(rate, effective, confidence)
    return Estimate(rate, Interval(low, high, "Wilson with effective n over groups"), len(wide), count)
