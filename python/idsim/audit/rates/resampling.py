"""Resampling of synthetic clusters and of persons: matched galleries, bootstrap, permutation.

Everything works on the *hits*: the few (synthetic image, person) pairs that reach the threshold. The cost does
not depend on how many pairs were compared.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from idsim.audit.rates.edges import distinct
from idsim.audit.rates.exchanges import exchange_groups, exchanged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = [
    "Deviations",
    "Draw",
    "Hits",
    "bootstrap_rates",
    "expected_share",
    "hit_cells",
    "image_counts",
    "keep_images",
    "leak_rate",
    "matched_draws",
    "permutation_p",
    "pooled",
    "resampled_sums",
    "sum_cells",
    "unique_hits",
]

# Replicates are worked on in slices, so that (replicates x hits) matrices stay near 32 MiB.
SLICE_ELEMENTS = 1 << 22


class Hits(NamedTuple):
    """Pairs that reach a threshold, each once, ordered by (image, person).

    Attributes
    ----------
    images : ndarray
        int64 ``[h]``: number of the synthetic image.
    persons : ndarray
        int64 ``[h]``: code of the person.
    """

    images: NDArray[np.int64]
    persons: NDArray[np.int64]


class Draw(NamedTuple):
    """One matched pair of galleries: which images of either take part."""

    training: NDArray[np.bool_]
    holdout: NDArray[np.bool_]


def unique_hits(images: NDArray[np.int64], persons: NDArray[np.int64]) -> Hits:
    """Return the distinct (image, person) pairs, ordered."""
    if not len(images):
        return Hits(np.empty(0, np.int64), np.empty(0, np.int64))
    width = int(persons.max()) + 1
    return Hits(*np.divmod(distinct(images.astype(np.int64) * width + persons), width))


def leak_rate(hits: Hits, weights: NDArray[np.float64]) -> float:
    """Return the weighted share of synthetic images that have a hit.

    Parameters
    ----------
    hits : Hits
        Against one gallery.
    weights : ndarray
        float64 ``[n]``: 1 / size of its cluster, for every synthetic image, also those without a face.
    """
    return float(weights[distinct(hits.images)].sum() / weights.sum())


# --- galleries of equal size ----------------------------------------------------------------------


def image_counts(persons: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return int64 ``[k]``: images of each person; persons are codes 0 .. k-1, each present."""
    return np.bincount(persons).astype(np.int64)


def matched_draws(
    training: NDArray[np.int64], holdout: NDArray[np.int64], draws: int, rng: np.random.Generator
) -> list[Draw]:
    """Return pairs of sub-galleries with equal numbers of persons and of images per person.

    Galleries that agree already come back whole, as the only draw. Otherwise every draw takes as many persons
    at random from the larger gallery as the smaller one has, pairs the persons by their number of images, and
    keeps as many images at random of both as the poorer one has.

    Parameters
    ----------
    training, holdout : ndarray
        int64 ``[n]``: code of the person of every image that has an embedding; codes 0 .. k-1.
    draws : int
        How many, where the galleries differ.
    rng : numpy.random.Generator
        Source of the draws.
    """
    counts = image_counts(training), image_counts(holdout)
    if np.array_equal(np.sort(counts[0]), np.sort(counts[1])):
        return [Draw(np.ones(len(training), np.bool_), np.ones(len(holdout), np.bool_))]
    size = min(len(counts[0]), len(counts[1]))
    result = []
    for _ in range(draws):
        chosen = [_richest_first(count, size, rng) for count in counts]
        keep = np.minimum(counts[0][chosen[0]], counts[1][chosen[1]])
        result.append(
            Draw(
                keep_images(training, chosen[0], keep, len(counts[0]), rng),
                keep_images(holdout, chosen[1], keep, len(counts[1]), rng),
            )
        )
    return result


def _richest_first(counts: NDArray[np.int64], size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return `size` persons at random, those with more images first, ties in random order."""
    chosen = rng.permutation(len(counts))[:size]
    return chosen[np.argsort(-counts[chosen], kind="stable")].astype(np.int64)


def keep_images(
    persons: NDArray[np.int64],
    chosen: NDArray[np.int64],
    keep: NDArray[np.int64],
    total: int,
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """Return bool ``[n]``: which images take part: `keep` at random of each chosen person.

    Parameters
    ----------
    persons : ndarray
        int64 ``[n]``: code of the person of every image.
    chosen, keep : ndarray
        int64 ``[c]``: persons, and how many images of each.
    total : int
        Persons in all.
    rng : numpy.random.Generator
        Source of the choice.
    """
    quota = np.zeros(total, np.int64)
    quota[chosen] = keep
    shuffled = rng.permutation(len(persons))
    by_person = shuffled[np.argsort(persons[shuffled], kind="stable")]
    ordered = persons[by_person]
    starts = np.searchsorted(ordered, np.arange(total))
    rank = np.arange(len(persons)) - starts[ordered]
    kept = np.zeros(len(persons), np.bool_)
    kept[by_person[rank < quota[ordered]]] = True
    return kept


# --- bootstrap ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Deviations:
    """Bootstrap deviations of a rate, or of a difference of rates, from its estimate.

    Attributes
    ----------
    clusters, persons : ndarray
        float64 ``[r]``: with the synthetic clusters drawn with replacement, and with the persons.
    cells : float
        Variance if every (cluster, person) cell were a unit of its own.
    """

    clusters: NDArray[np.float64]
    persons: NDArray[np.float64]
    cells: float

    @property
    def variance(self) -> float:
        """Two-way clustered variance: by clusters, plus by persons, less what both count."""
        one, two = float(np.mean(self.clusters**2)), float(np.mean(self.persons**2))
        return max(one + two - self.cells, one, two)

    def combined(self) -> NDArray[np.float64]:
        """Return float64 ``[r]``: deviations by clusters and persons at once, with `variance`."""
        both = self.clusters + self.persons
        plain = float(np.mean(self.clusters**2) + np.mean(self.persons**2))
        return both * math.sqrt(self.variance / plain) if plain > 0 else both

    def minus(self, other: Deviations) -> Deviations:
        """Return the deviations of the difference, over the same draws of clusters and other persons."""
        return Deviations(
            self.clusters - other.clusters, self.persons - other.persons, self.cells + other.cells
        )


def pooled(parts: Sequence[Deviations]) -> Deviations:
    """Return the replicates of several matched galleries together."""
    return Deviations(
        np.concatenate([part.clusters for part in parts]),
        np.concatenate([part.persons for part in parts]),
        float(np.mean([part.cells for part in parts])),
    )


def bootstrap_rates(
    galleries: Sequence[Hits],
    persons: int,
    weights: NDArray[np.float64],
    clusters: NDArray[np.int64],
    replicates: int,
    rng: np.random.Generator,
) -> list[Deviations]:
    """Return bootstrap deviations of the leak rate against each gallery.

    Two-way cluster bootstrap: synthetic clusters are drawn with replacement (the same ones for all galleries),
    and the persons of each gallery. The two deviations are added and scaled to the two-way clustered variance
    ``V_clusters + V_persons - V_cells`` (Cameron, Gelbach and Miller 2011): drawing both at once, or adding
    them unscaled, would count a hit that is alone in its row and column three times, or twice.

    A gallery drawn with replacement holds only 63 % of its persons, which would bias a rate of *maxima*
    downwards; therefore an image that hits h persons is shared among them, 1/h each. The rate is then a sum
    over (cluster, person) cells, which reweighting leaves unbiased.

    Parameters
    ----------
    galleries : sequence of Hits
        Against galleries of equal size.
    persons : int
        Persons in each gallery.
    weights : ndarray
        float64 ``[n]``: 1 / size of its cluster, for every synthetic image.
    clusters : ndarray
        int64 ``[n]``: code of the cluster of every synthetic image; codes 0 .. c-1.
    replicates : int
        How many.
    rng : numpy.random.Generator
        Source of the draws.
    """
    total = int(clusters.max()) + 1
    cells = [hit_cells(hits, weights, clusters) for hits in galleries]
    touched = distinct(np.concatenate([cell[0] for cell in cells]))
    masses = [
        np.bincount(np.searchsorted(touched, cell[0]), weights=cell[2], minlength=len(touched)) / total
        for cell in cells
    ]
    by_cluster = resampled_sums(np.stack(masses, axis=1), total, replicates, rng)
    result = []
    for (_, people, mass), deviations in zip(cells, by_cluster.T, strict=True):
        exposed = np.bincount(people, weights=mass)
        by_person = resampled_sums(exposed[exposed > 0][:, None] / total, persons, replicates, rng)[:, 0]
        result.append(Deviations(deviations, by_person, float(((mass / total) ** 2).sum())))
    return result


def resampled_sums(
    masses: NDArray[Any], units: int, replicates: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return how much sums change when units are drawn with replacement.

    Parameters
    ----------
    masses : ndarray
        float64 ``[u, q]``: what every unit adds to each of q sums; units left out add nothing.
    units : int
        All units, at least u.
    replicates : int
        How many draws of `units` units.
    rng : numpy.random.Generator
        Source of the draws.

    Returns
    -------
    ndarray
        float64 ``[replicates, q]``: each sum less its value without resampling.
    """
    listed = len(masses)
    if listed > units:
        raise ValueError(f"{listed} units have a mass, and there are {units}")
    result = np.zeros((replicates, masses.shape[1]))
    if not listed:
        return result
    # Only draws that meet a unit with a mass matter, and how many do is binomial.
    for replicate, count in enumerate(rng.binomial(units, listed / units, size=replicates).tolist()):
        result[replicate] = masses[rng.integers(0, listed, count)].sum(axis=0)
    result -= masses.sum(axis=0)
    return result


def hit_cells(
    hits: Hits, weights: NDArray[np.float64], clusters: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return cluster, person and mass of every (cluster, person) cell; the masses sum to clusters x rate."""
    per_image = np.bincount(hits.images, minlength=len(weights))
    mass = weights[hits.images] / per_image[hits.images]
    return sum_cells(clusters[hits.images], hits.persons, mass)


def sum_cells(
    clusters: NDArray[np.int64], persons: NDArray[np.int64], mass: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return cluster, person and sum of the masses of every (cluster, person) cell, ordered."""
    width = int(persons.max(initial=0)) + 1
    cells, place = np.unique(clusters * width + persons, return_inverse=True)
    sums = np.bincount(place.reshape(-1), weights=mass, minlength=len(cells)).astype(np.float64)
    return cells // width, cells % width, sums


# --- permutation ----------------------------------------------------------------------------------


def expected_share(persons: int, size: int) -> NDArray[np.float64]:
    """Return float64 ``[persons + 1]``: the chance that `size` of `persons` at random include one of h.

    ``1 - C(persons - h, size) / C(persons, size)``, and just ``h >= 1`` when all are taken.
    """
    if not 0 < size <= persons:
        raise ValueError(f"size must be from 1 to {persons}, not {size}")
    missed = np.zeros(persons + 1)
    for h in range(persons - size + 1):
        missed[h] = math.exp(
            math.lgamma(persons - h + 1)
            - math.lgamma(persons - h - size + 1)
            - math.lgamma(persons + 1)
            + math.lgamma(persons - size + 1)
        )
    missed[0] = 1.0
    return 1.0 - missed


def permutation_p(
    hits: Hits,
    member: NDArray[np.bool_],
    strata: NDArray[np.int64],
    weights: NDArray[np.float64],
    permutations: int,
    rng: np.random.Generator,
) -> float:
    """Return the one-sided p-value of the excess leak rate under exchange of membership among persons.

    The statistic is the excess leak rate, where the larger gallery counts with its expected rate over all
    subsets of the smaller one's size. Membership is permuted inside each stratum only. Exact when, inside a
    stratum, chance decided who was trained on.

    Parameters
    ----------
    hits : Hits
        Against all persons of both galleries, coded together 0 .. k-1.
    member : ndarray
        bool ``[k]``: whether a person is of the training gallery.
    strata : ndarray
        int64 ``[k]``: the stratum of a person, here the number of images.
    weights : ndarray
        float64 ``[n]``: 1 / size of its cluster, for every synthetic image.
    permutations : int
        How many random exchanges.
    rng : numpy.random.Generator
        Source of the exchanges.

    Returns
    -------
    float
        ``(1 + exchanges with a statistic at least as large) / (permutations + 1)``.
    """
    sizes = int(member.sum()), int((~member).sum())
    if not len(hits.images) or not all(sizes):
        return 1.0
    shares = [expected_share(size, min(sizes)) for size in sizes]
    people, place = np.unique(hits.persons, return_inverse=True)
    images, starts = np.unique(hits.images, return_index=True)
    share = weights[images] / weights.sum()

    def statistic(labels: NDArray[np.bool_]) -> NDArray[np.float64]:
        flags = labels[:, place].astype(np.int64)
        training = np.add.reduceat(flags, starts, axis=1)
        holdout = np.add.reduceat(1 - flags, starts, axis=1)
        return np.asarray((shares[0][training] - shares[1][holdout]) @ share, dtype=np.float64)

    observed = statistic(member[people][None, :])[0]
    step = max(1, SLICE_ELEMENTS // max(len(place), 1))
    groups = exchange_groups(people, member, strata)
    reached = 0
    for start in range(0, permutations, step):
        count = min(step, permutations - start)
        labels = exchanged(groups, len(people), count, rng)
        # A sum in another order may differ in its last bits: equal statistics must count as reached.
        reached += int((statistic(labels) >= observed - 1e-12).sum())
    return (1 + reached) / (permutations + 1)
