"""How well a matcher tells persons apart: error trade-off, EER, AUC, d' and KS.

Mated scores are known one by one, impostor scores as a histogram and, above a level, one by one too. What the bins
leave open is given as a bracket that holds the value for certain; it is no confidence interval.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from idsim.audit.pairs.compared import better_is_higher
from idsim.audit.rates.dependence import grouped_interval
from idsim.audit.rates.intervals import Interval, quantile, zero_errors_upper

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Bracket",
    "DetPoint",
    "ImpostorScores",
    "Separation",
    "fmr_grid",
    "impostor_quantiles",
    "miss_interval",
    "separate",
    "separation_entry",
]

BY_PERSONS = "Wilson with effective n from persons"


class Bracket(NamedTuple):
    """A value, and certain limits of it."""

    value: float
    low: float
    high: float


class ImpostorScores:
    """Scores of impostor comparisons, higher being better: counted in bins, and exact above a level.

    Parameters
    ----------
    edges : array_like
        float64 ``[b + 1]``, ascending, as the scores or distances are.
    counts : array_like
        int64 ``[b]``: comparisons in every bin, those of the tail included. A bin holds its lower edge.
    tail : array_like
        The scores of all comparisons that reach the level, any order.
    level : float
        From which score on (``l2``: up to which distance) `tail` is complete.
    metric : str
        ``l2``: lower is better.
    slack : float
        Largest distance between a score and the estimate it was binned by (`ScoreDistribution.max_error`).

    Raises
    ------
    ValueError
        The edges do not ascend, or there are not as many bins as counts, or no comparison.
    """

    def __init__(
        self,
        edges: ArrayLike,
        counts: ArrayLike,
        tail: ArrayLike = (),
        level: float | None = None,
        metric: str = "cosine",
        slack: float = 0.0,
    ) -> None:
        limits, numbers = np.asarray(edges, dtype=np.float64), np.asarray(counts).astype(np.int64)
        if numbers.ndim != 1 or limits.shape != (len(numbers) + 1,) or not (np.diff(limits) > 0).all():
            raise ValueError(f"{len(numbers)} bins need {len(numbers) + 1} ascending edges")
        if not numbers.sum():
            raise ValueError("there is no impostor comparison")
        self.metric, self.slack, self.total = metric, slack, int(numbers.sum())
        lower_is_better = metric == "l2"
        self.edges = -limits[::-1] if lower_is_better else limits
        self.counts = numbers[::-1] if lower_is_better else numbers
        # A bin of distances holds its better edge, as a score.
        self._side: Literal["left", "right"] = "left" if lower_is_better else "right"
        self.tail = np.sort(better_is_higher(tail, metric))
        self.level = math.inf if level is None else float(better_is_higher(level, metric))
        self._above = np.concatenate([np.cumsum(self.counts[::-1])[::-1], [0]])

    def reaching(
        self, scores: NDArray[np.float64], strictly: bool = False
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return certain limits on the numbers of comparisons that reach scores, or exceed them `strictly`."""
        side: Literal["left", "right"] = "right" if strictly else "left"
        sure = np.searchsorted(self.edges[:-1], scores + self.slack, side=side)
        maybe = np.searchsorted(self.edges[:-1], scores - self.slack, side=self._side) - 1
        low = np.maximum(self._above[sure], len(self.tail))
        high = np.where(scores - self.slack > self.edges[-1], 0, self._above[np.maximum(maybe, 0)])
        exact = len(self.tail) - np.searchsorted(self.tail, scores, side=side)
        listed = scores >= self.level
        return np.where(listed, exact, low), np.where(listed, exact, np.maximum(high, low))

    def threshold(self, rate: float) -> float:
        """Return the loosest known score that at most this share of the comparisons reach for certain.

        In the tail: the float32 number next to the first score that must not be accepted; below, an edge.
        """
        allowed = math.floor(rate * self.total)
        if allowed < len(self.tail):
            first = np.float32(self.tail[len(self.tail) - 1 - allowed])
            return float(np.nextafter(first, np.float32(np.inf)))
        fits = np.flatnonzero(self.reaching(self.edges)[1] <= allowed)
        return float(self.edges[fits[0]]) if len(fits) else math.inf

    def oriented(self, score: float) -> float:
        """Return a score as the matcher gives it: a distance with its own sign."""
        return -score if self.metric == "l2" else score


@dataclass(frozen=True)
class DetPoint:
    """A point of the error trade-off.

    Attributes
    ----------
    target : float
        False match rate that was asked for; the point keeps it.
    threshold : float
        Score (``l2``: distance).
    fmr : Bracket
        Its middle, and what the bins leave open.
    fnmr : float
        Share of the mated comparisons that miss the threshold.
    interval : Interval
        Of `fnmr`, persons being the units.
    """

    target: float
    threshold: float
    fmr: Bracket
    fnmr: float
    interval: Interval


@dataclass(frozen=True)
class Separation:
    """Mated against impostor scores.

    Attributes
    ----------
    metric : str
        ``l2``: lower is better.
    mated, persons, impostors : int
        Mated comparisons, persons in them, impostor comparisons.
    auc : Bracket
        Chance that a mated comparison scores better than an impostor, ties counting half (Mann-Whitney).
    auc_interval : Interval
        Persons of the mated comparisons being the units; the impostors are taken as known.
    eer : Bracket
        Equal error rate.
    eer_interval : Interval
        Of the FNMR at that threshold, persons being the units.
    ks : Bracket
        Largest distance between the two distributions.
    d_prime : float
        ``|mean_g - mean_i| / sqrt((var_g + var_i) / 2)``, impostors by the middles of their bins; NaN where both are
        constant.
    points : list of DetPoint
        FNMR over FMR.
    """

    metric: str
    mated: int
    persons: int
    impostors: int
    auc: Bracket
    auc_interval: Interval
    eer: Bracket
    eer_interval: Interval
    ks: Bracket
    d_prime: float
    points: list[DetPoint]


def fmr_grid(least: float, per_decade: int = 4) -> list[float]:
    """Return false match rates from 1 down to `least`, equally spaced on a logarithmic axis, descending."""
    steps = math.floor(-math.log10(least) * per_decade + 1e-9)
    return [float(f"{10 ** (-step / per_decade):.6g}") for step in range(steps + 1)]


def separate(
    mated: NDArray[np.float32],
    persons: NDArray[np.int64],
    impostors: ImpostorScores,
    rates: Sequence[float],
    confidence: float = 0.95,
) -> Separation | str:
    """Compare mated with impostor scores, or say why they cannot be compared.

    Parameters
    ----------
    mated : ndarray
        float32 ``[m]``: scores of pairs of images of one person.
    persons : ndarray
        int64 ``[m]``: whose they are.
    impostors : ImpostorScores
        Of the same matcher.
    rates : sequence of float
        False match rates of the points.
    confidence : float
        Of the intervals.
    """
    if not len(mated):
        return "no person has two images"
    wide = better_is_higher(mated, impostors.metric)
    order = np.argsort(wide, kind="stable")
    genuine, groups = wide[order], persons[order]
    reach, exceed = impostors.reaching(genuine), impostors.reaching(genuine, strictly=True)
    total = impostors.total
    first = np.searchsorted(genuine, genuine, side="left") / len(genuine)  # share below each
    last = np.searchsorted(genuine, genuine, side="right") / len(genuine)
    auc, placements = _auc(reach, exceed, genuine >= impostors.level, total)
    high = np.maximum(reach[1] / total, first)
    low = max(0.0, float(np.minimum(exceed[0] / total, last).max()))
    best = int(high.argmin())
    return Separation(
        metric=impostors.metric,
        mated=len(genuine),
        persons=len(np.unique(groups)),
        impostors=total,
        auc=auc,
        auc_interval=_mean_interval(placements, groups, confidence),
        eer=Bracket((low + float(high[best])) / 2, low, float(high[best])),
        eer_interval=miss_interval(genuine < genuine[best], groups, confidence),
        ks=_ks(reach, exceed, first, last, total),
        d_prime=_d_prime(genuine, impostors),
        points=[_point(rate, genuine, groups, impostors, confidence) for rate in rates],
    )


def _auc(
    reach: tuple[NDArray[np.int64], NDArray[np.int64]],
    exceed: tuple[NDArray[np.int64], NDArray[np.int64]],
    listed: NDArray[np.bool_],
    total: int,
) -> tuple[Bracket, NDArray[np.float64]]:
    """Return the AUC, and for every mated score the share of impostors that it beats."""
    ties = total - (reach[0] + exceed[0]) / 2
    low = np.where(listed, ties, total - reach[1]) / total
    high = np.where(listed, ties, total - exceed[0]) / total
    middle = (low + high) / 2
    return Bracket(float(middle.mean()), float(low.mean()), float(high.mean())), middle


def _ks(
    reach: tuple[NDArray[np.int64], NDArray[np.int64]],
    exceed: tuple[NDArray[np.int64], NDArray[np.int64]],
    first: NDArray[np.float64],
    last: NDArray[np.float64],
    total: int,
) -> Bracket:
    """Return the distance at mated scores and just above them, where alone it can be largest."""
    low = max(0.0, float((1 - first - reach[1] / total).max()), float((exceed[0] / total - (1 - last)).max()))
    high = max(
        0.0, float((1 - first - reach[0] / total).max()), float((exceed[1] / total - (1 - last)).max())
    )
    return Bracket((low + high) / 2, low, high)


def _d_prime(genuine: NDArray[np.float64], impostors: ImpostorScores) -> float:
    middles = (impostors.edges[:-1] + impostors.edges[1:]) / 2
    mean = float(np.average(middles, weights=impostors.counts))
    variance = float(np.average((middles - mean) ** 2, weights=impostors.counts))
    spread = (float(genuine.var()) + variance) / 2
    return abs(float(genuine.mean()) - mean) / math.sqrt(spread) if spread > 0 else math.nan


def _point(
    rate: float,
    genuine: NDArray[np.float64],
    groups: NDArray[np.int64],
    impostors: ImpostorScores,
    confidence: float,
) -> DetPoint:
    threshold = impostors.threshold(rate)
    low, high = (int(side[0]) / impostors.total for side in impostors.reaching(np.array([threshold])))
    missed = genuine < threshold
    return DetPoint(
        rate,
        impostors.oriented(threshold),
        Bracket((low + high) / 2, low, high),
        float(missed.mean()),
        miss_interval(missed, groups, confidence),
    )


def miss_interval(missed: NDArray[np.bool_], groups: NDArray[np.int64], confidence: float) -> Interval:
    """Return the interval of a false non-match rate: bool and int64 ``[m]``, misses and whose they are."""
    if not missed.any():
        upper = zero_errors_upper(len(np.unique(groups)), confidence)
        return Interval(0.0, upper, "no errors: exact one-sided bound over persons")
    return grouped_interval(missed, groups, confidence, BY_PERSONS, most=len(missed))


def _mean_interval(values: NDArray[np.float64], groups: NDArray[np.int64], confidence: float) -> Interval:
    codes = np.unique(groups, return_inverse=True)[1].reshape(-1)
    mean, sums = float(values.mean()), np.bincount(codes, values - values.mean())
    count = len(sums)
    if count < 2:
        return Interval(0.0, 1.0, "one person: nothing is known")
    half = quantile(confidence) * math.sqrt(float((sums**2).sum()) * count / (count - 1)) / len(values)
    return Interval(max(0.0, mean - half), min(1.0, mean + half), "normal, sums over persons")


def impostor_quantiles(impostors: ImpostorScores, shares: Sequence[float]) -> list[Bracket]:
    """Return the scores that shares of the impostor comparisons do not exceed, as the matcher gives them.

    The value lies in the middle of the bracket; in the tail all three are the score itself (the smallest one that at
    least the share of the comparisons do not exceed). Of distances, shares count from the far end.
    """
    result = []
    for share in shares:
        rank = max(1, math.ceil(share * impostors.total - 1e-9))  # of the ascending scores
        from_top = impostors.total - rank
        if from_top < len(impostors.tail):
            low = high = float(impostors.tail[len(impostors.tail) - 1 - from_top])
        else:
            place = int(np.searchsorted(np.cumsum(impostors.counts), rank))
            low = float(impostors.edges[place]) - impostors.slack
            high = float(impostors.edges[place + 1]) + impostors.slack
        ends = sorted((impostors.oriented(low), impostors.oriented(high)))
        result.append(Bracket((ends[0] + ends[1]) / 2, *ends))
    return result


def separation_entry(result: Separation | str) -> dict[str, Any]:
    """Return plain JSON values of a separation; of a refusal, the sentence."""
    if isinstance(result, str):
        return {"refused": result}
    return {
        "refused": None,
        "mated_comparisons": result.mated,
        "persons": result.persons,
        "impostor_comparisons": result.impostors,
        "auc": {**result.auc._asdict(), "interval": result.auc_interval._asdict()},
        "eer": {**result.eer._asdict(), "interval": result.eer_interval._asdict()},
        "ks": result.ks._asdict(),
        "d_prime": None if math.isnan(result.d_prime) else result.d_prime,
        "det": [
            {
                "target": point.target,
                "threshold": point.threshold if math.isfinite(point.threshold) else None,
                "fmr": point.fmr._asdict(),
                "fnmr": point.fnmr,
                "low": point.interval.low,
                "high": point.interval.high,
            }
            for point in result.points
        ],
    }
