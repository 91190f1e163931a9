"""Near copies of photographs, counted apart from persons: "same person" is not "same photograph".

The comparisons are of whole pictures, by descriptors such as SSCD's or those of `idsim.audit.persons.perceptual`; rows
and columns are numbers of pictures, with or without a face.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from idsim.audit.pairs.compared import better_is_higher
from idsim.audit.persons.gallery_size import SizedRate, rates_by_size
from idsim.audit.rates.clustered import find_cells
from idsim.audit.rates.intervals import Interval, newcombe, rule_of_three
from idsim.audit.rates.resampling import permutation_p, unique_hits
from idsim.audit.thresholds.calibration import strictest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from idsim.audit.pairs.compared import Compared
    from idsim.results import Pairs

__all__ = [
    "CopyCount",
    "CopyThreshold",
    "Gallery",
    "JointTable",
    "NearCopies",
    "copies_entry",
    "copy_threshold",
    "joint_entry",
    "joint_table",
    "measure_copies",
]


class Gallery(NamedTuple):
    """A real set of pictures, and what is near a copy of them.

    Attributes
    ----------
    persons : ndarray
        int64 ``[n]``: code of the person of every picture; codes 0 .. k-1, each present.
    pairs : Pairs
        Near copies: rows are synthetic pictures, columns those of this set. A pair that is listed twice counts
        once; where mirror images are items of their own, give them the number of their picture.
    """

    persons: NDArray[np.int64]
    pairs: Pairs


@dataclass(frozen=True)
class CopyThreshold:
    """From which score on two pictures are near copies.

    Attributes
    ----------
    threshold : float or None
        None where it is refused.
    refusal : str
        Why there is none; empty where there is one.
    target, achieved : float
        Share of the pictures of the holdout that look like a copy of another person's picture there: at most,
        and really.
    errors, images, persons : int
        Such pictures, all pictures, and persons.
    """

    threshold: float | None
    refusal: str
    target: float
    achieved: float
    errors: int
    images: int
    persons: int


@dataclass(frozen=True)
class CopyCount:
    """Synthetic pictures that are near copies of pictures of a set.

    Attributes
    ----------
    images, clusters : int
        Synthetic pictures and clusters with a near copy in the whole set.
    originals, persons : int
        Pictures of the set that they are copies of, and persons on them.
    pairs : int
        Pairs of pictures.
    rate : SizedRate
        Share of the synthetic pictures, weighted by cluster, against as many pictures as the smaller set has;
        its ``persons`` are pictures.
    """

    images: int
    clusters: int
    originals: int
    persons: int
    pairs: int
    rate: SizedRate


@dataclass(frozen=True)
class NearCopies:
    """Near copies of training and of holdout.

    Attributes
    ----------
    training, holdout : CopyCount
        The sets.
    excess, excess_interval : float, Interval
        Rate against training less that against the holdout.
    p_value : float
        One-sided, membership exchanged among persons with the same number of pictures.
    """

    training: CopyCount
    holdout: CopyCount
    excess: float
    excess_interval: Interval
    p_value: float


@dataclass(frozen=True)
class JointTable:
    """Synthetic pictures by whether they show a person of a set, and whether they copy a picture of it.

    Attributes
    ----------
    same_person_same_photo : int
        One real picture is near, and of the person too.
    same_person : int
        The person is met, no picture is copied.
    same_photo : int
        A picture is copied, the person is not met: no face was found, or another one.
    different_pictures : int
        Both happen, never with the same real picture.
    neither : int
        The rest.
    pairs_both, pairs_person, pairs_photo : int
        Pairs of pictures: of the same person and near copies, only the first, only the second.
    """

    same_person_same_photo: int
    same_person: int
    same_photo: int
    different_pictures: int
    neither: int
    pairs_both: int
    pairs_person: int
    pairs_photo: int


def copy_threshold(holdout: Compared, persons: NDArray[np.int64], target: float = 0.001) -> CopyThreshold:
    """Return the loosest threshold at which few pictures of the holdout look like a copy of another there.

    Parameters
    ----------
    holdout : Compared
        Pictures of the holdout with those of other persons in it.
    persons : ndarray
        int64 ``[rows]``: code of the person of every picture.
    target : float
        Share of the pictures that may have such a match. At least 3 / persons is needed (rule of 3).
    """
    images, units = len(persons), len(np.unique(persons))
    least, allowed = rule_of_three(units), math.floor(target * images)
    refusal = ""
    if units < 2 or target < least:
        refusal = (
            f"a share of {target:g} is not supported by {units} persons: at least {least:.2g} is (rule of 3)"
        )
    elif allowed >= images:
        refusal = "every picture would have to look like a copy"
    if refusal:
        return CopyThreshold(None, refusal, target, 0.0, 0, images, units)
    oriented = better_is_higher(holdout.scores[:, 0], holdout.metric)
    best = np.sort(oriented)[::-1] * (-1.0 if holdout.metric == "l2" else 1.0)
    threshold = strictest(best.astype(np.float32), allowed, holdout.metric)
    limit = -threshold if holdout.metric == "l2" else threshold
    errors = int((oriented >= limit).sum())
    return CopyThreshold(threshold, "", target, errors / images, errors, images, units)


# --- counts ---------------------------------------------------------------------------------------


def measure_copies(
    training: Gallery,
    holdout: Gallery,
    clusters: NDArray[np.int64],
    permutations: int,
    rng: np.random.Generator,
    confidence: float = 0.95,
) -> NearCopies | str:
    """Return how many synthetic pictures are near copies; a sentence where a set has no picture.

    Parameters
    ----------
    training, holdout : Gallery
        The real sets with the pairs that reach the threshold.
    clusters : ndarray
        int64 ``[m]``: code of the cluster of every synthetic picture; codes 0 .. c-1.
    permutations : int
        Random exchanges of membership.
    rng : numpy.random.Generator
        Source of the exchanges.
    confidence : float
        Of the two-sided intervals.
    """
    if not len(training.persons) or not len(holdout.persons) or not len(clusters):
        return "near copies need pictures in each of the three sets"
    size = min(len(training.persons), len(holdout.persons))
    sides = [_count(side, clusters, size, confidence) for side in (training, holdout)]
    rates = [side.rate for side in sides]
    interval = newcombe(
        rates[0].rate, rates[0].effective_clusters, rates[1].rate, rates[1].effective_clusters, confidence
    )
    return NearCopies(
        training=sides[0],
        holdout=sides[1],
        excess=rates[0].rate - rates[1].rate,
        excess_interval=Interval(*interval, "Newcombe over effective clusters"),
        p_value=_permutation(training, holdout, clusters, permutations, rng),
    )


def _count(side: Gallery, clusters: NDArray[np.int64], size: int, confidence: float) -> CopyCount:
    pictures = np.arange(len(side.persons))
    rows, columns, _ = find_cells(side.pairs, np.arange(len(clusters)), pictures)
    growth = rates_by_size(side.pairs, pictures, np.arange(len(clusters)), clusters, [size], confidence)
    images, originals = np.unique(rows), np.unique(columns)
    return CopyCount(
        images=len(images),
        clusters=len(np.unique(clusters[images])),
        originals=len(originals),
        persons=len(np.unique(side.persons[originals])),
        pairs=len(rows),
        rate=growth.rates[0],
    )


def _permutation(
    training: Gallery,
    holdout: Gallery,
    clusters: NDArray[np.int64],
    permutations: int,
    rng: np.random.Generator,
) -> float:
    counts = [np.bincount(side.persons) for side in (training, holdout)]
    hits = unique_hits(
        np.concatenate([training.pairs.rows, holdout.pairs.rows]),
        np.concatenate(
            [
                training.persons[training.pairs.columns],
                holdout.persons[holdout.pairs.columns] + len(counts[0]),
            ]
        ),
    )
    member = np.repeat([True, False], [len(counts[0]), len(counts[1])])
    weights = 1.0 / np.bincount(clusters)[clusters]
    strata = np.concatenate(counts).astype(np.int64)
    return permutation_p(hits, member, strata, weights, permutations, rng)


def joint_table(person_pairs: Pairs, photo_pairs: Pairs, synthetic: int, real: int) -> JointTable:
    """Return how often the same person and the same photograph go together.

    Parameters
    ----------
    person_pairs : Pairs
        Pairs of pictures of which a face matcher says that they show the same person.
    photo_pairs : Pairs
        Pairs of pictures of which the descriptor says that they are near copies.
    synthetic, real : int
        Pictures of the sets; rows and columns of both are numbers of pictures in them.

    Raises
    ------
    ValueError
        A row or column lies outside.
    """
    for pairs in (person_pairs, photo_pairs):
        if len(pairs.rows) and (pairs.rows.min() < 0 or pairs.rows.max() >= synthetic):
            raise ValueError(f"rows must be from 0 to {synthetic - 1}: numbers of synthetic pictures")
        if len(pairs.rows) and (pairs.columns.min() < 0 or pairs.columns.max() >= real):
            raise ValueError(f"columns must be from 0 to {real - 1}: numbers of real pictures")
    person, photo = (
        np.unique(np.asarray(pairs.rows, np.int64) * real + pairs.columns)
        for pairs in (person_pairs, photo_pairs)
    )
    both = np.intersect1d(person, photo, assume_unique=True)
    has = np.zeros((3, synthetic), np.bool_)
    for row, keys in zip(has, (person, photo, both), strict=True):
        row[keys // max(1, real)] = True
    met, copied, same = has
    return JointTable(
        same_person_same_photo=int(same.sum()),
        same_person=int((met & ~copied).sum()),
        same_photo=int((copied & ~met).sum()),
        different_pictures=int((met & copied & ~same).sum()),
        neither=int((~met & ~copied).sum()),
        pairs_both=len(both),
        pairs_person=len(person) - len(both),
        pairs_photo=len(photo) - len(both),
    )


# --- plain values ---------------------------------------------------------------------------------


def copies_entry(threshold: CopyThreshold, found: NearCopies | str | None) -> dict[str, Any]:
    """Return plain JSON values; `found` is None where the threshold is refused, a sentence for a refusal."""
    refusal = threshold.refusal or (found if isinstance(found, str) else "")
    entry: dict[str, Any] = {
        "refused": refusal or None,
        "threshold": threshold.threshold,
        "calibration": {
            "target": threshold.target,
            "achieved": threshold.achieved,
            "errors": threshold.errors,
            "images": threshold.images,
            "persons": threshold.persons,
        },
    }
    if refusal or not isinstance(found, NearCopies):
        return entry
    return entry | {
        "training": _count_entry(found.training),
        "holdout": _count_entry(found.holdout),
        "excess": {"rate": found.excess, **found.excess_interval._asdict(), "permutation_p": found.p_value},
    }


def _count_entry(found: CopyCount) -> dict[str, Any]:
    return {
        "images": found.images,
        "clusters": found.clusters,
        "originals": found.originals,
        "persons": found.persons,
        "pairs": found.pairs,
        "matched_pictures": found.rate.persons,
        "rate": found.rate.rate,
        **found.rate.interval._asdict(),
        "effective_clusters": found.rate.effective_clusters,
    }


def joint_entry(found: JointTable) -> dict[str, Any]:
    """Return plain JSON values."""
    return {
        "images": {
            "same_person_same_photo": found.same_person_same_photo,
            "same_person": found.same_person,
            "same_photo": found.same_photo,
            "different_pictures": found.different_pictures,
            "neither": found.neither,
        },
        "pairs": {"both": found.pairs_both, "person": found.pairs_person, "photo": found.pairs_photo},
    }
