"""Markdown from a result file: ``python -m bench.table bench/results/x.json [--short] [--tools] [--select ...]``.

``--into README.md`` writes the table between the two marks of a page instead of printing it.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import grid
from bench.gpu.table import device_table
from bench.page import put_into
from idsim.benchmark import Case, Peaks
from idsim.benchmark.tools import OURS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def milliseconds(value: float) -> str:
    """Return a time with three digits."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def rate(gflops: float) -> str:
    """Return GFLOP/s with three digits."""
    return f"{gflops:,.0f}" if gflops >= 100 else f"{gflops:.3g}"


def rival_cell(rival: Mapping[str, Any] | None) -> str:
    """Return ratio, spread and name."""
    if rival is None:
        return "–"
    return f"**{rival['ratio']:.1f}×** ({rival['low']:.1f}–{rival['high']:.1f}) {rival['tool']}"


def wrong_cell(rival: Mapping[str, Any] | None) -> str:
    """Return the error count of a rival."""
    return "–" if rival is None else f"{rival['wrong']} / {rival['checked']}"


def goal_cell(record: Mapping[str, Any]) -> str:
    """Return the goal of a case and whether the measured ratio reaches it."""
    goal = grid.goal(Case(**record["case"]))
    ratio = record["best_exact"]
    if goal is None or ratio is None:
        return ""
    reached = ratio["ratio"] >= goal.exact
    return f"{goal.exact:g}× {'reached' if reached else 'missed'}"


HEAD = (
    "| queries × rows | d | k | rows are | gallery | ms | GOP/s | GB/s | share of the machine "
    "| best exact rival | its wrong ids | best inexact rival | its wrong ids | goal, exact |"
)


def case_row(record: Mapping[str, Any], peaks: Peaks) -> str:
    """Return one row of the table, or an empty string when ours did not take part."""
    ours = next((result for result in record["tools"] if result["tool"] == OURS), None)
    if ours is None:
        return ""
    case = record["case"]
    share, share_of = peaks.share(ours["arithmetic"], ours["gflops"], ours["gbs"])
    sizes = f"{case['queries']:,} × {case['rows']:,}"
    cells = [
        sizes, str(case["dim"]), str(case["k"]), case["data"], case["mode"],
        milliseconds(ours["median_ms"]), rate(ours["gflops"]), f"{ours['gbs']:.1f}",
        f"{100 * share:.0f} % of {share_of}",
        rival_cell(record["best_exact"]), wrong_cell(record["best_exact"]),
        rival_cell(record["best_inexact"]), wrong_cell(record["best_inexact"]), goal_cell(record),
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def place(record: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the sort key of a case: prepared first, random first, then by its sizes."""
    case = record["case"]
    return case["mode"] != "prepared", case["data"] != "random", -case["dim"], case["k"], case["queries"]


def geometric_mean(values: Sequence[float]) -> float:
    """Return the geometric mean of positive numbers."""
    return math.exp(sum(math.log(value) for value in values) / len(values))


def machine_line(document: Mapping[str, Any]) -> str:
    """Return machine, threads, versions and measured peaks in two sentences."""
    machine, peaks = document["machine"], document["peaks"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
    blas = "; ".join(f"{owner}: {kernels}" for owner, kernels in machine.get("blas", {}).items())
    return (
        f"{machine['cpu']} ({machine['instruction_set']}), {machine['threads']} threads for every tool, "
        f"{machine['memory_gib']:g} GiB, {document['date']}; {versions}. "
        f"{f'BLAS ({blas}). ' if blas else ''}Measured peaks: float32 "
        f"{peaks['float32']:.0f}, bfloat16 {peaks['bfloat16']:.0f} GFLOP/s and int8 {peaks['int8']:.0f} GOP/s "
        f"(fastest products), read {peaks['read']:.1f} GB/s."
    )


def main_table(document: Mapping[str, Any], selected: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of ours against the best rivals."""
    peaks = Peaks(**document["peaks"])
    rows = [row for row in (case_row(record, peaks) for record in selected) if row]
    rule = "|" + "---|" * HEAD.count(" |")
    ratios = [record["best_exact"]["ratio"] for record in selected if record["best_exact"]]
    lines = [machine_line(document), "", HEAD, rule, *rows]
    if ratios:
        mean = geometric_mean(ratios)
        lines += ["", f"Geometric mean of {len(ratios)} ratios to the best exact rival: {mean:.1f}×."]
    return "\n".join(lines)


SHORT_HEAD = (
    "| queries × rows | gallery | idsim, ms | best exact rival "
    "| best inexact rival | its wrong ids | goal, exact |"
)


def short_row(record: Mapping[str, Any]) -> str:
    """Return one row of the short table, for cases of one dimension, k and kind of rows."""
    ours = next((result for result in record["tools"] if result["tool"] == OURS), None)
    if ours is None:
        return ""
    case = record["case"]
    cells = [
        f"{case['queries']:,} × {case['rows']:,}",
        case["mode"],
        milliseconds(ours["median_ms"]),
        rival_cell(record["best_exact"]),
        rival_cell(record["best_inexact"]),
        wrong_cell(record["best_inexact"]),
        goal_cell(record),
    ]
    return "| " + " | ".join(cells) + " |"


def short_table(document: Mapping[str, Any], selected: Sequence[Mapping[str, Any]]) -> str:
    """Return the README's table."""
    rows = [row for row in map(short_row, selected) if row]
    return "\n".join([machine_line(document), "", SHORT_HEAD, "|" + "---|" * SHORT_HEAD.count(" |"), *rows])


MARKS = ("<!-- bench.table begins -->", "<!-- bench.table ends -->")


def tool_table(selected: Sequence[Mapping[str, Any]]) -> str:
    """Return every tool's median and wrong ids, one row per case."""
    names = list(dict.fromkeys(result["tool"] for record in selected for result in record["tools"]))
    lines = ["| case | " + " | ".join(names) + " |", "|" + "---|" * (len(names) + 1)]
    for record in selected:
        by_tool = {result["tool"]: result for result in record["tools"]}
        cells = []
        for name in names:
            found = by_tool.get(name)
            wrong = f" ({found['wrong']} wrong)" if found and found["wrong"] else ""
            cells.append(f"{milliseconds(found['median_ms'])}{wrong}" if found else "–")
        lines.append(f"| {record['name']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables of a result file."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m bench.table")
    parser.add_argument("result", type=Path)
    parser.add_argument("--select", action="append", default=[], help='words of a case, "d=512 prepared"')
    parser.add_argument("--short", action="store_true", help="fewer columns, as in the README")
    parser.add_argument("--into", type=Path, help="page whose table is replaced")
    parser.add_argument("--tools", action="store_true", help="add a table of every tool's time in ms")
    chosen = parser.parse_args(arguments)
    document = json.loads(chosen.result.read_text(encoding="utf-8"))
    cases = [Case(**record["case"]) for record in document["cases"]]
    names = {case.name for case in grid.matching(cases, chosen.select)}
    selected = sorted((record for record in document["cases"] if record["name"] in names), key=place)
    if not selected:
        print("no case matches", file=sys.stderr)
        return 2
    make = device_table if "device" in document else short_table if chosen.short else main_table
    text = make(document, selected)
    if chosen.tools:
        text += "\n\n" + tool_table(selected)
    if chosen.into is None:
        print(text)
    else:
        chosen.into.write_text(
            put_into(chosen.into.read_text(encoding="utf-8"), text, MARKS), encoding="utf-8"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
