"""``idsim selftest audit``: the audit's intervals and p-values under known truth, beside naive ones."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from idsim.audit.proving.judging import Row

__all__ = ["audit"]


def audit(
    runs: Annotated[
        int, typer.Option(min=2, help="Simulated audits without leaks; of other scenarios 0.4 times as many.")
    ] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything that is drawn.")] = 0,
    processes: Annotated[int, typer.Option(min=1, help="Processes that share the runs.")] = 2,
    plant: Annotated[
        str | None,
        typer.Option(
            help="Plant a bug (interval, plus-one, tail, weights, galleries, threshold): the test must then fail."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write the report as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Simulate audits of made-up embeddings, and compare what they say with the truth.

    Coverage of intervals, uniformity of p-values and recovered rates of planted leaks; galleries of unequal size,
    hubs, persons under two labels and clusters of synthetic images. Beside each stands what a naive estimate says.

    Exit status 1 when the audit is outside the limits, or when nothing was checked.
    """
    from idsim.audit.proving.selftest import run
    from idsim.cli.scan import progress_bar

    with progress_bar(quiet) as progress:
        report = run(runs, seed, plant=plant, processes=processes, progress=progress)
    if as_json:
        sys.stdout.write(json.dumps(report.to_dict(), indent=2) + "\n")
    else:
        _show(report.rows)
        failed = sum(not row.passed for row in report.rows)
        typer.echo(f"{len(report.rows)} quantities, {failed} outside their limits")
    if not report.passed:
        raise typer.Exit(1)


def _show(rows: list[Row]) -> None:
    from idsim.cli.tables import print_table

    columns = ("scenario", "quantity", "naive", "idsim", "expected", "result")
    shown = [
        (
            row.scenario,
            row.quantity,
            f"{row.naive:.4f}" + (" (wrong)" if row.naive_fails else ""),
            f"{row.idsim:.4f}",
            row.expected,
            row.result,
        )
        for row in rows
    ]
    print_table("Simulated audits", columns, shown, left=2)
