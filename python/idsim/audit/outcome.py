"""The final files of a scan: of one synthetic set, or of every set of a series and of the series.

The sets of a series share the real sets and the thresholds. Each has a folder below ``sets`` with the files of a scan
of that set alone; the summary of the run has a row for each.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from idsim.audit.diagnostics.inputs import equal_files
from idsim.audit.evaluation import evaluate
from idsim.audit.folder import CURVES, SUMMARY
from idsim.audit.persons.person_records import PERSON_TYPES, person_columns
from idsim.audit.records import failures, image_columns, pair_columns
from idsim.audit.series import series_row, series_verdict, with_correction
from idsim.audit.summary import (
    SCHEMA_VERSION,
    calibration_entry,
    make_summary,
    matcher_entry,
    point_entry,
    rounded,
    set_entry,
    statistics_entry,
)
from idsim.audit.tables import write_json, write_lines, write_table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from idsim.audit.configuration.config import ScanConfig
    from idsim.audit.evaluation import Baseline, Evaluation
    from idsim.audit.faces import FaceSet
    from idsim.audit.records import Key
    from idsim.audit.work import Work

    # Takes the folder and the content of a summary, and returns what is written.
    Settle = Callable[[Path, dict[str, Any]], dict[str, Any]]

__all__ = ["SETS", "as_measured", "write_evaluation", "write_series"]

SETS = "sets"


def as_measured(folder: Path, summary: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001 - of others
    """Return a summary as it is."""
    return summary


def write_evaluation(
    config: ScanConfig,
    folder: Path,
    evaluation: Evaluation,
    matcher: dict[str, Any],
    key: Key,
    tabled: tuple[str, ...] = ("synthetic", "training", "holdout"),
    settle: Settle = as_measured,
) -> dict[str, Any]:
    """Write the files of one synthetic set, the summary last, and return the summary.

    Parameters
    ----------
    config : ScanConfig
        The scan.
    folder : Path
        Where the files go.
    evaluation : Evaluation
        What was measured.
    matcher : dict
        Description of the matcher.
    key : bytes
        Of the pseudonyms.
    tabled : tuple of str
        The sets whose items are listed in the tables of images and failures.
    settle : callable
        Called with the folder and the content of the summary; what it returns is written.
    """
    faces = [evaluation.sets.faces[name] for name in tabled]
    matches = evaluation.training, evaluation.holdout
    tables = [
        write_table(folder / "pairs", pair_columns(evaluation, key)),
        write_table(folder / "images", image_columns(faces, matches, key)),
    ]
    persons = person_columns(evaluation, key)
    if persons:
        tables.append(write_table(folder / "persons", persons, PERSON_TYPES))
    write_lines(folder / "failures.jsonl", failures(faces, evaluation.sets.skipped))
    write_json(folder / CURVES, rounded(evaluation.analysis.curves))
    summary = settle(folder, make_summary(config, evaluation, matcher, key, [path.name for path in tables]))
    write_json(folder / SUMMARY, summary)
    return summary


def write_series(
    folder: Path,
    work: Work,
    baseline: Baseline,
    of_set: Callable[[str], Baseline],
    key: Key,
    tell: Callable[[str, int, int], None],
    settle: Settle = as_measured,
) -> dict[str, Any]:
    """Write the files of every set that has none yet, then those of the series, and return its summary.

    Parameters
    ----------
    folder : Path
        Where the files go.
    work : Work
        The sets, the matcher and the configuration.
    baseline : Baseline
        Of the real sets.
    of_set : callable
        Returns the baseline with the comparisons of a synthetic set, by its name.
    key : bytes
        Of the pseudonyms.
    tell : callable
        Told how far it is.
    settle : callable
        Called with the folder and the content of every summary; what it returns is written.
    """
    config, matcher = work.config, work.matcher
    real = [baseline.training, baseline.holdout]
    checks = [*baseline.shared, *equal_files(real)]
    rows = []
    for number, (name, part) in enumerate(work.series.items()):
        place = folder / SETS / name
        place.mkdir(parents=True, exist_ok=True)
        if not (place / SUMMARY).exists():
            _write_set(config, place, of_set(name), part.faces(), matcher, key, tell, settle)
        rows.append(series_row(name, f"{SETS}/{name}", json.loads((place / SUMMARY).read_bytes()), checks))
        tell("sets", number + 1, len(work.series))
    rows = with_correction(rows, config.statistics.confidence)
    table = write_table(folder / "images", image_columns(real, None, key))
    write_lines(folder / "failures.jsonl", failures(real, work.skipped))
    points = [
        point_entry(result, number == 0, config.statistics.confidence)
        for number, result in enumerate(baseline.points)
    ]
    summary = {
        "schema_version": SCHEMA_VERSION,
        "run": config.run.name,
        "verdict": series_verdict(rows, points[0], config.statistics.confidence),
        "matcher": matcher_entry(matcher),
        "sets": {
            faces.name: set_entry(faces, part.labels, len(work.skipped.get(faces.name, [])))
            for faces, part in zip(real, (config.training, config.holdout), strict=True)
        },
        "calibration": calibration_entry(config, baseline),
        "operating_points": points,
        "series": rows,
        "checks": checks,
        "statistics": statistics_entry(config),
        "tables": [table.name],
    }
    summary = settle(folder, {name: rounded(value) for name, value in summary.items()})
    write_json(folder / SUMMARY, summary)
    return summary


def _write_set(
    config: ScanConfig,
    place: Path,
    baseline: Baseline,
    synthetic: FaceSet,
    matcher: dict[str, Any],
    key: Key,
    tell: Callable[[str, int, int], None],
    settle: Settle,
) -> None:
    """Write the files of one set of a series. A set without any face, as early checkpoints draw it, is no error."""
    if len(synthetic.rows):
        evaluation = evaluate(config, baseline, synthetic, {}, key, tell)
        write_evaluation(config, place, evaluation, matcher, key, ("synthetic",), settle)
        return
    table = write_table(place / "images", image_columns([synthetic], None, key))
    write_lines(place / "failures.jsonl", failures([synthetic], {}))
    sentence = f"Inconclusive: no face was found in any of the {len(synthetic.items)} images."
    name = baseline.points[0].point.target.name
    summary = {
        "schema_version": SCHEMA_VERSION,
        "run": config.run.name,
        "verdict": {"status": "inconclusive", "operating_point": name, "sentence": sentence},
        "matcher": matcher_entry(matcher),
        "sets": {"synthetic": set_entry(synthetic, config.synthetic.labels, 0)},
        "operating_points": [],
        "checks": [],
        "tables": [table.name],
    }
    write_json(place / SUMMARY, settle(place, {name: rounded(value) for name, value in summary.items()}))
