"""Undetected pairs of one person among the impostor comparisons: how many, and what they do to thresholds.

Two labels of one person give an "impostor" comparison that is a mated one. Below a false match rate of about
f / N (f: share of the N images that have such a partner) a threshold is set by these pairs: it comes out too
strict, and leakage too low. Persons that are linked by scores above a high cut are taken for one person; the
thresholds are given with and without them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.audit.pairs.compared import better_is_higher, reaches
from idsim.audit.rates.dependence import grouped_interval, pairs_of
from idsim.audit.rates.edges import connected_components
from idsim.audit.rates.intervals import Interval, zero_errors_upper
from idsim.audit.thresholds.calibration import Calibrator, OperatingPoint, Target
from idsim.audit.thresholds.tail_impostors import PersonPairs, TailImpostors, person_pairs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from idsim.audit.pairs.compared import Compared

__all__ = [
    "Contamination",
    "Cut",
    "Sensitivity",
    "choose_cut",
    "contamination_entry",
    "find_contamination",
    "threshold_sensitivity",
]

# A median of mated comparisons says where persons match themselves, if it rests on this many.
FEWEST_MATED = 30
FEWEST_MATED_PERSONS = 10

# A cut that links more of the persons than this links people who are not the same.
MOST_LINKED = 0.1

# A valley of the tail: numbers of bins that are tried, and how far the rise behind it must stand out of Poisson
# noise. They have 2,632 pairs of bins; a normal deviate of 4.5 is reached by chance in one of 300,000.
VALLEY_BINS = (64, 32, 16)
VALLEY_DEVIATE = 4.5


@dataclass(frozen=True)
class Cut:
    """From which score on two labels are taken for one person.

    Attributes
    ----------
    score : float or None
        Score (``l2``: distance); None where there is no basis for one.
    rule : str
        Where it comes from: ``given``, ``valley of the tail``, ``median of mated comparisons``.
    refusal : str
        Why there is none; empty where there is one.
    """

    score: float | None
    rule: str
    refusal: str = ""


@dataclass(frozen=True)
class Contamination:
    """Persons that are linked above a cut.

    Attributes
    ----------
    cut : Cut
        From which score on.
    metric : str
        ``l2``: lower is better.
    persons, images : int
        Of the set.
    links : PersonPairs
        The pairs of persons above the cut.
    component : ndarray
        int64 ``[k]``: smallest code of the persons that a person is linked with.
    removed : ndarray
        int64: the persons to take out.
    keep : ndarray
        bool ``[n]``: the images that stay.
    share : float
        Share of the images whose person is linked with another (f).
    interval : Interval
        Of the share, components being the units.
    comparisons, mated : int
        Impostor comparisons by label, and those of them inside a component.
    reached : float or None
        Share of the known mated comparisons that reach the cut: of pairs of one person, about as many are found.
    """

    cut: Cut
    metric: str
    persons: int
    images: int
    links: PersonPairs
    component: NDArray[np.int64]
    removed: NDArray[np.int64]
    keep: NDArray[np.bool_]
    share: float
    interval: Interval
    comparisons: int
    mated: int
    reached: float | None

    @property
    def floor(self) -> float:
        """The false match rate that the pairs inside components alone give."""
        return self.mated / self.comparisons if self.comparisons else 0.0

    @property
    def floor_corrected(self) -> float | None:
        """The floor with the pairs of one person that miss the cut; None without mated comparisons that reach it."""
        return min(1.0, self.floor / self.reached) if self.reached else None

    @property
    def sizes(self) -> NDArray[np.int64]:
        """int64: persons of every component with more than one, largest first."""
        counts = np.bincount(self.component, minlength=self.persons)
        return np.sort(counts[counts > 1])[::-1].astype(np.int64)


@dataclass(frozen=True)
class Sensitivity:
    """A target on all labels as they are, and without the persons of the contamination."""

    target: Target
    before: OperatingPoint
    after: OperatingPoint

    @property
    def change(self) -> float | None:
        """By how much the threshold moves when the persons are taken out; None where either is refused."""
        if self.before.threshold is None or self.after.threshold is None:
            return None
        return self.after.threshold - self.before.threshold


# --- the cut --------------------------------------------------------------------------------------


def choose_cut(
    compared: Compared,
    persons: NDArray[np.int64],
    mated: NDArray[np.float32],
    mated_persons: int,
    given: float | None = None,
) -> Cut:
    """Return the score from which on two labels are taken for one person.

    In this order: the given one; a valley of the tail, behind which the pairs become more frequent again, as
    impostors do not; the median of the mated comparisons, which half the pairs of images of one person reach.

    Parameters
    ----------
    compared : Compared
        The set against itself.
    persons : ndarray
        int64 ``[n]``: person of every face, codes 0 .. k-1.
    mated : ndarray
        float32 ``[m]``: scores of pairs of images of one person; may be empty.
    mated_persons : int
        Persons in them.
    given : float, optional
        The user's cut.
    """
    level = float(better_is_higher(compared.level, compared.metric))
    sign = -1.0 if compared.metric == "l2" else 1.0
    if given is not None:
        if sign * given < level:
            raise ValueError(
                f"a cut of {given:g} is looser than {compared.level:g}, where the listed pairs begin"
            )
        return Cut(float(given), "given")
    pairs = person_pairs(compared.tail, persons, compared.metric)
    count = int(persons.max()) + 1 if len(persons) else 0
    reasons = []
    for rule, (score, reason) in (
        ("valley of the tail", _valley(pairs.best)),
        ("median of mated comparisons", _median(mated, mated_persons, level, compared.metric)),
    ):
        if score is None:
            reasons.append(reason)
            continue
        linked = len(np.unique(np.concatenate([side[pairs.best >= score] for side in pairs[:2]])))
        if linked <= MOST_LINKED * count:
            return Cut(sign * score, rule)
        reasons.append(f"the {rule}, {sign * score:.4g}, would link {linked} of {count} persons")
    return Cut(None, "", f"there is no basis for a cut: {'; '.join(reasons)}")


def _median(mated: NDArray[np.float32], persons: int, level: float, metric: str) -> tuple[float | None, str]:
    if len(mated) < FEWEST_MATED or persons < FEWEST_MATED_PERSONS:
        return None, (
            f"{len(mated)} mated comparisons of {persons} persons are fewer than {FEWEST_MATED} of "
            f"{FEWEST_MATED_PERSONS}"
        )
    median = float(np.median(better_is_higher(mated, metric)))
    if median < level:
        return None, "the median of the mated comparisons lies among the impostors"
    return median, ""


def _valley(best: NDArray[np.float64]) -> tuple[float | None, str]:
    """Return the middle of the emptiest bins before the most significant rise of the counts."""
    found, most = None, VALLEY_DEVIATE
    if len(best) >= 2 and best.min() < best.max():
        for bins in VALLEY_BINS:
            counts, edges = np.histogram(best, bins)
            least = np.minimum.accumulate(counts)
            rise = (counts - least) / np.sqrt(np.maximum(1, counts + least))
            peak = int(rise.argmax())
            if rise[peak] >= most:
                emptiest = np.flatnonzero(counts[:peak] == least[peak])
                found, most = float((edges[emptiest[0]] + edges[emptiest[-1] + 1]) / 2), float(rise[peak])
    return found, "" if found is not None else "the counts of the tail do not rise again behind a valley"


# --- components -----------------------------------------------------------------------------------


def find_contamination(
    compared: Compared,
    persons: NDArray[np.int64],
    cut: Cut,
    confidence: float = 0.95,
    mated: NDArray[np.float32] | None = None,
) -> Contamination:
    """Return the persons that are linked above a cut, and who is to be taken out.

    Of every component the medoid stays: the person with most links, then with the best scores. Taking out all
    would also take out people who resemble many others, whose false matches are real ones.

    Parameters
    ----------
    compared : Compared
        The set against itself.
    persons : ndarray
        int64 ``[n]``: person of every face, codes 0 .. k-1, each present.
    cut : Cut
        One that is not refused.
    confidence : float
        Of the interval of the share.
    mated : ndarray, optional
        float32 ``[m]``: scores of pairs of images of one person.

    Raises
    ------
    ValueError
        The cut is refused.
    """
    if cut.score is None:
        raise ValueError(cut.refusal)
    images = np.bincount(persons).astype(np.int64)
    count = len(images)
    pairs = person_pairs(compared.tail, persons, compared.metric)
    links = pairs.reaching(float(better_is_higher(cut.score, compared.metric)))
    component = connected_components(links.first, links.second, count)
    removed = _all_but_medoids(links, component, images)
    out = np.zeros(count, np.bool_)
    out[removed] = True
    linked = (np.bincount(component, minlength=count) > 1)[component][persons]
    inside = np.bincount(component, images, minlength=count)
    within = (
        int((inside**2 - np.bincount(component, images.astype(np.float64) ** 2, minlength=count)).sum()) // 2
    )
    if linked.any():
        method = "Wilson with effective n from components"
        interval = grouped_interval(linked, component[persons], confidence, method, most=count)
    else:
        upper = zero_errors_upper(count, confidence)
        interval = Interval(0.0, upper, "no links: exact one-sided bound over persons")
    return Contamination(
        cut,
        compared.metric,
        count,
        len(persons),
        links,
        component,
        removed,
        ~out[persons],
        float(linked.mean()),
        interval,
        pairs_of(images),
        within,
        float(reaches(mated, cut.score, compared.metric).mean())
        if mated is not None and len(mated)
        else None,
    )


def _all_but_medoids(
    links: PersonPairs, component: NDArray[np.int64], images: NDArray[np.int64]
) -> NDArray[np.int64]:
    ends = np.concatenate([links.first, links.second])
    degree = np.bincount(ends, minlength=len(component))
    strength = np.bincount(ends, np.concatenate([links.best, links.best]), minlength=len(component))
    linked = np.flatnonzero(degree)
    order = linked[
        np.lexsort((linked, -images[linked], -strength[linked], -degree[linked], component[linked]))
    ]
    medoid = np.diff(component[order], prepend=-1) != 0
    return np.sort(order[~medoid])


# --- what it does to thresholds -------------------------------------------------------------------


def threshold_sensitivity(
    compared: Compared,
    persons: NDArray[np.int64],
    found: Contamination,
    targets: Sequence[Target],
    confidence: float,
) -> list[Sensitivity]:
    """Return the operating points before and after the persons of the contamination are taken out.

    The truth lies between: before, pairs of one person count as false matches; after, so does no look-alike
    above the cut.
    """
    before = Calibrator(TailImpostors(compared, persons), confidence)
    after = Calibrator(TailImpostors(compared, persons, found.keep), confidence)
    return [Sensitivity(target, before.point(target), after.point(target)) for target in targets]


def contamination_entry(
    found: Contamination | None, cut: Cut, sensitivities: Sequence[Sensitivity] = ()
) -> dict[str, Any]:
    """Return plain JSON values of a contamination; of a refused cut, the sentence."""
    entry: dict[str, Any] = {"cut": cut.score, "rule": cut.rule or None, "refused": cut.refusal or None}
    if found is None:
        return entry
    low, high, method = found.interval
    return entry | {
        "persons": found.persons,
        "images": found.images,
        "linked_pairs_of_persons": len(found.links.first),
        "components": len(found.sizes),
        "largest_component": int(found.sizes[0]) if len(found.sizes) else 1,
        "removed_persons": len(found.removed),
        "removed_images": int((~found.keep).sum()),
        "share_of_images": {"rate": found.share, "low": low, "high": high, "method": method},
        "floor": found.floor,
        "mated_reaching_cut": found.reached,
        "floor_corrected": found.floor_corrected,
        "floor_by_share": {
            "rate": found.share / found.images,
            "low": low / found.images,
            "high": high / found.images,
        },
        "sensitivity": [
            {
                "name": one.target.name,
                "before": _side(one.before),
                "after": _side(one.after),
                "change": one.change,
            }
            for one in sensitivities
        ],
    }


def _side(point: OperatingPoint) -> dict[str, Any]:
    rates = {
        name: None if rate is None else {"rate": rate.rate, "errors": rate.errors, "trials": rate.trials}
        for name, rate in (("fmr", point.fmr), ("fpir", point.fpir))
    }
    return {"threshold": point.threshold, "refused": point.refusal or None, **rates}
