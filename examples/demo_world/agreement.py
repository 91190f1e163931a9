"""Do two matchers err on the same pairs of people?"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from idsim.matchers.pair_statistics import Estimate, student_quantile

GROUPS = 50  # of people, left out one after another for intervals
BLOCK = 1000  # Rows whose scores are held at a time.


def agreement(*matchers: tuple[np.ndarray, float]) -> dict[str, Any]:
    """How far two matchers err on the same pairs.

    Parameters
    ----------
    matchers : two tuples
        Embeddings of unit length, ``[people, images, dim]``, and the threshold.

    Returns
    -------
    dict
        ``impostor_correlation``: Pearson's, of the scores of disjoint pairs of people, one portrait each, with Fisher's
        interval. ``also_first``: of the impostor pairs that the second takes for one person, the share that the first
        does too; ``also_second``: the other way round; ``both``: the share of all impostor pairs that both do. Their
        intervals leave out one group of people after another (jackknife).
    """
    return {
        "impostor_correlation": correlation(*(vectors for vectors, _ in matchers)).plain()
    } | shared_errors(*matchers)


def correlation(first: np.ndarray, second: np.ndarray) -> Estimate:
    """Pearson's correlation of the scores of people 0 and 1, 2 and 3, ...: every person is in one pair."""
    scores = [(vectors[0:-1:2, 0] * vectors[1::2, 0]).sum(1) for vectors in (first, second)]
    value = float(np.corrcoef(*scores)[0, 1])
    reach = 1.96 / math.sqrt(len(scores[0]) - 3)
    middle = math.atanh(max(-1 + 1e-12, min(1 - 1e-12, value)))
    low, high = (math.tanh(middle + side * reach) for side in (-1, 1))
    return Estimate(value, low, high, len(scores[0]))


def shared_errors(*matchers: tuple[np.ndarray, float]) -> dict[str, Any]:
    first, second, both, pairs = _counts(*matchers)
    shares = {"also_first": (both, second), "also_second": (both, first), "both": (both, pairs)}
    return {name: _jackknifed(*counts).plain() for name, counts in shares.items()}


def _counts(*matchers: tuple[np.ndarray, float]) -> list[np.ndarray]:
    """Impostor pairs by the groups of both people, ``[GROUPS, GROUPS]``: matched by each, by both, and all."""
    people, images = matchers[0][0].shape[:2]
    flat = [vectors.reshape(people * images, -1) for vectors, _ in matchers]
    owners = np.repeat(np.arange(people), images)
    counts = [np.zeros((GROUPS, GROUPS)) for _ in range(4)]
    for start in range(0, len(owners), BLOCK):
        rows = slice(start, start + BLOCK)
        impostors = owners[rows, None] < owners[None]
        first, second = (
            (vectors[rows] @ vectors.T >= threshold) & impostors
            for vectors, (_, threshold) in zip(flat, matchers, strict=True)
        )
        for count, hits in zip(counts, (first, second, first & second, impostors), strict=True):
            left, right = np.nonzero(hits)
            np.add.at(count, (owners[rows][left] % GROUPS, owners[right] % GROUPS), 1)
    return counts


def _jackknifed(errors: np.ndarray, trials: np.ndarray) -> Estimate:
    """The ratio of two counts by groups of people, with the interval of the jackknife that leaves out groups."""

    def without(counts: np.ndarray, group: int) -> float:
        return float(counts.sum() - counts[group].sum() - counts[:, group].sum() + counts[group, group])

    value = errors.sum() / max(trials.sum(), 1)
    left_out = np.array([without(errors, group) / max(without(trials, group), 1) for group in range(GROUPS)])
    spread = math.sqrt((GROUPS - 1) / GROUPS * np.square(left_out - left_out.mean()).sum())
    reach = student_quantile(0.975, GROUPS - 1) * spread
    return Estimate(
        float(value), float(max(value - reach, 0)), float(min(value + reach, 1)), int(trials.sum())
    )
