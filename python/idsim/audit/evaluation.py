"""What is measured on the three sets, once their embeddings are there."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim import reference
from idsim.audit.calibration import Calibrator, OperatingPoint
from idsim.audit.faces import FaceSet, encode_labels
from idsim.audit.leakage import Leakage, Resampling, closer_share, measure
from idsim.audit.tails import TooLooseError, reaching_pairs
from idsim.search import search

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from idsim.audit.config import ScanConfig
    from idsim.options import Metric

__all__ = ["Cross", "Evaluation", "Matches", "MatedPairs", "PointResult", "Sets", "evaluate"]

# Pairs of images of one person are scored in NumPy: enough for a miss rate, and no more.
MAX_MATED_PAIRS = 100_000

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


@dataclass
class Evaluation:
    """Everything that the final files are written from."""

    sets: Sets
    metric: str
    points: list[PointResult]
    training: Matches
    holdout: Matches
    closer: dict[str, Any]
    calibration_persons: int
    calibration_images: int
    comparisons: int
    checks: list[dict[str, Any]] = field(default_factory=list)

    @property
    def primary(self) -> PointResult:
        """The operating point that was declared first."""
        return self.points[0]


def evaluate(
    config: ScanConfig, sets: Sets, metric: Metric, tell: Callable[[str, int, int], None]
) -> Evaluation:
    """Calibrate, search and measure.

    Raises
    ------
    ValueError
        A set has no embedding at all.
    """
    checks = _check_overlaps(config, sets)
    for name, faces in sets.faces.items():
        if not len(faces.rows):
            raise ValueError(f"[{name}] has {len(faces.items)} items, and none of them has a face")
    calibrator = _calibrator(config, sets, metric)
    statistics = config.statistics
    resampling = Resampling(
        statistics.confidence,
        statistics.bootstrap,
        statistics.permutations,
        statistics.draws,
        config.run.seed,
    )
    mated = _mated_scores(sets, metric)
    targets = config.calibration.targets()
    points = []
    for number, target in enumerate(targets):
        tell("statistics", number, len(targets))
        points.append(_measure_point(calibrator.point(target), sets, metric, resampling, mated))
    training = _matches(sets.synthetic, sets.training, config.output.matches, metric, calibrator)
    holdout = _matches(sets.synthetic, sets.holdout, config.output.matches, metric, calibrator)
    sizes = len(sets.training.codes()[1]), len(sets.holdout.codes()[1])
    return Evaluation(
        sets=sets,
        metric=metric,
        points=points,
        training=training,
        holdout=holdout,
        closer=closer_share(training.scores[:, 0], holdout.scores[:, 0], sizes, metric),
        calibration_persons=sizes[1],
        calibration_images=len(sets.holdout.rows),
        comparisons=calibrator.comparisons,
        checks=checks + _check_cross(points[0]),
    )


def _calibrator(config: ScanConfig, sets: Sets, metric: Metric) -> Calibrator:
    labels = [f"h:{sets.holdout.labels[row]}" for row in sets.holdout.rows]
    searched = None
    against_training = config.calibration.against == "training"
    others = [f"t:{sets.training.labels[row]}" for row in sets.training.rows] if against_training else []
    codes, _ = encode_labels(labels + others)
    if against_training:
        searched = sets.training.vectors, codes[len(labels) :]
    confidence = config.statistics.confidence
    return Calibrator(sets.holdout.vectors, codes[: len(labels)], metric, confidence, searched)


def _measure_point(
    point: OperatingPoint,
    sets: Sets,
    metric: Metric,
    resampling: Resampling,
    mated: tuple[NDArray[np.float32], int],
) -> PointResult:
    if point.threshold is None:
        return PointResult(point, None, None, None)
    try:
        leakage = measure(sets.synthetic, sets.training, sets.holdout, point.threshold, metric, resampling)
        cross = _cross(sets, point.threshold, metric)
    except TooLooseError as error:
        return PointResult(replace(point, threshold=None, refusal=str(error)), None, None, None)
    scores, persons = mated
    wide = scores.astype(np.float64)
    missed = int((wide > point.threshold).sum() if metric == "l2" else (wide < point.threshold).sum())
    pairs = MatedPairs(len(scores), missed, persons) if len(scores) else None
    return PointResult(point, leakage, pairs, cross)


def _cross(sets: Sets, threshold: float, metric: Metric) -> Cross:
    training, holdout = sets.training.codes()[0], sets.holdout.codes()[0]
    found = reaching_pairs(sets.training.vectors, sets.holdout.vectors, threshold, metric)
    persons = set(zip(training[found.rows].tolist(), holdout[found.columns].tolist(), strict=True))
    return Cross(
        len(found.rows),
        len(training) * len(holdout),
        len(persons),
        len(np.unique(training)) * len(np.unique(holdout)),
    )


def _matches(
    synthetic: FaceSet, real: FaceSet, count: int, metric: Metric, calibrator: Calibrator
) -> Matches:
    found = search(synthetic.vectors, real.vectors, min(count, len(real.rows)), metric=metric)
    scores, ids = np.asarray(found.scores), np.asarray(found.ids)
    return Matches(scores, ids, calibrator.share_at(scores))


def _mated_scores(sets: Sets, metric: Metric) -> tuple[NDArray[np.float32], int]:
    """Return the scores of the pairs of images of one person in the real sets, and the persons in them."""
    left: list[NDArray[np.float32]] = []
    right: list[NDArray[np.float32]] = []
    pairs = persons = 0
    for faces in (sets.holdout, sets.training):
        codes = faces.codes()[0]
        order = np.argsort(codes, kind="stable")
        for members in np.split(order, np.flatnonzero(np.diff(codes[order])) + 1):
            if len(members) < 2 or pairs >= MAX_MATED_PAIRS:
                continue
            first, second = np.triu_indices(len(members), 1)
            room = MAX_MATED_PAIRS - pairs
            left.append(faces.vectors[members[first[:room]]])
            right.append(faces.vectors[members[second[:room]]])
            pairs += len(left[-1])
            persons += 1
    if not pairs:
        return np.empty(0, np.float32), 0
    return reference.paired_scores(np.concatenate(left), np.concatenate(right), metric), persons


# --- checks that a reader of the numbers must see -------------------------------------------------


def _check_overlaps(config: ScanConfig, sets: Sets) -> list[dict[str, Any]]:
    """Take persons that both real sets name out of the holdout, and report equal files."""
    checks = []
    if "each" not in (config.training.labels, config.holdout.labels):
        shared = set(sets.training.labels) & set(sets.holdout.labels)
        if shared:
            sets.holdout = sets.holdout.without(shared)
            text = "persons are named in training and in holdout; they were taken out of the holdout"
            checks.append({"check": "shared persons", "count": len(shared), "meaning": text})
    names = list(sets.faces)
    for number, first in enumerate(names):
        for second in names[number + 1 :]:
            count = len(_contents(sets.faces[first]) & _contents(sets.faces[second]))
            if count:
                text = f"files have the same bytes in {first} and in {second}"
                checks.append({"check": "equal files", "count": count, "meaning": text})
    return checks


def _contents(faces: FaceSet) -> set[str]:
    return {str(record["sha256"]) for record in faces.records if len(str(record.get("sha256", ""))) == 64}


def _check_cross(primary: PointResult) -> list[dict[str, Any]]:
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
