"""The results of a run as a short JSON object for the card of a data set or model.

``summary.json`` has everything and grows with idsim; the digest keeps its keys. Its layout is in
docs/report-figures.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from idsim.report.results import LIMITS, provenance_sha256, reproduce, result_rows

if TYPE_CHECKING:
    from idsim.report.data import RunResults
    from idsim.report.results import ResultRow

__all__ = ["SCHEMA_VERSION", "digest"]

SCHEMA_VERSION = 1

SET_COUNTS = ("items", "with_face", "no_face", "unreadable", "persons", "clusters")


def digest(run: RunResults) -> dict[str, Any]:
    """Return the digest as plain JSON values in a fixed order; names of files and persons are not in it."""
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": "idsim identity-leakage digest",
        "run": run.name,
        "idsim": run.provenance.get("software", {}).get("idsim"),
        "verdict": {key: run.summary["verdict"][key] for key in ("status", "operating_point", "sentence")},
        "results": [_result(row) for row in result_rows(run)],
        "sets": _sets(run),
        "checks": _checks(run),
        "limits": list(LIMITS),
        "statistics": run.summary["statistics"],
        "declared": run.provenance.get("config", {}).get("declared", {}),
        "provenance_sha256": provenance_sha256(run),
        "reproduce": reproduce(run),
    }


def _result(row: ResultRow) -> dict[str, Any]:
    point = row.point
    excess, training = point.get("excess_leak_rate"), point.get("leak_rate_training")
    return {
        "matcher": row.matcher,
        "set": row.variant or None,
        "metric": row.metric,
        "operating_point": point["name"],
        "primary": point["primary"],
        "refused": point["refused"],
        "threshold": point["threshold"],
        "fmr": _part(point.get("fmr"), "rate", "low", "high", "errors", "trials"),
        "fpir": _part(point.get("fpir"), "rate", "low", "high", "errors", "trials"),
        "persons_searched": point.get("persons_searched"),
        "fnmr": _part(point.get("fnmr"), "rate", "missed", "pairs", "persons"),
        "leak_rate_training": _part(training, "rate", "low", "high", "images"),
        "leak_rate_holdout": _part(point.get("leak_rate_holdout"), "rate", "low", "high", "images"),
        "excess_leak_rate": _part(excess, "rate", "low", "high", "upper", "confidence"),
        "permutation_p": excess and excess["permutation_p"],
        "permutation_p_corrected": row.p_corrected,
        "effective_clusters": training and training["effective_clusters"],
        "design_effect": training and training["design_effect"],
    }


def _part(entry: dict[str, Any] | None, *keys: str) -> dict[str, Any] | None:
    return None if entry is None else {key: entry[key] for key in keys}


def _sets(run: RunResults) -> list[dict[str, Any]]:
    """Return what the sets consist of, as each matcher sees them."""
    rows = []
    for matcher in run.matchers:
        seen = {(found.name, "synthetic"): found.summary["sets"]["synthetic"] for found in matcher.sets}
        seen |= {("", name): entry for name, entry in matcher.summary["sets"].items() if name != "synthetic"}
        for (variant, name), entry in seen.items():
            counts = {key: entry[key] for key in SET_COUNTS if key in entry}
            rows.append({"matcher": matcher.name, "set": variant or None, "of": name, **counts})
    return rows


def _checks(run: RunResults) -> list[dict[str, Any]]:
    """Return the warnings and errors of every matcher, those of its sets included, each once."""
    rows: list[dict[str, Any]] = []
    for matcher in run.matchers:
        for entry in (matcher.summary, *(found.summary for found in matcher.sets)):
            for check in entry["checks"]:
                row = {
                    "matcher": matcher.name,
                    **{key: check[key] for key in ("check", "severity", "sentence")},
                }
                if check["severity"] != "info" and row not in rows:
                    rows.append(row)
    return rows
