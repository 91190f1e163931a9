"""Confidence intervals of rates in closed form."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

__all__ = ["Interval", "newcombe", "rule_of_three", "wilson", "zero_errors_upper"]


class Interval(NamedTuple):
    """A two-sided confidence interval of a rate or a difference of rates, and how it was made."""

    low: float
    high: float
    method: str


def quantile(confidence: float) -> float:
    """Return the normal quantile of a two-sided interval: 1.96 for 0.95."""
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def wilson(rate: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval of a rate over `n` (effective) trials, inside [0, 1]."""
    if n <= 0:
        return 0.0, 1.0
    z = quantile(confidence)
    spread = z * z / n
    centre = (rate + spread / 2) / (1 + spread)
    half = math.sqrt(rate * (1 - rate) * spread + spread * spread / 4) / (1 + spread)
    low = 0.0 if rate <= 0 else max(0.0, centre - half)
    high = 1.0 if rate >= 1 else min(1.0, centre + half)
    return low, high


def newcombe(
    first: float, n_first: float, second: float, n_second: float, confidence: float = 0.95
) -> tuple[float, float]:
    """Return Newcombe's interval of ``first - second``: Wilson limits, squared and added.

    The correlation of the two rates is taken as 0, which is wider than needed when they rise together.
    Newcombe 1998, "Interval estimation for the difference between independent proportions", method 10.
    """
    low_1, high_1 = wilson(first, n_first, confidence)
    low_2, high_2 = wilson(second, n_second, confidence)
    difference = first - second
    low = difference - math.hypot(first - low_1, high_2 - second)
    high = difference + math.hypot(high_1 - first, second - low_2)
    return max(-1.0, low), min(1.0, high)


def zero_errors_upper(n: float, confidence: float = 0.95) -> float:
    """Return the one-sided upper bound of a rate after 0 events in `n` trials, exactly (Clopper-Pearson)."""
    if n <= 0:
        return 1.0
    return 1.0 - math.exp(math.log1p(-confidence) / n)


def rule_of_three(n: float) -> float:
    """Return 3/n: the 95 % upper bound of a rate after 0 events in `n` independent trials, at most 1."""
    return min(1.0, 3.0 / n) if n > 0 else 1.0
