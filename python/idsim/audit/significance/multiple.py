"""Many tests at once: p-values corrected for their number, in the order in which they were given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "METHODS",
    "Corrected",
    "benjamini_hochberg",
    "benjamini_yekutieli",
    "bonferroni",
    "correct",
    "corrected_entry",
    "harmonic",
    "holm",
]


def bonferroni(values: ArrayLike) -> NDArray[np.float64]:
    """Return p-values times their number, at most 1.

    Parameters
    ----------
    values : array_like
        float ``[m]``: p-values in [0, 1]; NaN where nothing was tested, which stays NaN and does not count.

    Raises
    ------
    ValueError
        A value is no p-value.
    """
    return _adjusted(values, lambda ascending: np.minimum(1.0, len(ascending) * ascending))


def holm(values: ArrayLike) -> NDArray[np.float64]:
    """Return p-values after Holm's correction (Holm 1979): for the chance of any false rejection.

    The k-th smallest is multiplied by ``m - k + 1``, and none is smaller than the one before it. Holds under any
    dependence. Parameters and errors as in `bonferroni`.
    """

    def step_down(ascending: NDArray[np.float64]) -> NDArray[np.float64]:
        left = len(ascending) - np.arange(len(ascending))
        return np.minimum(1.0, np.maximum.accumulate(left * ascending))

    return _adjusted(values, step_down)


def benjamini_hochberg(values: ArrayLike) -> NDArray[np.float64]:
    """Return q-values of Benjamini and Hochberg (1995): for the share of false ones among the rejections.

    The k-th smallest is multiplied by ``m / k``, and none is larger than the one after it. Holds for independent
    p-values and for positively dependent ones (PRDS). Parameters and errors as in `bonferroni`.
    """
    return _adjusted(values, _step_up)


def benjamini_yekutieli(values: ArrayLike) -> NDArray[np.float64]:
    """Return q-values of Benjamini and Yekutieli (2001): as Benjamini-Hochberg, under any dependence.

    They are larger by ``1 + 1/2 + ... + 1/m``. Parameters and errors as in `bonferroni`.
    """
    return _adjusted(values, lambda p: np.minimum(1.0, harmonic(len(p)) * _step_up(p, clip=False)))


METHODS: dict[str, Callable[[ArrayLike], NDArray[np.float64]]] = {
    "bonferroni": bonferroni,
    "holm": holm,
    "benjamini-hochberg": benjamini_hochberg,
    "benjamini-yekutieli": benjamini_yekutieli,
}


@dataclass(frozen=True)
class Corrected:
    """P-values after a correction, and which null hypotheses fall.

    Attributes
    ----------
    method : str
        A key of `METHODS`.
    level : float
        Of the error that the method controls.
    adjusted : ndarray
        float64 ``[m]``: corrected p-values or q-values in the order given; NaN where nothing was tested.
    rejected : ndarray
        bool ``[m]``: ``adjusted <= level``.
    tests : int
        How many were tested.
    """

    method: str
    level: float
    adjusted: NDArray[np.float64]
    rejected: NDArray[np.bool_]
    tests: int

    @property
    def rejections(self) -> int:
        """How many null hypotheses fall."""
        return int(self.rejected.sum())


def correct(values: ArrayLike, method: str = "benjamini-hochberg", level: float = 0.05) -> Corrected:
    """Return p-values corrected by a method of `METHODS`, and what is rejected at a level.

    Raises
    ------
    ValueError
        The method is unknown, the level is not between 0 and 1, or a value is no p-value.
    """
    if method not in METHODS:
        raise ValueError(f"method is one of {', '.join(METHODS)}, not {method!r}")
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, not {level:g}")
    adjusted = METHODS[method](values)
    tested = ~np.isnan(adjusted)
    # A product such as 3 * (0.05 / 3) may exceed the level by its last bit.
    rejected = tested & (np.where(tested, adjusted, 1.0) <= level * (1 + 1e-12))
    return Corrected(method, level, adjusted, rejected, int(tested.sum()))


def corrected_entry(corrected: Corrected) -> dict[str, Any]:
    """Return the numbers of a correction as plain JSON values, without those of each test."""
    least = float(np.nanmin(corrected.adjusted)) if corrected.tests else None
    return {
        "method": corrected.method,
        "level": corrected.level,
        "tests": corrected.tests,
        "rejections": corrected.rejections,
        "least_adjusted": least,
    }


def harmonic(count: int) -> float:
    """Return ``1 + 1/2 + ... + 1/count``: what Benjamini-Yekutieli costs."""
    return float((1.0 / np.arange(1, count + 1)).sum())


def _step_up(ascending: NDArray[np.float64], clip: bool = True) -> NDArray[np.float64]:
    scaled = ascending * (len(ascending) / np.arange(1, len(ascending) + 1))
    least = np.minimum.accumulate(scaled[::-1])[::-1]
    return np.minimum(1.0, least) if clip else least


def _adjusted(
    values: ArrayLike, correction: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Apply a correction of ascending p-values to those that are not NaN."""
    given = np.asarray(values, dtype=np.float64)
    if given.ndim != 1:
        raise ValueError(f"p-values must have one dimension, not {given.ndim}")
    result = np.full(len(given), np.nan)
    tested = np.flatnonzero(~np.isnan(given))
    wrong = tested[(given[tested] < 0) | (given[tested] > 1)]
    if len(wrong):
        raise ValueError(f"p-values must be from 0 to 1, and number {wrong[0]} is {given[wrong[0]]:g}")
    order = tested[np.argsort(given[tested], kind="stable")]
    if len(order):
        result[order] = correction(given[order])
    return result
