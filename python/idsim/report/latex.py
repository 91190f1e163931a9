"""The results of a run as a LaTeX table for a paper: ``tabular`` with the rules of booktabs, nothing else."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from idsim.report.results import result_rows
from idsim.report.summary import printable

if TYPE_CHECKING:
    from idsim.report.data import RunResults
    from idsim.report.results import ResultRow

__all__ = ["escape", "table"]

SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    '"': "{''}",
    # At the start of a row these would belong to the end of the row before.
    **{character: f"{{{character}}}" for character in "[]*"},
    **{character: f"\\{character}" for character in "&%$#_{}"},
}
# Two of these in a row would become one character.
LIGATURE = re.compile(r"([-',])(?=\1)")
# Letters that every engine and font encoding has; anything else is written as its code point.
LATIN = re.compile(r"[ -~\u00c0-\u00ff]")
RARE = frozenset("\u00d0\u00d7\u00de\u00f0\u00f7\u00fe")

COLUMNS = (
    ("Matcher", "l"),
    ("Threshold", "r"),
    ("FMR", "r"),
    (r"FPIR ($N$)", "r"),
    ("Training", "r"),
    ("Holdout", "r"),
    ("Excess", "r"),
    ("{level} interval", "r"),
    ("$p$", "r"),
    ("Deff", "r"),
)


def table(run: RunResults, primary_only: bool = True) -> str:
    r"""Return the results as ``\begin{tabular}`` to ``\end{tabular}``; the document must load ``booktabs``.

    A row per matcher and set: threshold, false match rate, false positive identification rate against N persons, leak
    rates against training and holdout, their difference with its interval, the permutation p, and the design effect of
    the rate against training. Rates above 1e-3 are in per cent.

    Parameters
    ----------
    run : RunResults
        The run.
    primary_only : bool
        Leave the other operating points out; with them a column names the point.
    """
    columns = list(COLUMNS) if primary_only else [COLUMNS[0], ("Point", "l"), *COLUMNS[1:]]
    level = f"{100 * run.confidence:g}\\,\\%"
    heads = " & ".join(head.replace("{level}", level) for head, _ in columns)
    lines = [
        r"% \usepackage{booktabs}; Deff: design effect of the rate against training; p with a star: corrected by",
        "% Holm's method for the number of rows",
        rf"\begin{{tabular}}{{{''.join(kind for _, kind in columns)}}}",
        r"\toprule",
        rf"{heads} \\",
        r"\midrule",
        *(_line(row, primary_only) for row in result_rows(run, primary_only)),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """Return text that LaTeX prints as it is."""
    apart = LIGATURE.sub("\\1\0", printable(text))
    return "".join("{}" if character == "\0" else _letter(character) for character in apart)


def _letter(character: str) -> str:
    if character in RARE or not LATIN.fullmatch(character):
        return f"[U+{ord(character):04X}]"
    return SPECIAL.get(character, character)


def _line(row: ResultRow, primary_only: bool) -> str:
    point = row.point
    first = [escape(row.label)] if primary_only else [escape(row.label), escape(point["name"])]
    return " & ".join([*first, *_cells(row)]) + r" \\"


def _cells(row: ResultRow) -> list[str]:
    point = row.point
    if point["refused"] or "excess_leak_rate" not in point:
        return [r"\multicolumn{9}{l}{refused: " + escape(str(point["refused"])) + "}"]
    excess, training = point["excess_leak_rate"], point["leak_rate_training"]
    p = excess["permutation_p"] if row.p_corrected is None else row.p_corrected
    fpir = _error(point["fpir"])
    if point["fpir"] is not None:
        fpir += f" ({point['persons_searched']})"
    return [
        _number(point["threshold"], 4),
        _error(point["fmr"], point.get("claimed_fmr")),
        fpir,
        _rate(training["rate"]),
        _rate(point["leak_rate_holdout"]["rate"]),
        _rate(excess["rate"]),
        f"{_rate(excess['low'])} to {_rate(excess['high'])}",
        _power(p) + ("" if row.p_corrected is None else r"\,$^{\ast}$"),
        _number(training["design_effect"], 2),
    ]


def _error(rate: dict[str, Any] | None, claimed: float | None = None) -> str:
    if rate is None:
        return "--" if claimed is None else f"{_power(claimed)} (claimed)"
    return _power(rate["rate"]) if rate["errors"] else rf"$\leq$ {_power(rate['high'])}"


def _number(value: float, digits: int) -> str:
    return f"${value:.{digits}f}$"


def _rate(value: float) -> str:
    """Return a rate in per cent, small ones as a power of ten."""
    return f"${100 * value:.2f}\\,\\%$" if value == 0 or abs(value) >= 1e-3 else _power(value)


def _power(value: float) -> str:
    """Return a number with two digits, outside of 0.001 to 1000 as a power of ten."""
    if value == 0 or 1e-3 <= abs(value) < 1e3:
        return f"${value:.2g}$"
    exponent = math.floor(math.log10(abs(value)))
    digits = f"{value / 10.0**exponent:.1f}"
    if digits in {"10.0", "-10.0"}:
        digits, exponent = digits.replace("10.0", "1.0"), exponent + 1
    return f"${digits}\\times10^{{{exponent}}}$"
