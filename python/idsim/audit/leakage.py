"""Leak rates at a threshold: against training, against holdout, and the excess.

Definitions (docs/leakage.md): ``LR_X`` is the share of synthetic images, weighted by 1 / size of their cluster,
whose best match in gallery X reaches the threshold; images without a face stay in the denominator. The headline
is ``ELR = LR_T - LR_H`` over galleries of equal numbers of persons and images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.audit.faces import FaceSet, encode_labels
from idsim.audit.intervals import Interval, newcombe, wilson, zero_errors_upper
from idsim.audit.resampling import (
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
from idsim.audit.tails import UnsupportedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from idsim.audit.comparing import Comparisons

__all__ = ["Exposure", "Leakage", "Rate", "Resampling", "closer_share", "measure"]

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


@dataclass(frozen=True)
class Exposure:
    """Which persons of a gallery are hit.

    Attributes
    ----------
    persons, exposed : int
        All persons with a face, and those that at least one synthetic image reaches.
    effective : float
        Inverse Simpson number of exposed persons: near 1 when all hits go to one person.
    top_share : float
        Share of the hits that the most exposed person takes.
    pairs, compared : int
        Pairs of images that reach the threshold, and pairs compared.
    """

    persons: int
    exposed: int
    effective: float
    top_share: float
    pairs: int
    compared: int


@dataclass(frozen=True)
class Leakage:
    """Everything that is measured at one threshold."""

    training: Rate
    holdout: Rate
    excess: float
    excess_interval: Interval
    excess_upper: float
    residual_risk: float | None
    p_value: float
    draws: int
    persons_compared: int
    exposures: tuple[Exposure, Exposure]
    tail_lift: float | None


@dataclass(frozen=True)
class _Gallery:
    """A gallery as the statistics see it, and the image pairs that reach the threshold."""

    persons: NDArray[np.int64]
    images: NDArray[np.int64]  # synthetic item of every pair
    columns: NDArray[np.int64]  # gallery vector of every pair

    def hits(self, keep: NDArray[np.bool_] | None = None) -> Hits:
        used = slice(None) if keep is None else keep[self.columns]
        return unique_hits(self.images[used], self.persons[self.columns[used]])


def measure(
    synthetic: FaceSet,
    training: FaceSet,
    holdout: FaceSet,
    threshold: float,
    comparisons: Comparisons,
    resampling: Resampling,
) -> Leakage:
    """Return the leak rates at a threshold.

    Parameters
    ----------
    synthetic, training, holdout : FaceSet
        The three sets; labels of `synthetic` are its clusters.
    threshold : float
        Pairs with a score of at least this (``l2``: a distance of at most this) count.
    comparisons : Comparisons
        Scores between the sets.
    resampling : Resampling
        Replicates and seed.

    Raises
    ------
    UnsupportedError
        So many pairs reach the threshold that they cannot be listed, or not all of them are known.
    """
    clusters, names = encode_labels(synthetic.labels)
    weights = 1.0 / np.bincount(clusters)[clusters]
    galleries = [_gallery(synthetic, real, threshold, comparisons) for real in (training, holdout)]
    rngs = [np.random.default_rng([resampling.seed, stage]) for stage in range(3)]
    draws = matched_draws(galleries[0].persons, galleries[1].persons, resampling.draws, rngs[0])
    rates, deviations, compared = _over_draws(galleries, draws, weights, clusters, resampling, rngs[1])
    confidence = resampling.confidence
    sides = [
        _rate(rate, deviation.variance, gallery, clusters, confidence)
        for rate, deviation, gallery in zip(rates, deviations, galleries, strict=True)
    ]
    excess = rates[0] - rates[1]
    touched = np.unique(clusters[np.concatenate([gallery.images for gallery in galleries])])
    interval, upper = _excess_interval(
        sides, deviations[0].minus(deviations[1]), len(touched), len(names), confidence
    )
    exposures = (_exposure(galleries[0], synthetic), _exposure(galleries[1], synthetic))
    return Leakage(
        training=sides[0],
        holdout=sides[1],
        excess=excess,
        excess_interval=interval,
        excess_upper=upper,
        residual_risk=excess / (1 - rates[1]) if rates[1] < 1 else None,
        p_value=_permutation(galleries, weights, resampling.permutations, rngs[2]),
        draws=len(draws),
        persons_compared=compared,
        exposures=exposures,
        tail_lift=_tail_lift(*exposures),
    )


def _gallery(synthetic: FaceSet, real: FaceSet, threshold: float, comparisons: Comparisons) -> _Gallery:
    found = comparisons.reaching(synthetic, real, threshold)
    if found is None:
        raise UnsupportedError(f"{synthetic.name} and {real.name} were not compared")
    rows, columns, _ = found
    return _Gallery(real.codes()[0], synthetic.rows[np.asarray(rows)], np.asarray(columns))


def _over_draws(
    galleries: list[_Gallery],
    draws: list[Draw],
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
        compared = len(np.unique(galleries[0].persons[draw.training]))
        hits = [gallery.hits(keep) for gallery, keep in zip(galleries, kept, strict=True)]
        rates.append([leak_rate(hit, weights) for hit in hits])
        parts.append(bootstrap_rates(hits, compared, weights, clusters, share, rng))
    means = [float(np.mean([rate[side] for rate in rates])) for side in (0, 1)]
    return means, [pooled([part[side] for part in parts]) for side in (0, 1)], compared


def _rate(
    rate: float, variance: float, gallery: _Gallery, clusters: NDArray[np.int64], confidence: float
) -> Rate:
    total = float(clusters.max()) + 1
    plain = rate * (1 - rate)
    effective = min(total, plain / variance) if variance > 0 and plain > 0 else total
    low, high = wilson(rate, effective, confidence)
    upper = (
        wilson(rate, effective, 2 * confidence - 1)[1] if rate else zero_errors_upper(effective, confidence)
    )
    hit_images = np.unique(gallery.images)
    return Rate(
        rate=rate,
        images=len(hit_images),
        clusters=len(np.unique(clusters[hit_images])),
        interval=Interval(low, high, "Wilson with effective n from the two-way cluster bootstrap"),
        upper=upper,
        effective_clusters=effective,
        design_effect=variance * len(clusters) / plain if plain > 0 else 1.0,
    )


def _excess_interval(
    sides: list[Rate],
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
    galleries: list[_Gallery], weights: NDArray[np.float64], permutations: int, rng: np.random.Generator
) -> float:
    """Return the p-value of the excess over all persons of both galleries, in strata of image counts."""
    first, second = galleries
    shift = len(image_counts(first.persons))
    counts = [image_counts(gallery.persons) for gallery in galleries]
    hits = unique_hits(
        np.concatenate([first.images, second.images]),
        np.concatenate([first.persons[first.columns], second.persons[second.columns] + shift]),
    )
    member = np.repeat([True, False], [len(counts[0]), len(counts[1])])
    return permutation_p(hits, member, np.concatenate(counts), weights, permutations, rng)


def _exposure(gallery: _Gallery, synthetic: FaceSet) -> Exposure:
    hits = gallery.hits()
    per_person = np.bincount(hits.persons)
    total = int(per_person.sum())
    return Exposure(
        persons=len(image_counts(gallery.persons)),
        exposed=int((per_person > 0).sum()),
        effective=float(total**2 / (per_person.astype(np.float64) ** 2).sum()) if total else 0.0,
        top_share=float(per_person.max() / total) if total else 0.0,
        pairs=len(gallery.images),
        compared=len(synthetic.rows) * len(gallery.persons),
    )


def _tail_lift(training: Exposure, holdout: Exposure) -> float | None:
    """Return the false match rate of synthetic x training over that of synthetic x holdout."""
    if not holdout.pairs or not training.compared or not holdout.compared:
        return None
    return (training.pairs / training.compared) / (holdout.pairs / holdout.compared)


def closer_share(
    training: NDArray[np.float32], holdout: NDArray[np.float32], sizes: tuple[int, int], metric: str
) -> dict[str, Any]:
    """Return the share of synthetic images nearer to training than to holdout, ties split.

    Parameters
    ----------
    training, holdout : ndarray
        float32 ``[m]``: best score of every synthetic image against either gallery.
    sizes : tuple of int
        Persons in either gallery: if nothing leaks, the expected share is ``sizes[0] / sum(sizes)``.
    metric : str
        ``l2``: lower is better.
    """
    left, right = training.astype(np.float64), holdout.astype(np.float64)
    nearer = left < right if metric == "l2" else left > right
    share = float((nearer + 0.5 * (left == right)).mean()) if len(left) else None
    return {"share": share, "expected_without_leakage": sizes[0] / sum(sizes), "images": len(left)}
