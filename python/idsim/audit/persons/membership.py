"""Whether the synthetic images tell who was trained on.

An attacker scores every real person by the best match among the synthetic images and calls those with high
scores members. The measures are those of membership inference, with persons as the units: area under the ROC
curve, true positive rate at low false positive rates (Carlini et al. 2022), advantage (Yeom et al. 2018).
Definitions are in docs/membership.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.audit.pairs.compared import better_is_higher
from idsim.audit.rates.intervals import Interval, quantile, rule_of_three, wilson
from idsim.audit.rates.strata import Strata, image_strata

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "DetectionRate",
    "Membership",
    "PersonScores",
    "infer_membership",
    "membership_entry",
    "person_scores",
]

FALSE_POSITIVE_RATES = (1e-2, 1e-3, 1e-4)
FEW_ERRORS = 30  # rule of 30, as in the calibration

# Room for the last bits of sums of weights: k / n is not always k times 1 / n.
ROUNDING = 1e-12

# Memberships exchanged at a time: float64 that stay in a core's cache.
BLOCK = 1 << 16


@dataclass(frozen=True)
class PersonScores:
    """One score per person; higher means more like the synthetic images.

    Attributes
    ----------
    scores : ndarray
        float64 ``[k]``; -inf where there is nothing to match.
    images : ndarray
        int64 ``[k]``: images of the person that have an embedding.
    """

    scores: NDArray[np.float64]
    images: NDArray[np.int64]


@dataclass(frozen=True)
class DetectionRate:
    """Share of members that are found at a rate of false alarms.

    Attributes
    ----------
    target : float
        The false positive rate that was asked for.
    refusal : str
        Why there is no rate; empty where there is one.
    rate, interval : float, Interval or None
        True positive rate at the threshold, and Wilson's interval over the members.
    achieved, achieved_interval : float, Interval or None
        False positive rate of that threshold, and Wilson's interval over the non-members.
    found, false_alarms : int
        Members and non-members above the threshold.
    """

    target: float
    refusal: str
    rate: float | None = None
    interval: Interval | None = None
    achieved: float | None = None
    achieved_interval: Interval | None = None
    found: int = 0
    false_alarms: int = 0

    @property
    def flags(self) -> list[str]:
        """Warnings about the number of false alarms."""
        return ["fewer than 30 errors"] if not self.refusal and self.false_alarms < FEW_ERRORS else []


@dataclass(frozen=True)
class Membership:
    """How well members are told from non-members.

    Attributes
    ----------
    members, non_members : int
        Persons of training and of the holdout.
    auc : float
        Chance that a member scores above a non-member with as many images, ties split.
    auc_interval : Interval
        Two-sided, over persons.
    auc_p : float
        One-sided permutation p: members score higher.
    detection : list of DetectionRate
        True positive rates at low false positive rates.
    advantage : float
        Largest true positive rate minus false positive rate over all thresholds: the one-sided
        Kolmogorov-Smirnov distance.
    advantage_p : float
        Permutation p of the advantage.
    permutations : int
        Exchanges of membership behind both p; they cannot be below 1 / (permutations + 1).
    strata : int
        Groups of persons with similar numbers of images.
    caution : str
        What a reader must know of the groups; empty where nothing.
    """

    members: int
    non_members: int
    auc: float
    auc_interval: Interval
    auc_p: float
    detection: list[DetectionRate]
    advantage: float
    advantage_p: float
    permutations: int
    strata: int
    caution: str


def person_scores(best: NDArray[Any], persons: NDArray[np.int64], metric: str) -> PersonScores:
    """Return the best score of every person over the images of the person.

    Parameters
    ----------
    best : ndarray
        float ``[n]``: best synthetic match of every real embedding, or any other score of it.
    persons : ndarray
        int64 ``[n]``: code of the person of every embedding; codes 0 .. k-1, each present.
    metric : str
        ``l2``: lower is better.

    Raises
    ------
    ValueError
        The arrays do not belong together, a person has no embedding, or a score is NaN.
    """
    oriented = better_is_higher(best, metric)
    if oriented.shape != persons.shape or oriented.ndim != 1:
        raise ValueError(f"scores have shape {oriented.shape}, and persons {persons.shape}")
    if np.isnan(oriented).any():
        raise ValueError(f"the score of embedding {int(np.isnan(oriented).argmax())} is NaN")
    images = np.bincount(persons)
    if not images.all():
        raise ValueError(f"person {int((images == 0).argmax())} has no embedding")
    order = np.argsort(persons, kind="stable")
    starts = np.cumsum(images) - images
    best_of = np.maximum.reduceat(oriented[order], starts) if len(order) else oriented
    return PersonScores(best_of, images.astype(np.int64))


def infer_membership(
    members: PersonScores,
    non_members: PersonScores,
    permutations: int,
    rng: np.random.Generator,
    confidence: float = 0.95,
    targets: tuple[float, ...] = FALSE_POSITIVE_RATES,
) -> Membership | str:
    """Return how well the scores tell members from non-members; a sentence where that cannot be said.

    Every permutation costs a shuffle and a cumulative sum over all persons.

    Parameters
    ----------
    members, non_members : PersonScores
        Of the training set and of the holdout.
    permutations : int
        Random exchanges of membership, inside strata of the number of images.
    rng : numpy.random.Generator
        Source of the exchanges.
    confidence : float
        Of the two-sided intervals.
    targets : tuple of float
        False positive rates at which the true positive rate is wanted.
    """
    sizes = len(members.scores), len(non_members.scores)
    if min(sizes) < 2:
        return f"membership needs two persons in both sets; there are {sizes[0]} and {sizes[1]}"
    strata = image_strata(members.images, non_members.images)
    weights = strata.weights()
    auc, variance = _area(members.scores, non_members.scores, strata)
    ranking = _Ranking(members.scores, non_members.scores, strata)
    auc_p, advantage_p = ranking.permutation_p(permutations, rng)
    return Membership(
        members=sizes[0],
        non_members=sizes[1],
        auc=auc,
        auc_interval=_area_interval(auc, variance, min(sizes), confidence),
        auc_p=auc_p,
        detection=[
            _detection(members.scores, non_members.scores, weights[1], target, confidence)
            for target in targets
        ],
        advantage=ranking.advantage,
        advantage_p=advantage_p,
        permutations=permutations,
        strata=strata.number,
        caution=strata.caution,
    )


# --- area under the ROC curve ---------------------------------------------------------------------


def _placements(scores: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return for every score the share of others below it, ties counted half."""
    ordered = np.sort(others)
    below = np.searchsorted(ordered, scores, "left") + np.searchsorted(ordered, scores, "right")
    return np.asarray(below / (2 * len(others)), dtype=np.float64)


def _area(
    members: NDArray[np.float64], non_members: NDArray[np.float64], strata: Strata
) -> tuple[float, float]:
    """Return the area under the ROC curve and its variance.

    Members are compared with the non-members of their stratum. Variance of the placements (DeLong, DeLong and
    Clarke-Pearson 1988): of all members over their number, plus, per stratum, of the non-members.
    """
    placed = np.zeros(len(members))
    variance = 0.0
    for inside, others in strata.members():
        placed[inside] = _placements(members[inside], non_members[others])
        if len(others) > 1:
            missed = _placements(non_members[others], members[inside])
            variance += (len(inside) / len(members)) ** 2 * float(missed.var(ddof=1)) / len(others)
    return float(placed.mean()), variance + float(placed.var(ddof=1)) / len(placed)


def _area_interval(auc: float, variance: float, fewest: int, confidence: float) -> Interval:
    if not 0 < auc < 1 or variance <= 0:
        low, high = wilson(auc, fewest, confidence)
        return Interval(low, high, "Wilson over the smaller set: the scores do not overlap")
    centre = math.log(auc / (1 - auc))
    half = quantile(confidence) * math.sqrt(variance) / (auc * (1 - auc))
    low, high = (1 / (1 + math.exp(-min(700.0, max(-700.0, end)))) for end in (centre - half, centre + half))
    return Interval(low, high, "DeLong on the logit scale, persons being independent")


# --- true positives at a rate of false positives --------------------------------------------------


def _detection(
    members: NDArray[np.float64],
    non_members: NDArray[np.float64],
    weights: NDArray[np.float64],
    target: float,
    confidence: float,
) -> DetectionRate:
    """Return the true positive rate at the loosest threshold that keeps the false positive rate."""
    effective = 1 / float((weights**2).sum())
    least = rule_of_three(effective)
    if target < least:
        return DetectionRate(
            target,
            f"a false positive rate of {target:g} is not supported by {effective:.0f} persons of the holdout: "
            f"at least {least:.2g} is (rule of 3)",
        )
    order = np.argsort(-non_members, kind="stable")
    allowed = int(np.searchsorted(np.cumsum(weights[order]), target + ROUNDING, "right"))
    limit = non_members[order[min(allowed, len(order) - 1)]]
    found, alarms = members > limit, non_members > limit
    rate, achieved = float(found.mean()), float(weights[alarms].sum())
    return DetectionRate(
        target=target,
        refusal="",
        rate=rate,
        interval=Interval(*wilson(rate, len(members), confidence), "Wilson over members"),
        achieved=achieved,
        achieved_interval=Interval(*wilson(achieved, effective, confidence), "Wilson over non-members"),
        found=int(found.sum()),
        false_alarms=int(alarms.sum()),
    )


# --- permutation ----------------------------------------------------------------------------------


class _Ranking:
    """All persons from the highest score down, and what an exchange of membership does to the statistics."""

    def __init__(
        self, members: NDArray[np.float64], non_members: NDArray[np.float64], strata: Strata
    ) -> None:
        scores = np.concatenate([members, non_members])
        groups = np.concatenate([strata.training, strata.holdout])
        order = np.argsort(-scores, kind="stable")
        ranked = scores[order]
        self.ends = np.append(ranked[1:] != ranked[:-1], True)
        self.member = order < len(members)
        self.places = [np.flatnonzero(groups[order] == group) for group in range(strata.number)]
        self.gain, self.loss = np.zeros(len(order)), np.zeros(len(order))
        self.rank = np.zeros(len(order))
        weights = strata.weights()
        for places, (inside, others) in zip(self.places, strata.members(), strict=True):
            self.gain[places] = weights[0][inside[0]]
            self.loss[places] = weights[1][others[0]]
            # Sum over members = area under the curve of the stratum, in its share, plus a constant.
            self.rank[places] = _placements(ranked[places], ranked[places]) / len(others)
            self.rank[places] *= len(places) * weights[0][inside[0]]
        self.advantage, self.area = map(float, self._statistics(self.member[None])[0])

    def _statistics(self, member: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return advantage and area for every row of bool ``[n, persons]``: float64 ``[n, 2]``."""
        areas = member @ self.rank
        room = np.where(member, self.gain, -self.loss)
        gaps = np.cumsum(room, axis=1, out=room)
        if not self.ends.all():
            gaps = gaps[:, self.ends]
        return np.stack([np.clip(gaps.max(axis=1), 0.0, 1.0), areas], axis=1)

    def permutation_p(self, permutations: int, rng: np.random.Generator) -> tuple[float, float]:
        """Return the p-values of area and advantage."""
        reached = np.zeros(2, np.int64)
        block = max(1, BLOCK // len(self.member))
        for start in range(0, permutations, block):
            exchanged = np.tile(self.member, (min(block, permutations - start), 1))
            for places in self.places:
                part = np.ascontiguousarray(exchanged[:, places])
                for row in part:  # several times faster than `permuted`
                    rng.shuffle(row)
                exchanged[:, places] = part
            # Sums in another order differ in their last bits: equal statistics must count as reached.
            limits = np.array([self.advantage, self.area]) - 1e-9
            reached += (self._statistics(exchanged) >= limits).sum(axis=0)
        advantage_p, area_p = (1 + reached) / (permutations + 1)
        return float(area_p), float(advantage_p)


# --- plain values ---------------------------------------------------------------------------------


def membership_entry(found: Membership | str) -> dict[str, Any]:
    """Return plain JSON values; ``{"refused": sentence}`` for a refusal."""
    if isinstance(found, str):
        return {"refused": found}
    return {
        "refused": None,
        "members": found.members,
        "non_members": found.non_members,
        "auc": {"value": found.auc, **found.auc_interval._asdict(), "permutation_p": found.auc_p},
        "tpr_at_fpr": [_detection_entry(rate) for rate in found.detection],
        "advantage": {"value": found.advantage, "permutation_p": found.advantage_p},
        "permutations": found.permutations,
        "strata": found.strata,
        "caution": found.caution or None,
    }


def _detection_entry(found: DetectionRate) -> dict[str, Any]:
    entry: dict[str, Any] = {"fpr": found.target, "refused": found.refusal or None, "tpr": None}
    if found.interval is None or found.achieved_interval is None:
        return entry
    return entry | {
        "tpr": {"rate": found.rate, "found": found.found, **found.interval._asdict()},
        "fpr_achieved": {
            "rate": found.achieved,
            "false_alarms": found.false_alarms,
            **found.achieved_interval._asdict(),
        },
        "flags": found.flags,
    }
