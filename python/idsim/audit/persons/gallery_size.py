"""How leak rates and best scores grow with the number of persons that are searched.

The best of more strangers is nearer. Sub-galleries of the persons are not drawn: the mean over all of them has a
closed form, since a random m of N persons miss h given ones with chance ``C(N - h, m) / C(N, m)``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.audit.pairs.compared import better_is_higher
from idsim.audit.rates.clustered import effective_number, find_cells, reweighting_variance, two_way_variance
from idsim.audit.rates.intervals import Interval, wilson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from idsim.audit.pairs.compared import Compared
    from idsim.results import Pairs

__all__ = [
    "BestScores",
    "GalleryGrowth",
    "ScoreGrowth",
    "SizedRate",
    "gallery_sizes",
    "growth_entry",
    "rates_by_size",
    "score_growth",
    "score_growth_entry",
]

# Share of the synthetic images, by weight, whose best match in a smaller gallery may be unknown.
MOST_UNRESOLVED = 0.01


@dataclass(frozen=True)
class SizedRate:
    """Leak rate against a gallery of a number of persons, as the mean over all such sub-galleries."""

    persons: int
    rate: float
    interval: Interval
    effective_clusters: float


@dataclass(frozen=True)
class GalleryGrowth:
    """Leak rates by size of the gallery.

    Attributes
    ----------
    rates : list of SizedRate
        From the smallest gallery to the whole.
    exponent : float or None
        Slope of ``log(-log(1 - rate))`` over ``log(persons)``. 1: persons are hit independently of each other,
        ``rate = 1 - (1 - q)^persons``. Less: the same images hit many persons. None without any hit, or where
        every image hits in each gallery.
    per_doubling : float or None
        ``2 ** exponent``: factor by which a small rate grows when the gallery doubles.
    """

    rates: list[SizedRate]
    exponent: float | None
    per_doubling: float | None


@dataclass(frozen=True)
class BestScores:
    """Mean best score against a gallery of a number of persons.

    Attributes
    ----------
    persons : int
        Size.
    mean : float or None
        Weighted over the synthetic embeddings, mean over all sub-galleries; None where it is not resolved.
    unresolved : float
        Chance that none of the listed matches is in the sub-gallery; the last listed score stands for those.
    """

    persons: int
    mean: float | None
    unresolved: float


@dataclass(frozen=True)
class ScoreGrowth:
    """Best scores by size of the gallery, and the growth that extreme values of strangers would have.

    Attributes
    ----------
    scores : list of BestScores
        From the smallest gallery to the whole.
    per_doubling : float or None
        Growth of the mean best score per doubling: least squares over the sizes that are resolved.
    gumbel_per_doubling : float or None
        ``scale * log 2``, with the scale of the Gumbel law from the gaps between the listed matches after the
        best; None where fewer than three persons are listed.
    moment_per_doubling : float or None
        The same with the scale from the spread of best scores between images, ``sqrt(6) / pi * deviation``;
        larger where images differ in how much they resemble everybody.
    images : int
        Synthetic embeddings.
    """

    scores: list[BestScores]
    per_doubling: float | None
    gumbel_per_doubling: float | None
    moment_per_doubling: float | None
    images: int


def gallery_sizes(persons: int, fewest: int = 10) -> list[int]:
    """Return the sizes N, N/2, N/4, ... down to `fewest` persons, in ascending order."""
    sizes = [persons]
    while sizes[-1] // 2 >= max(1, fewest):
        sizes.append(sizes[-1] // 2)
    return sizes[::-1]


def _missed(persons: int, size: int, most: int) -> NDArray[np.float64]:
    """Return float64 ``[most + 1]``: the chance that `size` of `persons` at random miss h given ones.

    ``C(N - h, m) / C(N, m)`` is the product over j < h of ``(N - m - j) / (N - j)``.
    """
    steps = np.arange(most, dtype=np.float64)
    factors = np.maximum(0.0, persons - size - steps) / (persons - steps)
    return np.concatenate([[1.0], np.cumprod(factors)])


# --- leak rates -----------------------------------------------------------------------------------


def rates_by_size(
    pairs: Pairs,
    persons: NDArray[np.int64],
    items: NDArray[np.int64],
    clusters: NDArray[np.int64],
    sizes: Sequence[int],
    confidence: float = 0.95,
) -> GalleryGrowth:
    """Return the leak rate against random sub-galleries of each size.

    Parameters
    ----------
    pairs : Pairs
        The pairs that reach the threshold: rows are synthetic embeddings, columns real ones.
    persons : ndarray
        int64 ``[columns]``: code of the person of every real embedding; codes 0 .. k-1, each present.
    items : ndarray
        int64 ``[rows]``: number of the synthetic image of every embedding.
    clusters : ndarray
        int64 ``[images]``: code of the cluster of every synthetic image, also of those without a face; codes
        0 .. c-1.
    sizes : sequence of int
        Numbers of persons, ascending.
    confidence : float
        Of the two-sided intervals: Wilson over the clusters that are effective after two-way clustering, where
        an image that hits h persons is shared among them.

    Raises
    ------
    ValueError
        A size is not between 1 and the number of persons.
    """
    total, count = int(persons.max()) + 1 if len(persons) else 0, int(clusters.max()) + 1
    for size in sizes:
        if not 1 <= size <= total:
            raise ValueError(f"a gallery of {size} persons cannot be drawn from {total}")
    weights = 1.0 / np.bincount(clusters)[clusters] / count
    images, hit, _ = find_cells(pairs, items, persons)
    per_image = np.bincount(images, minlength=len(clusters))
    share = weights[images] / per_image[images]
    # Images of one cluster that reach one person are one cell, not several.
    _, cells = np.unique(clusters[images] * max(total, 1) + hit, return_inverse=True)
    rates = []
    for size in sizes:
        reach = 1.0 - _missed(total, size, int(per_image.max(initial=0)))
        mass = share * reach[per_image[images]]
        rate = min(1.0, float(mass.sum()))
        variance = two_way_variance(
            reweighting_variance(clusters[images], mass, count),
            reweighting_variance(hit, mass, total),
            float((np.bincount(cells.reshape(-1), weights=mass) ** 2).sum()),
        )
        effective = effective_number(rate, variance, float(count))
        low, high = wilson(rate, effective, confidence)
        interval = Interval(low, high, "Wilson over effective clusters, two-way clustered")
        rates.append(SizedRate(size, rate, interval, effective))
    exponent = _exponent(rates)
    return GalleryGrowth(rates, exponent, None if exponent is None else 2.0**exponent)


def _exponent(rates: list[SizedRate]) -> float | None:
    usable = [(point.persons, point.rate) for point in rates if 0 < point.rate < 1]
    return _slope(
        [math.log(persons) for persons, _ in usable],
        [math.log(-math.log1p(-rate)) for _, rate in usable],
    )


def _slope(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Return the slope of the least-squares line; None with fewer than two different abscissae."""
    if len(set(x)) < 2:
        return None
    centred = np.asarray(x, dtype=np.float64) - np.mean(x)
    return float((centred * np.asarray(y, dtype=np.float64)).sum() / (centred**2).sum())


# --- best scores ----------------------------------------------------------------------------------


def score_growth(
    compared: Compared,
    persons: NDArray[np.int64],
    clusters: NDArray[np.int64],
    sizes: Sequence[int],
) -> ScoreGrowth | str:
    """Return how the best score grows with the gallery; a sentence where too few matches are listed.

    The k best matches tell the best score in a smaller gallery unless all of them are left out. Sizes at which
    that has a chance of more than 1 % are not resolved: with 7 persons listed half a gallery is, with 17 a
    quarter.

    If scores with strangers have an exponential tail of scale b, then the best of them follows a Gumbel law,
    grows by ``b log 2`` when the strangers double, and exceeds the second by b on average, as the j-th does the
    next by b / j (Weissman 1978). The gap below the best match is left out of the estimate of b: the best may be
    no stranger. With leaks the best scores therefore grow faster than expected.

    Parameters
    ----------
    compared : Compared
        Rows are synthetic embeddings, columns real ones; only the k best are used.
    persons : ndarray
        int64 ``[columns]``: code of the person of every real embedding; codes 0 .. n-1, each present.
    clusters : ndarray
        int64 ``[rows]``: code of the cluster of every synthetic embedding.
    sizes : sequence of int
        Numbers of persons, ascending.
    """
    if not len(compared.ids) or not len(persons):
        return "the growth of best scores needs embeddings in both sets"
    total = int(persons.max()) + 1
    scores, ranks, listed = _by_person(compared, persons)
    if (listed < 1).any():
        return f"synthetic embedding {int((listed < 1).argmax())} has no match"
    weights = 1.0 / np.bincount(clusters)[clusters]
    weights /= weights.sum()
    points = []
    for size in sizes:
        missed = _missed(total, size, int(listed.max()))
        # The person of rank r is the best one left when all before are missing, and that one is not.
        chance = np.where(ranks >= 0, missed[np.maximum(ranks, 0)] - missed[ranks + 1], 0.0)
        rest = missed[listed]
        last = np.min(np.where(ranks >= 0, scores, np.inf), axis=1)
        known = np.where(ranks >= 0, chance * np.where(ranks >= 0, scores, 0.0), 0.0).sum(axis=1)
        unresolved = float((weights * rest).sum())
        mean = float((weights * (known + rest * last)).sum())
        points.append(BestScores(size, mean if unresolved <= MOST_UNRESOLVED else None, unresolved))
    usable = [(math.log2(point.persons), point.mean) for point in points if point.mean is not None]
    deviation = math.sqrt(float((weights * (scores[:, 0] - (weights * scores[:, 0]).sum()) ** 2).sum()))
    scale = _spacing_scale(scores, ranks, listed, weights)
    return ScoreGrowth(
        scores=points,
        per_doubling=_slope([x for x, _ in usable], [y for _, y in usable]),
        gumbel_per_doubling=None if scale is None else scale * math.log(2),
        moment_per_doubling=math.sqrt(6) / math.pi * deviation * math.log(2),
        images=len(scores),
    )


def _by_person(
    compared: Compared, persons: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Return oriented scores, the rank of each match among different persons (-1: repeated), and their number."""
    found = np.where(compared.ids >= 0, persons[compared.ids], -1)
    fresh = found >= 0
    for column in range(1, found.shape[1]):
        fresh[:, column] &= (found[:, :column] != found[:, column : column + 1]).all(axis=1)
    ranks = np.where(fresh, np.cumsum(fresh, axis=1) - 1, -1).astype(np.int64)
    return better_is_higher(compared.scores, compared.metric), ranks, fresh.sum(axis=1).astype(np.int64)


def _spacing_scale(
    scores: NDArray[np.float64],
    ranks: NDArray[np.int64],
    listed: NDArray[np.int64],
    weights: NDArray[np.float64],
) -> float | None:
    """Return the scale of the tail of strangers, from the images with r > 2 persons listed.

    ``j (s_j - s_{j+1})`` has the scale as its mean for every rank j; the mean is taken over j = 2 .. r - 1.
    """
    several = listed > 2
    if not several.any():
        return None
    kept = np.where(ranks[several] >= 0, scores[several], np.nan)
    last, second = np.nanmin(kept, axis=1), kept[ranks[several] == 1]
    excess = np.nansum(kept - last[:, None], axis=1) - (kept[:, 0] - second)
    return float(np.average(excess / (listed[several] - 2), weights=weights[several]))


# --- plain values ---------------------------------------------------------------------------------


def growth_entry(found: GalleryGrowth) -> dict[str, Any]:
    """Return plain JSON values."""
    return {
        "rates": [
            {
                "persons": point.persons,
                "rate": point.rate,
                **point.interval._asdict(),
                "effective_clusters": point.effective_clusters,
            }
            for point in found.rates
        ],
        "exponent": found.exponent,
        "factor_per_doubling": found.per_doubling,
    }


def score_growth_entry(found: ScoreGrowth | str) -> dict[str, Any]:
    """Return plain JSON values; ``{"refused": sentence}`` for a refusal. Distances have their sign changed."""
    if isinstance(found, str):
        return {"refused": found}
    return {
        "refused": None,
        "best_scores": [
            {"persons": point.persons, "mean": point.mean, "unresolved": point.unresolved}
            for point in found.scores
        ],
        "per_doubling": found.per_doubling,
        "gumbel_per_doubling": found.gumbel_per_doubling,
        "moment_per_doubling": found.moment_per_doubling,
        "images": found.images,
    }
