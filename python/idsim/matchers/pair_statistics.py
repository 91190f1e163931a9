"""How well scores tell pairs of one person from pairs of two, with intervals that know that pairs share people.

A picture is in many pairs, so pairs are not independent. Intervals are of the jackknife that leaves out people: all
pairs with one of them at once (Tukey 1958; for groups of them see Kott 2001, "The delete-a-group jackknife"). Where
no two pairs share a person they are too wide rather than too narrow.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Measure = Callable[[NDArray[np.float64], NDArray[np.float64]], float]

__all__ = [
    "Estimate",
    "Pair",
    "PairScores",
    "auc",
    "equal_error_rate",
    "groups_of_people",
    "separation",
    "similarity",
]

GROUPS = 50  # of people that are left out together; more change an interval by little
FEW_GROUPS = 4  # with fewer the interval is not to be relied on
LEVEL = 0.95


class Pair(NamedTuple):
    """Two crops, by their positions, and whether they show the same person."""

    first: int
    second: int
    same: bool


class Estimate(NamedTuple):
    """A number, the ends of its 95 % interval, and the pairs it is of; ends are NaN where there are too few people."""

    value: float
    low: float
    high: float
    n: int

    def plain(self) -> dict[str, Any]:
        """Return plain JSON values; None for an end that is not known."""
        ends = [float(end) if np.isfinite(end) else None for end in (self.low, self.high)]
        return {"value": float(self.value), "low": ends[0], "high": ends[1], "n": self.n}


def groups_of_people(pairs: Sequence[Pair]) -> NDArray[np.int64]:
    """Return the two groups of people that each pair is of, ``[n, 2]``, from 0 to at most `GROUPS` - 1.

    Crops that pairs say are of the same person, directly or by way of others, are one person.
    """
    parent: dict[int, int] = {}

    def root(crop: int) -> int:
        parent.setdefault(crop, crop)
        while parent[crop] != crop:
            parent[crop] = parent[parent[crop]]
            crop = parent[crop]
        return crop

    for pair in pairs:
        first, second = root(pair.first), root(pair.second)
        if pair.same:
            parent[max(first, second)] = min(first, second)
    people: dict[int, int] = {}
    rows = [
        [people.setdefault(root(crop), len(people)) for crop in (pair.first, pair.second)] for pair in pairs
    ]
    return np.array(rows, dtype=np.int64).reshape(-1, 2) % GROUPS


class PairScores:
    """Scores of pairs, higher for more alike.

    Parameters
    ----------
    scores : ndarray
        float64 ``[n]``.
    pairs : sequence of Pair
        What they are of.
    """

    def __init__(self, scores: NDArray[np.float64], pairs: Sequence[Pair]) -> None:
        self._scores = scores
        self._same = np.array([pair.same for pair in pairs], dtype=bool)
        self._groups = groups_of_people(pairs)
        self.same, self.different = scores[self._same], scores[~self._same]

    def estimate(self, measure: Measure, other: PairScores | None = None, level: float = LEVEL) -> Estimate:
        """Return a measure of the scores of same and of different pairs, with its interval.

        Parameters
        ----------
        measure : callable
            Takes the scores of same and of different pairs.
        other : PairScores, optional
            Other scores of the same pairs: the measure is then that of `other` less that of these.
        level : float
            Coverage of the interval.
        """
        value = self._value(measure, other)
        left_out: list[float] = []
        for group in np.unique(self._groups):
            kept = (self._groups != group).all(axis=1)
            if not (kept & self._same).any() or not (kept & ~self._same).any():
                left_out = []
                break
            left_out.append(self._value(measure, other, kept))
        count = len(left_out)
        if count < FEW_GROUPS:
            return Estimate(value, np.nan, np.nan, len(self._scores))
        spread = np.sqrt((count - 1) / count * np.square(np.array(left_out) - np.mean(left_out)).sum())
        reach = student_quantile((1 + level) / 2, count - 1) * float(spread)
        return Estimate(value, value - reach, value + reach, len(self._scores))

    def _value(
        self, measure: Measure, other: PairScores | None, kept: NDArray[np.bool_] | None = None
    ) -> float:
        kept = np.ones(len(self._scores), dtype=bool) if kept is None else kept
        same, different = kept & self._same, kept & ~self._same
        value = measure(self._scores[same], self._scores[different])
        if other is None:
            return value
        return measure(other._scores[same], other._scores[different]) - value


def similarity(a: NDArray[np.float64], b: NDArray[np.float64], metric: str) -> NDArray[np.float64]:
    """Return the similarity of rows: the cosine, or the distance with its sign turned."""
    if metric == "l2":
        return -np.asarray(np.linalg.norm(a - b, axis=1))
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray((a * b).sum(axis=1) / np.where(lengths > 0, lengths, 1))


def separation(same: NDArray[np.float64], different: NDArray[np.float64]) -> float:
    """Return the distance of the means in standard deviations, d'."""
    spread = float(np.sqrt((same.var() + different.var()) / 2))
    return float(same.mean() - different.mean()) / max(spread, 1e-12)


def auc(same: NDArray[np.float64], different: NDArray[np.float64]) -> float:
    """Return the share of (same, different) where the same pair scores higher; ties count half."""
    ordered = np.sort(different)
    below = np.searchsorted(ordered, same, "left") + np.searchsorted(ordered, same, "right")
    return float(below.mean() / 2 / len(different))


def equal_error_rate(same: NDArray[np.float64], different: NDArray[np.float64]) -> float:
    """Return the mean of the two error rates at the score where they are nearest to each other.

    A pair is taken for the same person from the score on.
    """
    cuts = np.unique(np.concatenate([same, different]))
    refused = np.searchsorted(np.sort(same), cuts, "left") / len(same)
    accepted = 1 - np.searchsorted(np.sort(different), cuts, "left") / len(different)
    nearest = int(np.argmin(np.abs(refused - accepted)))
    return float(refused[nearest] + accepted[nearest]) / 2


def student_quantile(probability: float, freedom: int) -> float:
    """Return a quantile of Student's t by Abramowitz and Stegun 26.7.5: at 0.975 and 3 degrees of freedom 1 % short."""
    z = NormalDist().inv_cdf(probability)
    return (
        z
        + (z**3 + z) / (4 * freedom)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    )
