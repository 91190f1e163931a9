"""How far two matchers agree on which synthetic image shows which person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.audit.rates.edges import distinct
from idsim.audit.rates.intervals import Interval, wilson
from idsim.audit.significance.percentiles import interval_entry

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from idsim.audit.rates.resampling import Hits

__all__ = ["Agreement", "agreement_entry", "agreement_of"]

# With fewer clusters that either matcher flags, percentiles of a bootstrap rest on too few events.
FEWEST_CLUSTERS = 10


@dataclass(frozen=True)
class Agreement:
    """The hits of two matchers in one gallery.

    Attributes
    ----------
    matchers : tuple of str
        Their names.
    hits : tuple of int
        (synthetic image, person) pairs that each flags.
    both, either : int
        Pairs that both flag, and that at least one does.
    jaccard : float or None
        ``both / either``; None where nothing is flagged.
    interval : Interval or None
        Two-sided, of the former, by synthetic clusters.
    kappa : float or None
        Cohen's kappa over all pairs of a synthetic image and a person. Almost none of them is flagged, so it is
        near ``2 both / (hits[0] + hits[1])``; None where nothing, or everything, is flagged.
    by_chance : float
        Pairs that both would flag if they were independent of each other.
    clusters : int
        Synthetic clusters with a pair that either flags.
    """

    matchers: tuple[str, str]
    hits: tuple[int, int]
    both: int
    either: int
    jaccard: float | None
    interval: Interval | None
    kappa: float | None
    by_chance: float
    clusters: int


def agreement_of(
    names: tuple[str, str],
    hits: tuple[Hits, Hits],
    clusters: NDArray[np.int64],
    persons: int,
    confidence: float,
    replicates: int,
    rng: np.random.Generator,
) -> Agreement:
    """Return how far two matchers agree.

    Parameters
    ----------
    names : tuple of str
        Of the matchers.
    hits : tuple of Hits
        Of each, in the same gallery.
    clusters : ndarray
        int64 ``[n]``: cluster of every synthetic item.
    persons : int
        In the gallery.
    confidence : float
        Of the two-sided interval.
    replicates : int
        Of the bootstrap.
    rng : numpy.random.Generator
        Source of the replicates.
    """
    first, second = (found.images * persons + found.persons for found in hits)
    shared = np.intersect1d(first, second, assume_unique=True)
    union = distinct(np.concatenate([first, second]))
    sizes, both, total = (len(first), len(second)), len(shared), len(clusters) * persons
    touched, place = np.unique(clusters[union // persons], return_inverse=True)
    per_cluster = np.bincount(place.reshape(-1), minlength=len(touched))
    agreed = np.bincount(np.searchsorted(touched, clusters[shared // persons]), minlength=len(touched))
    by_chance = sizes[0] * sizes[1] / total
    most = (sizes[0] + sizes[1]) / 2  # kappa = (both - chance) / (mean number of hits - chance)
    return Agreement(
        matchers=names,
        hits=sizes,
        both=both,
        either=len(union),
        jaccard=both / len(union) if len(union) else None,
        interval=_interval(agreed, per_cluster, confidence, replicates, rng) if len(union) else None,
        kappa=(both - by_chance) / (most - by_chance) if most > by_chance else None,
        by_chance=by_chance,
        clusters=len(touched),
    )


def _interval(
    agreed: NDArray[np.int64],
    flagged: NDArray[np.int64],
    confidence: float,
    replicates: int,
    rng: np.random.Generator,
) -> Interval:
    """Return the interval of a ratio of sums over clusters."""
    count = len(flagged)
    if count < FEWEST_CLUSTERS:
        limits = wilson(float(agreed.sum() / flagged.sum()), count, confidence)
        return Interval(*limits, "Wilson over clusters: few")
    ratios = np.empty(replicates)
    for replicate in range(replicates):
        drawn = rng.integers(0, count, count)
        ratios[replicate] = agreed[drawn].sum() / flagged[drawn].sum()
    tail = (1 - confidence) / 2
    low, high = np.quantile(ratios, [tail, 1 - tail])
    return Interval(float(low), float(high), "percentiles of the bootstrap over clusters")


def agreement_entry(agreement: Agreement) -> dict[str, Any]:
    """Return the agreement of two matchers as plain JSON values."""
    return {
        "matchers": list(agreement.matchers),
        "hits": list(agreement.hits),
        "both": agreement.both,
        "either": agreement.either,
        "jaccard": agreement.jaccard,
        "interval": None if agreement.interval is None else interval_entry(agreement.interval),
        "kappa": agreement.kappa,
        "both_by_chance": agreement.by_chance,
        "clusters": agreement.clusters,
    }
