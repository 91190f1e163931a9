"""What several matchers say together: a row per matcher and set, corrected for their number, and one verdict."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from idsim.audit.agreeing import consensus_of
from idsim.audit.analysis.curves import SCHEMA_VERSION as CURVES_VERSION
from idsim.audit.folder import CURVES, SUMMARY
from idsim.audit.outcome import as_measured
from idsim.audit.series import series_row, series_verdict, with_correction
from idsim.audit.summary import SCHEMA_VERSION, rounded, statistics_entry
from idsim.audit.tables import write_json

if TYPE_CHECKING:
    from pathlib import Path

    from idsim.audit.agreeing import Compare
    from idsim.audit.configuration.config import ScanConfig
    from idsim.audit.outcome import Settle
    from idsim.audit.work import Work

__all__ = ["MATCHERS", "write_several"]

MATCHERS = "matchers"


def write_several(
    config: ScanConfig, folder: Path, works: list[Work], compare: Compare, settle: Settle = as_measured
) -> dict[str, Any]:
    """Write the summary over the matchers, whose own summaries are there, and return it.

    Parameters
    ----------
    config : ScanConfig
        The scan.
    folder : Path
        The run folder.
    works : list of Work
        By matcher.
    compare : callable
        Returns the scores of a matcher between the real sets and a synthetic one, by its name.
    settle : callable
        Called with the folder and the content of the summary; what it returns is written.
    """
    labels = [work.label for work in works]
    summaries = {label: json.loads((folder / MATCHERS / label / SUMMARY).read_bytes()) for label in labels}
    rows = []
    for label, found in summaries.items():
        place = f"{MATCHERS}/{label}"
        for row in found.get("series", [None]):
            name = label if row is None else f"{label}, {row['name']}"
            of = place if row is None else f"{place}/{row['folder']}"
            source = found if row is None else json.loads((folder / of / SUMMARY).read_bytes())
            rows.append(series_row(name, of, source, []) | {"matcher": label})
    rows = with_correction(rows, config.statistics.confidence)
    points = {label: found["operating_points"] for label, found in summaries.items()}
    first = next(iter(points.values()))[0]
    agreed = consensus_of(config, works, summaries, compare)
    summary = {
        "schema_version": SCHEMA_VERSION,
        "run": config.run.name,
        "verdict": series_verdict(
            rows,
            first,
            config.statistics.confidence,
            "matchers" if len(rows) == len(labels) else "combinations of matcher and set",
        ),
        "rows": rows,
        "consensus": agreed.consensus,
        "matchers": summaries,
        "statistics": statistics_entry(config),
        "tables": [],
    }
    curves = {"schema_version": CURVES_VERSION, "flagged": agreed.flagged}
    write_json(folder / CURVES, rounded(curves))
    summary = settle(folder, {name: rounded(value) for name, value in summary.items()})
    write_json(folder / SUMMARY, summary)
    return summary
