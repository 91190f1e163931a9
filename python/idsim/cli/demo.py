"""``idsim demo``: the audit in a world whose truth is known."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from idsim.audit.run import ScanResult

__all__ = ["demo"]

ABOUT = """\
These are drawn faces: no photograph and no real person is involved. Two small StyleGAN2 were trained on drawn people.
"few" saw {few.training.people} people, {few.training.images} pictures each, until it knew them by heart;
"many" saw {many.training.people:,} people, one picture each.
Two small face networks that saw none of them compare {seeds:,} pictures of each generator with its training set and
with a holdout of other people. "few" should show leaks, "many" none."""


def demo(
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="A new folder; default: idsim-demo, or idsim-demo-2, ..."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=100, help="Pictures to draw of each generator.")] = 2000,
    faces: Annotated[
        str,
        typer.Option(help="Faces in the reports: blur, none or show. They are drawn, so show is harmless."),
    ] = "show",
    vectors: Annotated[
        bool,
        typer.Option(
            "--vectors", help="Made-up embeddings with planted leaks instead: needs no extra, takes seconds."
        ),
    ] = False,
    leaks: Annotated[
        int,
        typer.Option(min=0, max=1500, help="With --vectors: planted leaks among 1,500 synthetic clusters."),
    ] = 45,
    seed: Annotated[int, typer.Option(min=0, help="With --vectors: of the made-up population.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Find the leaks of a generator that knows its people by heart, and none of one that does not.

    Two small StyleGAN2 of drawn faces are sampled, two face networks compare the pictures with training sets and a
    holdout, and a report is written for each generator. Everything comes with the package; nothing is downloaded.
    """
    folder = output or _free_folder()
    if folder.exists():
        raise ValueError(f"{folder} exists already: the demo writes into a new folder")
    if vectors:
        from idsim.cli.demo_vectors import demo_of_vectors

        demo_of_vectors(folder, leaks, seed, as_json)
        return
    started = time.perf_counter()
    results = _scan_world(folder, seeds, quiet=as_json)
    report = _reports(folder, results, faces)
    if as_json:
        summaries = {name: result.summary for name, result in results.items()}
        sys.stdout.write(json.dumps({"report": str(report), "summaries": summaries}, indent=2) + "\n")
        return
    _tell(results, seeds)
    typer.echo(f"\n{time.perf_counter() - started:.0f} s. Open {report} in a browser.")


def _scan_world(folder: Path, seeds: int, quiet: bool) -> dict[str, ScanResult]:
    from idsim.audit.run import scan
    from idsim.cli.scan import progress_bar
    from idsim.demo_world.scans import write_world

    with progress_bar(quiet) as progress:
        configs = write_world(folder, seeds, tell=lambda done, total: progress("portraits", done, total))
    results = {}
    for name, config in configs.items():
        with progress_bar(quiet) as progress:
            results[name] = scan(config, progress=progress)
    return results


def _reports(folder: Path, results: dict[str, ScanResult], faces: str) -> Path:
    """Write a report of every scan and one that compares them; return the path of the latter."""
    from idsim.report.html import write_report

    runs = [result.folder for result in results.values()]
    for run in runs:
        write_report([run], run / "report.html", faces=faces)
    return write_report(runs, folder / "report.html", faces=faces)


def _tell(results: dict[str, ScanResult], seeds: int) -> None:
    from rich.console import Console

    from idsim.cli.tables import print_table
    from idsim.demo_world.scans import GENERATORS

    trained = {generator.name: generator for generator in GENERATORS}
    typer.echo(ABOUT.format(**trained, seeds=seeds) + "\n")
    rows = [(name, *row) for name, result in results.items() for row in _rates(result.summary)]
    columns = ("generator", "matcher", "reach training", "reach holdout", "excess", "95 % interval", "p")
    print_table("Pictures that reach a person, at FPIR 1 %", columns, rows)
    for name, result in results.items():
        Console(highlight=False).print(
            f"{name} {trained[name].truth}. {result.summary['verdict']['sentence']}"
        )


def _rates(summary: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return a row for every matcher: its rates at the primary operating point."""
    from idsim.audit.summary import percent

    rows: list[tuple[str, ...]] = []
    for name, entry in summary["matchers"].items():
        point = entry["operating_points"][0]
        excess = point["excess_leak_rate"]
        rows.append(
            (
                name,
                percent(point["leak_rate_training"]["rate"]),
                percent(point["leak_rate_holdout"]["rate"]),
                percent(excess["rate"]),
                f"{percent(excess['low'])} to {percent(excess['high'])}",
                f"{excess['permutation_p']:.2g}",
            )
        )
    return rows


def _free_folder() -> Path:
    number = 1
    while True:
        folder = Path("idsim-demo" if number == 1 else f"idsim-demo-{number}")
        if not folder.exists():
            return folder
        number += 1
