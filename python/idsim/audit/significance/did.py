"""Difference in differences: the excess of the synthetic set less that of real probes who are in neither gallery.

A matcher that was trained on T, or a T that is better photographed, raises the scores of everybody against T. Real
probes show by how much: their excess is not leakage, and is taken off.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.audit.rates.edges import distinct
from idsim.audit.rates.excess import FEWEST_EVENTS, Excess, Gallery, measure_excess
from idsim.audit.rates.intervals import Interval
from idsim.audit.rates.resampling import (
    Deviations,
    hit_cells,
    image_counts,
    matched_draws,
    pooled,
    resampled_sums,
)
from idsim.audit.significance.percentiles import interval_entry, percentiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from idsim.audit.pairs.compared import Compared
    from idsim.audit.rates.excess import Resampling
    from idsim.audit.rates.resampling import Draw, Hits
    from idsim.audit.significance.nearest import Searches

__all__ = ["NO_PROBES", "DifferenceInDifferences", "did_entry", "gallery_at", "measure_did"]

NO_PROBES = (
    "There is no probe set: real people who are in neither gallery. Whether the matcher knows the training set "
    "better than the holdout was not measured, and an excess may be that of the matcher."
)


@dataclass(frozen=True)
class DifferenceInDifferences:
    """The excess leak rate beyond what real people show.

    Attributes
    ----------
    rate : float
        ``[LR_T(S) - LR_H(S)] - [LR_T(P) - LR_H(P)]``.
    interval : Interval
        Two-sided.
    synthetic, probes : Excess
        Either difference; that of the probes is no leakage but a bias. Its p tests whether there is one.
    sentence : str
        What it says.
    """

    rate: float
    interval: Interval
    synthetic: Excess
    probes: Excess
    sentence: str


def gallery_at(
    compared: Compared, threshold: float, searches: Searches, persons: NDArray[np.int64]
) -> Gallery:
    """Return the hits of a set in a gallery at a threshold.

    Parameters
    ----------
    compared : Compared
        The set compared with the gallery; its tail reaches down to the threshold.
    threshold : float
        Score from which on (``l2``: distance up to which) a pair counts.
    searches : Searches
        Clusters and rows of the set.
    persons : ndarray
        int64 ``[g]``: code of the person of every embedding of the gallery.
    """
    found = compared.reaching(threshold)
    return Gallery(persons, searches.rows[found.rows], found.columns)


def measure_did(
    synthetic: tuple[Gallery, Gallery],
    synthetic_clusters: NDArray[np.int64],
    probes: tuple[Gallery, Gallery],
    probe_persons: NDArray[np.int64],
    resampling: Resampling,
) -> DifferenceInDifferences:
    """Return the difference in differences at a threshold.

    Both sets search the same matched galleries. The interval takes synthetic clusters and probes for independent
    of each other; a person of training or holdout is drawn for both at once.

    Parameters
    ----------
    synthetic, probes : tuple of Gallery
        Training and holdout, with the hits of the synthetic set and of the probes at one threshold.
    synthetic_clusters, probe_persons : ndarray
        int64 ``[n]``: cluster of every synthetic item, and person of every probe, those without a face included.
    resampling : Resampling
        Replicates and seed.

    Raises
    ------
    ValueError
        The galleries of the two sets are not the same.
    """
    for name, one, other in zip(("training", "holdout"), synthetic, probes, strict=True):
        if not np.array_equal(one.persons, other.persons):
            raise ValueError(f"synthetic images and probes were not compared with the same {name}")
    rngs = [np.random.default_rng([resampling.seed, 20 + stage]) for stage in range(2)]
    draws = matched_draws(synthetic[0].persons, synthetic[1].persons, resampling.draws, rngs[0])
    codes = synthetic_clusters, probe_persons
    sets = synthetic, probes
    excesses = [
        measure_excess(galleries, clusters, resampling, draws)
        for galleries, clusters in zip(sets, codes, strict=True)
    ]
    rate = excesses[0].rate - excesses[1].rate
    events = [_touched(galleries, clusters) for galleries, clusters in zip(sets, codes, strict=True)]
    if min(events) >= FEWEST_EVENTS:
        deviations = _deviations(sets, codes, draws, resampling.bootstrap, rngs[1])
        low, high = percentiles(rate, deviations.combined(), resampling.confidence)
        interval = Interval(low, high, "percentiles of the bootstrap over clusters, probes and persons")
    else:
        interval = _squared_and_added(rate, excesses)
    sentence = _sentence(rate, interval, excesses[1], resampling.confidence)
    return DifferenceInDifferences(rate, interval, excesses[0], excesses[1], sentence)


def _touched(galleries: tuple[Gallery, Gallery], clusters: NDArray[np.int64]) -> int:
    return len(distinct(clusters[np.concatenate([gallery.images for gallery in galleries])]))


def _squared_and_added(rate: float, excesses: list[Excess]) -> Interval:
    """Return the interval of a difference from those of its terms (Zou and Donner 2008)."""
    one, other = excesses
    low = rate - math.hypot(one.rate - one.interval.low, other.interval.high - other.rate)
    high = rate + math.hypot(one.interval.high - one.rate, other.rate - other.interval.low)
    return Interval(max(-2.0, low), min(2.0, high), "limits of both excesses squared and added: few events")


def _deviations(
    sets: tuple[tuple[Gallery, Gallery], tuple[Gallery, Gallery]],
    codes: tuple[NDArray[np.int64], NDArray[np.int64]],
    draws: Sequence[Draw],
    replicates: int,
    rng: np.random.Generator,
) -> Deviations:
    """Return bootstrap deviations of the difference in differences, over all draws of matched galleries."""
    share = math.ceil(replicates / len(draws))
    weights = [1.0 / np.bincount(clusters)[clusters] for clusters in codes]
    parts = []
    for draw in draws:
        compared = len(distinct(sets[0][0].persons[draw.training]))
        hits = [
            [gallery.hits(keep) for gallery, keep in zip(galleries, draw, strict=True)] for galleries in sets
        ]
        totals = [len(image_counts(gallery.persons)) for gallery in sets[0]]
        parts.append(_draw_deviations(hits, weights, codes, totals, compared, share, rng))
    return pooled(parts)


def _draw_deviations(
    hits: list[list[Hits]],
    weights: list[NDArray[np.float64]],
    codes: tuple[NDArray[np.int64], NDArray[np.int64]],
    totals: list[int],
    compared: int,
    replicates: int,
    rng: np.random.Generator,
) -> Deviations:
    by_cluster = np.zeros(replicates)
    masses = [np.zeros(total) for total in totals]  # of every person: synthetic less probes
    cells = 0.0
    for sign, found, weight, clusters in zip((1.0, -1.0), hits, weights, codes, strict=True):
        total = int(clusters.max()) + 1
        differences = np.zeros(total)
        for side, (turn, hit) in enumerate(zip((1.0, -1.0), found, strict=True)):
            rows, people, mass = hit_cells(hit, weight, clusters)
            mass = mass / total
            differences += turn * np.bincount(rows, weights=mass, minlength=total)
            masses[side] += sign * np.bincount(people, weights=mass, minlength=totals[side])
            cells += float((mass**2).sum())
        listed = differences[differences != 0][:, None]
        by_cluster += sign * resampled_sums(listed, total, replicates, rng)[:, 0]
    by_person = [resampled_sums(mass[mass != 0][:, None], compared, replicates, rng)[:, 0] for mass in masses]
    return Deviations(by_cluster, by_person[0] - by_person[1], cells)


def _sentence(rate: float, interval: Interval, probes: Excess, confidence: float) -> str:
    level = f"{100 * confidence:g} %"
    text = (
        f"Real people who are in neither set show an excess of {100 * probes.rate:.3g} % ({level} interval "
        f"{100 * probes.interval.low:.3g} to {100 * probes.interval.high:.3g} %); beyond it the synthetic set has "
        f"{100 * rate:.3g} % ({100 * interval.low:.3g} to {100 * interval.high:.3g} %)."
    )
    if interval.low > 0:
        return text + " The excess is not explained by a matcher that knows the training set better."
    return text + " This does not show that the synthetic set exceeds what the matcher does with anybody."


def did_entry(found: DifferenceInDifferences | None) -> dict[str, Any]:
    """Return the difference in differences as plain JSON values; None where there is no probe set."""
    if found is None:
        return {"rate": None, "sentence": NO_PROBES}
    return {
        "rate": found.rate,
        **interval_entry(found.interval),
        "excess_synthetic": _excess(found.synthetic),
        "excess_probes": _excess(found.probes),
        "sentence": found.sentence,
    }


def _excess(excess: Excess) -> dict[str, Any]:
    return {
        "rate": excess.rate,
        **interval_entry(excess.interval),
        "permutation_p": excess.p_value,
        "leak_rate_training": excess.training.rate,
        "leak_rate_holdout": excess.holdout.rate,
        "clusters": excess.clusters,
        "persons": excess.persons,
        "draws": excess.draws,
    }
