"""The summary of a scan as tables of words, for a terminal or a page."""

from __future__ import annotations

from typing import Any, NamedTuple

from idsim.audit.summary import percent
from idsim.report.analysis import analysis_rows, consensus_rows

__all__ = ["TextTable", "notes", "tables"]


class TextTable(NamedTuple):
    """A table of strings."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]


def tables(summary: dict[str, Any], pairs: int = 10, names: dict[str, str] | None = None) -> list[TextTable]:
    """Return the tables of a summary.

    Parameters
    ----------
    summary : dict
        The content of ``summary.json``.
    pairs : int
        How many of the top pairs.
    names : dict, optional
        ``pseudonym -> name``, to show names instead of pseudonyms.
    """
    if "matchers" in summary:
        return _several(summary, pairs, names)
    if "series" in summary:
        return [_sets(summary), _thresholds(summary), _series(summary)]
    shown = [_sets(summary), _thresholds(summary), _rates(summary)]
    beyond = analysis_rows(summary["analysis"])
    if beyond:
        columns = ("question", "found", "interval, and what it rests on")
        shown.append(TextTable("Beyond the leak rates", columns, list(beyond)))
    if pairs and summary["top_pairs"]:
        shown.append(_pairs(summary, pairs, names or {}))
    return shown


def notes(summary: dict[str, Any]) -> list[str]:
    """Return the sentences that belong to the numbers: refusals, checks, what is assumed."""
    if "matchers" in summary:
        every = {name: notes(entry) for name, entry in summary["matchers"].items()}
        return [f"{name}: {line}" for name, lines in every.items() for line in lines]
    lines = [
        f"{point['name']} is refused: {point['refused']}."
        for point in summary["operating_points"]
        if point["refused"]
    ]
    lines += _worse(summary["checks"])
    for row in summary.get("series", []):
        lines += [f"{row['name']}: {line}" for line in _worse(row["checks"])]
        if not row["synthetic"]["with_face"]:
            lines.append(
                f"{row['name']}: no face was found in any of the {row['synthetic']['items']} images."
            )
    each = [name for name in ("training", "holdout") if summary["sets"][name]["labels"] == "each"]
    if each:
        lines.append(f"Every image of {' and '.join(each)} is taken for a person of its own.")
    return lines


def _worse(checks: list[dict[str, Any]]) -> list[str]:
    """Return the sentences of the checks that are more than information, errors first."""
    errors = [f"Error: {check['sentence']}" for check in checks if check["severity"] == "error"]
    return errors + [f"Warning: {check['sentence']}" for check in checks if check["severity"] == "warning"]


def _several(summary: dict[str, Any], pairs: int, names: dict[str, str] | None) -> list[TextTable]:
    """Return the tables of every matcher, and one with a row for each of them."""
    shown = [
        TextTable(f"{label}: {table.title}", table.columns, table.rows)
        for label, entry in summary["matchers"].items()
        for table in tables(entry, pairs, names)
    ]
    rows: list[tuple[str, ...]] = []
    for row in summary["rows"]:
        point = row["operating_points"][0] if row["operating_points"] else {"refused": "no face"}
        cells = ("refused", "", "", "", "") if point["refused"] else _rate_cells(point)
        corrected = row["permutation_p_corrected"]
        rows.append((row["name"], *cells, "" if corrected is None else f"{corrected:.2g}"))
    columns = ("matcher", "training", "holdout", "excess", _level(summary), "p", "p corrected")
    title = f"All matchers at {summary['verdict']['operating_point']}"
    shown.append(TextTable(title, columns, rows))
    agreed = consensus_rows(summary["consensus"])
    if agreed:
        shown.append(TextTable("Consensus", ("matchers that find the same person", *columns[1:-1]), agreed))
    return shown


# --- tables ---------------------------------------------------------------------------------------


def _sets(summary: dict[str, Any]) -> TextTable:
    rows: list[tuple[str, ...]] = []
    drawn = {row["name"]: row["synthetic"] for row in summary.get("series", [])}
    for name, entry in {**drawn, **summary["sets"]}.items():
        groups = entry.get("persons", entry.get("clusters"))
        kind = "clusters" if "clusters" in entry else "persons"
        routes = ", ".join(f"{count} {route}" for route, count in entry["routes"].items())
        rows.append(
            (
                name,
                str(entry["items"]),
                str(entry["with_face"]),
                str(entry["no_face"]),
                str(entry["unreadable"]),
                str(entry["skipped_files"]),
                f"{groups} {kind}",
                routes or "given",
            )
        )
    columns = ("set", "items", "with face", "no face", "unreadable", "skipped", "labels", "found")
    return TextTable("Sets", columns, rows)


def _thresholds(summary: dict[str, Any]) -> TextTable:
    metric = summary["matcher"]["metric"]
    if metric == "l2":
        metric = "distance"
    lower = metric == "distance" or summary["matcher"].get("higher_is_better") is False
    unit = f"{metric} at most" if lower else f"{metric} at least"
    rows: list[tuple[str, ...]] = []
    for point in summary["operating_points"]:
        if point["refused"]:
            rows.append((_name(point), "refused", "", "", ""))
            continue
        rows.append(
            (
                _name(point),
                f"{point['threshold']:.4f}",
                _errors(point["fmr"], point.get("claimed_fmr")),
                _errors(point["fpir"]),
                _missed(point),
            )
        )
    calibration = summary["calibration"]
    title = (
        f"Thresholds, calibrated on the holdout ({calibration['persons']} persons, "
        f"{calibration['impostor_comparisons']} impostor comparisons)"
    )
    if not calibration["impostor_comparisons"]:
        title = "Thresholds, not calibrated: the holdout was not compared with itself"
    return TextTable(title, ("operating point", unit, "FMR", "FPIR", "FNMR"), rows)


def _rates(summary: dict[str, Any]) -> TextTable:
    rows = [
        (_name(point), *_rate_cells(point)) for point in summary["operating_points"] if not point["refused"]
    ]
    columns = ("operating point", "training", "holdout", "excess", _level(summary), "p")
    return TextTable("Leak rate: synthetic images with a match, and how many", columns, rows)


def _series(summary: dict[str, Any]) -> TextTable:
    """Return the leak rates of every set, operating points outermost: one column shows the course of a series."""
    rows: list[tuple[str, ...]] = []
    for number, point in enumerate(summary["operating_points"]):
        for row in summary["series"]:
            measured = row["operating_points"][number] if row["operating_points"] else {"refused": "no face"}
            cells = ("refused", "", "", "", "") if measured["refused"] else _rate_cells(measured)
            corrected = row["permutation_p_corrected"] if point["primary"] else None
            rows.append((_name(point), row["name"], *cells, "" if corrected is None else f"{corrected:.2g}"))
    columns = ("operating point", "set", "training", "holdout", "excess", _level(summary), "p", "p corrected")
    return TextTable("Leak rate of every set: images with a match, and how many", columns, rows)


def _rate_cells(point: dict[str, Any]) -> tuple[str, ...]:
    excess = point["excess_leak_rate"]
    return (
        _leaks(point["leak_rate_training"]),
        _leaks(point["leak_rate_holdout"]),
        percent(excess["rate"]),
        f"{percent(excess['low'])} to {percent(excess['high'])}",
        f"{excess['permutation_p']:.2g}",
    )


def _level(summary: dict[str, Any]) -> str:
    return f"{100 * summary['statistics']['confidence']:g} % interval"


def _pairs(summary: dict[str, Any], count: int, names: dict[str, str]) -> TextTable:
    least = 1 / max(1, summary["calibration"]["images"])

    def row(pair: dict[str, Any]) -> tuple[str, ...]:
        keys = ("synthetic", "training_image", "training_person")
        share, holdout = pair["calibration_share"], pair["best_holdout_score"]
        return (
            *(printable(names.get(pair[key], pair[key])) for key in keys),
            f"{pair['score']:.4f}",
            "not listed" if holdout is None else f"{holdout:.4f}",
            "not known" if share is None else percent(share) if share else f"< {percent(least)}",
        )

    rows = [row(pair) for pair in summary["top_pairs"][:count]]
    columns = ("synthetic", "training image", "person", "score", "best in holdout", "FPIR at score")
    return TextTable("Nearest pairs of synthetic and training images", columns, rows)


# --- cells ----------------------------------------------------------------------------------------


def _name(point: dict[str, Any]) -> str:
    return f"{point['name']} *" if point["primary"] else str(point["name"])


def _errors(rate: dict[str, Any] | None, claimed: float | None = None) -> str:
    if rate is None:
        return "not measured" if claimed is None else f"claimed {claimed:.2g}"
    if not rate["errors"]:
        return f"0 of {rate['trials']} (at most {rate['high']:.2g})"
    return f"{rate['rate']:.2g} ({rate['errors']} of {rate['trials']})"


def _missed(point: dict[str, Any]) -> str:
    mated = point["fnmr"]
    return "no pairs" if mated is None else f"{mated['rate']:.2g} ({mated['missed']} of {mated['pairs']})"


def _leaks(rate: dict[str, Any]) -> str:
    return f"{percent(rate['rate'])} ({rate['images']})"


def printable(name: str) -> str:
    """Return a name without characters that a terminal obeys or that turn text around."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in name
    )
