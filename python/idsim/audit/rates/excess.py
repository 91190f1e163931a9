"""The excess leak rate from hits alone: both rates, their difference, intervals and the permutation p.

Hits may be those of one matcher at one threshold, or those on which several matchers agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from idsim.audit.rates.edges import distinct
from idsim.audit.rates.intervals import Interval, newcombe, wilson, zero_errors_upper
from idsim.audit.rates.resampling import (
    Deviations,
    Draw,
    Hits,
    bootstrap_rates,
    image_counts,
    leak_rate,
    matched_draws,
    permutation_p,
    pooled,
    unique_hits,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["FEWEST_EVENTS", "Excess", "Gallery", "Rate", "Reached", "Resampling", "measure_excess"]

# With fewer clusters that hit anything, percentiles of a bootstrap rest on too few events.
FEWEST_EVENTS = 10


@dataclass(frozen=True)
class Resampling:
    """How much is resampled, and from which seed."""

    confidence: float = 0.95
    bootstrap: int = 2000
    permutations: int = 10_000
    draws: int = 100
    seed: int = 0


@dataclass(frozen=True)
class Rate:
    """A leak rate with interval, and what it rests on.

    Attributes
    ----------
    rate : float
        Weighted share over all synthetic images.
    images, clusters : int
        Synthetic images, and clusters, with a hit in the whole gallery.
    interval : Interval
        Two-sided.
    upper : float
        One-sided upper bound at the same confidence.
    effective_clusters : float
        Independent clusters that carry as much information.
    design_effect : float
        Variance relative to independent images.
    """

    rate: float
    images: int
    clusters: int
    interval: Interval
    upper: float
    effective_clusters: float
    design_effect: float


class Reached(Protocol):
    """A gallery, and which of its persons the synthetic images reach."""

    @property
    def persons(self) -> NDArray[np.int64]:
        """The code of the person of every image of the gallery, int64 ``[g]``: 0 .. k-1, each present."""
        ...

    def hits(self, keep: NDArray[np.bool_] | None = None) -> Hits:
        """Return the hits, if only the gallery images in `keep` (bool ``[g]``) were enrolled."""
        ...


@dataclass(frozen=True)
class Gallery:
    """A gallery, and the pairs of images that reach the threshold of one matcher.

    Attributes
    ----------
    persons : ndarray
        int64 ``[g]``: code of the person of every image of the gallery.
    images, columns : ndarray
        int64 ``[p]``: synthetic item and gallery image of every pair that reaches the threshold.
    """

    persons: NDArray[np.int64]
    images: NDArray[np.int64]
    columns: NDArray[np.int64]

    def hits(self, keep: NDArray[np.bool_] | None = None) -> Hits:
        """Return the (synthetic item, person) pairs, if only the gallery images in `keep` were enrolled."""
        if keep is None:
            return unique_hits(self.images, self.persons[self.columns])
        used = keep[self.columns]
        return unique_hits(self.images[used], self.persons[self.columns[used]])


@dataclass(frozen=True)
class Excess:
    """Two leak rates and their difference.

    Attributes
    ----------
    training, holdout : Rate
        Against either gallery.
    rate : float
        The excess leak rate: the first less the second.
    interval : Interval
        Two-sided, of the excess.
    upper : float
        One-sided upper bound of the excess at the same confidence.
    p_value : float
        One-sided, by exchange of membership among the persons.
    clusters, persons, draws : int
        Synthetic clusters, persons in each of the matched galleries, and how many pairs of those.
    """

    training: Rate
    holdout: Rate
    rate: float
    interval: Interval
    upper: float
    p_value: float
    clusters: int
    persons: int
    draws: int


def measure_excess(
    galleries: Sequence[Reached],
    clusters: NDArray[np.int64],
    resampling: Resampling,
    draws: Sequence[Draw] | None = None,
) -> Excess:
    """Return the excess leak rate of one gallery over another.

    Parameters
    ----------
    galleries : sequence of Reached
        Training and holdout, with the hits in them.
    clusters : ndarray
        int64 ``[n]``: code of the cluster of every synthetic item, those without a face included; 0 .. c-1.
    resampling : Resampling
        Replicates and seed.
    draws : sequence of Draw, optional
        Matched galleries; without it they are drawn here.
    """
    weights = 1.0 / np.bincount(clusters)[clusters]
    rngs = [np.random.default_rng([resampling.seed, stage]) for stage in range(3)]
    if draws is None:
        draws = matched_draws(galleries[0].persons, galleries[1].persons, resampling.draws, rngs[0])
    rates, deviations, compared = _over_draws(galleries, draws, weights, clusters, resampling, rngs[1])
    hits = [gallery.hits() for gallery in galleries]
    confidence = resampling.confidence
    training, holdout = (
        _rate(rate, deviation.variance, found.images, clusters, confidence)
        for rate, deviation, found in zip(rates, deviations, hits, strict=True)
    )
    touched = distinct(clusters[np.concatenate([found.images for found in hits])])
    total = int(clusters.max()) + 1
    interval, upper = _excess_interval(
        (training, holdout), deviations[0].minus(deviations[1]), len(touched), total, confidence
    )
    counts = [image_counts(gallery.persons) for gallery in galleries]
    return Excess(
        training=training,
        holdout=holdout,
        rate=rates[0] - rates[1],
        interval=interval,
        upper=upper,
        p_value=_permutation(hits, counts, weights, resampling.permutations, rngs[2]),
        clusters=total,
        persons=compared,
        draws=len(draws),
    )


def _over_draws(
    galleries: Sequence[Reached],
    draws: Sequence[Draw],
    weights: NDArray[np.float64],
    clusters: NDArray[np.int64],
    resampling: Resampling,
    rng: np.random.Generator,
) -> tuple[list[float], list[Deviations], int]:
    """Return both rates and their bootstrap deviations over the draws, and the persons compared."""
    rates: list[list[float]] = []
    parts: list[list[Deviations]] = []
    share = -(-resampling.bootstrap // len(draws))
    compared = 0
    for draw in draws:
        kept = [draw.training, draw.holdout]
        compared = len(distinct(galleries[0].persons[draw.training]))
        hits = [gallery.hits(keep) for gallery, keep in zip(galleries, kept, strict=True)]
        rates.append([leak_rate(hit, weights) for hit in hits])
        parts.append(bootstrap_rates(hits, compared, weights, clusters, share, rng))
    means = [float(np.mean([rate[side] for rate in rates])) for side in (0, 1)]
    return means, [pooled([part[side] for part in parts]) for side in (0, 1)], compared


def _rate(
    rate: float,
    variance: float,
    images: NDArray[np.int64],
    clusters: NDArray[np.int64],
    confidence: float,
) -> Rate:
    total = float(clusters.max()) + 1
    plain = rate * (1 - rate)
    effective = min(total, plain / variance) if variance > 0 and plain > 0 else total
    low, high = wilson(rate, effective, confidence)
    upper = (
        wilson(rate, effective, 2 * confidence - 1)[1] if rate else zero_errors_upper(effective, confidence)
    )
    hit_images = distinct(images)
    return Rate(
        rate=rate,
        images=len(hit_images),
        clusters=len(distinct(clusters[hit_images])),
        interval=Interval(low, high, "Wilson with effective n from the two-way cluster bootstrap"),
        upper=upper,
        effective_clusters=effective,
        design_effect=variance * len(clusters) / plain if plain > 0 else 1.0,
    )


def _excess_interval(
    sides: tuple[Rate, Rate],
    deviations: Deviations,
    events: int,
    clusters: int,
    confidence: float,
) -> tuple[Interval, float]:
    """Return the interval of the excess and its one-sided upper bound.

    From `FEWEST_EVENTS` clusters with a hit on: percentiles of the two-way cluster bootstrap. Below: Newcombe's
    interval over the effective clusters, and for no hit at all the exact bound on the rate against training.
    """
    excess = sides[0].rate - sides[1].rate
    if events >= FEWEST_EVENTS:
        differences = excess + deviations.combined()
        tail = (1 - confidence) / 2
        low, high = np.quantile(differences, [tail, 1 - tail])
        upper = max(excess, float(np.quantile(differences, confidence)))
        return Interval(float(low), float(high), "percentiles of the two-way cluster bootstrap"), upper
    rates = (sides[0].rate, sides[0].effective_clusters, sides[1].rate, sides[1].effective_clusters)
    interval = Interval(*newcombe(*rates, confidence), "Newcombe over effective clusters: few events")
    if not events:
        return interval, zero_errors_upper(clusters, confidence)
    return interval, newcombe(*rates, 2 * confidence - 1)[1]


def _permutation(
    hits: list[Hits],
    counts: list[NDArray[np.int64]],
    weights: NDArray[np.float64],
    permutations: int,
    rng: np.random.Generator,
) -> float:
    """Return the p-value of the excess over all persons of both galleries, in strata of image counts."""
    both = unique_hits(
        np.concatenate([found.images for found in hits]),
        np.concatenate([hits[0].persons, hits[1].persons + len(counts[0])]),
    )
    member = np.repeat([True, False], [len(counts[0]), len(counts[1])])
    return permutation_p(both, member, np.concatenate(counts), weights, permutations, rng)
