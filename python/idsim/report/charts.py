"""Estimates with their intervals on a common axis, as places between 0 and 100 that a page can draw."""

from __future__ import annotations

import math
from typing import NamedTuple

from idsim.report.blocks import Chart, ChartRow
from idsim.report.text import rate

__all__ = ["Estimate", "interval_chart"]

TICKS = 5  # about as many


class Estimate(NamedTuple):
    """A rate with its interval; None where it was not measured."""

    label: str
    rate: float | None
    low: float | None
    high: float | None
    tone: str = ""


def interval_chart(title: str, estimates: list[Estimate], note: str = "") -> Chart | None:
    """Return a chart of rates, all on one axis that has 0 on it; None where none was measured."""
    known = [value for entry in estimates for value in entry[1:4] if value is not None]
    if not known:
        return None
    low, high = min(0.0, *known), max(0.0, *known)
    if low == high:
        high = 0.01
    margin = 0.04 * (high - low)
    low, high = low - margin, high + margin

    def place(value: float | None) -> float | None:
        return None if value is None else round(100 * (value - low) / (high - low), 2)

    rows = [
        ChartRow(
            label=entry.label,
            text=_words(entry),
            tone=entry.tone,
            place=place(entry.rate),
            low=place(entry.low),
            high=place(entry.high),
        )
        for entry in estimates
    ]
    zero = place(0.0)
    assert zero is not None
    ticks = [(100 * (value - low) / (high - low), f"{100 * value:.6g} %") for value in _ticks(low, high)]
    return Chart(title, note, rows, zero, [(round(at, 2), text) for at, text in ticks])


def _words(entry: Estimate) -> str:
    if entry.rate is None or entry.low is None or entry.high is None:
        return "not measured"
    return f"{rate(entry.rate)} ({rate(entry.low)} to {rate(entry.high)})"


def _ticks(low: float, high: float) -> list[float]:
    """Return round numbers between two others: steps of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [number * step for number in range(first, last + 1)]
