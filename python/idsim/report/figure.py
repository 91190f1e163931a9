"""A figure of a report: what it is called, what it shows, and how it is drawn; colours and axes that all share.

Matplotlib is used through its objects, never through pyplot: no window, no current figure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from idsim.report.summary import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = [
    "COLOURS", "SIZE", "Figure", "axes", "below", "colour", "count", "deviate", "dress", "legend", "log_ticks",
    "mark_thresholds", "named", "percent_ticks", "power", "score_label", "share",
]  # fmt: skip

# Inches. Inline at 360 px the letters of 10 pt are still 10 px tall; in a column of 84 mm they print at 7 pt.
SIZE = (4.8, 3.5)

# Light and dark. Okabe and Ito's colours tell apart for the colour-blind; training and holdout differ in their
# lines too, so that they do in grey print.
COLOURS = {
    "ink": ("#1f2328", "#e6e8eb"),
    "muted": ("#5c6470", "#a5afbb"),
    "grid": ("#d9dde2", "#3a424d"),
    "training": ("#d55e00", "#f28c38"),
    "holdout": ("#0072b2", "#56b4e9"),
    "genuine": ("#009e73", "#35c79b"),
    "impostor": ("#7a7a7a", "#9b9b9b"),
    "accent": ("#aa4f86", "#e29cc3"),
}

SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
LONGEST = 28


@dataclass(frozen=True)
class Figure:
    """A figure that can be drawn.

    Attributes
    ----------
    name : str
        Unique in a report: letters, digits and hyphens, fit for a file name.
    kind : str
        What is shown, without matcher and set: ``det``.
    title, caption : str
        Plain text; the caption says how many there are of what, and what bands are.
    matcher, variant : str or None
        Name of the matcher, and of the set of a series, where the figure is of one.
    draw : callable
        Draws on a ``matplotlib.figure.Figure``.
    size : tuple of float
        Width and height in inches.
    """

    name: str
    kind: str
    title: str
    caption: str
    matcher: str | None
    draw: Callable[[Any], None]
    variant: str | None = None
    size: tuple[float, float] = SIZE


def colour(name: str) -> str:
    """Return the light colour; rendering exchanges it for the dark one."""
    return COLOURS[name][0]


def axes(figure: Any, x: str, y: str, **options: Any) -> Any:
    """Return axes with a quiet frame and labels."""
    found = figure.add_subplot(**options)
    dress(found)
    found.set_xlabel(x)
    found.set_ylabel(y)
    return found


def dress(found: Any) -> None:
    """Give axes the frame and grid of all figures."""
    for side in ("top", "right"):
        found.spines[side].set_visible(False)
    found.grid(True, color=colour("grid"), linewidth=0.6)
    found.set_axisbelow(True)


def legend(figure: Any, columns: int = 2) -> None:
    """Put the legend above the axes, where it covers nothing."""
    figure.legend(loc="outside upper left", ncols=columns, frameon=False, handlelength=1.8, columnspacing=1.2)


# --- words ----------------------------------------------------------------------------------------


def named(text: str, longest: int = LONGEST) -> str:
    """Return a name for a label: without control characters, and not too long."""
    shown = printable(text)
    return shown if len(shown) <= longest else f"{shown[: longest - 8]}…{shown[-7:]}"


def count(number: float) -> str:
    """Return a whole number with thousands apart."""
    return f"{number:,.0f}".replace(",", "\N{NO-BREAK SPACE}")


def power(value: float) -> str:
    """Return a number as a power of ten: 10⁻³, 3·10⁻³; with digits between 0.01 and 1000."""
    if value == 0 or 0.01 <= abs(value) < 1000:
        return f"{value:.3g}"
    digits, exponent = f"{value:.0e}".split("e")
    base = f"10{str(int(exponent)).translate(SUPERSCRIPTS)}"
    return base if digits == "1" else f"{digits}·{base}"


def share(value: float) -> str:
    """Return a share in percent for a tick; small ones as powers of ten without the sign."""
    shown = f"{100 * value:.6g} %" if value == 0 or abs(value) >= 1e-4 else power(value)
    return shown.replace("-", "\N{MINUS SIGN}")


def score_label(metric: str) -> str:
    """Return the words for an axis of scores."""
    if metric == "l2":
        return "distance (smaller: more alike)"
    return "cosine" if metric == "cosine" else "score"


# --- axes -----------------------------------------------------------------------------------------


def log_ticks(axis: Any, words: Callable[[float], str] = power) -> None:
    """Label an axis with a logarithmic scale at whole decades, and in between where there are few of them."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    low, high = axis.get_view_interval()
    decades = math.log10(high / low) if low > 0 else 3
    subs = (1.0, 2.0, 5.0) if decades < 2 else (1.0, 3.0) if decades < 3 else (1.0,)
    axis.set_major_locator(LogLocator(subs=subs, numticks=9))
    axis.set_major_formatter(FuncFormatter(lambda value, _: words(value)))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def percent_ticks(axis: Any) -> None:
    """Label a linear axis of shares in percent."""
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: share(round(value, 9))))


def mark_thresholds(found: Any, points: Iterable[dict[str, Any]]) -> None:
    """Draw the thresholds of operating points as lines; the primary one is solid."""
    for point in points:
        if point["refused"] or point["threshold"] is None:
            continue
        first = point["primary"]
        found.axvline(
            point["threshold"],
            color=colour("ink" if first else "muted"),
            linewidth=1.2 if first else 1.0,
            linestyle="-" if first else (0, (1, 1.5)),
            label=named(f"{point['name']}{' (primary)' if first else ''}"),
        )


def below(values: Sequence[float | None], floor: float) -> list[float]:
    """Return values for a logarithmic axis: what is under the floor lies on it."""
    return [floor if value is None or value < floor else value for value in values]


def deviate(rate: float) -> float:
    """Return the normal quantile of a rate, for the axes of a DET curve."""
    return NormalDist().inv_cdf(rate)
