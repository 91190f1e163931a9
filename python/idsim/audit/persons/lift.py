"""Tail lift: how much more often synthetic faces match training than holdout, per comparison.

``lift(t) = FMR_ST(t) / FMR_SH(t)``. Both rates are per pair, so the sizes of the sets cancel. 1 is no leak.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from idsim.audit.pairs.compared import better_is_higher
from idsim.audit.rates.intervals import Interval, rule_of_three
from idsim.audit.thresholds.calibration import strictest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from idsim.audit.pairs.compared import Compared

__all__ = ["Lift", "LiftAt", "TailSide", "impostor_thresholds", "lift_curve", "lift_entry", "tail_lift"]

FALSE_MATCH_RATES = (1e-4, 1e-5, 1e-6, 1e-7, 1e-8)
FEWEST_PAIRS = 10

# Clusters and persons are resampled in random groups where there are more of them: the variance of a sum stays
# what it is, and its own relative error, sqrt(2 / groups), 2 %.
MOST_GROUPS = 4096
SLICE_REPLICATES = 256


class TailSide(NamedTuple):
    """Synthetic faces compared with a real set.

    Attributes
    ----------
    compared : Compared
        Rows are synthetic embeddings, columns real ones; only its tail is used.
    persons : ndarray
        int64 ``[columns]``: code of the person of every real embedding; codes 0 .. k-1, each present.
    """

    compared: Compared
    persons: NDArray[np.int64]


class LiftAt(NamedTuple):
    """A threshold at which the lift is wanted: ``fmr`` of real comparisons is None for points of the curve."""

    threshold: float | None
    fmr: float | None
    refusal: str = ""


@dataclass(frozen=True)
class Lift:
    """The lift at a threshold.

    Attributes
    ----------
    at : LiftAt
        The threshold, and where it comes from.
    refusal : str
        Why there is no lift; empty where there is one.
    lift, interval : float, Interval or None
        Ratio of the false match rates.
    pairs, compared : tuple of int
        Pairs that reach the threshold, and pairs compared, of training and of the holdout.
    clusters, persons : tuple of int
        Synthetic clusters and real persons in the pairs of training and of the holdout.
    """

    at: LiftAt
    refusal: str
    lift: float | None
    interval: Interval | None
    pairs: tuple[int, int]
    compared: tuple[int, int]
    clusters: tuple[int, int]
    persons: tuple[int, int]

    @property
    def flags(self) -> list[str]:
        """Warnings about how many independent units there are."""
        few = not self.refusal and min(*self.clusters, *self.persons) < FEWEST_PAIRS
        return ["pairs of fewer than 10 clusters or persons"] if few else []


def impostor_thresholds(
    holdout: Compared,
    comparisons: int,
    persons: int,
    targets: Sequence[float] = FALSE_MATCH_RATES,
) -> list[LiftAt]:
    """Return the thresholds at which comparisons of different real persons reach false match rates.

    Parameters
    ----------
    holdout : Compared
        The holdout with itself.
    comparisons : int
        Pairs of images of different persons in it.
    persons : int
        Persons in it.
    targets : sequence of float
        False match rates.
    """
    scores = np.sort(better_is_higher(holdout.tail.scores, holdout.metric))[::-1]
    ordered = (-scores if holdout.metric == "l2" else scores).astype(np.float32)
    least = rule_of_three(persons * (persons - 1) // 2)
    found = []
    for target in targets:
        allowed = math.floor(target * comparisons)
        if target < least:
            text = f"a false match rate of {target:g} is not supported by {persons} persons: at least {least:.2g} is"
            found.append(LiftAt(None, target, f"{text} (rule of 3)"))
        elif allowed >= len(ordered):
            text = f"{len(ordered)} pairs of the holdout are listed, and {allowed + 1} are needed"
            found.append(LiftAt(None, target, f"{text} for a false match rate of {target:g}"))
        else:
            found.append(LiftAt(strictest(ordered, allowed, holdout.metric), target))
    return found


def lift_curve(holdout: TailSide, points: int = 24) -> list[LiftAt]:
    """Return thresholds for a curve: scores of synthetic x holdout at ranks in even steps of their logarithm.

    The strictest is reached by 10 pairs, the loosest by all that are listed.
    """
    compared = holdout.compared
    ordered = np.sort(better_is_higher(compared.tail.scores, compared.metric))[::-1]
    if len(ordered) < FEWEST_PAIRS:
        return []
    ranks = np.unique(np.round(np.geomspace(FEWEST_PAIRS, len(ordered), points)).astype(np.int64))
    values = np.unique(ordered[ranks - 1])[::-1]
    return [LiftAt(float(-value if compared.metric == "l2" else value), None) for value in values]


def tail_lift(
    training: TailSide,
    holdout: TailSide,
    clusters: NDArray[np.int64],
    wanted: Sequence[LiftAt],
    replicates: int,
    rng: np.random.Generator,
    confidence: float = 0.95,
) -> list[Lift]:
    """Return the lift at every wanted threshold.

    Interval: synthetic clusters (the same ones for both sets) and the persons of either set are drawn with
    replacement; deviations of log lift, to first order, are added and scaled to the two-way clustered
    variance, which counts once what clusters and persons both explain (Cameron, Gelbach and Miller 2011).

    Parameters
    ----------
    training, holdout : TailSide
        The synthetic set against either real set.
    clusters : ndarray
        int64 ``[rows]``: code of the cluster of every synthetic embedding; codes 0 .. c-1, each present.
    wanted : sequence of LiftAt
        Thresholds, from `impostor_thresholds` and `lift_curve`.
    replicates : int
        Of the bootstrap.
    rng : numpy.random.Generator
        Source of the draws.
    confidence : float
        Of the two-sided interval at each threshold; bands are pointwise.
    """
    if not len(clusters) or not len(training.persons) or not len(holdout.persons):
        raise ValueError("lift needs an embedding in each of the three sets")
    metric = training.compared.metric
    usable = [place for place, at in enumerate(wanted) if at.threshold is not None]
    oriented = better_is_higher([wanted[place].threshold for place in usable], metric)
    order = np.argsort(oriented, kind="stable")
    grouping = _random_groups(int(clusters.max()) + 1, rng)[clusters]
    sides = [
        _Side(side, clusters, grouping, _random_groups(int(side.persons.max()) + 1, rng), oriented[order])
        for side in (training, holdout)
    ]
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = _deviations(sides, replicates, rng)
    results: list[Lift | None] = [None] * len(wanted)
    for column, place in enumerate(order.tolist()):
        results[usable[place]] = _lift(wanted[usable[place]], sides, spread[:, column], column, confidence)
    nothing = (0, 0)
    compared = sides[0].compared, sides[1].compared
    return [
        Lift(at, at.refusal, None, None, nothing, compared, nothing, nothing) if found is None else found
        for at, found in zip(wanted, results, strict=True)
    ]


def _random_groups(units: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return int64 ``[units]``: group of every unit; groups are as even as can be."""
    return np.asarray(rng.permutation(units) % min(units, MOST_GROUPS), dtype=np.int64)


class _Side:
    """Pairs of one real set that reach the thresholds, which ascend from loose to strict."""

    def __init__(
        self,
        side: TailSide,
        clusters: NDArray[np.int64],
        cluster_groups: NDArray[np.int64],
        person_groups: NDArray[np.int64],
        thresholds: NDArray[np.float64],
    ) -> None:
        tail, metric = side.compared.tail, side.compared.metric
        self.listed = thresholds >= better_is_higher([side.compared.level], metric)[0]
        self.compared = len(clusters) * len(side.persons)
        # Number of thresholds that a pair reaches; the first `reached` columns count it.
        reached = np.searchsorted(thresholds, better_is_higher(tail.scores, metric), "right")
        rows, columns, reached = (part[reached > 0] for part in (tail.rows, tail.columns, reached))
        width = len(thresholds)
        groups = person_groups[side.persons]
        self.by_cluster = _counts(cluster_groups[rows], reached, int(cluster_groups.max()) + 1, width)
        self.by_person = _counts(groups[columns], reached, int(groups.max()) + 1, width)
        self.person_sizes = np.bincount(groups) / len(groups)
        self.pairs = self.by_cluster.sum(axis=0)
        self.clusters = _distinct(clusters[rows], reached, width)
        self.persons = _distinct(side.persons[columns], reached, width)
        cells = clusters[rows] * (int(side.persons.max()) + 1) + side.persons[columns]
        self.cell_squares = _squares(cells, reached, width)


def _counts(
    units: NDArray[np.int64], reached: NDArray[np.int64], total: int, width: int
) -> NDArray[np.float64]:
    """Return float64 ``[total, width]``: pairs of each unit that reach each threshold."""
    exactly = np.bincount(units * (width + 1) + reached, minlength=total * (width + 1))
    exactly = exactly.reshape(total, width + 1)[:, 1:]
    return np.cumsum(exactly[:, ::-1], axis=1)[:, ::-1].astype(np.float64)


def _distinct(units: NDArray[np.int64], reached: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """Return int64 ``[width]``: units with a pair that reaches each threshold."""
    furthest = np.zeros(int(units.max()) + 1 if len(units) else 1, np.int64)
    np.maximum.at(furthest, units, reached)
    exactly = np.bincount(furthest, minlength=width + 1)[1:]
    return np.cumsum(exactly[::-1])[::-1].astype(np.int64)


def _squares(cells: NDArray[np.int64], reached: NDArray[np.int64], width: int) -> NDArray[np.float64]:
    """Return float64 ``[width]``: sum over cells of the square of their pairs that reach each threshold."""
    keys, counts = np.unique(cells, return_counts=True)
    shared = keys[counts > 1]
    # Most cells have one pair, which is its own square: only the others are counted threshold by threshold.
    squares = np.cumsum(np.bincount(reached, minlength=width + 1)[:0:-1])[::-1].astype(np.float64)
    if not len(shared):
        return squares
    places = np.minimum(np.searchsorted(shared, cells), len(shared) - 1)
    inside = shared[places] == cells
    places, reached = places[inside], reached[inside]
    for column in range(width):
        pairs = np.bincount(places[reached > column]).astype(np.float64)
        squares[column] += float((pairs * (pairs - 1)).sum())
    return squares


def _deviations(sides: list[_Side], replicates: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return float64 ``[replicates, thresholds]``: deviations of log lift; NaN where a side has no pair."""
    shares = [side.by_cluster / side.pairs for side in sides]
    parts = [
        _redrawn(shares[0] - shares[1], replicates, rng),
        *(
            _redrawn(side.by_person / side.pairs - side.person_sizes[:, None], replicates, rng)
            for side in sides
        ),
    ]
    by_cluster, by_person = parts[0], parts[1] - parts[2]
    first, second = ((part**2).mean(axis=0) for part in (by_cluster, by_person))
    cells = sum(side.cell_squares / side.pairs**2 for side in sides)
    variance = np.maximum(first + second - cells, np.maximum(first, second))
    both = by_cluster + by_person
    return np.asarray(both * np.sqrt(variance / np.maximum(first + second, 1e-300)), dtype=np.float64)


def _redrawn(mass: NDArray[np.float64], replicates: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return deviations of the sum of masses ``[units, thresholds]`` when units are drawn with replacement."""
    units = len(mass)
    even = np.full(units, 1 / units)
    slices = [
        (rng.multinomial(units, even, size=min(SLICE_REPLICATES, replicates - start)) - 1.0) @ mass
        for start in range(0, replicates, SLICE_REPLICATES)
    ]
    return np.concatenate(slices)


def _lift(
    at: LiftAt, sides: list[_Side], spread: NDArray[np.float64], column: int, confidence: float
) -> Lift:
    pairs, compared, clusters, persons = (
        (int(first), int(second))
        for first, second in (
            [side.pairs[column] for side in sides],
            [side.compared for side in sides],
            [side.clusters[column] for side in sides],
            [side.persons[column] for side in sides],
        )
    )
    refusal = ""
    if not all(side.listed[column] for side in sides):
        refusal = f"not all pairs that reach {at.threshold:g} are listed"
    elif min(pairs) < FEWEST_PAIRS:
        refusal = f"{pairs[0]} pairs with training and {pairs[1]} with the holdout reach the threshold; 10 are needed"
    if refusal:
        return Lift(at, refusal, None, None, pairs, compared, clusters, persons)
    lift = (pairs[0] / compared[0]) / (pairs[1] / compared[1])
    tail = (1 - confidence) / 2
    low, high = lift * np.exp(np.quantile(spread, [tail, 1 - tail]))
    interval = Interval(float(low), float(high), "two-way bootstrap over clusters and persons, log scale")
    return Lift(at, "", lift, interval, pairs, compared, clusters, persons)


def lift_entry(lifts: Sequence[Lift]) -> list[dict[str, Any]]:
    """Return plain JSON values, one entry per threshold."""
    return [
        {
            "fmr": found.at.fmr,
            "threshold": found.at.threshold,
            "refused": found.refusal or None,
            "lift": found.lift,
            **(found.interval._asdict() if found.interval else {"low": None, "high": None, "method": None}),
            "pairs": list(found.pairs),
            "compared": list(found.compared),
            "clusters": list(found.clusters),
            "persons": list(found.persons),
            "flags": found.flags,
        }
        for found in lifts
    ]
