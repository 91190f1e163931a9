"""How the best match of a non-mated search grows with the gallery: a Gumbel distribution of row maxima.

The maximum over N impostor scores with an exponential tail follows a Gumbel distribution of scale beta, whose
location rises by ``beta ln 2`` with every doubling of N. This describes galleries of other sizes; it is no standard
method: ISO/IEC 5152:2024 leaves identification out. Higher scores are better here; distances change their sign.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.audit.pairs.compared import better_is_higher
from idsim.audit.rates.edges import connected_components
from idsim.audit.rates.intervals import Interval, quantile

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BestMatchGrowth", "fit_gumbel", "growth_entry"]

FEWEST_PERSONS = 30
# Of a standard Gumbel distribution: mean (Euler's constant) and standard deviation.
MEAN = 0.5772156649015329
DEVIATION = math.pi / math.sqrt(6)


@dataclass(frozen=True)
class BestMatchGrowth:
    """A Gumbel distribution of the best matches of non-mated searches.

    Attributes
    ----------
    metric : str
        ``l2``: lower is better.
    location, scale : float
        Location as a score (``l2``: distance); scale in the same unit, positive.
    location_interval, scale_interval : Interval
        Persons being the units.
    searches, persons, groups : int
        Searches, their persons, and groups of persons that are each other's best match.
    gallery_persons : int
        Persons that a search goes through.
    distance : float
        Largest distance between the fitted and the observed distribution (Kolmogorov).
    """

    metric: str
    location: float
    scale: float
    location_interval: Interval
    scale_interval: Interval
    searches: int
    persons: int
    groups: int
    gallery_persons: int
    distance: float

    def growth(self, factor: float) -> tuple[float, Interval]:
        """Return by how much the best match improves when the gallery grows by a factor, and the interval."""
        step = math.log(factor)
        low, high, method = self.scale_interval
        return self.scale * step, Interval(low * step, high * step, method)


def fit_gumbel(
    scores: NDArray[np.float32],
    matches: NDArray[np.int64],
    persons: NDArray[np.int64],
    metric: str,
    confidence: float = 0.95,
) -> BestMatchGrowth | str:
    """Fit the best matches of a set in itself by moments, or say why they cannot be fitted.

    Intervals are normal, from influence functions that are summed over persons; two persons that are each
    other's best match are one unit, since they have one score.

    Parameters
    ----------
    scores, matches : ndarray
        float32 and int64 ``[n]``: best match of every face among other persons, and its number; -1 where none is known.
    persons : ndarray
        int64 ``[n]``: person of every face, codes 0 .. k-1.
    metric : str
        ``l2``: lower is better.
    confidence : float
        Of the intervals.
    """
    count = len(np.unique(persons))
    if not (matches >= 0).all():
        return f"the best match of {int((matches < 0).sum())} faces is not known"
    if count < FEWEST_PERSONS:
        return f"{count} persons are searched for, and a fit wants at least {FEWEST_PERSONS}"
    wide = better_is_higher(scores, metric)
    mean, deviation = float(wide.mean()), float(wide.std())
    if deviation == 0:
        return "the best matches are all equal"
    scale = deviation / DEVIATION
    location = mean - MEAN * scale
    mutual = matches[matches] == np.arange(len(matches))
    groups = connected_components(persons[mutual], persons[matches[mutual]], int(persons.max()) + 1)[persons]
    of_scale = ((wide - mean) ** 2 - deviation**2) / (2 * deviation) / DEVIATION
    of_location = wide - mean - MEAN * of_scale
    ordered = np.sort(wide)
    fitted = np.exp(-np.exp(-(ordered - location) / scale))
    observed = (np.arange(len(ordered)) + 0.5) / len(ordered)
    sign = -1.0 if metric == "l2" else 1.0
    return BestMatchGrowth(
        metric,
        sign * location,
        scale,
        _interval(sign * location, of_location, groups, confidence),
        _interval(scale, of_scale, groups, confidence),
        len(wide),
        count,
        len(np.unique(groups)),
        count - 1,
        float(np.abs(fitted - observed).max()),
    )


def _interval(
    estimate: float, influence: NDArray[np.float64], groups: NDArray[np.int64], confidence: float
) -> Interval:
    sums = np.bincount(groups, influence)
    count = len(np.unique(groups))
    half = (
        quantile(confidence) * math.sqrt(float((sums**2).sum()) * count / max(1, count - 1)) / len(influence)
    )
    return Interval(estimate - half, estimate + half, "normal, influence functions summed over persons")


def growth_entry(fit: BestMatchGrowth | str) -> dict[str, Any]:
    """Return plain JSON values of a fit; of a refusal, the sentence."""
    if isinstance(fit, str):
        return {"refused": fit}
    entry: dict[str, Any] = {
        "refused": None,
        "standard": False,
        "method": "Gumbel distribution of best matches, moments",
        "location": {"value": fit.location, **fit.location_interval._asdict()},
        "scale": {"value": fit.scale, **fit.scale_interval._asdict()},
        "searches": fit.searches,
        "persons": fit.persons,
        "gallery_persons": fit.gallery_persons,
        "largest_distance": fit.distance,
    }
    for name, factor in (("per_doubling", 2.0), ("per_tenfold", 10.0)):
        value, interval = fit.growth(factor)
        entry[name] = {"value": value, **interval._asdict()}
    return entry
