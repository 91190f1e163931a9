"""False match rates inside strata: comparisons of persons of one cell, who resemble each other more than others do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from idsim.audit.rates.dependence import false_match_interval, false_match_variance, pairs_of
from idsim.audit.rates.intervals import Interval, wilson, zero_errors_upper
from idsim.audit.thresholds.calibration import ErrorRate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["CellImpostors", "same_cell_rate"]


@dataclass(frozen=True)
class CellImpostors:
    """The comparisons of different persons of one cell.

    Attributes
    ----------
    first, second : ndarray
        int64 ``[e]``: the persons of every pair of images that falsely matches, codes 0 .. k-1 inside the cell.
    images : ndarray
        int64 ``[k]``: images of every person.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    images: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        first: NDArray[np.int64],
        second: NDArray[np.int64],
        images: NDArray[np.int64],
        inside: NDArray[np.bool_],
    ) -> CellImpostors:
        """Return the comparisons inside a cell.

        Parameters
        ----------
        first, second : ndarray
            int64 ``[e]``: the persons of every pair of images that falsely matches, of all cells.
        images : ndarray
            int64 ``[k]``: images of every person.
        inside : ndarray
            bool ``[k]``: which persons are of the cell.
        """
        number = np.cumsum(inside) - 1
        both = inside[first] & inside[second]
        return cls(number[first[both]], number[second[both]], images[inside])

    @property
    def comparisons(self) -> int:
        """Pairs of images of different persons."""
        return pairs_of(self.images)

    def rate(self, confidence: float) -> ErrorRate | None:
        """Return the false match rate; None where nothing is compared."""
        if not self.comparisons:
            return None
        interval = false_match_interval(self.first, self.second, self.images, confidence)
        errors, units = len(self.first), self._person_pairs()
        return ErrorRate(errors / self.comparisons, errors, self.comparisons, units, interval)

    def variance(self) -> float:
        """Return the variance of the rate, persons being the independent units; infinite for fewer than five."""
        return false_match_variance(self.first, self.second, self.images)

    def _person_pairs(self) -> int:
        low, high = np.minimum(self.first, self.second), np.maximum(self.first, self.second)
        return len(np.unique(low * len(self.images) + high))


def same_cell_rate(cells: Sequence[CellImpostors], confidence: float) -> ErrorRate | None:
    """Return the false match rate of comparisons inside any cell: the demographic-matched one.

    Cells share no person, so their rates are independent: the variance is ``sum_c (n_c / n)^2 Var_c`` over the n_c
    comparisons of each, and enters Wilson's interval as an effective number of comparisons.

    Parameters
    ----------
    cells : sequence of CellImpostors
        At least two persons in each; None is returned where there is no cell.
    confidence : float
        Of the two-sided interval.
    """
    found = [(cell, cell.rate(confidence)) for cell in cells]
    rates = [(cell, rate) for cell, rate in found if rate is not None]
    if not rates:
        return None
    trials = sum(rate.trials for _, rate in rates)
    errors, units = sum(rate.errors for _, rate in rates), sum(rate.units for _, rate in rates)
    value = errors / trials
    if not errors:
        upper = zero_errors_upper(sum(len(cell.images) // 2 for cell, _ in rates), confidence)
        interval = Interval(0.0, upper, "no errors: exact one-sided bound over disjoint pairs of persons")
        return ErrorRate(0.0, 0, trials, 0, interval)
    variance = sum((rate.trials / trials) ** 2 * cell.variance() for cell, rate in rates)
    independent = value * (1 - value) / trials
    effective = value * (1 - value) / max(variance, independent) if value < 1 else float(len(rates))
    low, high = wilson(value, effective, confidence)
    interval = Interval(low, high, "Wilson with effective n from the U-statistic variances of the cells")
    return ErrorRate(value, errors, trials, units, interval)
