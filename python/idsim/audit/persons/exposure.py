"""Who is exposed: how many synthetic clusters reach each person, in training and in the holdout.

Definitions are in docs/membership.md. A table with one row per person answers whether somebody was reproduced.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from idsim.audit.rates.clustered import (
    Cells,
    effective_number,
    find_cells,
    reweighting_variance,
    two_way_variance,
)
from idsim.audit.rates.intervals import Interval, newcombe, wilson
from idsim.audit.rates.strata import Strata, image_strata
from idsim.audit.significance.multiple import benjamini_hochberg

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from idsim.results import Pairs

__all__ = [
    "Concentration",
    "IndividualExposure",
    "PersonExposure",
    "Reached",
    "exposure_entry",
    "gini",
    "measure_exposure",
]


class Reached(NamedTuple):
    """What reaches a real set at a threshold.

    Attributes
    ----------
    persons : ndarray
        int64 ``[n]``: code of the person of every embedding; codes 0 .. k-1, each present.
    pairs : Pairs
        The pairs that reach the threshold: rows are synthetic embeddings, columns those of this set.
    """

    persons: NDArray[np.int64]
    pairs: Pairs


@dataclass(frozen=True)
class Concentration:
    """How exposure is spread over the persons of a set.

    Attributes
    ----------
    persons, exposed : int
        All persons with a face, and those that at least one cluster reaches.
    share : float
        Exposed persons; of the holdout standardised to the numbers of images that persons have in training.
    interval : Interval
        Of the share.
    effective_persons : float
        Independent persons that carry as much information.
    clusters : int
        Synthetic clusters that reach anybody.
    gini : float or None
        Of the numbers of clusters over all persons: 0 evenly spread, near 1 all on one; None without any.
    effective_exposed : float
        Inverse Simpson number: as many equally exposed persons are as concentrated.
    top_share : float
        Share of the (cluster, person) cells that the most exposed person takes.
    """

    persons: int
    exposed: int
    share: float
    interval: Interval
    effective_persons: float
    clusters: int
    gini: float | None
    effective_exposed: float
    top_share: float


@dataclass(frozen=True)
class IndividualExposure:
    """Which persons of training are more exposed than persons of the holdout.

    Attributes
    ----------
    p, q : ndarray
        float64 ``[persons]``: rank among the holdout, and after Benjamini and Hochberg.
    exposed : int
        Persons with q at most `rate`.
    rate : float
        False discovery rate.
    resolution : float
        Smallest p that any person can have: 1 / (holdout persons of the largest stratum + 1).
    needed : int
        Persons that must have the smallest p together before any of them can be called exposed.
    """

    p: NDArray[np.float64]
    q: NDArray[np.float64]
    exposed: int
    rate: float
    resolution: float
    needed: int


@dataclass(frozen=True)
class PersonExposure:
    """Exposure of both sets at a threshold.

    Attributes
    ----------
    training, holdout : Concentration
        The sets.
    counts : tuple of ndarray
        int64 ``[persons]`` of training and of the holdout: clusters that reach each person.
    excess : float
        Share of exposed persons in training less that in the holdout.
    excess_interval : Interval
        Of the excess.
    p_value : float
        One-sided, of the excess, under exchange of membership inside strata.
    individuals : IndividualExposure
        Persons of training one by one.
    strata : int
        Groups of persons with similar numbers of images.
    caution : str
        What a reader must know of the groups; empty where nothing.
    """

    training: Concentration
    holdout: Concentration
    counts: tuple[NDArray[np.int64], NDArray[np.int64]]
    excess: float
    excess_interval: Interval
    p_value: float
    individuals: IndividualExposure
    strata: int
    caution: str


def measure_exposure(
    training: Reached,
    holdout: Reached,
    clusters: NDArray[np.int64],
    total_clusters: int,
    permutations: int,
    rng: np.random.Generator,
    confidence: float = 0.95,
    false_discovery_rate: float = 0.05,
) -> PersonExposure | str:
    """Return how persons of both sets are exposed; a sentence where a set has no person.

    Parameters
    ----------
    training, holdout : Reached
        Both sets at one threshold.
    clusters : ndarray
        int64 ``[m]``: code of the cluster of every synthetic embedding.
    total_clusters : int
        All clusters, also those without a face.
    permutations : int
        Random exchanges of membership; they cost little.
    rng : numpy.random.Generator
        Source of the exchanges.
    confidence : float
        Of the two-sided intervals.
    false_discovery_rate : float
        For the persons one by one.
    """
    if not len(training.persons) or not len(holdout.persons):
        return "exposure needs a person with a face in training and in the holdout"
    images = [np.bincount(side.persons) for side in (training, holdout)]
    strata = image_strata(images[0], images[1])
    cells = [find_cells(side.pairs, clusters, side.persons) for side in (training, holdout)]
    counts = [
        np.bincount(cell.persons, minlength=len(count)).astype(np.int64)
        for cell, count in zip(cells, images, strict=True)
    ]
    shares = [_share(*part) for part in zip(cells, counts, strata.weights(), strict=True)]
    sides = [
        _concentration(cell, count, share, total_clusters, confidence)
        for cell, count, share in zip(cells, counts, shares, strict=True)
    ]
    return PersonExposure(
        training=sides[0],
        holdout=sides[1],
        counts=(counts[0], counts[1]),
        excess=sides[0].share - sides[1].share,
        excess_interval=_excess_interval(cells, shares, total_clusters, confidence),
        p_value=_permutation_p(counts[0] > 0, counts[1] > 0, strata, permutations, rng),
        individuals=_individuals(counts[0], counts[1], strata, false_discovery_rate),
        strata=strata.number,
        caution=strata.caution,
    )


# --- sets -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Share:
    """Share of exposed persons of a set, as a sum over (cluster, person) cells, and its variances.

    A person whom several clusters reach is shared among them. `most` is the number of independent persons that
    the weights leave.
    """

    rate: float
    mass: NDArray[np.float64]
    by_person: float
    by_cell: float
    most: float


def _share(cells: Cells, counts: NDArray[np.int64], weights: NDArray[np.float64]) -> _Share:
    reached = counts > 0
    rate = min(1.0, float(weights[reached].sum()))
    mass = weights[cells.persons] / counts[cells.persons]
    return _Share(
        rate=rate,
        mass=mass,
        by_person=float((weights**2 * (reached - rate) ** 2).sum()),
        by_cell=float((mass**2).sum()),
        most=1 / float((weights**2).sum()),
    )


def _concentration(
    cells: Cells, counts: NDArray[np.int64], share: _Share, total_clusters: int, confidence: float
) -> Concentration:
    total = int(counts.sum())
    by_cluster = reweighting_variance(cells.clusters, share.mass, total_clusters)
    variance = two_way_variance(share.by_person, by_cluster, share.by_cell)
    effective = effective_number(share.rate, variance, share.most)
    low, high = wilson(share.rate, effective, confidence)
    return Concentration(
        persons=len(counts),
        exposed=int((counts > 0).sum()),
        share=share.rate,
        interval=Interval(low, high, "Wilson over effective persons, two-way clustered"),
        effective_persons=effective,
        clusters=len(np.unique(cells.clusters)),
        gini=gini(counts) if total else None,
        effective_exposed=total**2 / float((counts.astype(np.float64) ** 2).sum()) if total else 0.0,
        top_share=float(counts.max() / total) if total else 0.0,
    )


def _excess_interval(
    cells: list[Cells], shares: list[_Share], total_clusters: int, confidence: float
) -> Interval:
    """Return the interval of the difference of the shares.

    Both sets meet the same clusters: a cluster that reaches everybody moves both shares, not their difference.
    The effective persons of either set are scaled so that the variances add up to that of the difference.
    """
    clusters = np.concatenate([cell.clusters for cell in cells])
    mass = np.concatenate([shares[0].mass, -shares[1].mass])
    variance = two_way_variance(
        sum(share.by_person for share in shares),
        reweighting_variance(clusters, mass, total_clusters),
        sum(share.by_cell for share in shares),
    )
    apart = sum(share.by_person for share in shares)
    scale = variance / apart if apart > 0 else 1.0
    rates = [(share.rate, share.most / scale) for share in shares]
    return Interval(*newcombe(*rates[0], *rates[1], confidence), "Newcombe over effective persons")


def gini(counts: NDArray[np.int64]) -> float:
    """Return the Gini coefficient of non-negative numbers: mean absolute difference over twice the mean.

    0 where all are equal, ``1 - 1/n`` where one of n has everything.
    """
    ordered = np.sort(counts).astype(np.float64)
    n, total = len(ordered), float(ordered.sum())
    if total <= 0 or ordered[0] < 0:
        raise ValueError("the Gini coefficient needs numbers of at least 0, one of them positive")
    return float(((2 * np.arange(1, n + 1) - n - 1) * ordered).sum() / (n * total))


def _permutation_p(
    training: NDArray[np.bool_],
    holdout: NDArray[np.bool_],
    strata: Strata,
    permutations: int,
    rng: np.random.Generator,
) -> float:
    """Return the one-sided p of the excess share.

    Who is exposed stays, who is a member changes: the number of exposed members of a stratum is
    hypergeometric. With one stratum this is Fisher's exact test, drawn.
    """
    excess = np.zeros(permutations)
    observed = 0.0
    for inside, others in strata.members():
        members, non_members = len(inside), len(others)
        found, alarms = int(training[inside].sum()), int(holdout[others].sum())
        exposed = found + alarms
        share = members / len(training)
        drawn = rng.hypergeometric(exposed, members + non_members - exposed, members, size=permutations)
        excess += share * (drawn / members - (exposed - drawn) / non_members)
        observed += share * (found / members - alarms / non_members)
    # Sums in another order differ in their last bits: equal statistics must count as reached.
    return (1 + int((excess >= observed - 1e-12).sum())) / (permutations + 1)


# --- persons --------------------------------------------------------------------------------------


def _individuals(
    training: NDArray[np.int64], holdout: NDArray[np.int64], strata: Strata, rate: float
) -> IndividualExposure:
    """Return p by conservative rank: all holdout persons of the stratum with as many clusters or more count."""
    p = np.ones(len(training))
    for inside, others in strata.members():
        ordered = np.sort(holdout[others])
        as_many = len(ordered) - np.searchsorted(ordered, training[inside], "left")
        p[inside] = (1 + as_many) / (1 + len(ordered))
    q = benjamini_hochberg(p)
    resolution = 1 / (1 + int(strata.sizes[1].max()))
    return IndividualExposure(
        p=p,
        q=q,
        exposed=int((q <= rate).sum()),
        rate=rate,
        resolution=resolution,
        needed=max(1, math.ceil(len(p) * resolution / rate - 1e-9)),
    )


# --- plain values ---------------------------------------------------------------------------------


def exposure_entry(found: PersonExposure | str) -> dict[str, Any]:
    """Return plain JSON values; ``{"refused": sentence}`` for a refusal. Persons stay in the table."""
    if isinstance(found, str):
        return {"refused": found}
    people = found.individuals
    return {
        "refused": None,
        "training": _concentration_entry(found.training),
        "holdout": _concentration_entry(found.holdout),
        "excess": {
            "share": found.excess,
            **found.excess_interval._asdict(),
            "persons_training": found.training.persons,
            "persons_holdout": found.holdout.persons,
            "permutation_p": found.p_value,
        },
        "individuals": {
            "exposed": people.exposed,
            "tested": len(people.p),
            "false_discovery_rate": people.rate,
            "smallest_p_possible": people.resolution,
            "persons_needed_at_smallest_p": people.needed,
        },
        "strata": found.strata,
        "caution": found.caution or None,
    }


def _concentration_entry(found: Concentration) -> dict[str, Any]:
    return {
        "persons": found.persons,
        "exposed": found.exposed,
        "share": found.share,
        **found.interval._asdict(),
        "effective_persons": found.effective_persons,
        "clusters": found.clusters,
        "gini": found.gini,
        "effective_exposed": found.effective_exposed,
        "top_person_share": found.top_share,
    }
