"""Figures of scores: their distributions, and the error trade-off of the matcher."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from idsim.report.figure import (
    Figure,
    axes,
    colour,
    count,
    deviate,
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

__all__ = ["det", "score_distributions"]

# Name in curves.json, words, colour, line.
SERIES = (
    ("impostor", "different people of the holdout", "impostor", "-"),
    ("genuine", "one person of the holdout", "genuine", "-"),
    ("best_in_training", "best match in training", "training", "-"),
    ("best_in_holdout", "best match in the holdout", "holdout", (0, (3, 1.5))),
)

# Empty bins lie below the axis: the walls of a lonely bin are drawn.
NOTHING = 1e-12

# Rates that may be labelled on normal-deviate axes, the more important ones first.
DET_TICKS = (
    (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.1, 0.5, 0.9, 0.99),
    (0.02, 0.05, 0.2, 0.3, 0.7),
    (0.002, 0.005),
    (2e-4, 5e-4),
)


def score_distributions(found: SetResults, identity: Identity) -> Figure | str:
    """Return the figure of all scores on a logarithmic axis."""
    curves = found.curve("score_distributions")
    if isinstance(curves, str):
        return curves
    shown = [(curves[name], *words) for name, *words in SERIES if curves.get(name)]

    def draw(figure: Any) -> None:
        width = curves["edges"][1] - curves["edges"][0]
        found_axes = axes(figure, score_label(curves["metric"]), f"share per bin of {width:.3g}")
        least = 1.0
        for entry, words, tint, line in shown:
            total = _total(entry)
            shares = [number / total if number else NOTHING for number in entry["counts"]]
            least = min([least, *(value for value in shares if value > NOTHING)])
            found_axes.stairs(
                shares,
                curves["edges"],
                baseline=NOTHING,
                color=colour(tint),
                linestyle=line,
                linewidth=1.6,
                label=words,
            )
            if tint == "impostor":
                found_axes.stairs(
                    shares, curves["edges"], baseline=NOTHING, fill=True, color=colour(tint), alpha=0.18
                )
        found_axes.set_yscale("log")
        found_axes.set_ylim(least / 2, 1.0)
        mark_thresholds(found_axes, found.summary["operating_points"])
        log_ticks(found_axes.yaxis)
        legend(figure)

    return identity.figure(
        "score-distributions", "Distributions of scores", _distribution_caption(curves), draw, size=(4.8, 3.9)
    )


def _total(entry: dict[str, Any]) -> int:
    return int(entry["comparisons"] if "comparisons" in entry else entry["images"])


def _distribution_caption(curves: dict[str, Any]) -> str:
    parts = []
    if curves.get("genuine"):
        mated = curves["genuine"]
        parts.append(
            f"Pairs of images of one person of the holdout (n = {count(mated['comparisons'])}, "
            f"{count(mated['persons'])} persons)"
        )
    if curves.get("impostor"):
        impostor = curves["impostor"]
        text = f"pairs of images of different people of the holdout (n = {count(impostor['comparisons'])}"
        if impostor["sampled"]:
            text += (
                f"; counted from {impostor['listed_from']:.3g} on, below that estimated from "
                f"{count(impostor['sampled'])} random pairs"
            )
        elif impostor["listed_from"] is not None:
            text += f"; known from {impostor['listed_from']:.3g} on"
        parts.append(f"{text})")
    images = count(curves["best_in_training"]["images"])
    parts.append(f"the best match of each of {images} synthetic images in training and in the holdout")
    text = "; ".join(parts)
    return (
        f"{text[0].upper()}{text[1:]}. Shares of each, on a logarithmic axis. Vertical lines: thresholds of the "
        "operating points. Best matches depend on the size of the gallery. No bands: these are counts."
    )


def det(found: SetResults, identity: Identity) -> Figure | str:
    """Return the figure of false non-matches over false matches, on normal-deviate axes."""
    analysis = found.summary.get("calibration", {}).get("analysis", {})
    if analysis.get("refused"):
        return str(analysis["refused"])
    separation = analysis.get("separation")
    if separation is None:
        return "the matcher gives scores of pairs, and the trade-off needs embeddings"
    if separation.get("refused"):
        return str(separation["refused"])
    known = _until_nothing_is_missed(
        [point for point in separation["det"] if 0 < point["fmr"]["value"] < 1 and point["high"] < 1]
    )
    if len(known) < 2:
        return "fewer than two points of the trade-off are known"
    if not any(point["fnmr"] for point in known):
        return "no pair of a person is missed: there is no trade-off"
    return identity.figure(
        "det", "Error trade-off of the matcher (DET)", _det_caption(found, separation), lambda figure: _draw_det(
            figure, known, found.summary["operating_points"]
        ), size=(4.8, 3.9),
    )  # fmt: skip


def _until_nothing_is_missed(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the points, strictest last, from the last two on at which no pair of a person is missed."""
    missing = next((place for place, point in enumerate(points) if point["fnmr"] > 0), len(points))
    return points[max(0, missing - 2) :]


def _draw_det(figure: Any, known: list[dict[str, Any]], points: list[dict[str, Any]]) -> None:
    found_axes = axes(figure, "false match rate (FMR)", "false non-match rate (FNMR)")
    floor = min(point["high"] for point in known) / 4
    x = [deviate(point["fmr"]["value"]) for point in known]
    low = [deviate(max(point["low"], floor)) for point in known]
    high = [deviate(max(point["high"], floor)) for point in known]
    found_axes.fill_between(x, low, high, color=colour("genuine"), alpha=0.2, linewidth=0)
    curve = [point for point in known if floor <= point["fnmr"] < 1]
    found_axes.plot(
        [deviate(point["fmr"]["value"]) for point in curve],
        [deviate(point["fnmr"]) for point in curve],
        color=colour("genuine"),
        label="holdout",
    )
    marks = iter("osD^vP*X")
    shown = [point for point in points if _has_both(point)]
    for point in shown:
        found_axes.plot(
            [deviate(point["fmr"]["rate"])],
            [deviate(max(point["fnmr"]["rate"], floor))],
            linestyle="none",
            marker=next(marks, "."),
            markersize=6,
            color=colour("ink" if point["primary"] else "muted"),
            label=f"{point['name']}{' (primary)' if point['primary'] else ''}",
            clip_on=False,
            zorder=5,
        )
    left = min([*x, *(deviate(point["fmr"]["rate"]) for point in shown)])
    found_axes.set_xlim(left - 0.02 * (max(x) - left), max(x))
    bottom = deviate(floor)
    top = max([*high, *(deviate(max(point["fnmr"]["rate"], floor)) for point in shown)])
    found_axes.set_ylim(bottom, top + 0.02 * (top - bottom))
    for axis in (found_axes.xaxis, found_axes.yaxis):
        _deviate_ticks(axis)
    legend(figure)


def _has_both(point: dict[str, Any]) -> bool:
    """Whether an operating point has error rates that the axes can show."""
    if point["refused"] or not point.get("fmr") or not point.get("fnmr"):
        return False
    return bool(0 < point["fmr"]["rate"] < 1 and point["fnmr"]["rate"] < 1)


def _deviate_ticks(axis: Any) -> None:
    """Label rates that are not too near each other, round ones first."""
    low, high = axis.get_view_interval()
    apart = (high - low) / 9
    chosen: list[float] = []
    for rate in (rate for rates in DET_TICKS for rate in rates):
        place = deviate(rate)
        if low <= place <= high and all(abs(place - deviate(other)) >= apart for other in chosen):
            chosen.append(rate)
    chosen.sort()
    axis.set_ticks([deviate(rate) for rate in chosen], [share(rate) for rate in chosen])


def _det_caption(found: SetResults, separation: dict[str, Any]) -> str:
    level = 100 * found.summary["statistics"]["confidence"]
    eer = separation["eer"]["value"]
    return (
        f"From {count(separation['mated_comparisons'])} pairs of images of {count(separation['persons'])} persons of "
        f"the holdout and {count(separation['impostor_comparisons'])} pairs of different people, on normal-deviate "
        f"axes. Band: {level:g} % intervals of the FNMR, persons being the units, at each threshold for itself. Equal "
        f"error rate {power(eer)}. Where no pair of a person is missed, only the upper end of the band is known. "
        "Marks: the operating points, whose FNMR counts pairs of the training set too, so that they may lie off the "
        "curve."
    )
