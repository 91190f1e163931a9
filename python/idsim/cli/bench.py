"""``idsim bench``: how fast this machine searches, beside whatever rivals are installed."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from idsim.benchmark import Case, Effort, Peaks

__all__ = ["bench"]

# The matrix product that finds the peaks takes a second; below this size it would measure start-up.
QUICK_GEMM_SIZE = 2048


def _counts(text: str) -> list[int]:
    try:
        values = [int(word) for word in text.replace(" ", "").split(",")]
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r} is not a list of whole numbers such as 1,32,1024", param_hint="--queries"
        ) from error
    if min(values) < 1:
        raise typer.BadParameter(f"{text!r} holds a number below 1", param_hint="--queries")
    return values


def bench(
    rows: Annotated[int, typer.Option(min=1, help="Rows of the gallery.")] = 200_000,
    dim: Annotated[int, typer.Option(min=1, help="Columns of the embeddings.")] = 512,
    queries: Annotated[str, typer.Option(help="Query counts, separated by commas.")] = "1,32,1024",
    k: Annotated[int, typer.Option(min=1, help="Neighbours per query.")] = 10,
    clustered: Annotated[
        bool, typer.Option("--clustered", help="20 rows around each identity instead of random rows.")
    ] = False,
    one_shot: Annotated[
        bool, typer.Option("--one-shot", help="Count the preparation of the gallery as well.")
    ] = False,
    rivals: Annotated[bool, typer.Option(help="Also time the other libraries that are installed.")] = True,
    threads: Annotated[int, typer.Option(min=0, help="Threads for every tool; 0: all.")] = 0,
    seconds: Annotated[float, typer.Option(min=0, help="Aim for the timing of one case.")] = 5.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Time top-k searches on this machine; answers are checked afterwards.

    Data on standard output: one line per tool and case. The whole table is in the repository's bench folder.
    """
    from idsim import _core
    from idsim.benchmark import Case, Effort, describe_machine, measure_peaks, pin_threads
    from idsim.benchmark.environment import start_again_if_held

    start_again_if_held()
    count = threads or _core.default_threads()
    data, mode = ("clustered" if clustered else "random"), ("one-shot" if one_shot else "prepared")
    cases = [Case(each, rows, dim, k, data, mode) for each in _counts(queries)]
    effort = Effort(seconds=seconds, rounds=(3, 15), trial_rows=min(rows, 65_536))
    with pin_threads(count):
        peaks = measure_peaks(count, gemm_size=QUICK_GEMM_SIZE, read_bytes=1 << 28)
        _show_machine(count, peaks)
        records = []
        for record in _records(cases, peaks, count, effort, rivals=rivals):
            records.append(record)
            if not as_json:
                _show(record)
    if as_json:
        result = {"machine": describe_machine(count), "peaks": peaks.to_dict(), "cases": records}
        typer.echo(json.dumps(_finite(result), indent=2))


def _records(
    cases: list[Case], peaks: Peaks, threads: int, effort: Effort, *, rivals: bool
) -> Iterator[dict[str, Any]]:
    from idsim.benchmark import all_tools, measure_case
    from idsim.benchmark.cases import make_rows

    wanted, gallery = make_rows(
        cases[0].data, cases[0].rows, cases[0].dim, max(case.queries for case in cases)
    )
    for case in cases:
        tools = all_tools(case.mode)
        yield measure_case(
            case, wanted[: case.queries], gallery, tools if rivals else tools[:1], peaks,
            threads=threads, effort=effort,
        )  # fmt: skip


def _show_machine(threads: int, peaks: Peaks) -> None:
    typer.echo(
        f"{threads} threads; peaks: float32 {peaks.float32:.0f}, bfloat16 {peaks.bfloat16:.0f} GFLOP/s, "
        f"int8 {peaks.int8:.0f} GOP/s, read {peaks.read:.1f} GB/s",
        err=True,
    )


def _show(record: dict[str, Any]) -> None:
    from idsim.benchmark import case_line
    from idsim.benchmark.line import tool_line

    typer.echo(case_line(record))
    for result in record["tools"]:
        typer.echo(f"    {tool_line(result)}")
    for tool, reason in record["left_out"].items():
        typer.echo(f"    {tool}: left out, {reason}", err=True)


def _finite(value: Any) -> Any:
    """Return the same values with None for what JSON has no number for."""
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
