"""Markdown from the result file of a device; ``python -m bench.table FILE`` comes here too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.gpu.cases import goals
from idsim.benchmark import Case
from idsim.benchmark.device_peaks import DevicePeaks
from idsim.benchmark.record import paired_ratio
from idsim.benchmark.tools import OURS, is_ours

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HEAD = (
    "| queries × rows | d | k | rows are | gallery | ms | TOP/s | GB/s | share of the device | best exact rival "
    "| its wrong ids | best inexact rival | its wrong ids | bf16 product alone | int8 product alone | torch bf16 "
    "| other tiles | goal |"
)
BESIDE = ("product bfloat16", "product int8", "torch bfloat16")


def is_other(name: str) -> bool:
    """Return whether a tool is ours with the kernels that the environment did not choose."""
    return is_ours(name) and name != OURS


def _digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _rival(ratio: Mapping[str, Any] | None) -> str:
    if ratio is None:
        return "– | –"
    spread = f"({ratio['low']:.1f}–{ratio['high']:.1f})"
    return f"**{ratio['ratio']:.1f}×** {spread} {ratio['tool']} | {ratio['wrong']} / {ratio['checked']}"


def _goal(case: Case, ratios: Mapping[str, float], read: float) -> str:
    cells = []
    for name, least in goals(case):
        reached = read if name == "read" else ratios.get(name)
        wanted = f"{least:.0%} of copy bandwidth" if name == "read" else f"{least:g}× {name}"
        verdict = "not measured" if reached is None else "reached" if reached >= least else "missed"
        cells.append(f"{wanted} {verdict}")
    return "; ".join(cells)


def _row(record: Mapping[str, Any], peaks: DevicePeaks) -> str:
    by_tool = {result["tool"]: result for result in record["tools"]}
    ours, case = by_tool[OURS], Case(**record["case"])
    ratios = {name: paired_ratio(result, ours)["ratio"] for name, result in by_tool.items()}
    share, share_of = peaks.share(ours["arithmetic"], ours["gflops"], ours["gbs"])
    share_of = "copy bandwidth" if share_of == "read bandwidth" else share_of
    cells = [
        f"{case.queries:,} × {case.rows:,}", str(case.dim), str(case.k), case.data, case.mode,
        _digits(ours["median_ms"]), f"{ours['gflops'] / 1e3:.3g}", _digits(ours["gbs"]),
        f"{share:.0%} of {share_of}", _rival(record["best_exact"]), _rival(record["best_inexact"]),
        *(f"{ratios[name]:.2f}×" if name in ratios else "–" for name in BESIDE),
        ", ".join(f"{ratio:.2f}× {name.partition(' ')[2]}" for name, ratio in ratios.items() if is_other(name)) or "–",
        _goal(case, ratios, ours["gbs"] / peaks.read if peaks.read else 0.0),
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def _took_no_part(records: Sequence[Mapping[str, Any]]) -> str:
    """Return the tools that no case has, with the reason."""
    measured = {result["tool"] for record in records for result in record["tools"]}
    reasons = {
        name: why for record in records for name, why in record["left_out"].items() if name not in measured
    }
    short = {
        name: "not installed" if why.startswith("not installed") else why for name, why in reasons.items()
    }
    return ", ".join(f"{name} ({why})" for name, why in sorted(short.items()))


def device_line(document: Mapping[str, Any]) -> str:
    """Return device, versions and ceilings in two sentences."""
    peaks = DevicePeaks(**document["peaks"])
    versions = ", ".join(f"{name} {version}" for name, version in document["versions"].items() if version)
    return (
        f"{document['device']}, {document['date']}; {versions}. Measured ceilings: float32 {peaks.float32 / 1e3:,.0f}, "
        f"tf32 {peaks.tf32 / 1e3:,.0f}, float16 {peaks.float16 / 1e3:,.0f}, bfloat16 {peaks.bfloat16 / 1e3:,.0f} "
        f"TFLOP/s and int8 {peaks.int8 / 1e3:,.0f} TOP/s through cuBLAS, copy {peaks.read:,.0f} GB/s, "
        f"pinned host to device {peaks.to_device:.0f} GB/s."
    )


def device_table(document: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of ours against the rivals on a device."""
    peaks = DevicePeaks(**document["peaks"])
    lines = [device_line(document), "", HEAD, "|" + "---|" * (HEAD.count("|") - 1)]
    lines += [_row(record, peaks) for record in records]
    if away := _took_no_part(records):
        lines += ["", f"Took no part: {away}."]
    return "\n".join(lines)
