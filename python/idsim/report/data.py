"""A finished run read from its folder: summaries, curves and tables, as plain values. Nothing is computed.

A run is of one or several matchers (`MatcherResults`), and each of them scanned one synthetic set or a series of
them (`SetResults`).
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idsim.audit.folder import CONFIG, CURVES, PROVENANCE, SUMMARY
from idsim.audit.several import MATCHERS
from idsim.audit.summary import SCHEMA_VERSION

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

__all__ = ["MatcherResults", "RunResults", "SetResults", "Table", "open_run"]

Table = dict[str, list[Any]]


@dataclass(frozen=True)
class SetResults:
    """What one matcher says of one synthetic set.

    Attributes
    ----------
    matcher : str
        Name of the matcher.
    name : str
        Name of the set in a series; empty where there is one set only.
    folder : Path
        Where its files are.
    summary : dict
        Its own ``summary.json``, the layout of a scan with one matcher and one set.
    """

    matcher: str
    name: str
    folder: Path
    summary: dict[str, Any]

    @cached_property
    def curves(self) -> dict[str, Any]:
        """The content of ``curves.json``; empty where the run has none, as those of early versions."""
        return _curves(self.folder)

    def curve(self, name: str) -> dict[str, Any] | str:
        """Return a curve, or the sentence why there is none."""
        if not self.summary["operating_points"]:
            return "no face was found"
        found = self.curves.get(name)
        if found is None:
            return "the run has no curves.json"
        return str(found["refused"]) if found.get("refused") else dict(found)

    @property
    def primary(self) -> dict[str, Any] | None:
        """The operating point that decides; None where it is refused or no face was found."""
        points = self.summary["operating_points"]
        return points[0] if points and not points[0]["refused"] else None

    def analysis(self, name: str) -> dict[str, Any] | str:
        """Return an analysis, or the sentence why there is none."""
        found = self.summary.get("analysis", {}).get(name)
        if found is None:
            return "no face was found" if not self.summary["operating_points"] else f"the run has no {name}"
        return str(found["refused"]) if found.get("refused") else found

    def pairs(self, columns: Sequence[str] | None = None) -> Table:
        """Return the best matches of every synthetic image, by column; file names are among them."""
        return _table(self.folder, "pairs", columns)

    def persons(self, columns: Sequence[str] | None = None) -> Table:
        """Return the persons of the training set, by column; empty where they were not compared."""
        return _table(self.folder, "persons", columns)

    def images(self, columns: Sequence[str] | None = None) -> Table:
        """Return the items of the sets, by column."""
        return _table(self.folder, "images", columns)


@dataclass(frozen=True)
class MatcherResults:
    """What one matcher says.

    Attributes
    ----------
    name : str
        Its name; where there are several, that of its folder.
    folder : Path
        Where its files are.
    summary : dict
        Its ``summary.json``: of the one set, or of the series.
    sets : tuple of SetResults
        In the order of the scan.
    """

    name: str
    folder: Path
    summary: dict[str, Any]
    sets: tuple[SetResults, ...]

    @property
    def is_series(self) -> bool:
        """Whether several synthetic sets were scanned."""
        return "series" in self.summary


@dataclass(frozen=True)
class RunResults:
    """A finished run.

    Attributes
    ----------
    folder : Path
        The run folder.
    summary : dict
        Its ``summary.json``.
    provenance : dict
        Inputs by content, matcher and software.
    config : str
        The scan with all defaults, as TOML.
    matchers : tuple of MatcherResults
        One or several.
    """

    folder: Path
    summary: dict[str, Any]
    provenance: dict[str, Any]
    config: str
    matchers: tuple[MatcherResults, ...]

    @property
    def name(self) -> str:
        """The run's name."""
        return str(self.summary["run"])

    @property
    def sets(self) -> tuple[SetResults, ...]:
        """The results of every matcher on every synthetic set."""
        return tuple(found for matcher in self.matchers for found in matcher.sets)

    @property
    def confidence(self) -> float:
        """Of the intervals."""
        return float(self.summary["statistics"]["confidence"])

    @cached_property
    def curves(self) -> dict[str, Any]:
        """What concerns several matchers together in ``curves.json`` of the run folder; empty without."""
        return _curves(self.folder) if len(self.matchers) > 1 else {}


def open_run(folder: str | os.PathLike[str]) -> RunResults:
    """Read a finished run; its tables are read when they are asked for.

    Parameters
    ----------
    folder : path-like
        The run folder of a scan (docs/scan.md).

    Raises
    ------
    ValueError
        The folder is no finished run of a scan, a file is missing or damaged, or of a later version.
    """
    place = Path(folder)
    if not place.is_dir():
        raise ValueError(f"{place} is no folder: a run folder of idsim scan is needed")
    if not (place / PROVENANCE).exists():
        raise ValueError(f"{place} is no run of a scan: it has no {PROVENANCE}")
    if not (place / SUMMARY).exists():
        raise ValueError(
            f"{place} is not finished: it has no {SUMMARY}. 'idsim status {place}' says what is missing, and idsim "
            "scan goes on"
        )
    summary = _summary(place)
    if "verdict" not in summary:
        raise ValueError(f"{place} is no run of a scan: its {SUMMARY} has no verdict")
    try:
        config = (place / CONFIG).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ValueError(f"{place} is no complete run of a scan: it has no {CONFIG}") from error
    if "matchers" in summary:
        matchers = tuple(_matcher(name, _below(place, f"{MATCHERS}/{name}")) for name in summary["matchers"])
    else:
        matchers = (_matcher(str(summary["matcher"]["name"]), place),)
    return RunResults(place, summary, _json(place / PROVENANCE), config, matchers)


def _matcher(name: str, place: Path) -> MatcherResults:
    summary = _summary(place)
    if "series" not in summary:
        return MatcherResults(name, place, summary, (SetResults(name, "", place, summary),))
    sets = tuple(
        SetResults(name, str(row["name"]), found := _below(place, row["folder"]), _summary(found))
        for row in summary["series"]
    )
    return MatcherResults(name, place, summary, sets)


def _below(place: Path, name: str) -> Path:
    """Return a folder that a summary names: a run from elsewhere must not lead out of itself."""
    if name.startswith("/") or ".." in name.split("/"):
        raise ValueError(f"{place / SUMMARY} is damaged: it names the folder {name!r}")
    return place / name


def _summary(place: Path) -> dict[str, Any]:
    if not (place / SUMMARY).exists():
        raise ValueError(f"the run is not complete: {place / SUMMARY} is missing")
    summary = _json(place / SUMMARY)
    version = summary.get("schema_version")
    if not isinstance(version, int) or version > SCHEMA_VERSION:
        raise ValueError(
            f"{place / SUMMARY} has the schema_version {version!r}: versions up to {SCHEMA_VERSION} are read"
        )
    return summary


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} is damaged: it holds no object")
    return found


def _curves(place: Path) -> dict[str, Any]:
    return _json(place / CURVES) if (place / CURVES).exists() else {}


def _table(place: Path, stem: str, columns: Sequence[str] | None) -> Table:
    """Return a table by column; empty where there is no file."""
    for path in (place / f"{stem}.parquet", place / f"{stem}.csv"):
        if path.exists():
            return _parquet(path, columns) if path.suffix == ".parquet" else _csv(path, columns)
    return {}


def _parquet(path: Path, columns: Sequence[str] | None) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        found = pq.read_table(path, columns=None if columns is None else list(columns))
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    return dict(found.to_pydict())


def _csv(path: Path, columns: Sequence[str] | None) -> Table:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    names = rows[0] if rows else []
    chosen = names if columns is None else columns
    places = [names.index(name) for name in chosen]
    return {
        name: [_value(name, row[place]) for row in rows[1:]]
        for name, place in zip(chosen, places, strict=True)
    }


# Columns of the tables that are no text; a spreadsheet's apostrophe before a formula belongs to text only.
WHOLE = {"rank", "faces", "left", "top", "right", "bottom", "images", "clusters"}
REAL = {
    "score", "calibration_share", "confidence", "norm", "best_training", "best_holdout", "best_score", "margin", "p",
    "q",
}  # fmt: skip
TRUTH = {"reaches_primary"}


def _value(name: str, cell: str) -> Any:
    if name in WHOLE or name in REAL or name in TRUTH:
        if not cell:
            return None
        return int(cell) if name in WHOLE else float(cell) if name in REAL else cell == "True"
    return cell[1:] if cell[:1] == "'" and cell[1:2] in {"=", "+", "-", "@", "\t", "\r"} else cell
