"""``idsim scan``: the identity-leakage audit of a TOML file."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from pathlib import Path  # noqa: TC003 - Typer reads it
from typing import TYPE_CHECKING, Annotated, Any

import typer

from idsim.cli.failures import resumable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from idsim.audit.run import Progress, ScanResult

__all__ = ["progress_bar", "scan", "show"]

INCONCLUSIVE = 3


def scan(
    config: Annotated[Path, typer.Argument(help="The TOML file that describes the scan (docs/scan.md).")],
    as_json: Annotated[bool, typer.Option("--json", help="Print summary.json instead of tables.")] = False,
    pairs: Annotated[int, typer.Option(min=0, help="How many of the nearest pairs to show.")] = 10,
    names: Annotated[
        bool, typer.Option("--names", help="Show the names of files and persons instead of pseudonyms.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Measure whether synthetic faces resemble people of the training set more than others.

    Writes a new run folder, or finishes the one of an interrupted scan of the same file and inputs. Exit status 3:
    the calibration set supports no threshold for the primary operating point.
    """
    from idsim.audit.run import scan as run_scan

    with resumable("shards"), progress_bar(quiet) as progress:
        result = run_scan(config, progress=progress)
    if as_json:
        sys.stdout.write(json.dumps(result.summary, indent=2) + "\n")
    else:
        show(result, pairs, names)
    if result.summary["verdict"]["status"] == "inconclusive":
        raise typer.Exit(INCONCLUSIVE)


def show(result: ScanResult, pairs: int = 10, names: bool = False) -> None:
    """Print the tables and sentences of a finished scan to standard output."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from idsim.report.summary import notes, tables

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 120  # a file or a pipe: one row per line
    known = known_names(result) if names and "top_pairs" in result.summary else {}
    for content in tables(result.summary, pairs, known):
        table = Table(title=Text(content.title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        for number, column in enumerate(content.columns):
            table.add_column(Text(column), justify="left" if number == 0 else "right", overflow="fold")
        for row in content.rows:
            table.add_row(*(Text(cell) for cell in row))
        console.print(table)
    for line in notes(result.summary):
        console.print(Text(f"- {line}"))
    console.print(Text(f"\n{result.summary['verdict']['sentence']}"), style="bold")
    again = " (finished before)" if result.resumed else ""
    console.print(Text(f"* the primary operating point. Run folder: {result.folder}{again}"))


def known_names(result: ScanResult) -> dict[str, str]:
    """Return ``pseudonym -> name`` of a run, from its provenance and the names in its tables."""
    from idsim.audit.records import read_names

    return read_names(result.folder, result.summary["tables"])


@contextmanager
def progress_bar(quiet: bool) -> Iterator[Progress]:
    """Show the stages of a scan on standard error, where that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    hidden = quiet or not console.is_terminal
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bars(*columns, console=console, transient=True, disable=hidden) as bars:
        tasks: dict[str, Any] = {}

        def tell(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield tell
