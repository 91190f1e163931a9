"""Figures of leak rates: along the threshold and with the gallery; tail lift; exposure of persons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from idsim.report.figure import (
    Figure,
    axes,
    below,
    colour,
    count,
    legend,
    log_ticks,
    mark_thresholds,
    power,
    score_label,
    share,
)

if TYPE_CHECKING:
    from idsim.report.data import SetResults
    from idsim.report.naming import Identity

__all__ = ["exposure", "leak_rate_by_gallery_size", "leak_rate_by_threshold", "tail_lift"]

# The holdout is drawn last: through its dashes the line of training shows where both agree.
SIDES = (("training", "against training", "-", "o"), ("holdout", "against the holdout", (0, (3, 1.5)), "s"))

# Clusters per person from which on their axis is logarithmic.
MOST_LINEAR = 30


def leak_rate_by_threshold(found: SetResults, identity: Identity) -> Figure | str:
    """Return the figure of both leak rates along the threshold."""
    curves = found.curve("leak_rate_by_threshold")
    if isinstance(curves, str):
        return curves

    def draw(figure: Any) -> None:
        found_axes = axes(figure, _threshold_label(curves["metric"]), "leak rate")
        floor = 0.5 / curves["images"]
        for name, words, line, _ in SIDES:
            _band(found_axes, curves["thresholds"], curves[name], floor, name)
            rates = [rate or float("nan") for rate in curves[name]["rate"]]
            found_axes.plot(curves["thresholds"], rates, color=colour(name), linestyle=line, label=words)
        known = [value or float("nan") for value in curves["fpir"]]
        if any(value == value for value in known):  # noqa: PLR0124 - NaN alone differs from itself
            found_axes.plot(
                curves["thresholds"], known, color=colour("impostor"), linewidth=1.1, linestyle=(0, (3, 1, 1, 1)),
                label="FPIR: people of the holdout",
            )  # fmt: skip
        found_axes.set_yscale("log")
        found_axes.set_ylim(floor, 1.0)
        mark_thresholds(found_axes, found.summary["operating_points"])
        log_ticks(found_axes.yaxis, share)
        legend(figure)

    matched = f" (means over {count(curves['draws'])} matched galleries)" if curves["draws"] > 1 else ""
    caption = (
        f"Share of {count(curves['images'])} synthetic images in {count(curves['clusters'])} clusters whose best match "
        f"reaches the threshold, in galleries of {count(curves['persons'])} persons each{matched}. Bands: "
        f"{100 * curves['confidence']:g} % intervals of each rate (Wilson with effective n from the two-way clustered "
        "variance), at each threshold for itself. FPIR: share of the people of the holdout who find somebody else "
        "there. Vertical lines: thresholds of the operating points. Rates of 0 are not drawn, their bands are."
    )
    return identity.figure(
        "leak-rate-by-threshold", "Leak rate along the threshold", caption, draw, size=(4.8, 3.9)
    )


def _threshold_label(metric: str) -> str:
    return "threshold: distance at most" if metric == "l2" else f"threshold: {score_label(metric)} at least"


def _band(found_axes: Any, x: list[float], entry: dict[str, Any], floor: float, name: str) -> None:
    found_axes.fill_between(
        x, below(entry["low"], floor), below(entry["high"], floor), color=colour(name), alpha=0.2, linewidth=0
    )


def leak_rate_by_gallery_size(found: SetResults, identity: Identity) -> Figure | str:
    """Return the figure of both leak rates over the number of persons in the gallery."""
    analysis = found.analysis("by_gallery_size")
    if isinstance(analysis, str):
        return analysis
    if found.primary is None:
        return "the primary operating point is refused"
    sides = []
    for name, words, line, mark in SIDES:
        entry = analysis[name]
        rates = entry if entry.get("refused") else entry["leak_rate"]
        if rates.get("refused"):
            return str(rates["refused"])
        sides.append((name, words, line, mark, rates["rates"]))
    primary = found.primary

    def draw(figure: Any) -> None:
        found_axes = axes(figure, "persons in the gallery", f"leak rate at {primary['name']}")
        positive = [point["rate"] for *_, points in sides for point in points if point["rate"] > 0]
        floor = min(positive, default=1e-4) / 3
        for name, words, line, mark, points in sides:
            x = [point["persons"] for point in points]
            entry = {key: [point[key] for point in points] for key in ("low", "high")}
            _band(found_axes, x, entry, floor, name)
            rates = [point["rate"] or float("nan") for point in points]
            found_axes.plot(
                x, rates, color=colour(name), linestyle=line, marker=mark, markersize=4, label=words
            )
        found_axes.set_xscale("log")
        found_axes.set_yscale("log")
        found_axes.set_ylim(floor, min(1.0, found_axes.get_ylim()[1]))
        log_ticks(found_axes.xaxis, count)
        log_ticks(found_axes.yaxis, share)
        legend(figure)

    persons = {name: points[-1]["persons"] for name, *_, points in sides}
    caption = (
        f"Leak rate at {primary['name']} if fewer persons were in the gallery: the mean over all galleries of that "
        f"size from {count(persons['training'])} persons of training and {count(persons['holdout'])} of the holdout, "
        f"in closed form. Bands: {100 * found.summary['statistics']['confidence']:g} % intervals (Wilson over "
        "effective clusters, two-way clustered), at each size for itself. Both lines rise with the gallery; a leak is "
        "the distance between them."
    )
    return identity.figure("leak-rate-by-gallery-size", "Leak rate by size of the gallery", caption, draw)


def tail_lift(found: SetResults, identity: Identity) -> Figure | str:
    """Return the figure of pairs with training over pairs with the holdout, along the tail."""
    analysis = found.analysis("tail_lift_curve")
    if isinstance(analysis, str):
        return analysis
    points = sorted(
        (point for point in analysis["curve"] if not point["refused"]), key=lambda point: point["threshold"]
    )
    if len(points) < 2:
        return "fewer than two thresholds have 10 pairs with either real set"
    fixed = [point for point in analysis["at_false_match_rates"] if not point["refused"]]
    metric = found.summary["matcher"]["metric"]
    lower = found.summary["matcher"].get("higher_is_better") is False
    metric = "l2" if lower else metric

    def draw(figure: Any) -> None:
        found_axes = axes(figure, _threshold_label(metric), "tail lift")
        x = [point["threshold"] for point in points]
        found_axes.fill_between(
            x, [point["low"] for point in points], [point["high"] for point in points], color=colour("training"),
            alpha=0.2, linewidth=0,
        )  # fmt: skip
        found_axes.plot(
            x, [point["lift"] for point in points], color=colour("training"), label="training / holdout"
        )
        few = [point for point in points if point["flags"]]
        if few:
            found_axes.plot(
                [point["threshold"] for point in few], [point["lift"] for point in few], linestyle="none", marker="o",
                markersize=4.5, markerfacecolor="none", color=colour("training"), label="fewer than 10 units",
            )  # fmt: skip
        found_axes.axhline(1.0, color=colour("ink"), linewidth=1.0, linestyle=(0, (5, 2)), label="1: no leak")
        marks = iter("D^vP*X")
        for point in fixed:
            found_axes.plot(
                [point["threshold"]], [point["lift"]], linestyle="none", marker=next(marks, "."), markersize=6,
                color=colour("accent"), label=f"at FMR {power(point['fmr'])}",
            )  # fmt: skip
        found_axes.set_yscale("log")
        log_ticks(found_axes.yaxis, lambda value: f"{value:g}")
        legend(figure)

    compared = points[0]["compared"]
    caption = (
        f"Share of {count(compared[0])} pairs of a synthetic and a training image that reach the threshold, over the "
        f"share of {count(compared[1])} pairs with the holdout: free of the sizes of the sets. From "
        f"{count(min(min(point['pairs']) for point in points))} pairs on. Band: "
        f"{100 * found.summary['statistics']['confidence']:g} % intervals by the two-way bootstrap over synthetic "
        "clusters and persons, at each threshold for itself. Hollow: pairs of fewer than 10 clusters or persons."
    )
    return identity.figure("tail-lift", "Tail lift: training over holdout", caption, draw)


def exposure(found: SetResults, identity: Identity) -> Figure | str:
    """Return the figure of synthetic clusters per person, most exposed persons first."""
    reached = found.curve("clusters_per_person")
    if isinstance(reached, str):
        return reached
    if not any(clusters for name, *_ in SIDES for clusters, _ in reached[name]):
        return "no synthetic cluster reaches anybody at the primary operating point"
    name_of_point = found.summary["operating_points"][0]["name"]

    def draw(figure: Any) -> None:
        found_axes = axes(
            figure, "share of the persons, most exposed first", "clusters that reach the person"
        )
        most = 1
        least = 0.5 / max(sum(number for _, number in reached[name]) for name, *_ in SIDES)
        for name, words, line, _ in SIDES:
            x, y = _sorted_counts(reached[name], least)
            most = max([most, *y[:1]])
            found_axes.plot(
                x, y, color=colour(name), linestyle=line, drawstyle="steps-pre", linewidth=2.0,
                label=f"{words.removeprefix('against ')}: {count(_exposed(reached[name]))} persons",
            )  # fmt: skip
            if y:
                found_axes.plot([x[-1]] * 2, [y[-1], 0], color=colour(name), linestyle=line, linewidth=2.0)
        found_axes.set_xscale("log")
        found_axes.set_xlim(least, 1.0)
        found_axes.set_ylim(0, most * 1.15)
        log_ticks(found_axes.xaxis, share)
        if most > MOST_LINEAR:
            found_axes.set_yscale("symlog", linthresh=1)
            steps = [0.0, *(10.0**power for power in range(len(str(most))))]
            found_axes.set_yticks(steps, [count(step) for step in steps])
            found_axes.minorticks_off()
        else:
            found_axes.yaxis.get_major_locator().set_params(integer=True)
        legend(figure)

    entry = found.analysis("exposure")
    excess = entry["excess"] if isinstance(entry, dict) else None
    beyond = ""
    if excess is not None:
        level = 100 * found.summary["statistics"]["confidence"]
        beyond = (
            f" Excess of exposed persons {100 * excess['share']:.2f} % ({level:g} % interval {100 * excess['low']:.2f} "
            f"to {100 * excess['high']:.2f} %, permutation p = {excess['permutation_p']:.2g})."
        )
    persons = {name: sum(number for _, number in reached[name]) for name, *_ in SIDES}
    caption = (
        f"How many synthetic clusters reach a person at {name_of_point}, persons sorted by it: "
        f"{count(persons['training'])} of training, {count(persons['holdout'])} of the holdout. The holdout, from "
        f"which nothing can leak, is what chance does.{beyond} No bands: these are counts."
    )
    return identity.figure("exposure", "Exposure: how often persons are reached", caption, draw)


def _sorted_counts(reached: list[list[int]], start: float) -> tuple[list[float], list[int]]:
    """Return the ends of the steps: share of persons up to it, and clusters that reach each of them."""
    total = sum(persons for _, persons in reached)
    x, y, so_far = [start], [], 0
    for clusters, persons in sorted(reached, reverse=True):
        if clusters:
            so_far += persons
            x.append(so_far / total)
            y.append(clusters)
    return (x, [y[0], *y]) if y else ([], [])


def _exposed(reached: list[list[int]]) -> int:
    return sum(persons for clusters, persons in reached if clusters)
