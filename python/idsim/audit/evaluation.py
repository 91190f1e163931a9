"""What is measured on the three sets, once their embeddings are there."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.audit.analysis import analyse
from idsim.audit.analysis.impostors import calibration_analyses
from idsim.audit.diagnostics.inputs import equal_files, without_shared
from idsim.audit.faces import FaceSet, encode_labels, require_faces
from idsim.audit.pairs.tails import UnsupportedError
from idsim.audit.rates.edges import distinct
from idsim.audit.rates.leakage import Leakage, Resampling, measure
from idsim.audit.thresholds.calibration import Calibrator, ClaimedThresholds, OperatingPoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from idsim.audit.analysis import Analysis
    from idsim.audit.configuration.config import ScanConfig
    from idsim.audit.pairs.comparing import Comparisons
    from idsim.audit.persons.thumbnails import CopyScores
    from idsim.audit.records import Key

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


NO_SCORES = np.empty(0, np.float32)


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
    probes : FaceSet or None
        Real people who are in neither set.
    analysis : dict
        What the comparisons of the holdout say of the thresholds, as plain JSON values.
    mated_scores : tuple
        float32 scores of pairs of images of one person of the holdout, and the persons in them.
    impostor_sample : ndarray
        float32 scores of random pairs of different persons of the holdout; none where the matcher gives scores.
    copies : CopyScores or None
        Comparisons of thumbnails with a synthetic set.
    matcher : str
        Its name.
    """

    training: FaceSet
    holdout: FaceSet
    comparisons: Comparisons
    calibrator: Calibrator | ClaimedThresholds
    points: list[PointResult]
    shared: list[dict[str, Any]]
    probes: FaceSet | None = None
    analysis: dict[str, Any] = field(default_factory=dict)
    mated_scores: tuple[NDArray[np.float32], int] = field(default_factory=lambda: (NO_SCORES, 0))
    impostor_sample: NDArray[np.float32] = field(default_factory=lambda: NO_SCORES)
    copies: CopyScores | None = None
    matcher: str = "the matcher"

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
    analysis: Analysis
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
    config: ScanConfig,
    training: FaceSet,
    holdout: FaceSet,
    comparisons: Comparisons,
    probes: FaceSet | None = None,
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
    baseline = Baseline(training, holdout, comparisons, calibrator, points, shared, probes)
    found = calibration_analyses(config, baseline)
    return replace(baseline, analysis=found.entries, mated_scores=found.mated, impostor_sample=found.sample)


def evaluate(
    config: ScanConfig,
    baseline: Baseline,
    synthetic: FaceSet,
    skipped: dict[str, list[tuple[str, str]]],
    key: Key,
    tell: Callable[[str, int, int], None],
) -> Evaluation:
    """Search and measure one synthetic set; `key` is that of the pseudonyms.

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
    analysis = analyse(config, baseline, sets, points, key, tell)
    return Evaluation(
        sets=sets,
        baseline=baseline,
        points=points,
        training=training,
        holdout=holdout,
        analysis=analysis,
        checks=[*baseline.shared, *equal_files(list(sets.faces.values())), *analysis.findings],
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
    persons = distinct(enrolled[found.rows] * (int(others.max()) + 1) + others[found.columns])
    return Cross(
        len(found.rows),
        len(enrolled) * len(others),
        len(persons),
        len(np.unique(enrolled)) * len(np.unique(others)),
    )


def _matches(synthetic: FaceSet, real: FaceSet, count: int, baseline: Baseline) -> Matches:
    scores, ids = baseline.comparisons.best(synthetic, real, count)
    return Matches(scores, ids, baseline.calibrator.share_at(scores))
