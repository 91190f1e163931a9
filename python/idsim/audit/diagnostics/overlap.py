"""People who are in the training set and in the holdout, found by searching one in the other.

Labels tell people apart only inside a set, and photographs of celebrities are everywhere. A holdout person who was
trained on counts leaks as chance: the rate against the holdout rises and the excess falls. Those who are found are
taken out as whole connected components: who matches a training person, and everybody who matches them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.audit.diagnostics.findings import Finding
from idsim.audit.pairs.compared import better_is_higher
from idsim.audit.rates.edges import connected_components, distinct

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from idsim.audit.diagnostics.findings import Severity
    from idsim.results import Pairs

__all__ = [
    "CrossOverlap",
    "PersonPair",
    "cross_overlap",
    "holdout_to_drop",
    "overlap_finding",
    "person_pairs",
]

UNLIKELY = 3.0  # standard deviations
MOST_LISTED = 1000  # pairs of persons
ERROR_SHARE = 0.05  # of the holdout persons: more of them make the holdout another one


@dataclass(frozen=True)
class PersonPair:
    """A training and a holdout person with at least one pair of images that reaches the threshold.

    Attributes
    ----------
    training, holdout : int
        Codes of the persons.
    images : int
        Pairs of their images that reach it.
    best : float
        Best score among them.
    """

    training: int
    holdout: int
    images: int
    best: float


@dataclass(frozen=True)
class CrossOverlap:
    """Matches between training and holdout, beside what matches inside the holdout predict.

    Attributes
    ----------
    threshold : float
        Which pairs count.
    image_pairs, person_pairs : int
        Between the sets, that reach it.
    training_persons, holdout_persons : int
        Of either set that take part.
    compared : int
        Pairs of persons between the sets.
    within, within_compared : int
        Pairs of different persons inside the holdout that reach it, and all.
    expected : float
        Pairs of persons between the sets if they match as often as those inside the holdout.
    standard_score : float
        Observed less expected, in standard deviations of a binomial split of all matches.
    persons : tuple of PersonPair
        Best first, at most 1,000 of them.
    """

    threshold: float
    image_pairs: int
    person_pairs: int
    training_persons: int
    holdout_persons: int
    compared: int
    within: int
    within_compared: int
    expected: float
    standard_score: float
    persons: tuple[PersonPair, ...]

    @property
    def more_than_chance(self) -> bool:
        """Whether the sets match each other more often than the holdout matches itself."""
        return self.standard_score > UNLIKELY

    def entry(self, most: int = 20) -> dict[str, Any]:
        """Return plain JSON values with the `most` best pairs of persons, as codes."""
        values = {name: value for name, value in vars(self).items() if name != "persons"}
        listed = [[pair.training, pair.holdout, pair.images, pair.best] for pair in self.persons[:most]]
        return values | {"best_pairs": listed}


def person_pairs(
    pairs: Pairs, first: NDArray[np.int64], second: NDArray[np.int64], metric: str
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return the distinct pairs of persons behind pairs of images: both codes, pairs of images, best score.

    Parameters
    ----------
    pairs : Pairs
        Of images that reach a threshold.
    first, second : ndarray
        int64: person of every row, and of every column.
    metric : str
        ``l2``: lower is better.

    Returns
    -------
    tuple of ndarray
        int64, int64, int64 and float64 ``[q]``, best first, ties by codes.
    """
    rows, columns = first[pairs.rows], second[pairs.columns]
    wide = int(second.max()) + 1 if len(second) else 1
    every = rows * np.int64(wide) + columns
    by_pair = np.argsort(every, kind="stable")
    ordered = every[by_pair]
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))
    keys = ordered[starts]
    if not len(keys):
        return keys, keys, keys, np.empty(0)
    best = np.maximum.reduceat(better_is_higher(pairs.scores, metric)[by_pair], starts)
    counts = np.diff(np.append(starts, len(ordered)))
    order = np.lexsort((keys, -best))
    score = -best[order] if metric == "l2" else best[order]
    return keys[order] // wide, keys[order] % wide, counts[order], score


def cross_overlap(
    cross: Pairs,
    within: Pairs,
    training: NDArray[np.int64],
    holdout: NDArray[np.int64],
    threshold: float,
    metric: str,
) -> CrossOverlap:
    """Return who matches between training and holdout, and how many would by chance.

    Parameters
    ----------
    cross, within : Pairs
        Training x holdout, and the holdout with itself without pairs of one person: pairs that reach the threshold.
    training, holdout : ndarray
        int64: person of every image of either set, codes 0 .. k-1, each present.
    threshold : float
        A strict one: the more pairs of strangers reach it, the less a pair says.
    metric : str
        ``l2``: lower is better.
    """
    listed = person_pairs(cross, training, holdout, metric)
    left, right = listed[:2]
    inside = person_pairs(within, holdout, holdout, metric)
    between = len(distinct(np.minimum(*inside[:2]) * (len(holdout) + 1) + np.maximum(*inside[:2])))
    k, m = (int(codes.max()) + 1 if len(codes) else 0 for codes in (training, holdout))
    compared, possible = k * m, m * (m - 1) // 2
    total = len(left) + between
    share = compared / (compared + possible) if compared else 0.0
    spread = math.sqrt(total * share * (1 - share))
    surplus = len(left) - total * share
    return CrossOverlap(
        threshold=float(threshold),
        image_pairs=len(cross.rows),
        person_pairs=len(left),
        training_persons=len(distinct(left)),
        holdout_persons=len(distinct(right)),
        compared=compared,
        within=between,
        within_compared=possible,
        expected=between * compared / possible if possible else 0.0,
        standard_score=surplus / spread if spread > 0 else 0.0,
        persons=tuple(
            PersonPair(*values)
            for values in zip(*(part[:MOST_LISTED].tolist() for part in listed), strict=True)
        ),
    )


def holdout_to_drop(
    cross: Pairs, within: Pairs, training: NDArray[np.int64], holdout: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the holdout persons to drop: every one in a connected component that reaches into the training set.

    Parameters
    ----------
    cross, within, training, holdout
        As in `cross_overlap`.

    Returns
    -------
    ndarray
        int64, ascending: codes of holdout persons.
    """
    k, m = (int(codes.max()) + 1 if len(codes) else 0 for codes in (training, holdout))
    first = np.concatenate([training[cross.rows], k + holdout[within.rows]])
    second = np.concatenate([k + holdout[cross.columns], k + holdout[within.columns]])
    root = connected_components(first, second, k + m)
    # Roots are the smallest members, and training persons come first.
    return np.flatnonzero(root[k:] < k).astype(np.int64)


def overlap_finding(
    overlap: CrossOverlap, dropped: int, holdout: int, excess: tuple[float, float] | None = None
) -> Finding:
    """Return what the matches between training and holdout say.

    Parameters
    ----------
    overlap : CrossOverlap
        At a strict threshold.
    dropped, holdout : int
        Holdout persons that `holdout_to_drop` names, and all.
    excess : tuple of float, optional
        Excess leak rate with all holdout persons, and without those.
    """
    numbers = {**overlap.entry(), "dropped": dropped, "of_holdout": holdout}
    if excess is not None:
        numbers |= {"excess": excess[0], "excess_without_them": excess[1]}
    what = (
        f"{overlap.person_pairs} pairs of a training and a holdout person reach {overlap.threshold:.4g}; as many "
        f"matches as inside the holdout would be {overlap.expected:.3g}"
    )
    if not overlap.more_than_chance:
        return Finding("training in holdout", "info", what + ".", numbers)
    severity: Severity = "error" if holdout and dropped >= ERROR_SHARE * holdout else "warning"
    meaning = (
        f": the sets seem to share people, which hides leaks. {dropped} of {holdout} holdout persons are connected "
        "with the training set and should be left out"
    )
    rerun = (
        "" if excess is None else f"; the excess leak rate is then {excess[1]:.4g} instead of {excess[0]:.4g}"
    )
    return Finding("training in holdout", severity, what + meaning + rerun + ".", numbers)
