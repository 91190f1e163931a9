"""Figures with an excess leak rate per row or point: sets of a series, matchers, runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from idsim.report.figure import Figure, axes, colour, count, legend, named, percent_ticks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from idsim.report.data import MatcherResults, RunResults
    from idsim.report.naming import Identity

__all__ = ["ExcessRow", "forest", "matchers", "runs", "series"]

MOST_ROWS = 60
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
MARKS = "osD^vP"


@dataclass(frozen=True)
class ExcessRow:
    """An excess leak rate at a primary operating point, and what it is of.

    Attributes
    ----------
    label : str
        Of the row.
    entry : dict or None
        ``excess_leak_rate`` of the summary; None where it could not be measured.
    stands : bool
        Whether the verdict of the row, after any correction, is an excess.
    """

    label: str
    entry: dict[str, Any] | None
    stands: bool


def forest(figure: Any, rows: Sequence[ExcessRow], label: str) -> None:
    """Draw a row per excess with its interval; filled where an excess stands."""
    found_axes = axes(figure, label, "")
    found_axes.axvline(0.0, color=colour("ink"), linewidth=1.0)
    for place, row in enumerate(rows):
        if row.entry is None:
            found_axes.text(0.0, place, " not measured", va="center", color=colour("muted"), fontsize=9)
            continue
        tint = colour("training" if row.stands else "holdout")
        found_axes.plot([row.entry["low"], row.entry["high"]], [place] * 2, color=tint, linewidth=2.0)
        found_axes.plot(
            [row.entry["rate"]], [place], linestyle="none", color=tint, markersize=7,
            marker="o" if row.stands else "s", markerfacecolor=tint if row.stands else "none",
        )  # fmt: skip
    found_axes.set_yticks(range(len(rows)), [named(row.label) for row in rows])
    found_axes.set_ylim(len(rows) - 0.5, -0.5)
    found_axes.grid(False, axis="y")
    percent_ticks(found_axes.xaxis)
    found_axes.plot([], [], linestyle="none", marker="o", color=colour("training"), label="excess found")
    found_axes.plot(
        [],
        [],
        linestyle="none",
        marker="s",
        markerfacecolor="none",
        color=colour("holdout"),
        label="no excess found",
    )
    legend(figure)


def forest_size(rows: Sequence[ExcessRow]) -> tuple[float, float]:
    """Return the size of a figure with so many rows, in inches."""
    return (4.8, 1.2 + 0.3 * len(rows))


def series(found: MatcherResults, identity: Identity, confidence: float) -> Figure | str:
    """Return the figure of the excess over the sets of a series: along psi where that differs, else row by row."""
    if not found.is_series:
        return "there is one synthetic set only"
    entries = found.summary["series"]
    rows = [_row(entry["name"], entry) for entry in entries]
    point = found.summary["operating_points"][0]["name"]
    caption = _caption(rows, point, confidence, "set of the series")
    title = "Excess leak rate over the series"
    lines = _along_psi(entries)
    if lines is not None:
        return identity.figure(
            "series", title, caption, lambda figure: _draw_psi(figure, lines, point), size=(4.8, 3.7)
        )
    shown = rows[:MOST_ROWS]
    if len(rows) > MOST_ROWS:
        caption += f" The first {MOST_ROWS} of {len(rows)} sets are drawn."
    return identity.figure(
        "series",
        title,
        caption,
        lambda figure: forest(figure, shown, f"excess at {point}"),
        forest_size(shown),
    )


def _row(label: str, entry: dict[str, Any]) -> ExcessRow:
    points = entry["operating_points"]
    excess = points[0]["excess_leak_rate"] if points else None
    return ExcessRow(label, excess, bool(entry["excess_stands"]))


def _along_psi(entries: list[dict[str, Any]]) -> dict[str, list[tuple[float, ExcessRow]]] | None:
    """Return points along psi by what else differs between the sets; None where psi does not differ."""
    lines: dict[str, list[tuple[float, ExcessRow]]] = {}
    for entry in entries:
        drawn = entry["synthetic"].get("generator") or {}
        psi = drawn.get("psi")
        if not isinstance(psi, int | float):
            return None
        label = str(entry["name"]).replace(f"-psi{psi:g}", "")
        lines.setdefault(label, []).append((float(psi), _row(entry["name"], entry)))
    if len(lines) > len(DASHES) or max(len(points) for points in lines.values()) < 2:
        return None
    return {label: sorted(points, key=lambda point: point[0]) for label, points in lines.items()}


def _draw_psi(figure: Any, lines: dict[str, list[tuple[float, ExcessRow]]], point: str) -> None:
    found_axes = axes(figure, "truncation ψ", f"excess leak rate at {point}")
    found_axes.axhline(0.0, color=colour("ink"), linewidth=1.0)
    tints = ("training", "holdout", "genuine", "accent", "impostor", "ink")
    known = [psi for points in lines.values() for psi, row in points if row.entry is not None]
    apart = 0.012 * (max(known, default=1.0) - min(known, default=0.0))
    for number, (label, points) in enumerate(lines.items()):
        # Lines stand a little beside each other, so that no interval hides another.
        shift = apart * (number - (len(lines) - 1) / 2)
        tint = colour(tints[number])
        drawn = [(psi + shift, row.entry, row.stands) for psi, row in points if row.entry is not None]
        found_axes.plot(
            [x for x, *_ in drawn], [entry["rate"] for _, entry, _ in drawn], color=tint, linestyle=DASHES[number],
            linewidth=1.2, label=named(label),
        )  # fmt: skip
        for x, entry, stands in drawn:
            found_axes.plot([x] * 2, [entry["low"], entry["high"]], color=tint, linewidth=2.0)
            found_axes.plot(
                [x], [entry["rate"]], linestyle="none", marker=MARKS[number], markersize=6.5, color=tint,
                markerfacecolor=tint if stands else "none",
            )  # fmt: skip
    percent_ticks(found_axes.yaxis)
    legend(figure)


def matchers(run: RunResults, identity: Identity) -> Figure | str:
    """Return the figure of the excess that each matcher finds."""
    if "rows" not in run.summary:
        return "there is one matcher only"
    rows = [_row(entry["name"], entry) for entry in run.summary["rows"]]
    point = run.summary["verdict"]["operating_point"]
    what = "matcher" if len(rows) == len(run.matchers) else "matcher and set"
    shown = rows[:MOST_ROWS]
    caption = _caption(rows, point, run.confidence, what)
    if len(rows) > MOST_ROWS:
        caption += f" The first {MOST_ROWS} of {len(rows)} rows are drawn."
    return identity.figure(
        "matchers",
        "Excess leak rate by matcher",
        caption,
        lambda figure: forest(figure, shown, f"excess at {point}"),
        forest_size(shown),
    )


def runs(found: Sequence[RunResults], identity: Identity) -> Figure:
    """Return the figure of the excess in several runs, a row for every matcher and set of each."""
    rows, points = [], []
    names = [run.name for run in found]
    if len(set(names)) < len(names):
        names = [f"{number}: {name}" for number, name in enumerate(names, 1)]
    for name, run in zip(names, found, strict=True):
        entries = run.summary.get("rows") or run.summary.get("series") or [_single(run)]
        points.append(str(run.summary["verdict"]["operating_point"]))
        for entry in entries:
            label = name if len(entries) == 1 else f"{name}: {entry['name']}"
            rows.append(_row(label, entry))
    levels = {run.confidence for run in found}
    shown = rows[:MOST_ROWS]
    same = points[0] if len(set(points)) == 1 else "the primary point of each run"
    caption = _caption(rows, same, max(levels), "run" if len(rows) == len(found) else "run, matcher and set")
    caption += " p-values are corrected inside a run, not for the number of runs."
    if len(levels) > 1:
        caption += " The runs have intervals of different confidence: see their own reports."
    if len(rows) > MOST_ROWS:
        caption += f" The first {MOST_ROWS} of {len(rows)} rows are drawn."
    return identity.figure(
        "runs",
        "Excess leak rate of several runs",
        caption,
        lambda figure: forest(figure, shown, f"excess at {same}"),
        forest_size(shown),
    )


def _single(run: RunResults) -> dict[str, Any]:
    return {
        "name": run.name,
        "operating_points": [
            {"excess_leak_rate": point.get("excess_leak_rate")} for point in run.summary["operating_points"]
        ],
        "excess_stands": run.summary["verdict"]["status"] == "excess",
    }


def _caption(rows: Sequence[ExcessRow], point: str, confidence: float, what: str) -> str:
    measured = sum(row.entry is not None for row in rows)
    missing = f" {len(rows) - measured} could not be measured." if measured < len(rows) else ""
    return (
        f"Excess leak rate (training less holdout) at {point} with its {100 * confidence:g} % interval, each {what} "
        f"for itself (n = {count(measured)}). Filled marks: the verdict is an excess, after correction of the p-values "
        f"for their number; intervals are not corrected.{missing}"
    )
