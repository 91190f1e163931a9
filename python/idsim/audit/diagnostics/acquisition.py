"""Failures to acquire: images in which no face was found, per set, and how the sets differ.

ISO/IEC 19795-1 wants exclusions recorded. An image without a face cannot match anybody: a matcher that fails to find
faces lowers every leak rate, and one that fails in one set more than in another shifts the comparison.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from idsim.audit.diagnostics.findings import Finding
from idsim.audit.rates.intervals import Interval, newcombe, wilson

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from idsim.audit.diagnostics.findings import Severity

__all__ = [
    "Acquisition",
    "AcquisitionDifference",
    "acquisition",
    "acquisition_findings",
    "compare_acquisition",
]

# Failures that are worth a warning, and those that spoil a comparison.
WARN_RATE = 0.05
ERROR_RATE = 0.20
# A difference is worth a warning from 2 points on, where chance is no explanation.
WARN_DIFFERENCE = 0.02
UNLIKELY = 0.01


@dataclass(frozen=True)
class Acquisition:
    """Failures to acquire of one set.

    Attributes
    ----------
    items, failures, units : int
        Images, those without a face, and clusters or persons.
    rate : float
        Failures / items.
    interval : Interval
        Two-sided, of `rate`; units are independent.
    weighted_rate : float
        With every unit weighted as one: the share of a leak rate's denominator that cannot match.
    effective_items : float
        Independent images that carry as much information.
    """

    items: int
    failures: int
    units: int
    rate: float
    interval: Interval
    weighted_rate: float
    effective_items: float

    def entry(self) -> dict[str, object]:
        """Return plain JSON values."""
        values = asdict(self)
        values.pop("interval")
        low, high, method = self.interval
        return values | {"low": low, "high": high, "method": method}


@dataclass(frozen=True)
class AcquisitionDifference:
    """Difference of two rates of failure.

    Attributes
    ----------
    difference : float
        First less second.
    interval : Interval
        Newcombe's, over effective images.
    p_value : float
        Two-sided, of the pooled two-proportion z test over effective images; 1 where neither set has a failure.
    """

    difference: float
    interval: Interval
    p_value: float


def acquisition(failed: NDArray[np.bool_], units: NDArray[np.int64], confidence: float = 0.95) -> Acquisition:
    """Return the failures to acquire of one set.

    Images of one cluster or person fail together; the variance is taken over units (linearised, with the usual
    factor units / (units - 1)), and enters Wilson's interval as an effective number of images.

    Parameters
    ----------
    failed : ndarray
        bool ``[n]``: whether no face was found, for every item.
    units : ndarray
        int64 ``[n]``: code of its cluster or person, 0 .. k-1, each present.
    confidence : float
        Of the interval.

    Raises
    ------
    ValueError
        The set is empty, or the arrays differ in length.
    """
    n = len(failed)
    if not n or len(units) != n:
        raise ValueError(f"a set needs items with one unit each, not {n} items and {len(units)} units")
    sizes = np.bincount(units)
    k = len(sizes)
    rate = float(failed.mean())
    residual = np.bincount(units, weights=failed - rate)
    plain = rate * (1 - rate) / (n - 1) if n > 1 else 0.0
    if plain > 0 and k > 1:
        variance = float((residual**2).sum()) / n**2 * k / (k - 1)
        effective = min(float(n), n * plain / variance) if variance > 0 else float(n)
    else:
        effective = float(k)  # nothing is known of the dependence: as if a unit failed as a whole
    low, high = wilson(rate, effective, confidence)
    return Acquisition(
        items=n,
        failures=int(failed.sum()),
        units=k,
        rate=rate,
        interval=Interval(low, high, "Wilson with effective n over clusters or persons"),
        weighted_rate=float((np.bincount(units, weights=failed) / sizes).mean()),
        effective_items=effective,
    )


def compare_acquisition(
    first: Acquisition, second: Acquisition, confidence: float = 0.95
) -> AcquisitionDifference:
    """Return by how much the first set fails more often than the second."""
    n, m = first.effective_items, second.effective_items
    limits = newcombe(first.rate, n, second.rate, m, confidence)
    pooled = (first.rate * n + second.rate * m) / (n + m)
    spread = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    difference = first.rate - second.rate
    p_value = math.erfc(abs(difference) / spread / math.sqrt(2)) if spread > 0 else 1.0
    return AcquisitionDifference(difference, Interval(*limits, "Newcombe over effective images"), p_value)


def acquisition_findings(
    sets: Mapping[str, Acquisition],
    warn_rate: float = WARN_RATE,
    error_rate: float = ERROR_RATE,
    confidence: float = 0.95,
) -> list[Finding]:
    """Return a finding per set, and one per pair of sets that differ.

    Parameters
    ----------
    sets : mapping
        By name, as the sentences call them.
    warn_rate, error_rate : float
        Shares of failures from which on a set gets a warning or an error.
    confidence : float
        Of the intervals.
    """
    found = []
    for name, one in sets.items():
        severity: Severity = (
            "error" if one.rate >= error_rate else "warning" if one.rate >= warn_rate else "info"
        )
        counts = f"{one.failures} of {one.items} images of the {name} set ({100 * one.rate:.3g} %)"
        sentence = f"No face was found in {counts}"
        if severity != "info":
            sentence += (
                ": they count as images that match nobody, so leak rates come out too low"
                if name == "synthetic"
                else ": its people are partly missing from the comparison"
            )
        found.append(Finding("failure to acquire", severity, sentence + ".", {"set": name, **one.entry()}))
    names = list(sets)
    for place, left in enumerate(names):
        for right in names[place + 1 :]:
            found += _difference(left, right, sets, confidence)
    return found


def _difference(left: str, right: str, sets: Mapping[str, Acquisition], confidence: float) -> list[Finding]:
    compared = compare_acquisition(sets[left], sets[right], confidence)
    if abs(compared.difference) < WARN_DIFFERENCE or compared.p_value > UNLIKELY:
        return []
    more, less = (left, right) if compared.difference > 0 else (right, left)
    sentence = (
        f"The {more} set has no face in {100 * sets[more].rate:.3g} % of its images, the {less} set in "
        f"{100 * sets[less].rate:.3g} %: the sets are not pictured or processed alike, and their rates are not "
        "fully comparable."
    )
    numbers = {
        "sets": [left, right],
        "difference": compared.difference,
        "low": compared.interval.low,
        "high": compared.interval.high,
        "method": compared.interval.method,
        "p_value": compared.p_value,
    }
    return [Finding("failure to acquire differs", "warning", sentence, numbers)]
