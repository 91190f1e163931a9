"""``idsim gate``: whether a finished scan fulfils a policy."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path  # noqa: TC003 - Typer reads it
from typing import TYPE_CHECKING, Annotated

import typer

from idsim.cli.completion import configs, runs
from idsim.cli.failures import INCOMPLETE

if TYPE_CHECKING:
    from datetime import date

    from idsim.audit.policy.gating import GateResult

__all__ = ["gate", "show"]

STYLES = {"passed": "green", "violated": "bold red", "inconclusive": "yellow", "accepted": "cyan"}


def gate(
    run: Annotated[Path, typer.Argument(help="The folder of a finished scan.", autocompletion=runs)],
    policy: Annotated[
        Path,
        typer.Option("--policy", help="The TOML file with the rules (docs/gate.md).", autocompletion=configs),
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON instead of a table.")
    ] = False,
    junit: Annotated[
        Path | None, typer.Option("--junit", help="Also write the result as JUnit XML; replaces the file.")
    ] = None,
    on: Annotated[
        datetime | None,
        typer.Option(
            "--date", formats=["%Y-%m-%d"], help="The day that decides what has expired; default: today."
        ),
    ] = None,
) -> None:
    """Say whether a finished scan fulfils a policy.

    Exit status: 0 passed, 1 violated, 2 the policy or the run cannot be used, 3 inconclusive (a refused operating
    point, too little data), 4 the scan is not finished.
    """
    from idsim.audit.policy.gating import IncompleteRunError, read_run
    from idsim.audit.policy.gating import gate as apply
    from idsim.audit.policy.junit import to_junit
    from idsim.audit.policy.policy import read_policy
    from idsim.audit.shards import replace_file

    rules = read_policy(policy)
    try:
        summary = read_run(run)
    except IncompleteRunError as error:
        sys.stderr.write(f"idsim: {error}\n")
        raise typer.Exit(INCOMPLETE) from error
    result = apply(summary, rules, _day(on))
    if junit is not None:
        replace_file(junit, to_junit(result).encode())
    if as_json:
        sys.stdout.write(json.dumps(result.entry(), indent=2) + "\n")
    else:
        show(result)
    raise typer.Exit(result.exit_status)


def _day(on: datetime | None) -> date:
    return (on or datetime.now(UTC)).date()


def show(result: GateResult) -> None:
    """Print the rules and the result to standard output."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from idsim.report.summary import printable

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 160  # a file or a pipe
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    scoped = any(row.scope for row in result.rows)
    columns = ["rule", *(["matcher / set"] if scoped else []), "value", "limit", "outcome", "meaning"]
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in result.rows:
        cells = [row.rule, *([row.scope] if scoped else []), _number(row.value), _number(row.limit)]
        table.add_row(
            *(Text(printable(cell)) for cell in cells),
            Text(row.outcome, style=STYLES[row.outcome]),
            Text(printable(row.sentence)),
        )
    console.print(table)
    console.print(Text(printable(result.sentence)), style="bold")


def _number(value: float | str | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
