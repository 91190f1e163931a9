"""One line per measured case."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from idsim.benchmark.tools import OURS

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["case_line", "tool_line"]


def _time(milliseconds: float) -> str:
    if milliseconds >= 10_000:
        return f"{milliseconds / 1e3:.1f} s"
    return f"{milliseconds:,.0f} ms" if milliseconds >= 100 else f"{milliseconds:.3g} ms"


def _rate(gflops: float, arithmetic: str) -> str:
    unit = "OP/s" if arithmetic.startswith("int8") else "FLOP/s"
    return f"{gflops / 1e3:.2f} T{unit}" if gflops >= 1000 else f"{gflops:.3g} G{unit}"


def _ratio(rival: Mapping[str, Any] | None) -> str:
    if rival is None:
        return "no rival"
    return f"{rival['ratio']:.2f}x {rival['tool']} ({rival['wrong']} of {rival['checked']} ids wrong)"


def _sizes(record: Mapping[str, Any]) -> str:
    case = record["case"]
    return (
        f"q={case['queries']:,} n={case['rows']:,} d={case['dim']} k={case['k']} "
        f"{case['data']} {case['mode']}"
    )


def tool_line(result: Mapping[str, Any]) -> str:
    """Return a tool's numbers: time, arithmetic, memory, share of the machine, wrong ids."""
    return " | ".join(
        [
            f"{result['tool']:<16}",
            f"{_time(result['median_ms']):>9}",
            f"{_rate(result['gflops'], result['share_of']):>12}",
            f"{result['gbs']:6.1f} GB/s",
            f"{result['share']:5.0%} of {result['share_of']}",
            f"{result['wrong']} of {result['checked']} ids wrong",
        ]
    )


def case_line(record: Mapping[str, Any]) -> str:
    """Return the case on one line: ours, and its ratio to the best exact and best inexact rival."""
    ours = next((r for r in record["tools"] if r["tool"] == OURS), None)
    if ours is None:
        fastest = min(record["tools"], key=lambda result: float(result["median_ms"]))
        return f"{_sizes(record)} | {tool_line(fastest)}"
    return " | ".join(
        [
            _sizes(record),
            _time(ours["median_ms"]),
            _rate(ours["gflops"], "int8"),
            f"{ours['gbs']:.1f} GB/s",
            f"{ours['share']:.0%} of {ours['share_of']}",
            _ratio(record["best_exact"]),
            _ratio(record["best_inexact"]),
        ]
    )
