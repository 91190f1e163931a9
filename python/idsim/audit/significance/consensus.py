"""What several matchers say together, each at its own threshold of the same false match rate (P9).

An image counts under k of m matchers when at least k of them find the same person in it. Matchers err on
different people: what most of them see is less likely to be the error of one.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.audit.rates.excess import Excess, Gallery, measure_excess
from idsim.audit.rates.resampling import Hits, image_counts, matched_draws
from idsim.audit.significance.agreement import Agreement, agreement_entry, agreement_of
from idsim.audit.significance.multiple import holm
from idsim.audit.significance.percentiles import interval_entry
from idsim.audit.significance.permutations import (
    PermutationTest,
    Pool,
    permutation_entry,
    permutation_test,
)
from idsim.audit.significance.votes import (
    any_person_difference,
    any_person_rate,
    pair_votes,
    persons_hit,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from idsim.audit.rates.excess import Rate, Resampling
    from idsim.audit.rates.resampling import Draw

__all__ = [
    "Consensus",
    "ConsensusLevel",
    "MatcherHits",
    "MatcherResult",
    "consensus_entry",
    "majority",
    "measure_consensus",
]


@dataclass(frozen=True)
class MatcherHits:
    """The pairs of items that reach the threshold of one matcher.

    All matchers number the items of a set in the same way, whether or not they find a face in them.

    Attributes
    ----------
    name : str
        Of the matcher.
    training, holdout : tuple of ndarray
        int64 ``[p]`` twice: synthetic item and item of the gallery of every pair.
    """

    name: str
    training: tuple[NDArray[np.int64], NDArray[np.int64]]
    holdout: tuple[NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True)
class MatcherResult:
    """The excess of one matcher, and its p after Holm's correction for the number of matchers."""

    name: str
    excess: Excess
    p_corrected: float


@dataclass(frozen=True)
class ConsensusLevel:
    """What at least `matchers` matchers agree on.

    Attributes
    ----------
    matchers : int
        k.
    excess : Excess
        Leak rates and excess where k matchers find the same person.
    persons : tuple of int
        Persons of training and of holdout whom k matchers find in some image, not necessarily the same one.
    any_person : tuple of float
        Leak rates against training and holdout where k matchers each find somebody, not necessarily the same
        person; over the same matched galleries.
    any_person_test : PermutationTest
        Of the difference of these over the whole galleries.
    """

    matchers: int
    excess: Excess
    persons: tuple[int, int]
    any_person: tuple[float, float]
    any_person_test: PermutationTest


@dataclass(frozen=True)
class Consensus:
    """Several matchers.

    Attributes
    ----------
    primary : int
        The number of matchers that was declared to decide.
    matchers : list of MatcherResult
        Each on its own.
    levels : list of ConsensusLevel
        Under 1, 2, ... of them.
    agreements : list of Agreement
        Of every two, on pairs of a synthetic image and a person of training.
    """

    primary: int
    matchers: list[MatcherResult]
    levels: list[ConsensusLevel]
    agreements: list[Agreement]

    @property
    def decisive(self) -> ConsensusLevel:
        """The level that was declared to decide."""
        return self.levels[self.primary - 1]


@dataclass(frozen=True)
class _Agreed:
    """A gallery in which a person is hit where at least `least` matchers say so."""

    persons: NDArray[np.int64]
    galleries: tuple[Gallery, ...]
    least: int

    def hits(self, keep: NDArray[np.bool_] | None = None) -> Hits:
        people = int(self.persons.max()) + 1
        keys, votes = pair_votes([gallery.hits(keep) for gallery in self.galleries], people)
        keys = keys[votes >= self.least]
        return Hits(keys // people, keys % people)


def majority(matchers: int) -> int:
    """Return the smallest number that is more than half of the matchers."""
    return matchers // 2 + 1


def measure_consensus(
    matchers: Sequence[MatcherHits],
    clusters: NDArray[np.int64],
    persons: tuple[NDArray[np.int64], NDArray[np.int64]],
    resampling: Resampling,
    primary: int | None = None,
) -> Consensus:
    """Return what several matchers say together.

    Parameters
    ----------
    matchers : sequence of MatcherHits
        At least two, each at its own threshold.
    clusters : ndarray
        int64 ``[n]``: cluster of every synthetic item; codes 0 .. c-1.
    persons : tuple of ndarray
        int64 ``[g]``: person of every *item* of training and of holdout, those without a face included, so that
        the codes are the same for all matchers; 0 .. k-1.
    resampling : Resampling
        Replicates and seed.
    primary : int, optional
        Matchers that must agree for the result that decides, declared in advance. Default: the majority.

    Raises
    ------
    ValueError
        Fewer than two matchers, two of one name, `primary` out of range, or items that are not there.
    """
    primary = majority(len(matchers)) if primary is None else primary
    _require(matchers, clusters, persons, primary)
    rng = np.random.default_rng([resampling.seed, 30])
    draws = matched_draws(*persons, resampling.draws, rng)
    sides = [
        tuple(Gallery(codes, *(matcher.training, matcher.holdout)[side]) for matcher in matchers)
        for side, codes in enumerate(persons)
    ]
    excesses = [measure_excess(pair, clusters, resampling, draws) for pair in zip(*sides, strict=True)]
    corrected = holm([excess.p_value for excess in excesses]).tolist()
    pool = Pool.of(*persons)
    levels = [
        _level(number, sides, clusters, pool, draws, resampling) for number in range(1, len(matchers) + 1)
    ]
    return Consensus(
        primary=primary,
        matchers=[
            MatcherResult(matcher.name, excess, value)
            for matcher, excess, value in zip(matchers, excesses, corrected, strict=True)
        ],
        levels=levels,
        agreements=_agreements(matchers, sides[0], clusters, resampling),
    )


def _require(
    matchers: Sequence[MatcherHits],
    clusters: NDArray[np.int64],
    persons: tuple[NDArray[np.int64], NDArray[np.int64]],
    primary: int,
) -> None:
    names = [matcher.name for matcher in matchers]
    if len(names) < 2 or len(set(names)) < len(names):
        raise ValueError(f"a consensus needs several matchers of different names, not {names}")
    if not 1 <= primary <= len(names):
        raise ValueError(f"primary must be from 1 to {len(names)} matchers, not {primary}")
    for matcher in matchers:
        for side, (pairs, codes) in enumerate(zip((matcher.training, matcher.holdout), persons, strict=True)):
            for what, numbers, total in zip(
                ("synthetic", ("training", "holdout")[side]), pairs, (len(clusters), len(codes)), strict=True
            ):
                if len(numbers) and not 0 <= int(numbers.min()) <= int(numbers.max()) < total:
                    raise ValueError(
                        f"{matcher.name} has pairs of {what} items beyond the {total} that there are"
                    )


# --- at least k of them ---------------------------------------------------------------------------


def _level(
    number: int,
    sides: list[tuple[Gallery, ...]],
    clusters: NDArray[np.int64],
    pool: Pool,
    draws: list[Draw],
    resampling: Resampling,
) -> ConsensusLevel:
    agreed = [_Agreed(galleries[0].persons, galleries, number) for galleries in sides]
    weights = 1.0 / np.bincount(clusters)[clusters]
    whole = [[gallery.hits() for gallery in galleries] for galleries in sides]
    rates = np.mean(
        [
            [
                any_person_rate([gallery.hits(keep) for gallery in galleries], number, weights)
                for galleries, keep in zip(sides, draw, strict=True)
            ]
            for draw in draws
        ],
        axis=0,
    )
    rng = np.random.default_rng([resampling.seed, 31, number])
    statistic = any_person_difference(whole, number, weights, int(pool.member.sum()))
    return ConsensusLevel(
        matchers=number,
        excess=measure_excess(agreed, clusters, resampling, draws),
        persons=(persons_hit(whole[0], number), persons_hit(whole[1], number)),
        any_person=(float(rates[0]), float(rates[1])),
        any_person_test=permutation_test(statistic, pool, resampling.permutations, rng),
    )


# --- agreement ------------------------------------------------------------------------------------


def _agreements(
    matchers: Sequence[MatcherHits],
    galleries: tuple[Gallery, ...],
    clusters: NDArray[np.int64],
    resampling: Resampling,
) -> list[Agreement]:
    rng = np.random.default_rng([resampling.seed, 32])
    found = [gallery.hits() for gallery in galleries]
    persons = len(image_counts(galleries[0].persons))
    return [
        agreement_of(
            (matchers[one].name, matchers[other].name),
            (found[one], found[other]),
            clusters,
            persons,
            resampling.confidence,
            resampling.bootstrap,
            rng,
        )
        for one, other in combinations(range(len(matchers)), 2)
    ]


# --- plain values ---------------------------------------------------------------------------------


def consensus_entry(consensus: Consensus, confidence: float) -> dict[str, Any]:
    """Return the consensus as plain JSON values."""
    return {
        "primary": consensus.primary,
        "matchers": [
            {
                "name": result.name,
                **_excess_entry(result.excess),
                "permutation_p_corrected": result.p_corrected,
            }
            for result in consensus.matchers
        ],
        "levels": [
            {
                "matchers": level.matchers,
                "primary": level.matchers == consensus.primary,
                **_excess_entry(level.excess),
                "persons_training": level.persons[0],
                "persons_holdout": level.persons[1],
                "any_person": {
                    "leak_rate_training": level.any_person[0],
                    "leak_rate_holdout": level.any_person[1],
                    "permutation": permutation_entry(level.any_person_test),
                },
            }
            for level in consensus.levels
        ],
        "agreements": [agreement_entry(agreement) for agreement in consensus.agreements],
        "sentence": _sentence(consensus, confidence),
    }


def _excess_entry(excess: Excess) -> dict[str, Any]:
    return {
        "leak_rate_training": _rate_entry(excess.training),
        "leak_rate_holdout": _rate_entry(excess.holdout),
        "excess_leak_rate": {
            "rate": excess.rate,
            **interval_entry(excess.interval),
            "upper": excess.upper,
            "permutation_p": excess.p_value,
        },
        "clusters": excess.clusters,
        "persons": excess.persons,
        "draws": excess.draws,
    }


def _rate_entry(rate: Rate) -> dict[str, Any]:
    return {
        "rate": rate.rate,
        "images": rate.images,
        "clusters": rate.clusters,
        **interval_entry(rate.interval),
        "effective_clusters": rate.effective_clusters,
        "design_effect": rate.design_effect,
    }


def _sentence(consensus: Consensus, confidence: float) -> str:
    excess = consensus.decisive.excess
    significant = sum(result.p_corrected <= 1 - confidence for result in consensus.matchers)
    return (
        f"At least {consensus.primary} of {len(consensus.matchers)} matchers find the same person of the training "
        f"set in {100 * excess.training.rate:.3g} % of the synthetic images and one of the holdout in "
        f"{100 * excess.holdout.rate:.3g} %: an excess of {100 * excess.rate:.3g} % ({100 * confidence:g} % interval "
        f"{100 * excess.interval.low:.3g} to {100 * excess.interval.high:.3g} %, permutation p = "
        f"{excess.p_value:.2g}). On its own, after Holm's correction for the number of matchers, the excess of "
        f"{significant} of them is significant."
    )
