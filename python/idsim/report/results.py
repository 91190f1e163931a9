"""The result of every matcher, set and operating point in one row: what tables and digests are made of."""

from __future__ import annotations

import hashlib
import json
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from idsim.audit.folder import PROVENANCE
from idsim.audit.reopening import ORIGIN
from idsim.report.summary import notes, printable

if TYPE_CHECKING:
    from idsim.report.data import RunResults, SetResults

__all__ = ["LIMITS", "ResultRow", "provenance_sha256", "reproduce", "result_rows", "shared_notes"]

# What every publication of a result must say (docs/leakage.md).
LIMITS = (
    "A scan sees what its matcher sees. One matcher with one threshold is one opinion.",
    "No leak found is no proof of privacy: membership can leak without look-alikes.",
    '"Same person" is not "same photograph".',
    (
        "A holdout that differs from the training set in people, cameras or processing makes the excess mean something "
        "else; a matcher that was trained on the training set may know it better."
    ),
)

# A sentence about more matchers and sets than these says how many they are.
MOST_NAMED = 3


@dataclass(frozen=True)
class ResultRow:
    """One operating point of one matcher on one synthetic set.

    Attributes
    ----------
    matcher, variant : str
        Names; the variant is empty where there is one synthetic set.
    metric : str
        Of the matcher.
    point : dict
        The operating point with what was measured there, as in ``summary.json``; ``refused`` says why nothing was.
    p_corrected : float or None
        Permutation p of the primary point after Holm's correction for the number of matchers and sets.
    """

    matcher: str
    variant: str
    metric: str
    point: dict[str, Any]
    p_corrected: float | None

    @property
    def label(self) -> str:
        """Matcher, and set where there are several."""
        return f"{self.matcher}, {self.variant}" if self.variant else self.matcher


def result_rows(run: RunResults, primary_only: bool = False) -> list[ResultRow]:
    """Return the results in the order of the scan, the primary operating point of each matcher and set first."""
    rows = []
    corrected = _corrected(run)
    for found in run.sets:
        points = found.summary["operating_points"]
        if not points:
            points = [_nothing(found)]
        for point in points[:1] if primary_only else points:
            p = corrected.get((found.matcher, found.name)) if point["primary"] else None
            metric = str(found.summary["matcher"]["metric"])
            rows.append(ResultRow(found.matcher, found.name, metric, point, p))
    return rows


def _corrected(run: RunResults) -> dict[tuple[str, str], float | None]:
    """Return the corrected p by matcher and set: over all of them where there are several matchers."""
    if "rows" in run.summary:
        places = {found.folder.relative_to(run.folder).as_posix(): found for found in run.sets}
        return {
            (found.matcher, found.name): row["permutation_p_corrected"]
            for row in run.summary["rows"]
            if (found := places.get(row["folder"])) is not None
        }
    entries = run.summary.get("series", [])
    return {(run.matchers[0].name, row["name"]): row["permutation_p_corrected"] for row in entries}


def _nothing(found: SetResults) -> dict[str, Any]:
    name = found.summary["verdict"]["operating_point"]
    return {"name": name, "primary": True, "threshold": None, "refused": "no face was found"}


def shared_notes(run: RunResults) -> list[str]:
    """Return the sentences that belong to the numbers, each once, after the matchers and sets that it is of."""
    owners: dict[str, list[str]] = {}
    for found in run.sets:
        several = len(run.matchers) > 1
        label = ", ".join(part for part in (found.matcher if several else "", found.name) if part)
        items = found.summary["sets"]["synthetic"]["items"]
        empty = [f"No face was found in any of the {items} images."]
        for line in notes(found.summary) if found.summary["operating_points"] else empty:
            owners.setdefault(line, []).append(label)
    total = len(run.sets)
    lines = []
    for line, labels in owners.items():
        whose = "; ".join(labels) if len(labels) <= MOST_NAMED else f"{len(labels)} of {total}"
        lines.append(line if len(labels) == total else f"{whose}: {line}")
    return lines


def provenance_sha256(run: RunResults) -> str:
    """Return the SHA-256 of ``provenance.json``: it names inputs, matcher, configuration and software by content."""
    return hashlib.sha256((run.folder / PROVENANCE).read_bytes()).hexdigest()


def reproduce(run: RunResults) -> str:
    """Return the command that makes the run again, from the file that described it; no folder is named."""
    try:
        config = str(json.loads((run.folder / ORIGIN).read_bytes())["config"]).rpartition("/")[2]
    except (OSError, ValueError, KeyError, TypeError):
        config = "scan.toml"
    return f"idsim scan {shlex.quote(printable(config))}"
