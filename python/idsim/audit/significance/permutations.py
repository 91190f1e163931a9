"""Exchange of membership among persons: tests of any statistic that depends on who belongs to training.

If chance decided which persons of a pool were trained on, and nothing leaks, every exchange of membership among
them (inside a stratum) was as likely as the true one. No comparison has to be independent of another.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations, product
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from idsim.audit.rates.edges import distinct
from idsim.audit.rates.exchanges import exchange_groups, exchanged
from idsim.audit.rates.resampling import SLICE_ELEMENTS, image_counts
from idsim.audit.significance.nearest import pooled_nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from idsim.audit.pairs.compared import Compared
    from idsim.audit.rates.resampling import Hits
    from idsim.audit.significance.nearest import Nearest, Searches

__all__ = [
    "PermutationTest",
    "Pool",
    "Statistic",
    "exposure_difference",
    "largest_excess",
    "mean_best_difference",
    "permutation_entry",
    "permutation_test",
    "permutation_tests",
    "sum_of_members",
]

# Scores at which two distributions are compared; more are not needed to see where they differ.
SCORE_LEVELS = 4096
# A sum in another order may differ in its last bits: equal statistics must count as reached.
EQUAL = 1e-12


@dataclass(frozen=True)
class Pool:
    """The persons of training and holdout together.

    Attributes
    ----------
    member : ndarray
        bool ``[k]``: whether a person is of training.
    strata : ndarray
        int64 ``[k]``: membership is exchanged inside a stratum only.
    """

    member: NDArray[np.bool_]
    strata: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        training: NDArray[np.int64],
        holdout: NDArray[np.int64],
        cells: NDArray[np.int64] | None = None,
    ) -> Pool:
        """Return the pool of two galleries, in strata of the number of images.

        Parameters
        ----------
        training, holdout : ndarray
            int64 ``[g]``: code of the person of every image, 0 .. a-1 and 0 .. b-1.
        cells : ndarray, optional
            int64 ``[a + b]``: a further stratum of every person, such as a demographic cell.
        """
        counts = [image_counts(training), image_counts(holdout)]
        member = np.repeat([True, False], [len(counts[0]), len(counts[1])])
        keys = np.concatenate(counts)
        if cells is not None:
            if len(cells) != len(keys):
                raise ValueError(f"there are {len(keys)} persons and {len(cells)} cells")
            _, codes = np.unique(cells, return_inverse=True)
            keys = codes.reshape(-1).astype(np.int64) * (int(keys.max()) + 1) + keys
        return cls(member, keys)

    def exchangeable(self) -> int:
        """Return how many persons share their stratum with one of the other gallery."""
        _, place = np.unique(self.strata, return_inverse=True)
        place = place.reshape(-1)
        members, total = np.bincount(place, weights=self.member), np.bincount(place)
        mixed = (members > 0) & (members < total)
        return int(total[mixed].sum())


class Statistic(NamedTuple):
    """A statistic of membership; what it reads beside must not depend on the true membership.

    Attributes
    ----------
    name : str
        What to call it.
    people : ndarray
        int64 ``[p]``: the persons whose membership it reads, each once.
    values : callable
        Takes bool ``[b, p]``, whether each of them is of training in b exchanges, and returns float64 ``[b]``.
    elements : int
        Numbers that it holds per exchange, for the memory that a slice of exchanges needs.
    """

    name: str
    people: NDArray[np.int64]
    values: Callable[[NDArray[np.bool_]], NDArray[np.float64]]
    elements: int


@dataclass(frozen=True)
class PermutationTest:
    """The one-sided test of a statistic.

    Attributes
    ----------
    name : str
        Of the statistic.
    observed : float
        Its value with the true membership; larger speaks for leakage.
    null_mean, null_deviation : float
        Mean and standard deviation over the exchanges.
    p_value : float
        ``(1 + exchanges that reach it) / (exchanges + 1)``, or their exact share where all were enumerated.
    exchanges : int
        How many were made.
    enumerated : bool
        Whether these are all there are.
    persons : int
        Persons that can be exchanged.
    """

    name: str
    observed: float
    null_mean: float
    null_deviation: float
    p_value: float
    exchanges: int
    enumerated: bool
    persons: int


def permutation_test(
    statistic: Statistic, pool: Pool, permutations: int, rng: np.random.Generator
) -> PermutationTest:
    """Return the one-sided test of a statistic of membership.

    Parameters
    ----------
    statistic : Statistic
        Larger speaks for leakage.
    pool : Pool
        All persons.
    permutations : int
        How many random exchanges; where there are no more than these in all, each is made once.
    rng : numpy.random.Generator
        Source of the exchanges.
    """
    people = statistic.people
    observed = float(statistic.values(pool.member[people][None, :])[0])
    enumerated = _arrangements(pool, permutations + 1) <= permutations + 1
    step = max(1, SLICE_ELEMENTS // max(1, statistic.elements, len(people)))
    slices = (
        _all_exchanges(people, pool, step)
        if enumerated
        else _random_exchanges(people, pool, step, permutations, rng)
    )
    values = np.concatenate([statistic.values(labels) for labels in slices])
    reached = int((values >= observed - EQUAL * max(1.0, abs(observed))).sum())
    return PermutationTest(
        name=statistic.name,
        observed=observed,
        null_mean=float(values.mean()),
        null_deviation=float(values.std()),
        p_value=reached / len(values) if enumerated else (1 + reached) / (len(values) + 1),
        exchanges=len(values),
        enumerated=enumerated,
        persons=pool.exchangeable(),
    )


def permutation_entry(test: PermutationTest) -> dict[str, Any]:
    """Return a test as plain JSON values."""
    return {
        "statistic": test.name,
        "observed": test.observed,
        "null_mean": test.null_mean,
        "null_deviation": test.null_deviation,
        "p": test.p_value,
        "exchanges": test.exchanges,
        "all_exchanges": test.enumerated,
        "persons_exchangeable": test.persons,
    }


def permutation_tests(
    training: Compared,
    holdout: Compared,
    persons: tuple[NDArray[np.int64], NDArray[np.int64]],
    synthetic: Searches,
    hits: tuple[Hits, Hits] | None,
    permutations: int,
    rng: np.random.Generator,
    cells: NDArray[np.int64] | None = None,
) -> list[PermutationTest]:
    """Return the tests beside that of the excess leak rate: mean best match, largest excess, exposure.

    Parameters
    ----------
    training, holdout : Compared
        The synthetic set compared with either gallery.
    persons : tuple of ndarray
        int64 ``[g]``: code of the person of every embedding of training and of holdout.
    synthetic : Searches
        Clusters and rows of the synthetic set.
    hits : tuple of Hits, optional
        In training and holdout at a threshold; without it exposure is not tested.
    permutations : int
        Random exchanges of each test.
    rng : numpy.random.Generator
        Source of the exchanges.
    cells : ndarray, optional
        int64 ``[a + b]``: further strata, see `Pool.of`.
    """
    pool = Pool.of(*persons, cells)
    nearest = pooled_nearest(training, holdout, persons)
    weights = synthetic.weights()
    share = weights[synthetic.rows] / weights.sum()
    statistics = [mean_best_difference(nearest, share), largest_excess(nearest, share)]
    if hits is not None:
        statistics.append(exposure_difference(*hits, pool))
    return [permutation_test(statistic, pool, permutations, rng) for statistic in statistics]


# --- statistics -----------------------------------------------------------------------------------


def sum_of_members(
    name: str, contributions: NDArray[np.float64], others: NDArray[np.float64] | None = None
) -> Statistic:
    """Return the sum of the contributions of the members, less what the others contribute.

    Parameters
    ----------
    name : str
        What to call it.
    contributions : ndarray
        float64 ``[k]``: what every person adds as a member.
    others : ndarray, optional
        float64 ``[k]``: what every person takes away as no member; default 0.
    """
    taken = np.zeros_like(contributions) if others is None else others
    people = np.flatnonzero((contributions != 0) | (taken != 0))
    change, constant = (contributions + taken)[people], float(taken[people].sum())

    def values(labels: NDArray[np.bool_]) -> NDArray[np.float64]:
        return np.asarray(labels @ change - constant, dtype=np.float64)

    return Statistic(name, people, values, len(people))


def exposure_difference(training: Hits, holdout: Hits, pool: Pool) -> Statistic:
    """Return the share of persons of training that are hit at all, less that of holdout (P7)."""
    sizes = int(pool.member.sum()), int((~pool.member).sum())
    exposed = np.zeros(len(pool.member))
    exposed[training.persons] = 1.0
    exposed[holdout.persons + sizes[0]] = 1.0
    name = "difference of the shares of persons exposed"
    return sum_of_members(name, exposed / sizes[0], exposed / sizes[1])


def mean_best_difference(nearest: Nearest, share: NDArray[np.float64]) -> Statistic:
    """Return the mean over synthetic images of the best match in training less the best one in holdout.

    Only matches kept of both galleries together are seen: a gallery that has none of them counts with the last
    one, whatever the membership, so the test stays exact and the difference is if anything too small. Between
    galleries of different size the mean is not 0 without leakage, which the exchanges show.

    Parameters
    ----------
    nearest : Nearest
        Of every synthetic embedding.
    share : ndarray
        float64 ``[m]``: weight of every embedding over the total weight of all items.
    """
    scores, persons = _sure(nearest)
    people, place = np.unique(persons, return_inverse=True)
    place = place.reshape(persons.shape)
    gaps = (scores[:, :1] - scores) * share[:, None]

    def values(labels: NDArray[np.bool_]) -> NDArray[np.float64]:
        first, opposite = _first_and_opposite(labels, place)
        gap = np.take_along_axis(gaps[None], opposite[:, :, None], axis=2)[:, :, 0]
        return np.asarray(np.where(first, gap, -gap).sum(axis=1), dtype=np.float64)

    return Statistic("mean difference of the best matches", people, values, place.size)


def largest_excess(nearest: Nearest, share: NDArray[np.float64]) -> Statistic:
    """Return the largest excess leak rate over all thresholds.

    It is the one-sided Kolmogorov-Smirnov distance between the best matches in training and in holdout. Its
    p-value by exchange allows for the choice of the threshold. Where there are more than 4,096 distinct scores,
    as many quantiles of them stand for all. Parameters as in `mean_best_difference`.
    """
    scores, persons = _sure(nearest)
    people, place = np.unique(persons, return_inverse=True)
    place = place.reshape(persons.shape)
    levels = distinct(scores.ravel())
    if len(levels) > SCORE_LEVELS:
        levels = levels[np.linspace(0, len(levels) - 1, SCORE_LEVELS).astype(np.int64)]
    # The number of levels that a score reaches; at level j those count that reach more than j.
    ranks = np.searchsorted(levels, scores, side="right")
    width = len(levels) + 1

    def values(labels: NDArray[np.bool_]) -> NDArray[np.float64]:
        first, opposite = _first_and_opposite(labels, place)
        start = np.arange(len(labels))[:, None] * width
        signed = np.where(first, share, -share).ravel()
        lower = np.take_along_axis(ranks[None], opposite[:, :, None], axis=2)[:, :, 0]
        change = np.bincount((start + ranks[:, 0]).ravel(), signed, len(labels) * width)
        change -= np.bincount((start + lower).ravel(), signed, len(labels) * width)
        excess = np.cumsum(change.reshape(len(labels), width)[:, ::-1], axis=1)
        return np.asarray(np.maximum(0.0, excess.max(axis=1)), dtype=np.float64)

    return Statistic("largest excess over all thresholds", people, values, place.size + width)


def _sure(nearest: Nearest) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return scores and persons of the matches that are sure to be the best of both galleries together.

    Beyond the last image the last one is repeated, which changes no maximum.
    """
    scores, persons = nearest.scores[:, : nearest.sure], nearest.persons[:, : nearest.sure]
    missing = persons < 0
    if not missing.any():
        return scores, persons
    last = np.where(missing.any(axis=1), np.argmax(missing, axis=1) - 1, missing.shape[1] - 1)
    place = np.minimum(np.arange(missing.shape[1]), last[:, None])
    return np.take_along_axis(scores, place, axis=1), np.take_along_axis(persons, place, axis=1)


def _first_and_opposite(
    labels: NDArray[np.bool_], place: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return bool and int64 ``[b, m]``: whether the best match is a member, and the best of the other side."""
    flags = labels[:, place]
    first = flags[:, :, 0]
    differs = flags != first[:, :, None]
    # Where no match kept is of the other side, the last one stands for it.
    opposite = np.where(differs.any(axis=2), np.argmax(differs, axis=2), place.shape[1] - 1)
    return first, opposite


# --- exchanges ------------------------------------------------------------------------------------


def _arrangements(pool: Pool, most: int) -> float:
    """Return how many exchanges there are, or infinity where they are more than `most`."""
    total = 1  # a whole number: binomial coefficients exceed what a float holds
    for stratum in np.unique(pool.strata):
        inside = pool.member[pool.strata == stratum]
        members, others = int(inside.sum()), int((~inside).sum())
        # C(a + b, a) is at least a + b for a, b > 0, which spares large binomial coefficients.
        if members and others and members + others > most:
            return math.inf
        total *= math.comb(members + others, members)
        if total > most:
            return math.inf
    return total


def _all_exchanges(people: NDArray[np.int64], pool: Pool, step: int) -> Iterator[NDArray[np.bool_]]:
    """Return every exchange once, in slices."""
    groups = [np.flatnonzero(pool.strata == stratum) for stratum in np.unique(pool.strata)]
    choices = [combinations(group.tolist(), int(pool.member[group].sum())) for group in groups]
    rows: list[NDArray[np.bool_]] = []
    for chosen in product(*choices):
        labels = np.zeros(len(pool.member), np.bool_)
        labels[[person for part in chosen for person in part]] = True
        rows.append(labels[people])
        if len(rows) == step:
            yield np.stack(rows)
            rows = []
    if rows:
        yield np.stack(rows)


def _random_exchanges(
    people: NDArray[np.int64], pool: Pool, step: int, permutations: int, rng: np.random.Generator
) -> Iterator[NDArray[np.bool_]]:
    groups = exchange_groups(people, pool.member, pool.strata)
    for start in range(0, permutations, step):
        yield exchanged(groups, len(people), min(step, permutations - start), rng)
