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

from idsim.audit.dependence import false_match_interval, pairs_of, search_interval
from idsim.audit.intervals import rule_of_three
from idsim.audit.tails import TooLooseError, reaching_pairs
from idsim.search import search
from idsim.tails import count_above

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from idsim.audit.intervals import Interval
    from idsim.options import Metric
    from idsim.results import Pairs

__all__ = [
    "Calibrator",
    "ErrorRate",
    "OperatingPoint",
    "Target",
    "strictest",
]

# Up to this many ordered pairs the impostor scores are simply all listed.
ALL_PAIRS = 1 << 20
SAMPLED_ROWS = 256
FEW_ERRORS = 30  # rule of 30: fewer errors leave a rate uncertain by more than 30 % (Doddington)
LEAST_ERRORS = 3


class RefusedError(ValueError):
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
    """

    target: Target
    threshold: float | None
    refusal: str
    fmr: ErrorRate | None
    fpir: ErrorRate | None
    gallery_persons: int


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
    vectors : ndarray
        float32 ``[n, d]``: embeddings of real faces that the generator was not trained on.
    persons : ndarray
        int64 ``[n]``: person of each.
    metric : {"cosine", "l2"}
        How scores are compared.
    confidence : float
        Of the intervals.
    searched : tuple of ndarray, optional
        Vectors and persons that non-mated searches go through; default: the set itself, without the searched
        person. Codes are shared with `persons`.
    """

    def __init__(
        self,
        vectors: NDArray[np.float32],
        persons: NDArray[np.int64],
        metric: Metric,
        confidence: float = 0.95,
        searched: tuple[NDArray[np.float32], NDArray[np.int64]] | None = None,
    ) -> None:
        self.vectors, self.persons = vectors, persons
        self.metric, self.confidence = metric, confidence
        self.searched = searched
        self.images = np.unique(persons, return_counts=True)[1].astype(np.int64)
        self.comparisons = pairs_of(self.images)
        count = len(self.images)
        self.person_pairs = count * (count - 1) // 2
        self.gallery_persons = len(np.unique(searched[1])) if searched else max(0, count - 1)
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
        except (RefusedError, TooLooseError) as refusal:
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
        """Return for each score the share of calibration searches whose best match is at least as good."""
        best = self.best_scores()
        if self.metric == "l2":
            reached = np.searchsorted(best, scores, side="right")
        else:
            reached = np.searchsorted(-best, -scores, side="right")
        return reached / max(1, len(best))

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
            return strictest(self._best_comparisons(allowed + 1), allowed, self.metric)
        best = self.best_scores()
        _refuse_below(target.value, len(self.images), "persons to search for", "false positive rate")
        allowed = math.floor(target.value * len(best))
        if allowed >= len(best):
            raise RefusedError("every search would have to return a match")
        return strictest(best, allowed, self.metric)

    # --- comparisons ------------------------------------------------------------------------------

    def _best_comparisons(self, count: int) -> NDArray[np.float32]:
        """Return at least the `count` best scores of pairs of different persons, best first."""
        worst = np.inf if self.metric == "l2" else -2.0
        limit = worst if len(self.vectors) ** 2 <= ALL_PAIRS else self._loose_limit(count)
        scores = self._pairs(limit).scores
        if len(scores) < count:
            scores = self._pairs(worst).scores
        ascending = np.sort(scores)
        return ascending if self.metric == "l2" else ascending[::-1].copy()

    def _loose_limit(self, count: int) -> float:
        """Return a threshold that at least `count` comparisons reach, and not many more.

        A sample of rows gives candidates, one exact counting pass over all pairs picks among them.
        """
        rows = np.random.default_rng(0).permutation(len(self.vectors))[:SAMPLED_ROWS]
        wanted = min(len(self.vectors), 1 + 64 * count // len(self.vectors) + 16)
        sample, _ = search(
            self.vectors[rows],
            self.vectors,
            wanted,
            metric=self.metric,
            exclude=(self.persons[rows], self.persons),
        )
        values = np.unique(np.asarray(sample)[np.isfinite(sample)])
        candidates = np.unique(np.quantile(values, np.linspace(0.0, 1.0, 33), method="nearest"))
        reached = count_above(
            self.vectors,
            self.vectors,
            candidates.astype(np.float64),
            metric=self.metric,
            exclude=(self.persons, self.persons),
        ).sum(axis=0)
        enough = candidates[np.asarray(reached) >= 2 * count]
        if not len(enough):
            return np.inf if self.metric == "l2" else -2.0
        return float(enough.min() if self.metric == "l2" else enough.max())

    def _pairs(self, threshold: float) -> Pairs:
        """Return the unordered pairs of different persons that reach a threshold."""
        return reaching_pairs(self.vectors, None, threshold, self.metric, self.persons)

    def false_match_rate(self, threshold: float) -> ErrorRate | None:
        """Return the share of impostor comparisons that reach the threshold; None without any."""
        if not self.comparisons:
            return None
        rows, columns, _ = self._pairs(threshold)
        codes = np.unique(self.persons, return_inverse=True)[1].reshape(-1)
        first, second = codes[rows], codes[columns]
        interval = false_match_interval(first, second, self.images, self.confidence)
        units = len(
            set(zip(np.minimum(first, second).tolist(), np.maximum(first, second).tolist(), strict=True))
        )
        return ErrorRate(len(rows) / self.comparisons, len(rows), self.comparisons, units, interval)

    # --- searches ---------------------------------------------------------------------------------

    def _search(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        if self._found is None:
            gallery, labels = self.searched or (self.vectors, self.persons)
            exclude = (self.persons, labels)
            scores, ids = search(self.vectors, gallery, 1, metric=self.metric, exclude=exclude)
            self._found = np.asarray(scores)[:, 0], np.asarray(ids)[:, 0]
        return self._found

    def false_positive_rate(self, threshold: float) -> ErrorRate | None:
        """Return the share of non-mated searches that return a match; None where nothing is searched."""
        if not self.gallery_persons:
            return None
        scores, ids = self._search()
        wide = scores.astype(np.float64)
        wrong = wide <= threshold if self.metric == "l2" else wide >= threshold
        labels = (self.searched or (self.vectors, self.persons))[1]
        interval = search_interval(self.persons, wrong, labels[ids[wrong]], self.confidence)
        units = len(np.unique(self.persons[wrong]))
        return ErrorRate(float(wrong.mean()), int(wrong.sum()), len(wrong), units, interval)


def _refuse_below(target: float, units: int, what: str, rate: str) -> None:
    least = rule_of_three(units)
    if target < least:
        raise RefusedError(
            f"a {rate} of {target:g} is not supported by {units} {what}: at least {least:.2g} is (rule of 3)"
        )
