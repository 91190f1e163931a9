"""The figures of runs inside a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from idsim.report.blocks import Plot, Plots, Section
from idsim.report.plots import comparison, figures, left_out, stylesheet, svg

if TYPE_CHECKING:
    from collections.abc import Sequence

    from idsim.report.blocks import Block
    from idsim.report.data import RunResults
    from idsim.report.figure import Figure

__all__ = ["colours", "compared", "drawn"]

MOST = 60  # figures in a page; one has some 20 kB

# The page has a chart of its own for this.
NOT_SHOWN = ("matchers",)


def drawn(run: RunResults) -> Section | None:
    """Return the figures of a run, those of single sets folded up where there are several; None where there is none."""
    found = [figure for figure in figures(run) if figure.kind not in NOT_SHOWN]
    several, series = len(run.matchers) > 1, any(matcher.is_series for matcher in run.matchers)
    parts: dict[str, list[Figure]] = {}
    for figure in found[:MOST]:
        names = [figure.matcher if several else None, figure.variant if series else None]
        parts.setdefault(", ".join(name for name in names if name), []).append(figure)
    blocks: list[Block] = [
        Plots(title, [_plot(figure) for figure in part], folded=bool(title)) for title, part in parts.items()
    ]
    if not blocks:
        return None
    missing = [f"{name} ({reason})" for name, reason in left_out(run) if not name.startswith(_needless(run))]
    lead = f"The data do not support: {'; '.join(missing)}." if missing else ""
    if len(found) > MOST:
        lead += f" Shown are {MOST} of {len(found)} figures; idsim report --figures writes them all."
    return Section("figures", "Figures", lead, blocks)


def _needless(run: RunResults) -> tuple[str, ...]:
    """Return the beginnings of the names of figures that nobody misses in this run."""
    several, series = len(run.matchers) > 1, any(matcher.is_series for matcher in run.matchers)
    return (*NOT_SHOWN, *(() if several else ("agreement", "consensus")), *(() if series else ("series",)))


def compared(runs: Sequence[RunResults]) -> Plots:
    """Return the figures that compare runs."""
    return Plots("", [_plot(figure) for figure in comparison(runs)], folded=False)


def colours() -> str:
    """Return the part of a page's style that colours figures, in light and in dark."""
    return f"{stylesheet()}@media screen and (prefers-color-scheme: dark) {{\n{stylesheet(dark=True)}}}\n"


def _plot(figure: Figure) -> Plot:
    from markupsafe import Markup

    # Made by an XML library from numbers and names, which it escapes.
    return Plot(figure.title, figure.caption, Markup(svg(figure)))  # noqa: S704
