"""Excess leak rates inside strata, such as cells of sex and age group, and standardised over them.

Faces of one cell resemble each other more, so a training set and a holdout of different composition differ in their
leak rates without any leak. Here galleries are matched and membership is exchanged inside cells.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from idsim.audit.rates.edges import distinct
from idsim.audit.rates.excess import FEWEST_EVENTS, Excess, Resampling, measure_excess
from idsim.audit.rates.intervals import Interval, newcombe, zero_errors_upper
from idsim.audit.rates.resampling import (
    Deviations,
    bootstrap_rates,
    leak_rate,
    permutation_p,
    pooled,
    unique_hits,
)
from idsim.audit.significance.permutations import Pool

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from idsim.audit.rates.resampling import Draw
    from idsim.audit.rates.strata_cells import CellGallery, Searched

__all__ = ["Standardised", "cell_excess", "standardised_excess"]

# Streams of chance, as `measure_excess` has them; the matched galleries are given.
BOOTSTRAP, EXCHANGES = 1, 2


@dataclass(frozen=True)
class Standardised:
    """The excess leak rate of a synthetic set of a given composition.

    Attributes
    ----------
    training, holdout : float
        Weighted means of the leak rates of the cells.
    rate : float
        The first less the second.
    interval : Interval
        Two-sided, by the two-way cluster bootstrap.
    upper : float
        One-sided upper bound at the same confidence.
    p_value : float
        One-sided, by exchange of membership among persons of one cell with as many images.
    clusters : int
        Synthetic clusters in the cells that count.
    effective_clusters : float
        Equally weighted clusters that carry as much information: ``(sum w)^2 / sum w^2`` (Kish).
    draws : int
        Pairs of matched galleries.
    """

    training: float
    holdout: float
    rate: float
    interval: Interval
    upper: float
    p_value: float
    clusters: int
    effective_clusters: float
    draws: int


# --- one cell -------------------------------------------------------------------------------------


def cell_excess(
    galleries: tuple[CellGallery, CellGallery],
    clusters: NDArray[np.int64],
    resampling: Resampling,
    draws: Sequence[Draw],
) -> Excess:
    """Return the excess leak rate of some synthetic items, with membership exchanged inside cells.

    Parameters
    ----------
    galleries : tuple of CellGallery
        Training and holdout, with the pairs of these items.
    clusters : ndarray
        int64 ``[n]``: cluster of every item, codes 0 .. c-1.
    resampling : Resampling
        Replicates and seed.
    draws : sequence of Draw
        Matched galleries, at least one.
    """
    plain = [side.gallery for side in galleries]
    found = measure_excess(plain, clusters, replace(resampling, permutations=0), draws)
    weights = 1.0 / np.bincount(clusters)[clusters]
    return replace(found, p_value=_exchange_p(galleries, weights, resampling))


def _exchange_p(
    galleries: tuple[CellGallery, CellGallery], weights: NDArray[np.float64], resampling: Resampling
) -> float:
    """Return the p-value of the excess under exchange inside cells x numbers of images."""
    training, holdout = galleries
    cells = None
    if training.cells is not None and holdout.cells is not None:
        cells = np.concatenate([training.cells, holdout.cells])
    pool = Pool.of(training.gallery.persons, holdout.gallery.persons, cells)
    hits = training.gallery.hits(), holdout.gallery.hits()
    both = unique_hits(
        np.concatenate([found.images for found in hits]),
        np.concatenate([hits[0].persons, hits[1].persons + int(pool.member.sum())]),
    )
    rng = np.random.default_rng([resampling.seed, EXCHANGES])
    return permutation_p(both, pool.member, pool.strata, weights, resampling.permutations, rng)


# --- all cells ------------------------------------------------------------------------------------


def standardised_excess(
    galleries: tuple[CellGallery, CellGallery],
    searched: Searched,
    shares: Mapping[int, float],
    resampling: Resampling,
    draws: Sequence[Draw],
) -> Standardised:
    """Return the excess leak rate that a synthetic set would have with other shares of the cells.

    Direct standardisation: ``sum_c v_c ELR_c``, where v are the shares and ELR_c is of the items of cell c, over the
    same resampled clusters and persons.

    Parameters
    ----------
    galleries : tuple of CellGallery
        Training and holdout, with the pairs that count.
    searched : Searched
        All synthetic items.
    shares : mapping
        Weight of each cell that counts; they need not sum to 1. Each has items.
    resampling : Resampling
        Replicates and seed.
    draws : sequence of Draw
        Matched galleries, at least one.
    """
    kept = np.isin(searched.cells, list(shares))
    clusters, cells = searched.clusters_of(kept), searched.cells[kept]
    weights = searched.weights()[kept]
    sums = np.bincount(cells, weights=weights)
    total, whole = int(clusters.max()) + 1, sum(shares.values())
    for cell, share in shares.items():
        weights[cells == cell] *= share / whole / sums[cell] * total
    sides = galleries[0].of_items(kept), galleries[1].of_items(kept)
    rates, deviations = _over_draws(sides, draws, weights, clusters, resampling)
    by_cluster = np.bincount(clusters, weights=weights)
    effective = float(by_cluster.sum() ** 2 / (by_cluster**2).sum())
    touched = len(distinct(clusters[np.concatenate([side.gallery.images for side in sides])]))
    interval, upper = _interval(rates, deviations, touched, effective, resampling.confidence)
    return Standardised(
        training=rates[0],
        holdout=rates[1],
        rate=rates[0] - rates[1],
        interval=interval,
        upper=upper,
        p_value=_exchange_p(sides, weights, resampling),
        clusters=total,
        effective_clusters=effective,
        draws=len(draws),
    )


def _over_draws(
    galleries: tuple[CellGallery, CellGallery],
    draws: Sequence[Draw],
    weights: NDArray[np.float64],
    clusters: NDArray[np.int64],
    resampling: Resampling,
) -> tuple[tuple[float, float], tuple[Deviations, Deviations]]:
    """Return both rates and their bootstrap deviations over the draws."""
    rng = np.random.default_rng([resampling.seed, BOOTSTRAP])
    share = math.ceil(resampling.bootstrap / len(draws))
    rates, parts = [], []
    for draw in draws:
        hits = [side.gallery.hits(kept) for side, kept in zip(galleries, draw, strict=True)]
        compared = len(distinct(galleries[0].gallery.persons[draw.training]))
        rates.append([leak_rate(found, weights) for found in hits])
        parts.append(bootstrap_rates(hits, compared, weights, clusters, share, rng))
    means = np.mean(rates, axis=0)
    one, other = (pooled([part[side] for part in parts]) for side in (0, 1))
    return (float(means[0]), float(means[1])), (one, other)


def _interval(
    rates: tuple[float, float],
    deviations: tuple[Deviations, Deviations],
    events: int,
    clusters: float,
    confidence: float,
) -> tuple[Interval, float]:
    """Return the interval of the excess and its one-sided upper bound, as `measure_excess` makes them."""
    excess = rates[0] - rates[1]
    if events >= FEWEST_EVENTS:
        differences = excess + deviations[0].minus(deviations[1]).combined()
        tail = (1 - confidence) / 2
        low, high = np.quantile(differences, [tail, 1 - tail])
        upper = max(excess, float(np.quantile(differences, confidence)))
        return Interval(float(low), float(high), "percentiles of the two-way cluster bootstrap"), upper
    plain = [rate * (1 - rate) for rate in rates]
    sizes = [
        min(clusters, spread / side.variance) if spread > 0 and side.variance > 0 else clusters
        for spread, side in zip(plain, deviations, strict=True)
    ]
    sides = (rates[0], sizes[0], rates[1], sizes[1])
    interval = Interval(*newcombe(*sides, confidence), "Newcombe over effective clusters: few events")
    if not events:
        return interval, zero_errors_upper(clusters, confidence)
    return interval, newcombe(*sides, 2 * confidence - 1)[1]
