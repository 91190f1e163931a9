"""Whether synthetic images are closer to the training set than to the holdout (P6), and by how much.

The share that is closer to training is compared with the share that persons alone explain: if nothing leaks,
the nearest of all persons is one of training with the chance ``N_T / (N_T + N_H)``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.audit.rates.intervals import Interval, wilson
from idsim.audit.rates.resampling import Deviations, matched_draws, pooled, resampled_sums, sum_cells
from idsim.audit.significance.nearest import best_among, pooled_nearest
from idsim.audit.significance.percentiles import interval_entry, percentiles
from idsim.audit.significance.permutations import (
    PermutationTest,
    Pool,
    permutation_entry,
    permutation_test,
    sum_of_members,
)
from idsim.audit.significance.rank_tests import RankTest, binomial_upper, sign_test, signed_rank_test

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from idsim.audit.pairs.compared import Compared
    from idsim.audit.rates.excess import Resampling
    from idsim.audit.rates.resampling import Draw
    from idsim.audit.significance.nearest import Best, Nearest, Searches

__all__ = ["Closeness", "CloserShare", "Margin", "closeness_entry", "measure_closeness"]

EFFECTIVE = "Wilson with effective n from the two-way cluster bootstrap"
TWO_WAY = "percentiles of the two-way cluster bootstrap"


@dataclass(frozen=True)
class CloserShare:
    """The share of synthetic images that are closer to training than to holdout.

    Attributes
    ----------
    share : float
        Weighted by cluster; persons that are equally near share an image, as far as they are among the matches
        kept.
    expected : float
        Without leakage: persons of training over all persons.
    interval : Interval
        Two-sided, of the share.
    effective : float
        Independent images that carry as much information.
    test : PermutationTest
        Of the share under exchange of membership among persons with equal numbers of images.
    naive_p : float
        The binomial test that takes every image for independent and ties for nothing; far too small where images
        of one cluster, or of one person's vicinity, go together.
    design_effect : float or None
        Variance over the exchanges, relative to that of independent images.
    images, clusters, without_face : int
        Images and clusters that were compared, and images that have no face.
    persons : tuple of int
        Of training and holdout.
    """

    share: float
    expected: float
    interval: Interval
    effective: float
    test: PermutationTest
    naive_p: float
    design_effect: float | None
    images: int
    clusters: int
    without_face: int
    persons: tuple[int, int]


@dataclass(frozen=True)
class Margin:
    """How much nearer the best match in training is than that in a holdout of equal size.

    Attributes
    ----------
    mean : float or None
        Over clusters, of the best score in training less that in holdout; of distances the reverse, so that a
        larger one speaks for leakage. None where it is refused.
    interval : Interval or None
        Two-sided, of the mean.
    signed_rank, sign : RankTest or None
        Of the means of the clusters, one-sided, with clusters taken for independent. Over several draws of
        matched galleries, p is twice the median of theirs, which holds under any dependence, and the rest is that
        of the first draw.
    clusters, draws, persons : int
        Clusters that were compared, pairs of matched galleries, and persons in each of these.
    refusal : str
        Why there is no margin; empty where there is one.
    """

    mean: float | None
    interval: Interval | None
    signed_rank: RankTest | None
    sign: RankTest | None
    clusters: int
    draws: int
    persons: int
    refusal: str = ""


@dataclass(frozen=True)
class Closeness:
    """Share and margin."""

    share: CloserShare
    margin: Margin


def measure_closeness(
    training: Compared,
    holdout: Compared,
    persons: tuple[NDArray[np.int64], NDArray[np.int64]],
    synthetic: Searches,
    resampling: Resampling,
    cells: NDArray[np.int64] | None = None,
) -> Closeness:
    """Return how often, and how much, synthetic images are closer to training than to holdout.

    Parameters
    ----------
    training, holdout : Compared
        The synthetic set compared with either gallery. The margin needs two best matches of different persons
        where the galleries are of equal size, otherwise so many that some fall into every matched gallery.
    persons : tuple of ndarray
        int64 ``[g]``: code of the person of every embedding of training and of holdout.
    synthetic : Searches
        Clusters and rows of the synthetic set.
    resampling : Resampling
        Replicates and seed.
    cells : ndarray, optional
        int64 ``[a + b]``: further strata of the persons, see `Pool.of`.

    Raises
    ------
    ValueError
        No synthetic image has a face, or the comparisons do not belong together.
    """
    if not len(synthetic.rows):
        raise ValueError("no synthetic image has a face")
    # Images without a face are near to neither gallery: clusters are those of the others.
    _, codes = np.unique(synthetic.clusters[synthetic.rows], return_inverse=True)
    codes = codes.reshape(-1).astype(np.int64)
    rngs = [np.random.default_rng([resampling.seed, 10 + stage]) for stage in range(4)]
    nearest = pooled_nearest(training, holdout, persons)
    pool = Pool.of(*persons, cells)
    missing = len(synthetic.clusters) - len(synthetic.rows)
    share = _closer_share(nearest, pool, codes, missing, resampling, (rngs[0], rngs[1]))
    draws = matched_draws(persons[0], persons[1], resampling.draws, rngs[2])
    margin = _margin((training, holdout), persons, draws, codes, resampling, rngs[3])
    return Closeness(share, margin)


# --- share ----------------------------------------------------------------------------------------


def _closer_share(
    nearest: Nearest,
    pool: Pool,
    codes: NDArray[np.int64],
    missing: int,
    resampling: Resampling,
    rngs: tuple[np.random.Generator, np.random.Generator],
) -> CloserShare:
    rows, people, parts = _nearest_persons(nearest)
    weights = 1.0 / np.bincount(codes)[codes] / (int(codes.max()) + 1)
    mass = weights[rows] * parts
    contributions = np.bincount(people, weights=mass, minlength=len(pool.member)).astype(np.float64)
    share = min(1.0, float(contributions[pool.member].sum()))
    sizes = int(pool.member.sum()), int((~pool.member).sum())
    expected = sizes[0] / sum(sizes)
    statistic = sum_of_members("share closer to training", contributions)
    test = permutation_test(statistic, pool, resampling.permutations, rngs[0])
    deviations = _share_deviations(codes[rows], people, mass, share, pool, resampling.bootstrap, rngs[1])
    effective = _effective(share, deviations.variance, contributions, int(codes.max()) + 1)
    # An image whose nearest persons are all of one side is nearer to it; others are ties.
    of_training = np.bincount(rows, weights=parts * pool.member[people], minlength=len(codes))
    tied = (of_training > 1e-9) & (of_training < 1 - 1e-9)
    nearer = int((of_training >= 1 - 1e-9).sum())
    plain = expected * (1 - expected) / len(codes)
    return CloserShare(
        share=share,
        expected=expected,
        interval=Interval(*wilson(share, effective, resampling.confidence), EFFECTIVE),
        effective=effective,
        test=test,
        naive_p=binomial_upper(nearer, len(codes) - int(tied.sum()), expected),
        design_effect=test.null_deviation**2 / plain if test.null_deviation > 0 else None,
        images=len(codes),
        clusters=int(codes.max()) + 1,
        without_face=missing,
        persons=sizes,
    )


def _nearest_persons(
    nearest: Nearest,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return row, person and share of every nearest person; persons that are equally near share the row."""
    rows, places = np.nonzero(nearest.scores == nearest.scores[:, :1])
    rows, people, _ = sum_cells(rows, nearest.persons[rows, places], np.ones(len(rows)))
    return rows, people, 1.0 / np.bincount(rows)[rows]


def _effective(share: float, variance: float, contributions: NDArray[np.float64], clusters: int) -> float:
    """Return the effective number of images: never more than clusters, or than persons that are nearest.

    Where all images are nearer to one side, no variance is seen; the inverse Simpson number of the persons that
    are nearest, by the weight of the images, is a bound that needs none.
    """
    persons = 1.0 / float((contributions**2).sum())
    plain = share * (1 - share)
    return min(float(clusters), persons, plain / variance if plain > 0 and variance > 0 else math.inf)


def _share_deviations(
    clusters: NDArray[np.int64],
    people: NDArray[np.int64],
    mass: NDArray[np.float64],
    share: float,
    pool: Pool,
    replicates: int,
    rng: np.random.Generator,
) -> Deviations:
    """Return bootstrap deviations of the share: a ratio, hence of what every cell adds beyond the share."""
    clusters, people, mass = sum_cells(clusters, people, mass)
    value = mass * (pool.member[people] - share)
    by_cluster = resampled_sums(
        np.bincount(clusters, weights=value)[:, None], int(clusters.max()) + 1, replicates, rng
    )
    by_person = np.zeros(replicates)
    for side in (pool.member, ~pool.member):
        sums = np.bincount(people, weights=value, minlength=len(side))[side & _listed(people, len(side))]
        by_person += resampled_sums(sums[:, None], int(side.sum()), replicates, rng)[:, 0]
    return Deviations(by_cluster[:, 0], by_person, float((value**2).sum()))


def _listed(people: NDArray[np.int64], total: int) -> NDArray[np.bool_]:
    listed = np.zeros(total, np.bool_)
    listed[people] = True
    return listed


# --- margin ---------------------------------------------------------------------------------------


def _margin(
    sides: tuple[Compared, Compared],
    persons: tuple[NDArray[np.int64], NDArray[np.int64]],
    draws: list[Draw],
    codes: NDArray[np.int64],
    resampling: Resampling,
    rng: np.random.Generator,
) -> Margin:
    clusters = int(codes.max()) + 1
    share = math.ceil(resampling.bootstrap / len(draws))
    means, parts, tests = [], [], []
    for draw in draws:
        found = [
            best_among(side, keep, people) for side, keep, people in zip(sides, draw, persons, strict=True)
        ]
        compared = len(np.unique(persons[0][draw.training]))
        refusal = _refusal(sides, found, compared)
        if refusal:
            return Margin(None, None, None, None, clusters, len(draws), compared, refusal)
        per_cluster = _cluster_means(found[0].scores - found[1].scores, codes)
        means.append(float(per_cluster.mean()))
        tests.append((signed_rank_test(per_cluster), sign_test(per_cluster)))
        parts.append(_mean_deviations(found, persons, compared, codes, share, rng))
    mean = float(np.mean(means))
    low, high = percentiles(mean, pooled(parts).combined(), resampling.confidence)
    return Margin(
        mean=mean,
        interval=Interval(low, high, TWO_WAY),
        signed_rank=_over_draws([pair[0] for pair in tests]),
        sign=_over_draws([pair[1] for pair in tests]),
        clusters=clusters,
        draws=len(draws),
        persons=compared,
    )


def _refusal(sides: tuple[Compared, Compared], found: list[Best], persons: int) -> str:
    """Return why matched galleries of so many persons give no margin, or nothing."""
    kept = min(side.scores.shape[1] for side in sides)
    if kept < 2 or persons < 2:
        return f"two best matches and two persons are needed, not {kept} and {persons}"
    unknown = int(((found[0].ids < 0) | (found[1].ids < 0)).sum())
    if not unknown:
        return ""
    return (
        f"training and holdout differ in size, and for {unknown} of {len(found[0].ids)} images none of the {kept} "
        f"best matches kept is in a gallery of {persons} persons: keep more, or compare galleries of equal size"
    )


def _cluster_means(values: NDArray[np.float64], codes: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(np.bincount(codes, weights=values) / np.bincount(codes), dtype=np.float64)


def _mean_deviations(
    found: list[Best],
    persons: tuple[NDArray[np.int64], NDArray[np.int64]],
    compared: int,
    codes: NDArray[np.int64],
    replicates: int,
    rng: np.random.Generator,
) -> Deviations:
    """Return bootstrap deviations of the mean margin.

    Images of one cluster go together. A person counts with what the mean would lose without it: the lead over
    the next person in all images where it is the best, as in a jackknife over persons. One that attracts many
    images counts as one.
    """
    total = int(codes.max()) + 1
    weights = 1.0 / np.bincount(codes)[codes] / total
    margins = found[0].scores - found[1].scores
    centred = np.bincount(codes, weights=weights * (margins - float((weights * margins).sum())))
    by_cluster = resampled_sums(centred[:, None], total, replicates, rng)[:, 0]
    by_person, cells = [], 0.0
    for best, people in zip(found, persons, strict=True):
        nearest, lost = people[best.ids], weights * best.leads
        sums = np.bincount(nearest, weights=lost)[np.unique(nearest)]
        by_person.append(resampled_sums(sums[:, None], compared, replicates, rng)[:, 0])
        cells += float((sum_cells(codes, nearest, lost)[2] ** 2).sum())
    return Deviations(by_cluster, by_person[0] - by_person[1], cells)


def _over_draws(tests: list[RankTest]) -> RankTest:
    """Return the test over several draws: twice the median p (Meinshausen, Meier and Bühlmann 2009)."""
    if len(tests) == 1:
        return tests[0]
    p_value = min(1.0, 2 * float(np.median([test.p_value for test in tests])))
    return tests[0]._replace(p_value=p_value, exact=False)


# --- plain values ---------------------------------------------------------------------------------


def closeness_entry(closeness: Closeness) -> dict[str, Any]:
    """Return share and margin as plain JSON values."""
    share, margin = closeness.share, closeness.margin
    return {
        "share": {
            "share": share.share,
            "expected_without_leakage": share.expected,
            **interval_entry(share.interval),
            "effective_images": share.effective,
            "permutation": permutation_entry(share.test),
            "naive_binomial_p": share.naive_p,
            "design_effect": share.design_effect,
            "images": share.images,
            "clusters": share.clusters,
            "without_face": share.without_face,
            "persons_training": share.persons[0],
            "persons_holdout": share.persons[1],
        },
        "margin": {
            "mean": margin.mean,
            "interval": None if margin.interval is None else interval_entry(margin.interval),
            "wilcoxon_signed_rank": _rank_entry(margin.signed_rank),
            "sign_test": _rank_entry(margin.sign),
            "clusters": margin.clusters,
            "persons": margin.persons,
            "draws": margin.draws,
            "refused": margin.refusal or None,
        },
    }


def _rank_entry(test: RankTest | None) -> dict[str, Any] | None:
    if test is None:
        return None
    return {"statistic": test.statistic, "n": test.n, "p": test.p_value, "exact": test.exact}
