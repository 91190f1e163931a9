"""Figures of several matchers: which of them flag the same pairs, and the excess on which they agree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from idsim.report.figure import Figure, axes, colour, count, dress, legend, named, percent_ticks

if TYPE_CHECKING:
    from idsim.report.data import RunResults
    from idsim.report.naming import Identity

__all__ = ["agreement", "consensus"]

MOST_COLUMNS = 16


def agreement(run: RunResults, identity: Identity) -> Figure | str:
    """Return the figure of the pairs that each set of matchers alone flags."""
    if len(run.matchers) < 2:
        return "there is one matcher only"
    flagged = run.curves.get("flagged")
    if flagged is None:
        return "the run has no curves.json"
    entry = flagged.get(identity.variant or "")
    if entry is None:
        return "the run has no such set"
    if entry.get("refused"):
        return str(entry["refused"])
    names = entry["matchers"]
    numbers: dict[tuple[str, ...], dict[str, int]] = {}
    for side in ("training", "holdout"):
        for row in entry[side]:
            numbers.setdefault(tuple(row["matchers"]), {})[side] = row["pairs"]
    if not numbers:
        return "no matcher flags any pair at its primary operating point"
    columns = sorted(numbers, key=lambda key: (-len(key), -numbers[key].get("training", 0), key))
    shown = columns[:MOST_COLUMNS]

    def draw(figure: Any) -> None:
        top, below = figure.subplots(
            2, 1, sharex=True, gridspec_kw={"height_ratios": (3, max(1.0, 0.55 * len(names)))}
        )
        dress(top)
        for side, shift in (("training", -0.2), ("holdout", 0.2)):
            heights = [numbers[key].get(side, 0) for key in shown]
            top.bar(
                [place + shift for place in range(len(shown))], heights, width=0.38, color=colour(side), label=side,
                hatch="" if side == "training" else "///", edgecolor=colour("grid"), linewidth=0,
            )  # fmt: skip
            for place, height in enumerate(heights):
                top.text(
                    place + shift,
                    height,
                    count(height),
                    ha="center",
                    va="bottom",
                    fontsize=8,
                    color=colour("ink"),
                )
        top.set_ylabel("pairs flagged")
        top.margins(y=0.12)
        top.grid(False, axis="x")
        top.tick_params(bottom=False)
        _dots(below, shown, names)
        legend(figure)

    more = (
        f" The first {MOST_COLUMNS} of {len(columns)} combinations are drawn."
        if len(columns) > MOST_COLUMNS
        else ""
    )
    totals = {side: sum(row["pairs"] for row in entry[side]) for side in ("training", "holdout")}
    caption = (
        f"Pairs of a synthetic image and a person that the marked matchers flag and no other does, each at its own "
        f"primary operating point: {count(totals['training'])} pairs with training, {count(totals['holdout'])} with "
        f"the holdout, over whole galleries. Matchers err on different people: what several flag is less likely an "
        f"error. No bands: these are counts.{more}"
    )
    size = (4.8, 2.9 + 0.28 * len(names))
    return identity.figure("agreement", "Pairs that matchers agree on", caption, draw, size)


def _dots(below: Any, shown: list[tuple[str, ...]], names: list[str]) -> None:
    """Mark the matchers of every column, joined by a line."""
    for place, key in enumerate(shown):
        rows = [names.index(name) for name in key]
        others = [row for row in range(len(names)) if row not in rows]
        below.plot(
            [place] * len(others), others, linestyle="none", marker="o", markersize=6, color=colour("grid")
        )
        below.plot([place] * len(rows), rows, marker="o", markersize=7, color=colour("ink"), linewidth=1.6)
    below.set_yticks(range(len(names)), [named(name, 20) for name in names])
    below.set_ylim(len(names) - 0.5, -0.5)
    below.set_xlim(-0.6, len(shown) - 0.4)
    below.set_xticks([])
    for side in below.spines.values():
        side.set_visible(False)
    below.tick_params(left=False)


def consensus(run: RunResults, identity: Identity) -> Figure | str:
    """Return the figure of the leak rates and the excess under at least 1, 2, ... matchers."""
    if "consensus" not in run.summary:
        return "there is one matcher only"
    entry = run.summary["consensus"]
    if identity.variant:
        entry = entry.get(identity.variant, {"refused": "the run has no such set"})
    if entry.get("refused"):
        return str(entry["refused"])
    levels = entry["levels"]

    def draw(figure: Any) -> None:
        total = len(entry["matchers"])
        found_axes = axes(
            figure, f"matchers (of {total}) that find the same person, at least", "share of images"
        )
        found_axes.axhline(0.0, color=colour("ink"), linewidth=1.0)
        parts = (
            ("leak_rate_training", "against training", "training", "o", -0.18),
            ("leak_rate_holdout", "against the holdout", "holdout", "s", 0.0),
            ("excess_leak_rate", "excess", "ink", "D", 0.18),
        )
        for key, words, tint, mark, shift in parts:
            for place, level in enumerate(levels):
                part = level[key]
                x = place + shift
                found_axes.plot([x] * 2, [part["low"], part["high"]], color=colour(tint), linewidth=2.0)
                found_axes.plot(
                    [x], [part["rate"]], linestyle="none", marker=mark, markersize=6, color=colour(tint),
                    label=words if not place else None,
                )  # fmt: skip
        found_axes.set_xticks(
            range(len(levels)),
            [f"{level['matchers']}{' (primary)' if level['primary'] else ''}" for level in levels],
        )
        found_axes.set_xlim(-0.6, len(levels) - 0.4)
        found_axes.grid(False, axis="x")
        percent_ticks(found_axes.yaxis)
        legend(figure, 3)

    clusters = levels[0]["clusters"] if levels else 0
    caption = (
        f"Leak rates and excess where at least so many matchers find the same person in an image, each matcher at its "
        f"own threshold; {count(clusters)} synthetic clusters, {count(levels[0]['persons'])} persons per gallery. "
        f"Bars: {100 * run.confidence:g} % intervals, each for itself. The primary number of matchers decides."
    )
    return identity.figure("consensus", "Leak rates by number of matchers that agree", caption, draw)
