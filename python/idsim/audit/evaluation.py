"""What is measured on the three sets, once their embeddings are there."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.audit.calibration import Calibrator, ClaimedThresholds, OperatingPoint
from idsim.audit.faces import FaceSet, encode_labels
from idsim.audit.leakage import Leakage, Resampling, closer_share, measure
from idsim.audit.tails import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from idsim.audit.comparing import Comparisons
    from idsim.audit.config import ScanConfig

__all__ = [
    "Baseline",
    "Cross",
    "Evaluation",
    "Matches",
    "MatedPairs",
    "PointResult",
    "Sets",
    "evaluate",
    "measure_baseline",
]

UNLIKELY = 3.0  # standard deviations


@dataclass
class Sets:
    """The three sets, and what was left out of their folders with the reasons."""

    synthetic: FaceSet
    training: FaceSet
    holdout: FaceSet
    skipped: dict[str, list[tuple[str, str]]]

    @property
    def faces(self) -> dict[str, FaceSet]:
        """The sets by name."""
        return {"synthetic": self.synthetic, "training": self.training, "holdout": self.holdout}


@dataclass(frozen=True)
class Matches:
    """The best matches of every synthetic embedding in one gallery.

    Attributes
    ----------
    scores, ids : ndarray
        float32 and int64 ``[m, k]``; ids are embeddings of the gallery, -1 beyond its end.
    share : ndarray
        float64 ``[m, k]``: share of the calibration searches whose best match is at least as good.
    """

    scores: NDArray[np.float32]
    ids: NDArray[np.int64]
    share: NDArray[np.float64]


@dataclass(frozen=True)
class MatedPairs:
    """Pairs of real images of one person, and how many of them a threshold misses."""

    pairs: int
    missed: int
    persons: int


@dataclass(frozen=True)
class Cross:
    """Pairs of images of training and holdout that reach a threshold: as images and as pairs of persons."""

    pairs: int
    compared: int
    person_pairs: int
    persons_compared: int


@dataclass(frozen=True)
class PointResult:
    """One operating point and what was measured there; no leakage where it is refused."""

    point: OperatingPoint
    leakage: Leakage | None
    mated: MatedPairs | None
    cross: Cross | None


@dataclass(frozen=True)
class Baseline:
    """What the real sets say without any synthetic one: it is measured once for all sets of a scan.

    Attributes
    ----------
    training, holdout : FaceSet
        The real sets; persons that both name are out of the holdout.
    comparisons : Comparisons
        Scores between the sets.
    calibrator : Calibrator
        Of the thresholds.
    points : list of PointResult
        The operating points, the primary one first, without leakage.
    shared : list of dict
        The check for persons that both sets name.
    """

    training: FaceSet
    holdout: FaceSet
    comparisons: Comparisons
    calibrator: Calibrator | ClaimedThresholds
    points: list[PointResult]
    shared: list[dict[str, Any]]

    @property
    def persons(self) -> tuple[int, int]:
        """Persons of training and holdout."""
        return len(self.training.codes()[1]), len(self.holdout.codes()[1])


@dataclass
class Evaluation:
    """What was measured on one synthetic set, beside the baseline that it stands on."""

    sets: Sets
    baseline: Baseline
    points: list[PointResult]
    training: Matches
    holdout: Matches
    closer: dict[str, Any]
    checks: list[dict[str, Any]] = field(default_factory=list)

    @property
    def metric(self) -> str:
        """How scores are compared: ``l2``, lower is better, or something else."""
        return self.baseline.comparisons.metric

    @property
    def primary(self) -> PointResult:
        """The operating point that was declared first."""
        return self.points[0]


def measure_baseline(
    config: ScanConfig, training: FaceSet, holdout: FaceSet, comparisons: Comparisons
) -> Baseline:
    """Calibrate the thresholds, and measure what needs no synthetic set.

    Raises
    ------
    ValueError
        A set has no embedding at all.
    """
    holdout, shared = without_shared(config, training, holdout)
    for faces in (training, holdout):
        require_faces(faces)
    calibrator = _calibrator(config, training, holdout, comparisons)
    mated = comparisons.mated([holdout, training])
    points = [
        _measure_point(calibrator.point(target), training, holdout, comparisons, mated)
        for target in config.calibration.targets()
    ]
    return Baseline(training, holdout, comparisons, calibrator, points, shared)


def require_faces(faces: FaceSet) -> None:
    """Raise ValueError where a set has no embedding."""
    if not len(faces.rows):
        raise ValueError(f"[{faces.name}] has {len(faces.items)} items, and none of them has a face")


def evaluate(
    config: ScanConfig,
    baseline: Baseline,
    synthetic: FaceSet,
    skipped: dict[str, list[tuple[str, str]]],
    tell: Callable[[str, int, int], None],
) -> Evaluation:
    """Search and measure one synthetic set.

    Raises
    ------
    ValueError
        The set has no embedding at all.
    """
    require_faces(synthetic)
    sets = Sets(synthetic, baseline.training, baseline.holdout, skipped)
    statistics = config.statistics
    resampling = Resampling(
        statistics.confidence,
        statistics.bootstrap,
        statistics.permutations,
        statistics.draws,
        config.run.seed,
    )
    points = []
    for number, result in enumerate(baseline.points):
        tell("statistics", number, len(baseline.points))
        points.append(_with_leakage(result, sets, baseline.comparisons, resampling))
    training = _matches(synthetic, sets.training, config.output.matches, baseline)
    holdout = _matches(synthetic, sets.holdout, config.output.matches, baseline)
    return Evaluation(
        sets=sets,
        baseline=baseline,
        points=points,
        training=training,
        holdout=holdout,
        closer=_closer(training, holdout, baseline),
        checks=[*baseline.shared, *equal_files(list(sets.faces.values())), *check_cross(points[0])],
    )


def _calibrator(
    config: ScanConfig, training: FaceSet, holdout: FaceSet, comparisons: Comparisons
) -> Calibrator | ClaimedThresholds:
    labels = [f"h:{holdout.labels[row]}" for row in holdout.rows]
    against_training = config.calibration.against == "training"
    others = [f"t:{training.labels[row]}" for row in training.rows] if against_training else []
    codes, _ = encode_labels(labels + others)
    searched = (training, codes[len(labels) :]) if against_training else None
    impostors = comparisons.impostors(holdout, codes[: len(labels)], searched)
    if impostors is None:
        return ClaimedThresholds(comparisons.metric, comparisons.claimed_threshold)
    return Calibrator(impostors, config.statistics.confidence)


def _measure_point(
    point: OperatingPoint,
    training: FaceSet,
    holdout: FaceSet,
    comparisons: Comparisons,
    mated: tuple[NDArray[np.float32], int],
) -> PointResult:
    """Return an operating point with what the real sets say there."""
    threshold = point.threshold
    if threshold is None:
        return PointResult(point, None, None, None)
    point = replace(point, claimed_fmr=comparisons.claimed_fmr(threshold))
    try:
        cross = _cross(training, holdout, threshold, comparisons)
    except UnsupportedError as error:
        return _refused(point, error)
    scores, persons = mated
    wide = scores.astype(np.float64)
    lower = comparisons.metric == "l2"
    missed = int((wide > threshold).sum() if lower else (wide < threshold).sum())
    pairs = MatedPairs(len(scores), missed, persons) if len(scores) else None
    return PointResult(point, None, pairs, cross)


def _with_leakage(
    result: PointResult, sets: Sets, comparisons: Comparisons, resampling: Resampling
) -> PointResult:
    """Return an operating point with the leakage of a synthetic set."""
    threshold = result.point.threshold
    if threshold is None:
        return result
    try:
        leakage = measure(sets.synthetic, sets.training, sets.holdout, threshold, comparisons, resampling)
    except UnsupportedError as error:
        return _refused(result.point, error)
    return replace(result, leakage=leakage)


def _refused(point: OperatingPoint, error: UnsupportedError) -> PointResult:
    return PointResult(replace(point, threshold=None, refusal=str(error)), None, None, None)


def _cross(training: FaceSet, holdout: FaceSet, threshold: float, comparisons: Comparisons) -> Cross | None:
    enrolled, others = training.codes()[0], holdout.codes()[0]
    found = comparisons.reaching(training, holdout, threshold)
    if found is None:
        return None
    persons = set(zip(enrolled[found.rows].tolist(), others[found.columns].tolist(), strict=True))
    return Cross(
        len(found.rows),
        len(enrolled) * len(others),
        len(persons),
        len(np.unique(enrolled)) * len(np.unique(others)),
    )


def _closer(training: Matches, holdout: Matches, baseline: Baseline) -> dict[str, Any]:
    best = training.scores[:, 0], holdout.scores[:, 0]
    share = closer_share(*best, baseline.persons, baseline.comparisons.metric)
    if baseline.comparisons.complete:
        return share
    return share | {"share": None, "refused": "the scores are not complete"}


def _matches(synthetic: FaceSet, real: FaceSet, count: int, baseline: Baseline) -> Matches:
    scores, ids = baseline.comparisons.best(synthetic, real, count)
    return Matches(scores, ids, baseline.calibrator.share_at(scores))


# --- checks that a reader of the numbers must see -------------------------------------------------


def without_shared(
    config: ScanConfig, training: FaceSet, holdout: FaceSet
) -> tuple[FaceSet, list[dict[str, Any]]]:
    """Return the holdout without the persons that both real sets name, and the check that says so."""
    if "each" in (config.training.labels, config.holdout.labels):
        return holdout, []
    shared = set(training.labels) & set(holdout.labels)
    if not shared:
        return holdout, []
    text = "persons are named in training and in holdout; they were taken out of the holdout"
    return holdout.without(shared), [{"check": "shared persons", "count": len(shared), "meaning": text}]


def equal_files(sets: list[FaceSet]) -> list[dict[str, Any]]:
    """Return a check for every two sets with equal files."""
    checks = []
    for number, first in enumerate(sets):
        for second in sets[number + 1 :]:
            count = len(_contents(first) & _contents(second))
            if count:
                text = f"files have the same bytes in {first.name} and in {second.name}"
                checks.append({"check": "equal files", "count": count, "meaning": text})
    return checks


def _contents(faces: FaceSet) -> set[str]:
    return {str(record["sha256"]) for record in faces.records if len(str(record.get("sha256", ""))) == 64}


def check_cross(primary: PointResult) -> list[dict[str, Any]]:
    """Report when training and holdout match each other more often than the holdout matches itself.

    Of all pairs of persons that falsely match, those between the sets should have the share that they have of
    the pairs compared; three standard deviations more are hardly chance.
    """
    fmr, cross = primary.point.fmr, primary.cross
    if cross is None or fmr is None:
        return []
    inside = fmr.trials / max(1, cross.compared) * cross.persons_compared
    share = cross.persons_compared / (cross.persons_compared + inside)
    total = cross.person_pairs + fmr.units
    expected, spread = total * share, math.sqrt(total * share * (1 - share))
    if cross.person_pairs <= expected + UNLIKELY * spread:
        return []
    text = (
        "pairs of training and holdout reach the threshold, far more than pairs inside the holdout do: the sets "
        "may share persons, which raises the rate against the holdout and hides leaks"
    )
    return [{"check": "training against holdout", "count": cross.pairs, "meaning": text}]
