"""How many different people a generator draws, from the pairs of its own faces that reach a threshold."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from idsim.audit.plain_values import NOT_LISTED
from idsim.audit.rates.dependence import false_match_interval, pairs_of
from idsim.audit.rates.edges import connected_components
from idsim.audit.rates.grouped import Estimate
from idsim.audit.rates.intervals import Interval, quantile

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Duplication", "Richness", "chao1", "duplication"]

FEWEST_DRAWS = 10


@dataclass(frozen=True)
class Richness:
    """How many kinds there are, from how often each was drawn.

    Attributes
    ----------
    observed, singletons, doubletons : int
        Kinds seen at all, once, and twice.
    total : Estimate
        Chao's estimate, a lower bound of the number of kinds.
    """

    observed: int
    singletons: int
    doubletons: int
    total: Estimate


@dataclass(frozen=True)
class Duplication:
    """Repeated identities inside a synthetic set, at one threshold.

    Attributes
    ----------
    draws, images : int
        Clusters of the synthetic set (one each where nothing else is known), and their faces.
    pairs, compared : int
        Pairs of faces of different draws that reach the threshold, and all of them.
    match_rate : Estimate
        Their share.
    expected_by_chance : Estimate
        Pairs that would reach the threshold if every draw were another person: FMR times `compared`.
    effective_identities : Estimate
        How many equally likely identities would repeat as often: ``(1 - FNMR - FMR) / (match rate - FMR)``, the
        inverse of Simpson's index and, in the birthday problem, the number of days.
    at_least : float
        Lower limit of that number; also where there is no estimate.
    components : int
        Groups of draws that chains of matching pairs hold together: identities if no chain is wrong.
    largest : int
        Draws in the largest of them.
    effective_components : float or None
        Inverse Simpson number of the components, ``n (n - 1) / sum s (s - 1)``; None where nothing repeats.
    linked : float or None
        Share of the pairs of draws inside components that reach the threshold themselves. Well below 1, chains
        have joined different people, and the numbers of components are too low.
    sizes : dict of int to int
        How many components there are of every size.
    richness : Richness
        Components as kinds: how many identities there are, those never drawn included.
    component_of : ndarray
        int64 ``[draws]``: the smallest draw of the component of every draw.
    """

    draws: int
    images: int
    pairs: int
    compared: int
    match_rate: Estimate
    expected_by_chance: Estimate
    effective_identities: Estimate
    at_least: float
    components: int
    largest: int
    effective_components: float | None
    linked: float | None
    sizes: dict[int, int]
    richness: Richness
    component_of: NDArray[np.int64] = field(metadata=NOT_LISTED)


def chao1(sizes: NDArray[np.int64], confidence: float = 0.95) -> Richness:
    """Return the bias-corrected estimate of Chao with her log-normal interval.

    ``S + (n-1)/n f1 (f1 - 1) / (2 (f2 + 1))`` with f1 kinds drawn once and f2 drawn twice (Chao 1984 and 1987;
    variance as in Chao and others 2014, appendix). It bounds the number of kinds from below, whatever their
    frequencies. Refused where nothing was drawn twice: the draws then bound nothing from above.

    Parameters
    ----------
    sizes : ndarray
        int64 ``[kinds]``: how often each kind was drawn, 1 or more.
    confidence : float
        Of the interval.
    """
    counts = np.asarray(sizes, dtype=np.int64)
    if (counts < 1).any():
        raise ValueError("sizes must be 1 or more")
    n, seen = int(counts.sum()), len(counts)
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    if not twice:
        reason = "no identity was drawn exactly twice" if seen else "there are no draws"
        return Richness(seen, once, twice, Estimate(None, None, n, seen, reason))
    share = (n - 1) / n
    unseen = share * once * (once - 1) / (2 * (twice + 1))
    variance = (
        unseen
        + share**2 * once * (2 * once - 1) ** 2 / (4 * (twice + 1) ** 2)
        + share**2 * once**2 * twice * (once - 1) ** 2 / (4 * (twice + 1) ** 4)
    )
    if unseen <= 0:
        interval = Interval(float(seen), float(seen), "no identity was drawn once")
    else:
        factor = math.exp(quantile(confidence) * math.sqrt(math.log1p(variance / unseen**2)))
        interval = Interval(seen + unseen / factor, seen + unseen * factor, "log-normal (Chao 1987)")
    return Richness(seen, once, twice, Estimate(seen + unseen, interval, n, seen))


def duplication(
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    images: NDArray[np.int64],
    *,
    fmr: float = 0.0,
    fmr_interval: tuple[float, float] | None = None,
    fnmr: float = 0.0,
    confidence: float = 0.95,
) -> Duplication:
    """Return how often a synthetic set repeats an identity.

    Parameters
    ----------
    first, second : ndarray
        int64 ``[p]``: the draws of every pair of faces that reaches the threshold, each unordered pair of faces
        once, none of one draw: clusters of rows and columns of the tail of S x S.
    images : ndarray
        int64 ``[draws]``: faces of every draw.
    fmr, fmr_interval : float and (float, float), optional
        False match rate of the threshold on real faces and its limits. Synthetic faces may resemble each other
        more than real ones do: that, too, counts as repetition here.
    fnmr : float, optional
        False non-match rate there; left at 0, the number of identities comes out too high.
    confidence : float
        Of the intervals.

    Raises
    ------
    ValueError
        Draws, rates or counts out of range.
    """
    left, right = np.asarray(first, dtype=np.int64), np.asarray(second, dtype=np.int64)
    faces = np.asarray(images, dtype=np.int64)
    if (faces < 1).any():
        raise ValueError("every draw must have at least one face")
    if not (0 <= fmr <= 1 and 0 <= fnmr < 1):
        raise ValueError(f"fmr and fnmr must be rates, not {fmr:g} and {fnmr:g}")
    if (left == right).any():
        raise ValueError("a pair of faces of one draw is no repetition")
    low, high = fmr_interval or (fmr, fmr)
    component = connected_components(left, right, len(faces))
    sizes = np.bincount(component, minlength=len(faces))
    sizes = sizes[sizes > 0]
    compared = pairs_of(faces)
    rate, chance = _rates(left, right, faces, compared, (fmr, low, high), confidence)
    effective, at_least = _effective(rate, (fmr, low, high), 1.0 - fnmr)
    richness = chao1(sizes, confidence)
    if rate.interval is not None and richness.total.value is not None and rate.interval.low <= high:
        reason = f"{len(left)} matching pairs are no more than false matches explain"
        richness = Richness(
            richness.observed,
            richness.singletons,
            richness.doubletons,
            Estimate(None, None, len(faces), len(sizes), reason),
        )
    inside = float((sizes.astype(np.float64) * (sizes - 1)).sum())
    joined = len(np.unique(np.minimum(left, right) * len(faces) + np.maximum(left, right)))
    found, counts = np.unique(sizes, return_counts=True)
    return Duplication(
        draws=len(faces),
        images=int(faces.sum()),
        pairs=len(left),
        compared=compared,
        match_rate=rate,
        expected_by_chance=chance,
        effective_identities=effective,
        at_least=at_least,
        components=len(sizes),
        largest=int(sizes.max()) if len(sizes) else 0,
        effective_components=len(faces) * (len(faces) - 1) / inside if inside else None,
        linked=2 * joined / inside if inside else None,
        sizes=dict(zip(found.tolist(), counts.tolist(), strict=True)),
        richness=richness,
        component_of=component,
    )


def _rates(
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    faces: NDArray[np.int64],
    compared: int,
    fmr: tuple[float, float, float],
    confidence: float,
) -> tuple[Estimate, Estimate]:
    """Return the share of pairs that match, and how many pairs would by chance."""
    if len(faces) < FEWEST_DRAWS:
        refused = Estimate(
            None, None, int(faces.sum()), len(faces), f"fewer than {FEWEST_DRAWS} draws: {len(faces)}"
        )
        return refused, refused
    interval = false_match_interval(left, right, faces, confidence)
    rate = Estimate(len(left) / compared, interval, compared, len(faces))
    value, low, high = (limit * compared for limit in fmr)
    chance = Estimate(value, Interval(low, high, "interval of the false match rate"), compared, len(faces))
    return rate, chance


def _effective(rate: Estimate, fmr: tuple[float, float, float], match: float) -> tuple[Estimate, float]:
    """Return the effective number of identities, and its lower limit."""
    if rate.value is None or rate.interval is None:
        return Estimate(None, None, rate.n, rate.groups, rate.refusal), 1.0
    value, low, high = fmr
    least = max(1.0, (match - low) / max(rate.interval.high - low, 1e-300))
    if rate.value <= value or match <= value:
        reason = "faces match each other no more often than different people do"
        return Estimate(None, None, rate.n, rate.groups, reason), least
    lowest = rate.interval.low - high
    most = (match - high) / lowest if lowest > 0 and match > high else math.inf
    interval = Interval(least, most, "limits of match rate and false match rate together")
    return Estimate((match - value) / (rate.value - value), interval, rate.n, rate.groups), least
