"""The sign test and Wilcoxon's signed-rank test, one-sided, and the binomial distribution that they need."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["RankTest", "binomial_upper", "log_binomial", "sign_test", "signed_rank_test"]

# Up to here all sign patterns are counted, as scipy.stats.wilcoxon does.
EXACT_UP_TO = 50


class RankTest(NamedTuple):
    """A one-sided test of values against 0; values that are 0 say nothing and are left out.

    Attributes
    ----------
    statistic : float
        Values above 0, or the sum of their ranks.
    n : int
        Values that are not 0.
    p_value : float
        Chance of a statistic at least as large, if values of both signs were equally likely.
    exact : bool
        Whether it is not a normal approximation.
    """

    statistic: float
    n: int
    p_value: float
    exact: bool


def log_binomial(n: int) -> NDArray[np.float64]:
    """Return float64 ``[n + 1]``: the logarithms of ``C(n, 0) .. C(n, n)``."""
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    return np.asarray(logs[n] - logs - logs[::-1], dtype=np.float64)


def binomial_upper(successes: int, n: int, chance: float) -> float:
    """Return the probability of at least so many successes in `n` trials, exactly."""
    if successes <= 0:
        return 1.0
    if successes > n or chance <= 0:
        return 0.0
    if chance >= 1:
        return 1.0
    k = np.arange(n + 1)
    logs = log_binomial(n) + k * math.log(chance) + (n - k) * math.log1p(-chance)
    return min(1.0, float(np.exp(logs[successes:]).sum()))


def sign_test(values: NDArray[np.float64]) -> RankTest:
    """Return the test of how many values are above 0: float64 ``[n]``, exact."""
    above, below = int((values > 0).sum()), int((values < 0).sum())
    return RankTest(float(above), above + below, binomial_upper(above, above + below, 0.5), True)


def signed_rank_test(values: NDArray[np.float64]) -> RankTest:
    """Return Wilcoxon's test (1945) of values that are symmetric about 0 without an effect.

    Exact up to 50 values without ties, else the normal approximation with the variance corrected for ties and no
    correction for continuity: the choices of ``scipy.stats.wilcoxon(values, alternative="greater")``.

    Parameters
    ----------
    values : ndarray
        float64 ``[n]``: differences, one per independent unit.
    """
    kept = values[values != 0]
    n = len(kept)
    if not n:
        return RankTest(0.0, 0, 1.0, True)
    _, place, counts = np.unique(np.abs(kept), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks = (last - (counts - 1) / 2)[place.reshape(-1)]
    statistic = float(ranks[kept > 0].sum())
    if n <= EXACT_UP_TO and counts.max() == 1 and n == len(values):
        return RankTest(statistic, n, _exact_upper(round(statistic), n), True)
    mean = n * (n + 1) / 4
    variance = n * (n + 1) * (2 * n + 1) / 24 - float((counts.astype(np.float64) ** 3 - counts).sum()) / 48
    p_value = NormalDist().cdf((mean - statistic) / math.sqrt(variance))
    return RankTest(statistic, n, p_value, False)


def _exact_upper(statistic: int, n: int) -> float:
    """Return the share of the 2^n sign patterns whose ranks above 0 sum to at least the statistic."""
    ways = np.zeros(n * (n + 1) // 2 + 1)
    ways[0] = 1.0
    for rank in range(1, n + 1):
        ways[rank:] = ways[rank:] + ways[:-rank]
    return float(ways[statistic:].sum() / 2.0**n)
