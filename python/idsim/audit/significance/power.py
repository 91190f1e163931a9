"""What a scan could have found: the smallest excess that it detects, and the bound when it finds nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.audit.rates.intervals import zero_errors_upper
from idsim.audit.significance.rank_tests import binomial_upper, log_binomial

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from idsim.audit.rates.excess import Excess

__all__ = [
    "Power",
    "binomial_limit",
    "detection_power",
    "excess_power",
    "fewest_persons",
    "power_entry",
    "smallest_detectable",
]

# From so many clusters with a hit on either side, the normal approximation stands for counting.
ENOUGH_EVENTS = 400


@dataclass(frozen=True)
class Power:
    """What a test at one operating point can show.

    Attributes
    ----------
    alpha, power : float
        One-sided level of the test, and the chance of finding the smallest excess that counts as detectable.
    clusters : int
        Of the synthetic set.
    effective_clusters, design_effect : float
        Independent clusters that carry as much information, and clusters over these.
    persons : int
        In each of the matched galleries.
    rate_holdout, rate_holdout_upper : float
        Leak rate by chance, and its one-sided upper bound.
    detectable, detectable_upper : float or None
        Smallest excess leak rate that is found, at either of these rates; None where not even an excess that
        makes every cluster leak would be found.
    fewest_persons : int or None
        Persons of training that must be hit for a significant p by exchange of membership; None where no number
        is enough.
    upper : float
        One-sided upper bound of the excess leak rate that was measured.
    exact_upper : bool
        Whether that is the bound of Clopper and Pearson: nothing was hit at all.
    sentence : str
        The same in words.
    """

    alpha: float
    power: float
    clusters: int
    effective_clusters: float
    design_effect: float
    persons: int
    rate_holdout: float
    rate_holdout_upper: float
    detectable: float | None
    detectable_upper: float | None
    fewest_persons: int | None
    upper: float
    exact_upper: bool
    sentence: str


def excess_power(
    excess: Excess,
    persons: tuple[int, int],
    permutations: int,
    confidence: float = 0.95,
    power: float = 0.8,
) -> Power:
    """Return what could have been found where an excess was measured.

    Parameters
    ----------
    excess : Excess
        As measured.
    persons : tuple of int
        Of training and holdout whose membership can be exchanged.
    permutations : int
        Of the permutation test: its p is at least 1 / (permutations + 1).
    confidence : float
        Of the two-sided interval, which must lie above 0: the one-sided level is half of what it leaves out. Also
        of the one-sided upper bound.
    power : float
        Chance of finding.
    """
    alpha = (1 - confidence) / 2
    # The holdout shows how chance hits depend on each other; where there are none, the training set does.
    effective = (
        excess.holdout.effective_clusters if excess.holdout.rate else excess.training.effective_clusters
    )
    n = max(1, round(effective))
    least = None
    if 1 / (permutations + 1) <= alpha * (1 + 1e-9):
        least = fewest_persons(persons[0], persons[1], alpha)
    rates = excess.holdout.rate, excess.holdout.upper
    # Where everything is hit by chance there is no room for an excess.
    found = [
        None if least is None or rate >= 1 else smallest_detectable(n, rate, alpha, power, least)
        for rate in rates
    ]
    nothing = not excess.training.images and not excess.holdout.images
    return Power(
        alpha=alpha,
        power=power,
        clusters=excess.clusters,
        effective_clusters=effective,
        design_effect=excess.clusters / effective,
        persons=excess.persons,
        rate_holdout=rates[0],
        rate_holdout_upper=rates[1],
        detectable=found[0],
        detectable_upper=found[1],
        fewest_persons=least,
        upper=excess.upper,
        exact_upper=nothing,
        sentence=_sentence(found[0], n, alpha, power, rates[0], excess.upper, confidence),
    )


def smallest_detectable(
    clusters: int, rate: float, alpha: float = 0.05, power: float = 0.8, least: int = 1
) -> float | None:
    """Return the smallest excess leak rate that a one-sided test finds with a given power.

    It is bracketed by the power of `detection_power`.

    Parameters
    ----------
    clusters : int
        Effective number.
    rate : float
        Leak rate against holdout.
    alpha, power : float
        One-sided level, and chance of finding.
    least : int
        Fewer hits are never significant, see `fewest_persons`.

    Returns
    -------
    float or None
        None where even the largest excess, ``1 - rate``, is not found.
    """
    _require(clusters, rate, alpha, power)
    power_at = _power_of(clusters, rate, alpha, least)
    low, high = 0.0, 1.0 - rate
    if power_at(high) < power:
        return None
    while high - low > 1e-6 * high:
        middle = (low + high) / 2
        if power_at(middle) < power:
            low = middle
        else:
            high = middle
    return high


def detection_power(clusters: int, rate: float, excess: float, alpha: float = 0.05, least: int = 1) -> float:
    """Return the chance that an excess is found by exchange of membership.

    Of n clusters, X reach training with chance ``rate + excess`` and Y reach holdout with chance `rate`,
    independently. Given X + Y, exchange makes X binomial with chance 1/2 where hits fall on different persons.
    While fewer than 400 chance hits are expected on both sides, the power of that test is counted over all
    outcomes; from there on it is, with p = `rate` and e = `excess`::

        Phi((e sqrt(n) - z_alpha sqrt(2 p + e)) / sqrt(p (1 - p) + (p + e) (1 - p - e)))

    which follows from the normal approximation of ``(X - Y) / sqrt(X + Y)``.

    Parameters
    ----------
    clusters : int
        Effective number.
    rate, excess : float
        Leak rate against holdout, and what training has beyond it.
    alpha : float
        One-sided level.
    least : int
        Fewer hits in training are never significant.
    """
    _require(clusters, rate, alpha, 0.5)
    if not 0 <= excess <= 1 - rate + 1e-12:
        raise ValueError(f"the excess must be from 0 to {1 - rate:g}, not {excess:g}")
    return _power_of(clusters, rate, alpha, least)(excess)


def _power_of(clusters: int, rate: float, alpha: float, least: int) -> Callable[[float], float]:
    """Return the power as a function of the excess."""
    if 2 * clusters * rate >= ENOUGH_EVENTS:
        return lambda excess: _approximate_power(clusters, rate, excess, alpha)
    holdout = _binomial(clusters, rate)
    first, last = _span(holdout)
    needed = np.minimum(_needed_hits(last, alpha, least, clusters)[first:], clusters + 1)

    def counted(excess: float) -> float:
        upper = np.append(np.cumsum(_binomial(clusters, rate + excess)[::-1])[::-1], 0.0)
        return min(1.0, float((holdout[first : last + 1] * upper[needed]).sum()))

    return counted


def _approximate_power(n: int, rate: float, excess: float, alpha: float) -> float:
    training = rate + excess
    variance = rate * (1 - rate) + max(0.0, training * (1 - training))
    beyond = excess * math.sqrt(n) - NormalDist().inv_cdf(1 - alpha) * math.sqrt(rate + training)
    return NormalDist().cdf(beyond / math.sqrt(variance))


def _needed_hits(most: int, alpha: float, least: int, clusters: int) -> NDArray[np.int64]:
    """Return for every number of hits in holdout, 0 .. most, the fewest in training that are significant."""
    needed = np.zeros(most + 1, np.int64)
    hits = least
    for other in range(most + 1):
        while hits <= clusters and binomial_upper(hits, hits + other, 0.5) > alpha:
            hits += 1
        needed[other] = hits
    return needed


def _binomial(n: int, chance: float) -> NDArray[np.float64]:
    """Return float64 ``[n + 1]``: the probability of every number of successes."""
    k = np.arange(n + 1)
    if chance <= 0 or chance >= 1:
        return np.asarray(k == (0 if chance <= 0 else n), dtype=np.float64)
    logs = log_binomial(n) + k * math.log(chance) + (n - k) * math.log1p(-chance)
    return np.asarray(np.exp(logs), dtype=np.float64)


def _span(chances: NDArray[np.float64]) -> tuple[int, int]:
    """Return the first and last outcome that matter: all others together have a chance below 1e-9."""
    matter = np.flatnonzero(chances > 1e-9 / len(chances))
    return int(matter[0]), int(matter[-1])


def fewest_persons(training: int, holdout: int, alpha: float = 0.05) -> int | None:
    """Return how many persons of training must be hit, and none of holdout, for ``p <= alpha``.

    Exchange of membership puts r persons into training with chance ``C(N - r, N_T - r) / C(N, N_T)``: near
    ``2^-r`` for equal galleries. However often one person is hit, it counts as one.

    Returns
    -------
    int or None
        None where not even all persons of training are enough.
    """
    chance = 1.0
    for hit in range(training):
        chance *= (training - hit) / (training + holdout - hit)
        if chance <= alpha:
            return hit + 1
        if not holdout:
            return None
    return None


def binomial_limit(events: int, n: int, confidence: float = 0.95) -> float:
    """Return the one-sided upper bound of a rate, exactly (Clopper and Pearson 1934).

    The rate at which at most so many events have the chance ``1 - confidence``; without events
    ``1 - (1 - confidence)^(1/n)``.
    """
    if not 0 <= events <= n or n < 1:
        raise ValueError(f"events must be from 0 to n, not {events} of {n}")
    if events == n:
        return 1.0
    if not events:
        return zero_errors_upper(n, confidence)
    low, high = events / n, 1.0
    while high - low > 1e-12:
        middle = (low + high) / 2
        if 1 - binomial_upper(events + 1, n, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def _require(clusters: int, rate: float, alpha: float, power: float) -> None:
    if clusters < 1:
        raise ValueError(f"clusters must be at least 1, not {clusters}")
    if not 0 <= rate < 1:
        raise ValueError(f"rate must be from 0 to below 1, not {rate:g}")
    for name, value in (("alpha", alpha), ("power", power)):
        if not 0 < value < 1:
            raise ValueError(f"{name} must be between 0 and 1, not {value:g}")


def _sentence(
    detectable: float | None,
    clusters: int,
    alpha: float,
    power: float,
    rate: float,
    upper: float,
    confidence: float,
) -> str:
    bound = f"With {100 * confidence:g} % confidence the excess leak rate is at most {100 * upper:.3g} %."
    if detectable is None:
        return (
            f"{clusters} effective clusters are too few, or persons or permutations are: no excess would be found "
            f"with {100 * power:g} % power at level {alpha:.3g}. {bound}"
        )
    return (
        f"With {clusters} effective clusters, {100 * rate:.3g} % of which reach somebody by chance, an excess leak "
        f"rate of {100 * detectable:.3g} % is found with {100 * power:g} % power at level {alpha:.3g}. {bound}"
    )


def power_entry(power: Power) -> dict[str, Any]:
    """Return the power as plain JSON values."""
    return {
        "alpha": power.alpha,
        "power": power.power,
        "clusters": power.clusters,
        "effective_clusters": power.effective_clusters,
        "design_effect": power.design_effect,
        "persons": power.persons,
        "leak_rate_holdout": power.rate_holdout,
        "leak_rate_holdout_upper": power.rate_holdout_upper,
        "smallest_detectable_excess": power.detectable,
        "smallest_detectable_excess_at_upper": power.detectable_upper,
        "fewest_persons_hit": power.fewest_persons,
        "upper": power.upper,
        "upper_exact": power.exact_upper,
        "sentence": power.sentence,
    }
