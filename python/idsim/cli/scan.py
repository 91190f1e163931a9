"""``idsim scan``: the identity-leakage audit of a TOML file."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from pathlib import Path  # noqa: TC003 - Typer reads it
from typing import TYPE_CHECKING, Annotated, Any

import typer

from idsim.cli.completion import configs, devices
from idsim.cli.failures import INCOMPLETE, resumable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from idsim.audit.run import Progress, ScanResult

__all__ = ["progress_bar", "report", "scan", "show", "unfinished"]

INCONCLUSIVE = 3


def scan(
    config: Annotated[
        Path | None,
        typer.Argument(help="The TOML file that describes the scan (docs/scan.md).", autocompletion=configs),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print summary.json instead of tables.")] = False,
    pairs: Annotated[int, typer.Option(min=0, help="How many of the nearest pairs to show.")] = 10,
    names: Annotated[
        bool, typer.Option("--names", help="Show the names of files and persons instead of pseudonyms.")
    ] = False,
    shard: Annotated[
        str, typer.Option(help="Do one part of the work, like 3/8; idsim merge writes the results.")
    ] = "",
    devices: Annotated[
        str,
        typer.Option(
            help="Share the work among processes on devices, like cuda:0,cuda:1.", autocompletion=devices
        ),
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show plan, bytes and an estimate of the time; write nothing.")
    ] = False,
    from_bundle: Annotated[
        Path | None,
        typer.Option(help="Compute the scan in this bundle again, and compare (docs/replication.md)."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="With --from-bundle: new folder for the results.")
    ] = None,
    matcher: Annotated[
        list[str] | None,
        typer.Option(help="With --from-bundle: NAME=FILE, a matcher that embeds bundled pictures again."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Measure whether synthetic faces resemble people of the training set more than others.

    Writes a new run folder, or finishes the one of an interrupted scan of the same file and inputs. Of one person in a
    finished run: idsim scan person RUN --id NAME.

    Exit status 3: the calibration set supports no threshold for the primary operating point. 4: this job's part is
    done, and other jobs' parts are missing. With --from-bundle 1: a result is not the one in the bundle.
    """
    if from_bundle is not None:
        if config or shard or devices or dry_run or names:
            raise ValueError(
                "--from-bundle brings its own scan: give -o, --matcher and --json beside it only"
            )
        _replicate(from_bundle, output, matcher or [], as_json, quiet)
        return
    if config is None:
        raise ValueError("give the TOML file that describes the scan, or --from-bundle FILE")
    if output is not None or matcher:
        raise ValueError("--output and --matcher belong to --from-bundle")
    from idsim.audit.run import scan as run_scan
    from idsim.audit.work import Job

    if dry_run:
        from idsim.audit.estimate import estimate
        from idsim.cli.runs import show_estimates

        with progress_bar(quiet) as progress:
            estimates = estimate(config, progress=progress)
        show_estimates(estimates, as_json)
        return
    job = Job.parse(shard) if shard else None
    wanted = [device.strip() for device in devices.split(",") if device.strip()]
    with unfinished(), resumable("shards"), progress_bar(quiet) as progress:
        result = run_scan(config, job=job, devices=wanted, progress=progress)
    report(result, as_json, pairs, names)


def _replicate(file: Path, output: Path | None, given: list[str], as_json: bool, quiet: bool) -> None:
    from idsim.audit.bundling.replicating import replicate
    from idsim.cli.bundle import report_replication

    models = {}
    for text in given:
        name, _, model = text.partition("=")
        models[name] = model
    with progress_bar(quiet) as progress:
        found = replicate(file, output, matchers=models, tell=progress)
    report_replication(found, as_json)


@contextmanager
def unfinished() -> Iterator[None]:
    """Turn missing shards of other jobs into the exit status of work that can go on."""
    from idsim.audit.execution import Unfinished

    try:
        yield
    except Unfinished as missing:
        sys.stderr.write(f"idsim: {missing}. When they are there, the same command or idsim merge goes on.\n")
        raise typer.Exit(INCOMPLETE) from missing


def report(result: ScanResult, as_json: bool, pairs: int = 10, names: bool = False) -> None:
    """Print a finished scan, and exit with the status of its verdict."""
    if as_json:
        sys.stdout.write(json.dumps(result.summary, indent=2) + "\n")
    else:
        show(result, pairs, names)
    if result.summary["verdict"]["status"] == "inconclusive":
        raise typer.Exit(INCONCLUSIVE)


def show(result: ScanResult, pairs: int = 10, names: bool = False) -> None:
    """Print the tables and sentences of a finished scan to standard output."""
    from rich.console import Console
    from rich.text import Text

    from idsim.cli.tables import print_table
    from idsim.report.summary import notes, tables

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 120  # a file or a pipe: one row per line
    known = known_names(result) if names and "top_pairs" in result.summary else {}
    for content in tables(result.summary, pairs, known):
        print_table(content.title, content.columns, content.rows)
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
    from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars
    from rich.text import Text

    class Rate(ProgressColumn):
        """Steps per second."""

        def render(self, task: Any) -> Text:
            return Text(f"{task.speed:.3g}/s" if task.speed else "")

    console = Console(stderr=True)
    hidden = quiet or not console.is_terminal
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=console, transient=True, disable=hidden) as bars:
        tasks: dict[str, Any] = {}

        def tell(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield tell
