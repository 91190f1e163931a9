"""Thresholds from comparisons of real faces, and what is known of the error rates at a threshold.

The calibration set is the holdout: every pair of its images that shows different persons is an impostor
comparison, every image against all other persons a non-mated search. Nothing is binned: a threshold is the
float32 number next to the first score that it must not accept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from idsim.audit.pairs.tails import UnsupportedError
from idsim.audit.rates.dependence import false_match_interval, pairs_of, search_interval
from idsim.audit.rates.intervals import rule_of_three

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from idsim.audit.pairs.comparing import Impostors
    from idsim.audit.rates.intervals import Interval

__all__ = [
    "Calibrator",
    "ClaimedThresholds",
    "ErrorRate",
    "OperatingPoint",
    "Target",
    "strictest",
]

FEW_ERRORS = 30  # rule of 30: fewer errors leave a rate uncertain by more than 30 % (Doddington)
LEAST_ERRORS = 3


class RefusedError(UnsupportedError):
    """The calibration set does not support a target."""


@dataclass(frozen=True)
class Target:
    """An operating point as it is asked for: ``fmr`` or ``fpir`` with a rate, ``threshold`` with a score."""

    kind: str
    value: float

    @property
    def name(self) -> str:
        """``fpir=0.01`` and the like."""
        return f"{self.kind}={self.value:g}"


@dataclass(frozen=True)
class ErrorRate:
    """A measured error rate.

    Attributes
    ----------
    rate : float
        Errors / trials.
    errors, trials : int
        What was counted.
    units : int
        Errors of different units: pairs of persons that falsely match, or persons whose search errs.
    interval : Interval
        Two-sided, by the number of independent units.
    """

    rate: float
    errors: int
    trials: int
    units: int
    interval: Interval

    @property
    def flags(self) -> list[str]:
        """Warnings about the number of errors."""
        if self.errors < LEAST_ERRORS:
            return ["fewer than 3 errors"]
        return ["fewer than 30 errors"] if self.errors < FEW_ERRORS else []


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold with everything that is known of it.

    Attributes
    ----------
    target : Target
        What was asked for.
    threshold : float or None
        Score from which on (``l2``: distance up to which) a pair counts; None where it is refused.
    refusal : str
        Why there is no threshold; empty where there is one.
    fmr, fpir : ErrorRate or None
        Measured on the calibration set at the threshold.
    gallery_persons : int
        Persons that a non-mated search of the calibration goes through.
    claimed_fmr : float or None
        The false match rate that the matcher's score scale claims for the threshold.
    """

    target: Target
    threshold: float | None
    refusal: str
    fmr: ErrorRate | None
    fpir: ErrorRate | None
    gallery_persons: int
    claimed_fmr: float | None = None


def strictest(scores: NDArray[np.float32], allowed: int, metric: str) -> float:
    """Return the loosest threshold that accepts at most `allowed` of the best scores.

    Parameters
    ----------
    scores : ndarray
        float32, best first, more than `allowed` of them.
    allowed : int
        How many may reach the threshold.
    metric : str
        ``l2``: lower is better.
    """
    direction = np.float32(-np.inf if metric == "l2" else np.inf)
    return float(np.nextafter(scores[allowed], direction))


class Calibrator:
    """Non-mated comparisons and searches of a calibration set.

    Parameters
    ----------
    impostors : Impostors
        Comparisons of real faces that the generator was not trained on.
    confidence : float
        Of the intervals.
    """

    def __init__(self, impostors: Impostors, confidence: float = 0.95) -> None:
        self.impostors, self.confidence = impostors, confidence
        self.metric, self.persons = impostors.metric, impostors.persons
        self.images = np.unique(self.persons, return_counts=True)[1].astype(np.int64)
        self.comparisons = pairs_of(self.images)
        count = len(self.images)
        self.person_pairs = count * (count - 1) // 2
        self.gallery_persons = len(np.unique(impostors.searched)) if impostors.separate else max(0, count - 1)
        self._found: tuple[NDArray[np.float32], NDArray[np.int64]] | None = None

    def best_scores(self) -> NDArray[np.float32]:
        """Return float32 ``[n]``: the best score of every image against other persons; best first."""
        ascending = np.sort(self._search()[0])
        return ascending if self.metric == "l2" else ascending[::-1].copy()

    def point(self, target: Target) -> OperatingPoint:
        """Return the operating point of a target, or its refusal."""
        try:
            threshold = self._threshold(target)
            false_matches = self.false_match_rate(threshold)
        except UnsupportedError as refusal:
            return OperatingPoint(target, None, str(refusal), None, None, self.gallery_persons)
        return OperatingPoint(
            target,
            threshold,
            "",
            false_matches,
            self.false_positive_rate(threshold),
            self.gallery_persons,
        )

    def share_at(self, scores: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return for each score the share of calibration searches whose best match is at least as good.

        NaN where that is not known.
        """
        best = self.best_scores()
        if self.metric == "l2":
            reached = np.searchsorted(best, scores, side="right")
        else:
            reached = np.searchsorted(-best, -scores, side="right")
        return np.where(self.impostors.known(scores), reached / max(1, len(best)), np.nan)

    def _threshold(self, target: Target) -> float:
        if target.kind == "threshold":
            return target.value
        if self.person_pairs < 1:
            raise RefusedError("the calibration set has fewer than two persons with a face")
        if target.kind == "fmr":
            _refuse_below(target.value, self.person_pairs, "pairs of persons", "false match rate")
            allowed = math.floor(target.value * self.comparisons)
            if allowed >= self.comparisons:
                raise RefusedError("every comparison would have to be accepted")
            return strictest(self.impostors.tail(allowed + 1), allowed, self.metric)
        best = self.best_scores()
        _refuse_below(target.value, len(self.images), "persons to search for", "false positive rate")
        allowed = math.floor(target.value * len(best))
        if allowed >= len(best):
            raise RefusedError("every search would have to return a match")
        return strictest(best, allowed, self.metric)

    # --- comparisons ------------------------------------------------------------------------------

    def false_match_rate(self, threshold: float) -> ErrorRate | None:
        """Return the share of impostor comparisons that reach the threshold; None without any."""
        if not self.comparisons:
            return None
        rows, columns, _ = self.impostors.pairs(threshold)
        codes = np.unique(self.persons, return_inverse=True)[1].reshape(-1)
        first, second = codes[rows], codes[columns]
        interval = false_match_interval(first, second, self.images, self.confidence)
        keys = np.minimum(first, second) * len(self.images) + np.maximum(first, second)
        units = len(np.unique(keys))
        return ErrorRate(len(rows) / self.comparisons, len(rows), self.comparisons, units, interval)

    # --- searches ---------------------------------------------------------------------------------

    def _search(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        if self._found is None:
            self._found = self.impostors.best()
        return self._found

    def false_positive_rate(self, threshold: float) -> ErrorRate | None:
        """Return the share of non-mated searches that return a match; None where nothing is searched."""
        if not self.gallery_persons:
            return None
        scores, ids = self._search()
        wide = scores.astype(np.float64)
        wrong = wide <= threshold if self.metric == "l2" else wide >= threshold
        matched = self.impostors.searched[ids[wrong]]
        interval = search_interval(self.persons, wrong, matched, self.confidence)
        units = len(np.unique(self.persons[wrong]))
        return ErrorRate(float(wrong.mean()), int(wrong.sum()), len(wrong), units, interval)


class ClaimedThresholds:
    """Thresholds without a calibration: fixed ones, and those that the matcher's score scale claims.

    Parameters
    ----------
    metric : str
        ``l2``: lower is better.
    claimed : callable
        Returns the threshold of a claimed false match rate; None where the scale claims none.
    """

    comparisons = 0
    gallery_persons = 0

    def __init__(self, metric: str, claimed: Callable[[float], float | None]) -> None:
        self.metric, self._claimed = metric, claimed

    def point(self, target: Target) -> OperatingPoint:
        """Return the operating point of a target, or its refusal."""
        threshold: float | None = None
        if target.kind == "threshold":
            threshold = target.value
        elif target.kind == "fmr":
            threshold = self._claimed(target.value)
        refusal = "" if threshold is not None else "the holdout was not compared with itself"
        return OperatingPoint(target, threshold, refusal, None, None, self.gallery_persons)

    def share_at(self, scores: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return NaN for every score: nothing was searched for."""
        return np.full(scores.shape, np.nan)


def _refuse_below(target: float, units: int, what: str, rate: str) -> None:
    least = rule_of_three(units)
    if target < least:
        raise RefusedError(
            f"a {rate} of {target:g} is not supported by {units} {what}: at least {least:.2g} is (rule of 3)"
        )
