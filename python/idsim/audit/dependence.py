"""Intervals of error rates that know which comparisons depend on each other: those that share a person."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from idsim.audit.intervals import Interval, wilson, zero_errors_upper

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["false_match_interval", "label_components", "pairs_of", "search_interval"]


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
    variance = _false_match_variance(first, second, images, rate)
    independent = rate * (1 - rate) / pairs_of(images)
    effective = rate * (1 - rate) / max(variance, independent) if rate < 1 else persons // 2
    low, high = wilson(rate, effective, confidence)
    return Interval(low, high, "Wilson with effective n from the U-statistic variance over persons")


def _false_match_variance(
    first: NDArray[np.int64], second: NDArray[np.int64], images: NDArray[np.int64], rate: float
) -> float:
    """Return the variance of the false match rate: ``[4 (N - 2) z1 + 2 z2] / (N (N - 1))``."""
    n = len(images)
    if n < 5:
        return math.inf
    counts = images.astype(np.float64)
    total = counts.sum()
    mean_pairs = pairs_of(images) / (n * (n - 1) / 2)
    errors = np.bincount(first, minlength=n) + np.bincount(second, minlength=n)
    row_means = (errors - rate * counts * (total - counts)) / (mean_pairs * (n - 1))
    low, high = np.minimum(first, second), np.maximum(first, second)
    cells, hits = np.unique(np.stack([low, high], axis=1), axis=0, return_counts=True)
    sizes = counts[cells[:, 0]] * counts[cells[:, 1]]
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
    component = label_components(persons[wrong], matched)
    group = np.array([component.get(int(person), int(person)) for person in persons])
    _, codes = np.unique(group, return_inverse=True)
    codes = codes.reshape(-1)
    rate = float(wrong.mean())
    residual = np.bincount(codes, weights=wrong - rate)
    groups = len(residual)
    spread = float((residual**2).sum()) / len(wrong) ** 2 * groups / max(1, groups - 1)
    effective = min(float(len(units)), rate * (1 - rate) / spread) if spread > 0 else float(groups)
    low, high = wilson(rate, effective, confidence)
    return Interval(low, high, "Wilson with effective n from groups of persons linked by errors")


def label_components(first: NDArray[np.int64], second: NDArray[np.int64]) -> dict[int, int]:
    """Return the smallest member of the connected component of every node of a graph of edges."""
    parent: dict[int, int] = {}

    def root(node: int) -> int:
        parent.setdefault(node, node)
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for a, b in zip(first.tolist(), second.tolist(), strict=True):
        left, right = root(a), root(b)
        parent[max(left, right)] = min(left, right)
    return {node: root(node) for node in parent}
