"""Thresholds of a false positive identification rate at another gallery size, measured and not extrapolated.

A search by a person who is not enrolled, among M of the other N - 1 persons taken at random, returns a match with
the chance ``1 - C(N - 1 - h, M) / C(N - 1, M)`` when h of the other persons reach the threshold. The mean over
searches is the FPIR averaged over all galleries of that size: nothing is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.audit.pairs.compared import better_is_higher
from idsim.audit.rates.dependence import mass_interval
from idsim.audit.rates.intervals import Interval, rule_of_three, zero_errors_upper
from idsim.audit.rates.resampling import expected_share

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from idsim.audit.thresholds.tail_impostors import TailImpostors

__all__ = ["SizedPoint", "sized_entry", "sized_points"]


@dataclass(frozen=True)
class SizedPoint:
    """A threshold of an FPIR in galleries of a given number of persons.

    Attributes
    ----------
    target : float
        The FPIR that was asked for.
    persons : int
        Persons of a gallery.
    threshold : float or None
        Score (``l2``: distance); None where it is refused.
    rate : float
        FPIR at the threshold, averaged over galleries; NaN where it is refused.
    searches, units : int
        Searches, and persons of whom one has a match at all.
    interval : Interval or None
        Persons being the units.
    refusal : str
        Why there is no threshold; empty where there is one.
    """

    target: float
    persons: int
    threshold: float | None
    rate: float
    searches: int
    units: int
    interval: Interval | None
    refusal: str


def sized_points(
    impostors: TailImpostors, targets: Sequence[float], size: int, confidence: float = 0.95
) -> list[SizedPoint]:
    """Return the loosest thresholds that keep FPIR targets in galleries of `size` persons.

    Parameters
    ----------
    impostors : TailImpostors
        A set against itself.
    targets : sequence of float
        False positive identification rates.
    size : int
        Persons of a gallery, at most all others.
    confidence : float
        Of the intervals.

    Raises
    ------
    ValueError
        `size` is below 1.
    """
    if size < 1:
        raise ValueError(f"a gallery must have at least 1 person, not {size}")
    _, codes = np.unique(impostors.persons, return_inverse=True)
    codes = codes.reshape(-1)
    others = int(codes.max()) if len(codes) else 0
    if size > others:
        text = (
            f"a gallery of {size} persons is larger than the {max(0, others)} others that a search here goes through, "
            "and an FPIR is not extrapolated"
        )
        return [_refused(target, size, len(codes), text) for target in targets]
    table = _HitTable(impostors, codes, expected_share(others, size))
    return [table.point(target, size, confidence) for target in targets]


def _refused(target: float, size: int, searches: int, text: str) -> SizedPoint:
    return SizedPoint(target, size, None, float("nan"), searches, 0, None, text)


class _HitTable:
    """The best score of every face against every other person in the tail, and what hits are worth."""

    def __init__(
        self, impostors: TailImpostors, codes: NDArray[np.int64], chance: NDArray[np.float64]
    ) -> None:
        rows, columns, scores = impostors.listed
        self.metric, self.codes, self.chance = impostors.metric, codes, chance
        self.images = np.bincount(codes).astype(np.int64)
        self.level, count = impostors.level, len(self.images)
        self.complete = len(rows) == (len(codes) ** 2 - int((self.images**2).sum())) // 2
        keys = np.concatenate([rows * count + codes[columns], columns * count + codes[rows]])
        wide = np.tile(better_is_higher(scores, self.metric), 2)
        order = np.argsort(keys, kind="stable")
        keys, wide = keys[order], wide[order]
        starts = np.flatnonzero(np.diff(keys, prepend=-1))
        self.faces, self.others = keys[starts] // count, keys[starts] % count
        self.best = np.maximum.reduceat(wide, starts) if len(starts) else np.empty(0)

    def rate(self, score: float) -> float:
        """Return the FPIR at a score, higher being better."""
        hits = np.bincount(self.faces[self.best >= score], minlength=len(self.codes))
        return float(self.chance[hits].mean())

    def point(self, target: float, size: int, confidence: float) -> SizedPoint:
        searches, persons = len(self.codes), len(self.images)
        if target < rule_of_three(persons):
            text = (
                f"a false positive rate of {target:g} is not supported by {persons} persons to search for: at least "
                f"{rule_of_three(persons):.2g} is (rule of 3)"
            )
            return _refused(target, size, searches, text)
        scores = np.unique(self.best)[::-1]
        low, high = 0, len(scores)  # the first score that must not be accepted
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if self.rate(scores[middle]) > target else (middle + 1, high)
        if low == len(scores):
            text = (
                "every search would have to return a match"
                if self.complete
                else f"pairs are listed from {self.level:g} on, where the rate is below {target:g}"
            )
            return _refused(target, size, searches, text)
        score = float(np.nextafter(np.float32(scores[low]), np.float32(np.inf)))
        return self._measured(target, size, score, confidence)

    def _measured(self, target: float, size: int, score: float, confidence: float) -> SizedPoint:
        keep = self.best >= score
        faces, others = self.faces[keep], self.others[keep]
        threshold = -score if self.metric == "l2" else score
        rate, persons = self.rate(score), len(self.images)
        if not len(faces):
            upper = zero_errors_upper(persons, confidence)
            interval = Interval(0.0, upper, "no errors: exact one-sided bound over persons")
            return SizedPoint(target, size, threshold, 0.0, len(self.codes), 0, interval, "")
        hits = np.bincount(faces, minlength=len(self.codes))
        # A search with h hits is shared among them: the rate becomes a sum over pairs of persons.
        mass = (self.chance[hits] / np.maximum(1, hits))[faces]
        interval = mass_interval(self.codes[faces], others, mass, self.images, rate, confidence)
        units = len(np.unique(self.codes[faces]))
        return SizedPoint(target, size, threshold, rate, len(self.codes), units, interval, "")


def sized_entry(point: SizedPoint) -> dict[str, Any]:
    """Return plain JSON values of a point."""
    entry: dict[str, Any] = {
        "target": point.target,
        "gallery_persons": point.persons,
        "threshold": point.threshold,
        "refused": point.refusal or None,
        "searches": point.searches,
    }
    if point.interval is None:
        return entry
    return entry | {"rate": point.rate, "persons_with_a_match": point.units, **point.interval._asdict()}
