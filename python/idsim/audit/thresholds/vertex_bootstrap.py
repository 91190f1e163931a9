"""The false match rate with its persons resampled: bootstrap over the vertices of the graph of comparisons.

``FMR* = sum w_i w_j e_ij / sum w_i w_j n_i n_j`` over pairs of persons, with e_ij false matches among n_i n_j
comparisons. Weights: multinomial (persons drawn with replacement; Snijders and Borgatti 1999, "Non-parametric
standard errors and tests for network statistics") or 0 and 2 with equal chances ("double or nothing"; Owen and
Eckles 2012, "Bootstrapping data arrays of arbitrary order"). A replicate costs the pairs that err, and not the pairs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from idsim.audit.rates.dependence import false_match_interval, false_match_variance, pairs_of
from idsim.audit.rates.intervals import Interval
from idsim.audit.rates.resampling import SLICE_ELEMENTS
from idsim.audit.thresholds.calibration import FEW_ERRORS, LEAST_ERRORS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["Scheme", "VertexBootstrap", "VertexWeights", "bootstrap_entry", "bootstrap_false_match_rate"]

Scheme = Literal["double-or-nothing", "multinomial"]

# With fewer persons a replicate is likely to hold hardly any of them.
FEWEST_PERSONS = 10


class VertexWeights:
    """Bootstrap weights of persons; drawn singly for those that matter, as sums for all others.

    Parameters
    ----------
    images : ndarray
        int64 ``[k]``: images of every person.
    touched : ndarray
        int64 ``[t]``: persons whose weights are needed, ascending.
    scheme : {"double-or-nothing", "multinomial"}
        How weights are drawn; their mean is 1.

    Raises
    ------
    ValueError
        An unknown scheme.
    """

    def __init__(self, images: NDArray[np.int64], touched: NDArray[np.int64], scheme: Scheme) -> None:
        if scheme not in get_args(Scheme):
            raise ValueError(f"scheme must be one of {', '.join(get_args(Scheme))}, not {scheme!r}")
        self.scheme, self.persons = scheme, len(images)
        self.own = images[touched].astype(np.float64)
        others = np.bincount(images) - np.bincount(images[touched], minlength=int(images.max()) + 1)
        self._sizes = np.flatnonzero(others)
        self._many = others[self._sizes]

    def slices(
        self, replicates: int, elements: int, rng: np.random.Generator
    ) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Yield weights float64 ``[r, t]`` and weighted comparisons float64 ``[r]`` of all replicates.

        `elements` is the size of what the caller makes of one replicate; slices stay near 32 MiB of it.
        """
        step = max(1, SLICE_ELEMENTS // max(1, elements, len(self.own)))
        for start in range(0, replicates, step):
            yield self._draw(min(step, replicates - start), rng)

    def _draw(self, count: int, rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if self.scheme == "double-or-nothing":
            weights = 2.0 * rng.integers(0, 2, (count, len(self.own)))
            taken = 2.0 * rng.binomial(self._many, 0.5, (count, len(self._many)))
            squares = 2.0 * taken
        else:
            shares = np.concatenate([np.ones(len(self.own)), self._many]) / self.persons
            drawn = rng.multinomial(self.persons, shares / shares.sum(), count).astype(np.float64)
            weights, taken = drawn[:, : len(self.own)], drawn[:, len(self.own) :]
            # The sum of squares of m persons drawn T times in all, by its mean: off by sqrt(N) of N^2 pairs.
            squares = taken + taken * (taken - 1) / self._many
        total = weights @ self.own + taken @ self._sizes
        alone = weights**2 @ self.own**2 + squares @ self._sizes.astype(np.float64) ** 2
        return np.asarray(weights, np.float64), (total**2 - alone) / 2


@dataclass(frozen=True)
class VertexBootstrap:
    """A false match rate with its bootstrap interval, beside the one in closed form.

    Attributes
    ----------
    rate : float
        Errors / trials.
    errors, trials, units, persons : int
        False matches, comparisons, pairs of persons that falsely match, persons.
    interval : Interval or None
        Percentiles of the replicates; None where it is refused.
    scaled : Interval or None
        Percentiles of deviations that are scaled to the variance of the U-statistic.
    standard_error : float
        Of the replicates; NaN where they are refused.
    closed_form : Interval
        By the variance of the U-statistic.
    scheme : str
        Of the weights.
    replicates : int
        That the percentiles rest on.
    refusal : str
        Why there is no interval; empty where there is one.
    """

    rate: float
    errors: int
    trials: int
    units: int
    persons: int
    interval: Interval | None
    scaled: Interval | None
    standard_error: float
    closed_form: Interval
    scheme: str
    replicates: int
    refusal: str

    @property
    def flags(self) -> list[str]:
        """Warnings about the number of errors."""
        return ["fewer than 30 errors"] if self.units < FEW_ERRORS else []


def bootstrap_false_match_rate(
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    images: NDArray[np.int64],
    rng: np.random.Generator,
    confidence: float = 0.95,
    replicates: int = 2000,
    scheme: Scheme = "double-or-nothing",
) -> VertexBootstrap:
    """Return the bootstrap interval of a false match rate, persons being drawn.

    Where false matches are rare, a pair that errs is counted up to three times in the variance of the replicates, since
    ``E[(w_i w_j)^2] - 1 = 3``: the interval is up to 1.7 times as wide as it need be, and never too narrow for that
    reason. `VertexBootstrap.scaled` keeps its skew and takes the variance of the U-statistic. Where few persons make
    most errors, all intervals agree.

    Parameters
    ----------
    first, second : ndarray
        int64 ``[e]``: the persons of every pair of images that falsely matches, codes 0 .. k-1.
    images : ndarray
        int64 ``[k]``: images of every person.
    rng : numpy.random.Generator
        Source of the weights.
    confidence : float
        Of the two-sided interval.
    replicates : int
        How many.
    scheme : {"double-or-nothing", "multinomial"}
        How weights are drawn.
    """
    persons, trials = len(images), pairs_of(images)
    keys = np.minimum(first, second) * max(1, persons) + np.maximum(first, second)
    cells, hits = np.unique(keys, return_counts=True)
    closed = false_match_interval(first, second, images, confidence)
    rate = len(first) / trials if trials else 0.0
    facts = (rate, len(first), trials, len(cells), persons)
    if persons < FEWEST_PERSONS or len(cells) < LEAST_ERRORS:
        refusal = (
            f"{len(cells)} pairs of persons that falsely match, among {persons}, are too few to be resampled"
        )
        return VertexBootstrap(*facts, None, None, float("nan"), closed, scheme, 0, refusal)
    one, other = cells // persons, cells % persons
    touched = np.unique(np.concatenate([one, other]))
    weights = VertexWeights(images, touched, scheme)
    left, right = np.searchsorted(touched, one), np.searchsorted(touched, other)
    parts = []
    for drawn, compared in weights.slices(replicates, len(cells), rng):
        errors = (drawn[:, left] * drawn[:, right]) @ hits.astype(np.float64)
        parts.append(errors[compared > 0] / compared[compared > 0])
    rates = np.concatenate(parts)
    low, high = np.quantile(rates, [(1 - confidence) / 2, (1 + confidence) / 2])
    method = f"percentiles of the vertex bootstrap ({scheme})"
    error = float(rates.std(ddof=1))
    factor = math.sqrt(false_match_variance(first, second, images)) / error if error > 0 else 1.0
    least, most = (max(0.0, rate + (float(end) - rate) * factor) for end in (low, high))
    return VertexBootstrap(
        *facts,
        Interval(float(low), float(high), method),
        Interval(least, most, f"{method}, scaled to the U-statistic variance"),
        error,
        closed,
        scheme,
        len(rates),
        "",
    )


def bootstrap_entry(result: VertexBootstrap) -> dict[str, Any]:
    """Return plain JSON values of a bootstrap."""
    entry: dict[str, Any] = {
        "rate": result.rate,
        "errors": result.errors,
        "trials": result.trials,
        "pairs_of_persons": result.units,
        "persons": result.persons,
        "scheme": result.scheme,
        "refused": result.refusal or None,
        "closed_form": result.closed_form._asdict(),
        "flags": result.flags,
    }
    if result.interval is None:
        return entry | {"low": None, "high": None, "scaled": None, "replicates": 0}
    return entry | {
        **result.interval._asdict(),
        "scaled": None if result.scaled is None else result.scaled._asdict(),
        "standard_error": result.standard_error,
        "replicates": result.replicates,
    }
