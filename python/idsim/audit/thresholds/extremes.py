"""Extreme scores of impostors: false match rates beyond the data, and how the best match grows with a gallery.

Peaks over threshold: the excesses of impostor scores over a high score u follow a generalised Pareto distribution,
``FMR(t) = FMR(u) (1 + xi (t - u) / sigma) ** (-1 / xi)`` (Pickands 1975; the approach of ISO/IEC 5152:2024, which
excludes rates of identification). Fitted by probability-weighted moments (Hosking and Wallis 1987), which are in
closed form, so that a bootstrap over persons is cheap. Higher scores are better here; distances change their sign.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from idsim.audit.pairs.compared import better_is_higher
from idsim.audit.rates.intervals import Interval, rule_of_three
from idsim.audit.thresholds.tail_impostors import pairs_at, person_pairs
from idsim.audit.thresholds.vertex_bootstrap import VertexWeights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from idsim.audit.thresholds.tail_impostors import PersonPairs
    from idsim.results import Pairs

__all__ = [
    "Extrapolated",
    "Pareto",
    "TailFit",
    "extrapolate",
    "fit_pareto",
    "fit_tail",
    "tail_entry",
]

# The best score there is, higher being better: a threshold beyond it says that the fit is of no use.
BEST = {"cosine": 1.0, "l2": 0.0}

MOST_DECADES = 2.0
EXCEEDANCES = 1000
FEWEST_EXCEEDANCES = 100

# Numbers of exceedances of the stability table, as shares of all that are listed or wanted.
STABILITY = (1.0, 0.7, 0.5, 0.35, 0.25, 0.15, 0.1)


class Pareto(NamedTuple):
    """Shape xi and scale sigma of a generalised Pareto distribution of excesses."""

    shape: float
    scale: float

    def survival(self, excess: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the chance that an excess is at least as large; 0 beyond the upper end."""
        if self.shape == 0:
            return np.exp(-excess / self.scale)
        with np.errstate(divide="ignore"):
            base = np.maximum(0.0, 1 + self.shape * excess / self.scale)
            return np.asarray(base ** (-1 / self.shape))

    def excess(self, share: float) -> float:
        """Return the excess that a share of the exceedances reach."""
        if self.shape == 0:
            return -self.scale * math.log(share)
        return self.scale / self.shape * math.expm1(-self.shape * math.log(share))

    @property
    def end(self) -> float:
        """The largest excess there is; infinite for a shape of 0 or more."""
        return -self.scale / self.shape if self.shape < 0 else math.inf


@dataclass(frozen=True)
class Extrapolated:
    """A threshold beyond the comparisons.

    Attributes
    ----------
    target : float
        False match rate.
    threshold : float or None
        Score (``l2``: distance); None where it is refused.
    interval : Interval or None
        Of the threshold, by the bootstrap over persons.
    decades : float
        How far the target lies below the smallest rate that the comparisons support.
    refusal : str
        Why there is no threshold; empty where there is one.
    """

    target: float
    threshold: float | None
    interval: Interval | None
    decades: float
    refusal: str


@dataclass(frozen=True)
class TailFit:
    """A generalised Pareto distribution over the best score of every pair of persons.

    Attributes
    ----------
    metric : str
        ``l2``: lower is better; scores below are higher-better, with changed sign.
    start : float
        The score u.
    exceedances : int
        Pairs of persons with a score of at least u.
    rate : float
        False match rate at u, of pairs of images.
    pareto : Pareto
        The fit.
    shape_interval, scale_interval : Interval
        By the bootstrap over persons.
    persons, comparisons, person_pairs : int
        Of the set.
    distance : float
        Largest distance between the fitted and the observed distribution (Kolmogorov).
    largest : float
        The largest excess; beyond the upper end of the fit it contradicts it.
    mean_excess, stability : list
        ``(u, exceedances, mean excess, its standard error)`` and ``(u, exceedances, shape, scale)``.
    replicates : ndarray
        float64 ``[r, 3]``: rate at u, shape and scale of every replicate.
    confidence : float
        Of the intervals.
    """

    metric: str
    start: float
    exceedances: int
    rate: float
    pareto: Pareto
    shape_interval: Interval
    scale_interval: Interval
    persons: int
    comparisons: int
    person_pairs: int
    distance: float
    largest: float
    mean_excess: list[tuple[float, int, float, float]]
    stability: list[tuple[float, int, float, float]]
    replicates: NDArray[np.float64]
    confidence: float

    @property
    def flags(self) -> list[str]:
        """Warnings about the fit."""
        found = []
        if self.largest > self.pareto.end:
            found.append("the best score lies beyond the upper end of the fit")
        if self.shape_interval.high > 0:
            found.append("the shape may be positive, which bounded scores do not have")
        return found

    def false_match_rate(self, threshold: float) -> float:
        """Return the fitted false match rate at a threshold that is not looser than `start`.

        Raises
        ------
        ValueError
            It is looser.
        """
        excess = float(better_is_higher(threshold, self.metric)) - self.start
        if excess < 0:
            raise ValueError(f"the fit begins at {self._oriented(self.start):g}, and {threshold:g} is looser")
        return float(self.rate * self.pareto.survival(np.asarray(excess)))

    def _oriented(self, score: float) -> float:
        return -score if self.metric == "l2" else score


def fit_pareto(excesses: NDArray[np.float64], weights: NDArray[np.float64] | None = None) -> Pareto:
    """Return a generalised Pareto distribution by probability-weighted moments.

    ``shape = 2 - a0 / (a0 - 2 a1)``, ``scale = 2 a0 a1 / (a0 - 2 a1)`` with a0 the mean and a1 the mean of excess
    times ``1 - p``, plotting positions ``p = (rank - 0.35) / n`` (Hosking and Wallis 1987). Sound for shapes below
    0.5.

    Parameters
    ----------
    excesses : ndarray
        float64 ``[n]``, at least 0, ascending.
    weights : ndarray, optional
        float64 ``[n]``: how often each is there.
    """
    one = np.ones((1, len(excesses))) if weights is None else weights[None, :]
    shape, scale = _moments_fit(excesses, one)
    return Pareto(float(shape[0]), float(scale[0]))


def _moments_fit(
    excesses: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return shapes and scales for weights ``[r, n]`` of ascending excesses."""
    total = weights.sum(axis=1)
    # The rank of the k-th copy runs from before + 1 to before + weight; its mean position is in the middle.
    above = (total[:, None] - np.cumsum(weights, axis=1) + 0.35 + (weights - 1) / 2) / total[:, None]
    a0 = weights @ excesses / total
    a1 = ((weights * above) @ excesses) / total
    with np.errstate(divide="ignore", invalid="ignore"):
        return 2 - a0 / (a0 - 2 * a1), 2 * a0 * a1 / (a0 - 2 * a1)


def fit_tail(
    tail: Pairs,
    persons: NDArray[np.int64],
    metric: str,
    comparisons: int,
    rng: np.random.Generator,
    confidence: float = 0.95,
    exceedances: int = EXCEEDANCES,
    replicates: int = 2000,
) -> TailFit | str:
    """Fit the tail of the impostor scores, or say why it cannot be fitted.

    Pairs of images of the same two persons are one event: only their best score counts (declustering). Undetected
    pairs of one person must be out of the tail (`idsim.audit.thresholds.contamination`), or the fit is theirs.

    Parameters
    ----------
    tail : Pairs
        Pairs of images of different persons, best scores included.
    persons : ndarray
        int64 ``[n]``: person of every image, codes 0 .. k-1, each present.
    metric : str
        ``l2``: lower is better.
    comparisons : int
        Impostor comparisons that the tail is the best of.
    rng : numpy.random.Generator
        Source of the bootstrap.
    confidence : float
        Of the intervals.
    exceedances : int
        How many of the best pairs of persons are fitted, as far as they are listed.
    replicates : int
        Of the bootstrap.
    """
    scores = np.sort(person_pairs(tail, persons, metric).best)
    wanted = min(exceedances, len(scores))
    if wanted < FEWEST_EXCEEDANCES:
        return f"{wanted} pairs of persons are listed, and a fit wants at least {FEWEST_EXCEEDANCES}"
    start = float(scores[len(scores) - wanted])
    if start == scores[-1]:
        return "the best scores are all equal"
    above = better_is_higher(tail.scores, metric) >= start
    pairs = person_pairs(pairs_at(tail, above), persons, metric)
    pairs = pairs.at(np.argsort(pairs.best, kind="stable"))
    excesses = pairs.best - start
    pareto = fit_pareto(excesses)
    images = np.bincount(persons).astype(np.int64)
    drawn = _replicates(pairs, excesses, images, replicates, rng)
    (shape_low, shape_high), (scale_low, scale_high) = (
        np.nanquantile(drawn[:, column], [(1 - confidence) / 2, (1 + confidence) / 2]) for column in (1, 2)
    )
    method = "percentiles of the vertex bootstrap (double-or-nothing)"
    observed = (np.arange(len(excesses), 0, -1) - 0.5) / len(excesses)
    counts = [count for share in STABILITY if (count := round(share * wanted)) >= FEWEST_EXCEEDANCES // 2]
    return TailFit(
        metric,
        start,
        len(excesses),
        int(above.sum()) / comparisons,
        pareto,
        Interval(float(shape_low), float(shape_high), method),
        Interval(float(scale_low), float(scale_high), method),
        len(images),
        comparisons,
        len(images) * (len(images) - 1) // 2,
        float(np.abs(pareto.survival(excesses) - observed).max()),
        float(excesses[-1]),
        [_mean_excess(scores[len(scores) - count :]) for count in counts],
        [_refit(scores[len(scores) - count :]) for count in counts],
        drawn,
        confidence,
    )


def _replicates(
    pairs: PersonPairs,
    excesses: NDArray[np.float64],
    images: NDArray[np.int64],
    replicates: int,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Return rate at the start, shape and scale ``[r, 3]`` with the persons drawn again."""
    touched = np.unique(np.concatenate([pairs.first, pairs.second]))
    left, right = np.searchsorted(touched, pairs.first), np.searchsorted(touched, pairs.second)
    parts = []
    source = VertexWeights(images, touched, "double-or-nothing")
    for drawn, compared in source.slices(replicates, len(excesses), rng):
        weights = drawn[:, left] * drawn[:, right]
        enough = (np.count_nonzero(weights, axis=1) >= 2) & (compared > 0)
        weights = weights[enough]
        rate = weights @ pairs.hits.astype(np.float64) / compared[enough]
        parts.append(np.stack([rate, *_moments_fit(excesses, weights)], axis=1))
    return np.concatenate(parts)


def _mean_excess(scores: NDArray[np.float64]) -> tuple[float, int, float, float]:
    excesses = scores - scores[0]
    return (
        float(scores[0]),
        len(scores),
        float(excesses.mean()),
        float(excesses.std() / math.sqrt(len(scores))),
    )


def _refit(scores: NDArray[np.float64]) -> tuple[float, int, float, float]:
    return float(scores[0]), len(scores), *fit_pareto(scores - scores[0])


# --- thresholds -----------------------------------------------------------------------------------


def extrapolate(fit: TailFit, targets: Sequence[float]) -> list[Extrapolated]:
    """Return thresholds of false match rates below those that the comparisons support.

    Refused further down than two decades below the smallest supported rate (3 / pairs of persons), and above it,
    where the comparisons themselves give the threshold; and where no score is as good.
    """
    least = rule_of_three(fit.person_pairs)
    result = []
    for target in targets:
        decades = math.log10(least / target) if target > 0 else math.inf
        if decades > MOST_DECADES:
            text = (
                f"a false match rate of {target:g} is {decades:.1f} decades below {least:.2g}, the smallest that the "
                f"comparisons support; a fit is followed for {MOST_DECADES:g}"
            )
            result.append(Extrapolated(target, None, None, decades, text))
        elif decades <= 0:
            text = f"a false match rate of {target:g} is supported by the comparisons themselves"
            result.append(Extrapolated(target, None, None, decades, text))
        else:
            result.append(_extrapolated(fit, target, decades))
    return result


def _extrapolated(fit: TailFit, target: float, decades: float) -> Extrapolated:
    rates, shapes, scales = fit.replicates.T
    share = np.minimum(1.0, target / rates)
    with np.errstate(divide="ignore", invalid="ignore"):
        bent = np.expm1(-shapes * np.log(share)) / shapes
        excesses = scales * np.where(shapes == 0, -np.log(share), bent)
    low, high = np.nanquantile(excesses, [(1 - fit.confidence) / 2, (1 + fit.confidence) / 2])
    best = BEST.get(fit.metric, math.inf)
    score = fit.start + fit.pareto.excess(target / fit.rate)
    if score > best:
        text = (
            f"the fit puts a false match rate of {target:g} beyond the best score there is: the tail is not that of "
            "impostors alone, or too few are listed"
        )
        return Extrapolated(target, None, None, decades, text)
    ends = float(fit.start + low), min(best, float(fit.start + high))
    if fit.metric == "l2":
        score, ends = -score, (-ends[1], -ends[0])
    return Extrapolated(target, score, Interval(*ends, fit.shape_interval.method), decades, "")


def tail_entry(fit: TailFit | str, thresholds: Sequence[Extrapolated] = ()) -> dict[str, Any]:
    """Return plain JSON values of a fit and of what was extrapolated by it; of a refusal, the sentence."""
    if isinstance(fit, str):
        return {"refused": fit}
    sign = -1.0 if fit.metric == "l2" else 1.0
    return {
        "refused": None,
        "extrapolated": True,
        "method": "generalised Pareto distribution over exceedances, probability-weighted moments",
        "start": sign * fit.start,
        "exceedances": fit.exceedances,
        "fmr_at_start": fit.rate,
        "shape": {"value": fit.pareto.shape, **fit.shape_interval._asdict()},
        "scale": {"value": fit.pareto.scale, **fit.scale_interval._asdict()},
        "upper_end": None if fit.pareto.shape >= 0 else sign * (fit.start + fit.pareto.end),
        "largest_distance": fit.distance,
        "persons": fit.persons,
        "comparisons": fit.comparisons,
        "flags": fit.flags,
        "mean_excess": [
            {"start": sign * start, "exceedances": count, "mean": mean, "standard_error": error}
            for start, count, mean, error in fit.mean_excess
        ],
        "stability": [
            {"start": sign * start, "exceedances": count, "shape": shape, "scale": scale}
            for start, count, shape, scale in fit.stability
        ],
        "thresholds": [
            {
                "target": one.target,
                "threshold": one.threshold,
                "low": None if one.interval is None else one.interval.low,
                "high": None if one.interval is None else one.interval.high,
                "decades_beyond": one.decades if math.isfinite(one.decades) else None,
                "refused": one.refusal or None,
                "extrapolated": one.threshold is not None,
            }
            for one in thresholds
        ],
    }
