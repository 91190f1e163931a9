"""``idsim demo``: the audit in a world whose truth is known."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["demo"]

NEEDED = ("PIL", "jinja2", "matplotlib", "onnxruntime", "pyarrow", "torch")

ABOUT = """\
These are drawn faces: no photograph and no real person is involved. Two small StyleGAN2 were trained on drawn people.
"few" saw {few.training.people} people, {few.training.images} pictures each, again and again, and repeats some of them;
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
    """Find the leaks of a generator that repeats people of its training set, and none of one that does not.

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
    _require_extras()
    started = time.perf_counter()
    summaries = _audit_world(folder, seeds, faces, quiet=as_json)
    report = _compare(folder, list(summaries), faces)
    if as_json:
        sys.stdout.write(json.dumps({"report": str(report), "summaries": summaries}, indent=2) + "\n")
        return
    _tell(summaries, seeds)
    typer.echo(f"\n{time.perf_counter() - started:.0f} s. Open {report} in a browser.")


def _require_extras() -> None:
    """Stop before the work begins where a package is missing that is needed at its end."""
    from importlib.util import find_spec

    from idsim.cli.failures import MISSING_CAPABILITY

    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        sys.stderr.write(
            f"idsim: The demo needs {', '.join(missing)}: pip install 'idsim[demo]'. "
            "idsim demo --vectors needs no extra.\n"
        )
        raise typer.Exit(MISSING_CAPABILITY)


def _audit_world(folder: Path, seeds: int, faces: str, quiet: bool) -> dict[str, dict[str, Any]]:
    """Scan both generators side by side, and return their summaries by name."""
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from multiprocessing import get_context

    from idsim.cli.scan import progress_bar
    from idsim.demo_world.scans import write_world

    with ProcessPoolExecutor(2, get_context("spawn")) as pool, progress_bar(quiet) as progress:
        progress("portraits drawn", 0, 1)
        configs = write_world(folder, seeds, pool=pool)
        progress("portraits drawn", 1, 1)
        progress("generators audited", 0, len(configs))
        waiting = {pool.submit(_audit, config, faces): name for name, config in configs.items()}
        found = {}
        for done, future in enumerate(as_completed(waiting), 1):
            found[waiting[future]] = future.result()
            progress("generators audited", done, len(configs))
    return {name: found[name] for name in configs}


def _audit(config: Path, faces: str) -> dict[str, Any]:
    """Scan one generator, write its report, and return its summary."""
    from idsim.audit.run import scan
    from idsim.report.html import write_report

    result = scan(config)
    write_report(result.folder, faces=faces)
    return result.summary


def _compare(folder: Path, names: list[str], faces: str) -> Path:
    """Write the report that compares the runs, and return its path."""
    from idsim.report.html import write_report

    return write_report([folder / "runs" / name for name in names], folder / "report.html", faces=faces)


def _tell(summaries: dict[str, dict[str, Any]], seeds: int) -> None:
    from rich.console import Console

    from idsim.cli.tables import print_table
    from idsim.demo_world.scans import GENERATORS

    trained = {generator.name: generator for generator in GENERATORS}
    typer.echo(ABOUT.format(**trained, seeds=seeds) + "\n")
    rows = [(name, *row) for name, summary in summaries.items() for row in _rates(summary)]
    columns = ("generator", "matcher", "reach training", "reach holdout", "excess", "95 % interval", "p")
    print_table("Pictures that reach a person, at FPIR 1 %", columns, rows)
    for name, summary in summaries.items():
        Console(highlight=False).print(f"{name} {trained[name].truth}. {summary['verdict']['sentence']}")


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
