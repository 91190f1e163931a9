"""What the comparisons of real people say of the thresholds: once for all synthetic sets of a scan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from idsim.audit.faces import NOT_REDONE, EmbeddingsNeededError
from idsim.audit.pairs.comparing import MAX_MATED_PAIRS, mated_pairs
from idsim.audit.rates.dependence import pairs_of
from idsim.audit.rates.intervals import rule_of_three
from idsim.audit.rates.resampling import image_counts
from idsim.audit.thresholds.contamination import (
    choose_cut,
    contamination_entry,
    find_contamination,
    threshold_sensitivity,
)
from idsim.audit.thresholds.extremes import extrapolate, fit_tail, tail_entry
from idsim.audit.thresholds.gumbel import fit_gumbel, growth_entry
from idsim.audit.thresholds.roc import fmr_grid, separate, separation_entry
from idsim.audit.thresholds.sampled_impostors import binned_with_sample, sample_impostors
from idsim.audit.thresholds.tail_impostors import TailImpostors
from idsim.audit.thresholds.vertex_bootstrap import bootstrap_entry, bootstrap_false_match_rate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from idsim.audit.configuration.config import ScanConfig
    from idsim.audit.evaluation import Baseline
    from idsim.audit.faces import FaceSet
    from idsim.audit.pairs.compared import Compared
    from idsim.audit.thresholds.extremes import TailFit

__all__ = ["CalibrationAnalyses", "calibration_analyses"]

MANY_FALSE_MATCHES = 1_000_000  # beyond this the closed form is sure enough


class CalibrationAnalyses(NamedTuple):
    """What the comparisons of the holdout say.

    Attributes
    ----------
    entries : dict
        Contamination, the bootstrap of the primary FMR, extrapolated thresholds, growth of best matches, separation;
        plain JSON values.
    mated : tuple
        float32 scores of pairs of images of one person of the holdout, and the persons in them.
    sample : ndarray
        float32: scores of random pairs of different persons; none where the matcher gives scores.
    """

    entries: dict[str, Any]
    mated: tuple[NDArray[np.float32], int]
    sample: NDArray[np.float32]


def calibration_analyses(config: ScanConfig, baseline: Baseline) -> CalibrationAnalyses:
    """Return what the comparisons of real people say of the thresholds, and the scores behind it."""
    holdout, none = baseline.holdout, np.empty(0, np.float32)
    own = baseline.comparisons.compared(holdout, holdout)
    persons = holdout.codes()[0]
    if own is None or len(np.unique(persons)) < 2:
        return CalibrationAnalyses({"refused": "the holdout was not compared with itself"}, (none, 0), none)
    confidence = config.statistics.confidence
    mated, mated_persons = baseline.comparisons.mated([holdout])
    sample = none
    cut = choose_cut(own, persons, mated, mated_persons, config.calibration.cut)
    found, sensitivity = None, []
    keep = np.ones(len(persons), np.bool_)
    if cut.score is not None:
        found = find_contamination(own, persons, cut, confidence, mated if len(mated) else None)
        keep = found.keep
        if len(found.removed):
            targets = config.calibration.targets()
            sensitivity = threshold_sensitivity(own, persons, found, targets, confidence)
    result = {
        "contamination": contamination_entry(found, cut, sensitivity),
        "fmr_bootstrap": _bootstrap(config, baseline, own, persons),
        "best_match_growth": growth_entry(
            fit_gumbel(own.scores[:, 0], own.ids[:, 0], persons, own.metric, confidence)
            if own.scores.shape[1]
            else "no pair is listed"
        ),
    }
    if holdout.vectors.shape[1]:
        try:
            sample = baseline.comparisons.further(
                ("sampled impostors", "holdout"),
                lambda: sample_impostors(holdout.vectors, persons, _metric(own)),
            )
            result["separation"] = _separation(config, holdout, own, mated, sample)
        except EmbeddingsNeededError:
            result["separation"] = dict(NOT_REDONE)
    if config.calibration.extrapolate:
        fit = _tail(config, own, persons, keep)
        wanted = [] if isinstance(fit, str) else extrapolate(fit, list(config.calibration.extrapolate))
        result["extrapolation"] = tail_entry(fit, wanted)
    return CalibrationAnalyses(result, (mated, mated_persons), sample)


def _metric(compared: Compared) -> Any:
    return compared.metric


def _bootstrap(
    config: ScanConfig, baseline: Baseline, own: Compared, persons: NDArray[np.int64]
) -> dict[str, Any] | None:
    threshold = baseline.points[0].point.threshold
    if threshold is None or not own.holds(threshold):
        return None
    pairs = own.reaching(threshold)
    if len(pairs.rows) > MANY_FALSE_MATCHES:
        return None
    rng = np.random.default_rng([config.run.seed, 200])
    first, second = persons[pairs.rows], persons[pairs.columns]
    statistics = config.statistics
    return bootstrap_entry(
        bootstrap_false_match_rate(
            first, second, image_counts(persons), rng, statistics.confidence, statistics.bootstrap
        )
    )


def _separation(
    config: ScanConfig,
    holdout: FaceSet,
    own: Compared,
    mated: NDArray[np.float32],
    sample: NDArray[np.float32],
) -> dict[str, Any]:
    """Return DET, EER, AUC, KS and d' of mated against impostor scores of the holdout."""
    persons = holdout.codes()[0]
    images = image_counts(persons)
    whose = persons[mated_pairs(holdout, MAX_MATED_PAIRS)[0]]
    impostors, sampled = binned_with_sample(own, sample, pairs_of(images))
    rates = fmr_grid(rule_of_three(len(images) * (len(images) - 1) // 2))
    found = separate(mated, whose, impostors, rates, config.statistics.confidence)
    return separation_entry(found) | {"sampled_impostors": sampled or None}


def _tail(
    config: ScanConfig, own: Compared, persons: NDArray[np.int64], keep: NDArray[np.bool_]
) -> TailFit | str:
    """Fit the tail of the impostors, without those that are taken for pairs of one person."""
    _, codes = np.unique(persons[keep], return_inverse=True)
    kept = TailImpostors(own, persons, keep)
    rng = np.random.default_rng([config.run.seed, 201])
    comparisons = pairs_of(image_counts(codes.reshape(-1)))
    statistics = config.statistics
    return fit_tail(
        kept.listed,
        codes.reshape(-1),
        own.metric,
        comparisons,
        rng,
        statistics.confidence,
        replicates=statistics.bootstrap,
    )
