"""``idsim status`` and ``idsim merge``: runs of scans that are on their way."""

from __future__ import annotations

import json
import sys
from pathlib import Path  # noqa: TC003 - Typer reads it
from typing import TYPE_CHECKING, Annotated, Any

import typer

from idsim.cli.completion import configs, runs
from idsim.cli.failures import INCOMPLETE, resumable

if TYPE_CHECKING:
    from idsim.audit.estimate import Estimate
    from idsim.audit.run_plan import Stage

__all__ = ["merge", "show_estimates", "status"]


def status(
    run: Annotated[Path, typer.Argument(help="The folder of a run.", autocompletion=runs)],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    files: Annotated[bool, typer.Option("--files", help="List the shards that are missing.")] = False,
) -> None:
    """Say how far a scan is: which stages have how many of their shards.

    Exit status 4: the run is not finished.
    """
    from idsim.audit.run_plan import read_status

    finished, stages = read_status(run)
    missing = [name for stage in stages for name in stage.files if not (run / name).exists()]
    if as_json:
        rows = [_entry(stage) for stage in stages]
        sys.stdout.write(
            json.dumps({"finished": finished, "stages": rows, "missing": missing}, indent=2) + "\n"
        )
    else:
        _print_stages(stages)
        if files:
            typer.echo("\n".join(missing))
        typer.echo(
            "The run is finished." if finished else "The run is not finished: the same command goes on."
        )
    if not finished:
        raise typer.Exit(INCOMPLETE)


def merge(
    config: Annotated[Path, typer.Argument(help="The TOML file of the scan.", autocompletion=configs)],
    as_json: Annotated[bool, typer.Option("--json", help="Print summary.json instead of tables.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Write the results of a scan whose shards were computed by several jobs (idsim scan --shard i/n).

    Nothing is computed that a job should have. Exit status 4: shards are missing; how many is said.
    """
    from idsim.audit.run import scan
    from idsim.cli.scan import progress_bar, report, unfinished

    with unfinished(), resumable("shards"), progress_bar(quiet) as progress:
        result = scan(config, merge_only=True, progress=progress)
    report(result, as_json)


def _entry(stage: Stage) -> dict[str, Any]:
    return {
        "matcher": stage.matcher,
        "stage": stage.name,
        "amount": stage.amount,
        "shards": len(stage.files),
        "done": stage.done,
    }


def _print_stages(stages: list[Stage]) -> None:
    from idsim.cli.tables import print_table

    rows = [
        (stage.matcher, stage.name, f"{stage.amount:.4g}", f"{stage.done} of {len(stage.files)}")
        for stage in stages
    ]
    print_table("Shards", ("matcher", "stage", "pictures or pairs", "done"), rows, left=2)


def show_estimates(estimates: list[Estimate], as_json: bool) -> None:
    """Print the stages of a scan that is not run."""
    from idsim.cli.tables import print_table

    known = [entry.seconds for entry in estimates if entry.seconds is not None]
    total = sum(entry.stage.bytes for entry in estimates)
    if as_json:
        rows = [
            {**_entry(entry.stage), "bytes": entry.stage.bytes, "seconds": entry.seconds}
            for entry in estimates
        ]
        sys.stdout.write(json.dumps({"stages": rows, "bytes": total, "seconds": sum(known)}, indent=2) + "\n")
        return
    rows_shown = [
        (
            entry.stage.matcher, entry.stage.name, f"{entry.stage.amount:.4g}", str(len(entry.stage.files)),
            f"{entry.stage.bytes / 1e6:.1f} MB", "not known" if entry.seconds is None else _duration(entry.seconds),
        )
        for entry in estimates
    ]  # fmt: skip
    columns = ("matcher", "stage", "pictures or pairs", "shards", "kept", "time here")
    print_table("Plan", columns, rows_shown, left=2)
    unknown = " and what is not known" if len(known) < len(estimates) else ""
    typer.echo(
        f"About {_duration(sum(known))}{unknown} on this machine, and {total / 1e6:.1f} MB in the run folder beside "
        "the pairs of the tail. Nothing was written."
    )


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.2g} s"
    return f"{seconds / 60:.3g} min" if seconds < 6000 else f"{seconds / 3600:.3g} h"
