"""The summary of a scan: numbers with what they rest on, under pseudonyms.

The layout of ``summary.json`` is described in docs/leakage.md; `SCHEMA_VERSION` changes when it does.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.audit.rates.intervals import zero_errors_upper
from idsim.audit.records import known_number, pseudonym

if TYPE_CHECKING:
    from idsim.audit.configuration.config import ScanConfig
    from idsim.audit.evaluation import Baseline, Evaluation, PointResult
    from idsim.audit.faces import FaceSet
    from idsim.audit.rates.intervals import Interval
    from idsim.audit.rates.leakage import Exposure, Leakage, Rate
    from idsim.audit.records import Key
    from idsim.audit.thresholds.calibration import ErrorRate

__all__ = [
    "SCHEMA_VERSION",
    "calibration_entry",
    "make_summary",
    "matcher_entry",
    "percent",
    "point_entry",
    "rounded",
    "set_entry",
    "statistics_entry",
]

SCHEMA_VERSION = 1

# The last bits of float64 sums may depend on the number of threads of NumPy's BLAS; nine digits do not.
DIGITS = 9


def make_summary(
    config: ScanConfig, evaluation: Evaluation, matcher: dict[str, Any], key: Key, tables: list[str]
) -> dict[str, Any]:
    """Return the content of ``summary.json``: plain JSON values in a fixed order.

    Parameters
    ----------
    config : ScanConfig
        The scan.
    evaluation : Evaluation
        What was measured.
    matcher : dict
        Description of the matcher.
    key : bytes
        Of the pseudonyms.
    tables : list of str
        Names of the table files beside the summary.
    """
    sets = evaluation.sets
    summary = {
        "schema_version": SCHEMA_VERSION,
        "run": config.run.name,
        "verdict": _verdict(evaluation, config.statistics.confidence),
        "matcher": matcher_entry(matcher),
        "sets": {
            name: set_entry(faces, part.labels, len(sets.skipped.get(name, [])))
            for name, part in config.sets.items()
            if (faces := evaluation.baseline.probes if name == "probes" else sets.faces[name]) is not None
        },
        "calibration": calibration_entry(config, evaluation.baseline),
        "operating_points": [
            point_entry(result, number == 0, config.statistics.confidence)
            for number, result in enumerate(evaluation.points)
        ],
        "analysis": evaluation.analysis.entries,
        "checks": evaluation.checks,
        "top_pairs": _top_pairs(config, evaluation, key),
        "statistics": statistics_entry(config),
        "tables": tables,
    }
    return {name: rounded(value) for name, value in summary.items()}


def matcher_entry(matcher: dict[str, Any]) -> dict[str, Any]:
    """Return what a reader must know of the matcher."""
    more = [name for name in ("higher_is_better", "scores") if name in matcher]
    return {name: matcher[name] for name in ("name", "metric", "dim", "licence", *more)}


def statistics_entry(config: ScanConfig) -> dict[str, Any]:
    """Return how intervals and p-values were made."""
    statistics = config.statistics
    return {
        "confidence": statistics.confidence,
        "bootstrap_replicates": statistics.bootstrap,
        "permutations": statistics.permutations,
        "seed": config.run.seed,
    }


def rounded(value: Any) -> Any:
    """Return plain JSON values with floats of nine significant digits; what is not finite becomes None."""
    if isinstance(value, dict):
        return {str(key): rounded(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(entry) for entry in value]
    if isinstance(value, (float, np.floating)):
        return float(f"{float(value):.{DIGITS}g}") if np.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


# --- sets and calibration -------------------------------------------------------------------------


def set_entry(faces: FaceSet, rule: str, skipped: int) -> dict[str, Any]:
    """Return what a set consists of."""
    status = Counter(str(record.get("status", "ok")) for record in faces.records)
    routes = Counter(str(record.get("route")) for record in faces.records if record.get("route"))
    several = sum(int(record.get("faces", 0)) > 1 for record in faces.records)
    entry = {
        "items": len(faces.items),
        "with_face": len(faces.rows),
        "no_face": status.get("no_face", 0),
        "unreadable": status.get("unreadable", 0),
        "failure_to_acquire": 1 - len(faces.rows) / len(faces.items) if faces.items else 0.0,
        "skipped_files": skipped,
        "several_faces": several,
        "routes": dict(sorted(routes.items())),
        "clusters" if faces.name == "synthetic" else "persons": len(set(faces.labels)),
        "labels": rule if rule in ("each", "folder", "group") else "file",
    }
    return entry | {"generator": faces.origin} if faces.origin else entry


def calibration_entry(config: ScanConfig, baseline: Baseline) -> dict[str, Any]:
    """Return what the thresholds rest on."""
    persons, images = baseline.persons[1], len(baseline.holdout.rows)
    compared = baseline.calibrator.comparisons
    return {
        "set": "holdout",
        "persons": persons,
        "images": images,
        "impostor_comparisons": compared,
        "searches_against": config.calibration.against,
        "persons_searched": baseline.points[0].point.gallery_persons,
        "least_fmr_supported": min(1.0, 6.0 / (persons * (persons - 1))) if compared and persons > 1 else 1.0,
        "least_fpir_supported": min(1.0, 3.0 / persons) if compared and persons else 1.0,
        # If 1 % of the images had a partner of the same person under another label, the false match rate
        # could not be measured below this: the pairs would be right.
        "contamination_floor_per_percent": 0.01 / max(1, images),
        "analysis": baseline.analysis,
    }


# --- operating points -----------------------------------------------------------------------------


def point_entry(result: PointResult, primary: bool, confidence: float) -> dict[str, Any]:
    """Return an operating point, with the leakage there if it was measured."""
    point = result.point
    entry: dict[str, Any] = {
        "name": point.target.name,
        "primary": primary,
        "kind": point.target.kind,
        "target": point.target.value,
        "threshold": point.threshold,
        "refused": point.refusal or None,
        "fmr": _error_rate(point.fmr),
        "fpir": _error_rate(point.fpir),
        "persons_searched": point.gallery_persons,
        "fnmr": None,
    }
    if point.claimed_fmr is not None:
        entry["claimed_fmr"] = point.claimed_fmr
    if result.mated is not None:
        mated = result.mated
        entry["fnmr"] = {
            "rate": mated.missed / mated.pairs,
            "missed": mated.missed,
            "pairs": mated.pairs,
            "persons": mated.persons,
        }
    if result.leakage is not None:
        entry |= _leakage(result.leakage, confidence)
    if result.cross is not None:
        entry["training_holdout_pairs"] = {"reach": result.cross.pairs, "compared": result.cross.compared}
    return entry


def _error_rate(rate: ErrorRate | None) -> dict[str, Any] | None:
    if rate is None:
        return None
    return {
        "rate": rate.rate,
        "errors": rate.errors,
        "trials": rate.trials,
        **_interval(rate.interval),
        "flags": rate.flags,
    }


def _interval(interval: Interval) -> dict[str, Any]:
    return {"low": interval.low, "high": interval.high, "method": interval.method}


def _leakage(leakage: Leakage, confidence: float) -> dict[str, Any]:
    risk = leakage.residual_risk
    return {
        "leak_rate_training": _rate(leakage.training),
        "leak_rate_holdout": _rate(leakage.holdout),
        "excess_leak_rate": {
            "rate": leakage.excess,
            **_interval(leakage.excess_interval),
            "upper": leakage.excess_upper,
            "confidence": confidence,
            "permutation_p": leakage.p_value,
        },
        "residual_risk": None if risk is None else {"unclipped": risk, "clipped": min(1.0, max(0.0, risk))},
        "tail_lift": leakage.tail_lift,
        "matched_galleries": {"persons": leakage.persons_compared, "draws": leakage.draws},
        "exposure_training": _exposure(leakage.exposures[0]),
        "exposure_holdout": _exposure(leakage.exposures[1]),
    }


def _rate(rate: Rate) -> dict[str, Any]:
    return {
        "rate": rate.rate,
        "images": rate.images,
        "clusters": rate.clusters,
        **_interval(rate.interval),
        "upper": rate.upper,
        "effective_clusters": rate.effective_clusters,
        "design_effect": rate.design_effect,
    }


def _exposure(exposure: Exposure) -> dict[str, Any]:
    return {
        "persons": exposure.persons,
        "exposed": exposure.exposed,
        "effective_exposed": exposure.effective,
        "top_person_share": exposure.top_share,
        "pairs": exposure.pairs,
        "pairs_compared": exposure.compared,
    }


# --- verdict --------------------------------------------------------------------------------------


def _verdict(evaluation: Evaluation, confidence: float) -> dict[str, Any]:
    primary = evaluation.primary
    leakage = primary.leakage
    name = primary.point.target.name
    if leakage is None:
        sentence = f"Inconclusive: there is no threshold for {name}: {primary.point.refusal}."
        return {"status": "inconclusive", "operating_point": name, "sentence": sentence}
    low, high, _ = leakage.excess_interval
    level = f"{100 * confidence:g} %"
    if low > 0 and leakage.p_value <= 1 - confidence:
        sentence = (
            f"Excess found at {name}: {percent(leakage.training.rate)} of the synthetic images reach a person of "
            f"the training set and {percent(leakage.holdout.rate)} one of the holdout; the excess leak rate is "
            f"{percent(leakage.excess)} ({level} interval {percent(low)} to {percent(high)}, permutation p = "
            f"{leakage.p_value:.2g})."
        )
        return {"status": "excess", "operating_point": name, "sentence": sentence}
    sentence = (
        f"No excess was found at {name}. The excess leak rate is {percent(leakage.excess)} ({level} interval "
        f"{percent(low)} to {percent(high)}, permutation p = {leakage.p_value:.2g}), and with {level} confidence "
        f"it is at most {percent(leakage.excess_upper)}{_resolution(evaluation, confidence)}. "
        "This bounds what this matcher sees at this threshold; it does not prove privacy."
    )
    return {"status": "none_found", "operating_point": name, "sentence": sentence}


def _resolution(evaluation: Evaluation, confidence: float) -> str:
    clusters = len(set(evaluation.sets.synthetic.labels))
    least = zero_errors_upper(clusters, confidence)
    return f"; {clusters} independent images or clusters cannot show a rate below {percent(least)}"


def percent(rate: float) -> str:
    """Return a rate in percent with the digits that it needs."""
    value = 100 * rate
    if value == 0:
        return "0 %"
    return f"{value:.2f} %" if abs(value) >= 0.1 else f"{value:.2g} %"


# --- top pairs ------------------------------------------------------------------------------------


def _top_pairs(config: ScanConfig, evaluation: Evaluation, key: Key) -> list[dict[str, Any]]:
    """Return the best matches in the training set, one per synthetic image, best first."""
    sets = evaluation.sets
    scores = evaluation.training.scores[:, 0]
    order = np.lexsort((np.arange(len(scores)), scores if evaluation.metric == "l2" else -scores))
    result = []
    listed = order[evaluation.training.ids[order, 0] >= 0]
    for row in listed[: config.output.top_pairs].tolist():
        image = int(sets.training.rows[int(evaluation.training.ids[row, 0])])
        item = int(sets.synthetic.rows[row])
        result.append(
            {
                "synthetic": pseudonym(key, "synthetic", sets.synthetic.items[item]),
                "training_person": pseudonym(key, "training person", sets.training.labels[image]),
                "training_image": pseudonym(key, "training", sets.training.items[image]),
                "score": float(scores[row]),
                "best_holdout_score": known_number(evaluation.holdout.scores[row, 0]),
                "calibration_share": known_number(evaluation.training.share[row, 0]),
            }
        )
    return result
