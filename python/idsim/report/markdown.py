"""The results of a run as a section of Markdown for the card of a data set or model."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from idsim.audit.summary import percent
from idsim.report.results import LIMITS, provenance_sha256, reproduce, result_rows, shared_notes
from idsim.report.summary import printable

if TYPE_CHECKING:
    from idsim.report.data import RunResults
    from idsim.report.results import ResultRow

__all__ = ["card", "escape"]

HEADS = (
    "matcher", "operating point", "threshold", "FMR", "FPIR (N)", "training", "holdout", "excess", "{level} interval",
    "p", "design effect",
)  # fmt: skip

ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;"}
PUNCTUATION = re.compile(r"[\\`*_{}\[\]#|~$]")
LINK = re.compile(r"(?i)(?<=www)\.|:(?=//)")


def card(run: RunResults, level: int = 2) -> str:
    """Return verdict, table, checks, limits and the command that reproduces the run.

    Parameters
    ----------
    run : RunResults
        The run; what is shown of it is pseudonymous as ``summary.json`` is.
    level : int
        Of the first heading.
    """
    marks = "#" * level
    parts = [
        f"{marks} Identity leakage audit: {escape(run.name)}",
        f"**{escape(run.summary['verdict']['sentence'])}**",
        _table(run),
        (
            "Leak rate: share of the synthetic images whose best match reaches the threshold, against the training set "
            "and against a holdout of as many people. Excess: the first less the second. FMR: false match rate; FPIR: "
            "share of searches by people who are not enrolled, among N persons, that return a match. p: by exchange of "
            "membership"
            f"{', corrected for the number of rows' if _is_corrected(run) else ''}. \\*: the primary operating point."
        ),
        _list(f"{marks}# Checks", shared_notes(run)),
        _list(f"{marks}# Limits", list(LIMITS)),
        f"{marks}# Reproduce\n\n{_reproduce(run)}",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def escape(text: str) -> str:
    """Return text for one line or cell, of which Markdown, HTML in it and automatic links make nothing."""
    shown = "".join(ENTITIES.get(character, character) for character in printable(text))
    shown = PUNCTUATION.sub(lambda found: f"\\{found[0]}", shown)
    return LINK.sub(lambda found: f"&#{ord(found[0])};", shown)


def _list(heading: str, lines: list[str]) -> str:
    return f"{heading}\n\n" + "\n".join(f"- {escape(line)}" for line in lines) if lines else ""


def _table(run: RunResults) -> str:
    level = f"{100 * run.confidence:g} %"
    lines = [
        "| " + " | ".join(head.replace("{level}", level) for head in HEADS) + " |",
        "|" + "|".join("---" if place < 2 else "--:" for place in range(len(HEADS))) + "|",
        *("| " + " | ".join(_cells(row)) + " |" for row in result_rows(run)),
    ]
    return "\n".join(lines)


def _cells(row: ResultRow) -> list[str]:
    point = row.point
    first = [escape(row.label), escape(point["name"]) + (" \\*" if point["primary"] else "")]
    if point["refused"] or "excess_leak_rate" not in point:
        return [*first, f"refused: {escape(str(point['refused']))}", *[""] * (len(HEADS) - 3)]
    excess, training = point["excess_leak_rate"], point["leak_rate_training"]
    p = excess["permutation_p"] if row.p_corrected is None else row.p_corrected
    fpir = _error(point["fpir"])
    if point["fpir"] is not None:
        fpir += f" ({point['persons_searched']})"
    return [
        *first,
        f"{point['threshold']:.4f}",
        _error(point["fmr"], point.get("claimed_fmr")),
        fpir,
        percent(training["rate"]),
        percent(point["leak_rate_holdout"]["rate"]),
        percent(excess["rate"]),
        f"{percent(excess['low'])} to {percent(excess['high'])}",
        f"{p:.2g}",
        f"{training['design_effect']:.2f}",
    ]


def _error(rate: dict[str, Any] | None, claimed: float | None = None) -> str:
    if rate is None:
        return "not measured" if claimed is None else f"claimed {claimed:.2g}"
    return f"{rate['rate']:.2g}" if rate["errors"] else f"at most {rate['high']:.2g}"


def _is_corrected(run: RunResults) -> bool:
    return any(row.p_corrected is not None for row in result_rows(run))


def _reproduce(run: RunResults) -> str:
    command = reproduce(run)
    longest = max((len(found) for found in re.findall("`+", command)), default=0)
    fence = "`" * max(3, longest + 1)
    version = escape(str(run.provenance.get("software", {}).get("idsim", "unknown")))
    return (
        f"{fence}sh\n{command}\n{fence}\n\nidsim {version}; inputs, matcher and settings: SHA-256 of `provenance.json` "
        f"`{provenance_sha256(run)}`."
    )
