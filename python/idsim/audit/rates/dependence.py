"""Intervals of error rates that know which comparisons depend on each other: those that share a person."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from idsim.audit.rates.edges import connected_components
from idsim.audit.rates.intervals import Interval, wilson, zero_errors_upper

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "false_match_interval",
    "false_match_variance",
    "grouped_interval",
    "mass_interval",
    "pairs_of",
    "search_interval",
]


def pairs_of(images: NDArray[np.int64]) -> int:
    """Return how many pairs of images show different persons; `images` counts those of each."""
    total = int(images.sum())
    return (total * total - int((images.astype(object) ** 2).sum())) // 2 if len(images) else 0


def false_match_interval(
    first: NDArray[np.int64], second: NDArray[np.int64], images: NDArray[np.int64], confidence: float
) -> Interval:
    """Return the interval of a false match rate, persons being the independent units.

    The rate is a U-statistic of degree two over persons; its variance is estimated from the errors of each
    person and enters Wilson's interval as an effective number of comparisons (Fogliato, Patil and Perona,
    IJCV 2024). Without errors: the exact bound over disjoint pairs of persons.

    Parameters
    ----------
    first, second : ndarray
        int64 ``[e]``: the persons of every pair of images that falsely matches, codes 0 .. k-1.
    images : ndarray
        int64 ``[k]``: images of every person.
    confidence : float
        Of the two-sided interval.
    """
    persons = len(images)
    if not len(first):
        upper = zero_errors_upper(persons // 2, confidence)
        return Interval(0.0, upper, "no errors: exact one-sided bound over disjoint pairs of persons")
    rate = len(first) / pairs_of(images)
    low, high = wilson(rate, _effective(first, second, None, images, rate), confidence)
    return Interval(low, high, "Wilson with effective n from the U-statistic variance over persons")


def mass_interval(
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    mass: NDArray[np.float64],
    images: NDArray[np.int64],
    rate: float,
    confidence: float,
) -> Interval:
    """Return the interval of a rate that is proportional to a sum of masses over pairs of persons.

    The relative variance is that of the U-statistic whose kernel is the mass of a pair, like that of
    `false_match_interval`, which is the case of equal masses.

    Parameters
    ----------
    first, second : ndarray
        int64 ``[e]``: the persons of every pair with a mass, codes 0 .. k-1.
    mass : ndarray
        float64 ``[e]``: positive.
    images : ndarray
        int64 ``[k]``: images of every person.
    rate : float
        The rate, in (0, 1).
    confidence : float
        Of the two-sided interval.
    """
    mean = float(mass.sum()) / pairs_of(images)
    variance = _false_match_variance(first, second, mass, images, mean) * (rate / mean) ** 2
    low, high = wilson(rate, rate * (1 - rate) / variance if variance > 0 else len(images), confidence)
    return Interval(low, high, "Wilson with effective n from the U-statistic variance over persons")


def false_match_variance(
    first: NDArray[np.int64], second: NDArray[np.int64], images: NDArray[np.int64]
) -> float:
    """Return the variance of a false match rate, persons being the independent units; as `false_match_interval`."""
    return _false_match_variance(first, second, None, images, len(first) / pairs_of(images))


def _effective(
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    mass: NDArray[np.float64] | None,
    images: NDArray[np.int64],
    rate: float,
) -> float:
    """Return how many independent comparisons tell as much of a false match rate."""
    if rate >= 1:
        return len(images) // 2
    independent = rate * (1 - rate) / pairs_of(images)
    return rate * (1 - rate) / max(_false_match_variance(first, second, mass, images, rate), independent)


def _false_match_variance(
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    mass: NDArray[np.float64] | None,
    images: NDArray[np.int64],
    rate: float,
) -> float:
    """Return the variance of a mean over comparisons: ``[4 (N - 2) z1 + 2 z2] / (N (N - 1))``.

    Each pair counts with its mass, and with 1 where none is given; `rate` is their sum over the comparisons.
    """
    n = len(images)
    if n < 5:
        return math.inf
    counts = images.astype(np.float64)
    total = counts.sum()
    mean_pairs = pairs_of(images) / (n * (n - 1) / 2)
    errors = np.bincount(first, mass, minlength=n) + np.bincount(second, mass, minlength=n)
    row_means = (errors - rate * counts * (total - counts)) / (mean_pairs * (n - 1))
    keys = np.minimum(first, second) * n + np.maximum(first, second)
    cells, place = np.unique(keys, return_inverse=True)
    hits = np.bincount(place.reshape(-1), mass, minlength=len(cells))
    sizes = counts[cells // n] * counts[cells % n]
    squares = ((counts**2).sum() ** 2 - (counts**4).sum()) / 2
    residuals = float((hits**2).sum() - 2 * rate * (hits * sizes).sum() + rate**2 * squares)
    z2 = residuals / (mean_pairs**2 * n * (n - 1) / 2)
    spread = float(row_means.var(ddof=1))
    z1 = max(0.0, (spread * (n - 1) ** 2 / (n - 2) - z2) / (n - 4))
    return (4 * (n - 2) * z1 + 2 * z2) / (n * (n - 1))


def search_interval(
    persons: NDArray[np.int64],
    wrong: NDArray[np.bool_],
    matched: NDArray[np.int64],
    confidence: float,
) -> Interval:
    """Return the interval of a false positive identification rate.

    Searches that err together count as one unit: those of one person, and those of persons that are linked
    by a false match (inside one set, two persons that resemble each other make two errors out of one fact).

    Parameters
    ----------
    persons : ndarray
        int64 ``[n]``: person of every search.
    wrong : ndarray
        bool ``[n]``: whether it returned a match.
    matched : ndarray
        int64 ``[errors]``: the person that each error returned; codes shared with `persons`.
    confidence : float
        Of the two-sided interval.
    """
    units = np.unique(persons)
    if not wrong.any():
        upper = zero_errors_upper(len(units), confidence)
        return Interval(0.0, upper, "no errors: exact one-sided bound over persons")
    nodes, codes = np.unique(np.concatenate([persons, matched]), return_inverse=True)
    own, other = np.split(codes.reshape(-1), [len(persons)])
    groups = connected_components(own[wrong], other, len(nodes))[own]
    method = "Wilson with effective n from groups of persons linked by errors"
    return grouped_interval(wrong, groups, confidence, method, most=len(units))


def grouped_interval(
    wrong: NDArray[np.bool_],
    groups: NDArray[np.int64],
    confidence: float,
    method: str,
    most: float = math.inf,
) -> Interval:
    """Return the interval of the share of trials that err, where trials of one group err together.

    Wilson's interval; the effective number of trials follows from the variance of the sums over groups.

    Parameters
    ----------
    wrong : ndarray
        bool ``[n]``: whether a trial errs.
    groups : ndarray
        int64 ``[n]``: group of every trial.
    confidence : float
        Of the two-sided interval.
    method : str
        What the interval is to say of itself.
    most : float
        Upper limit of the effective number of trials.
    """
    codes = np.unique(groups, return_inverse=True)[1].reshape(-1)
    rate = float(wrong.mean())
    residual = np.bincount(codes, weights=wrong - rate)
    count = len(residual)
    spread = float((residual**2).sum()) / len(wrong) ** 2 * count / max(1, count - 1)
    effective = min(most, rate * (1 - rate) / spread) if spread > 0 else float(count)
    low, high = wilson(rate, effective, confidence)
    return Interval(low, high, method)
