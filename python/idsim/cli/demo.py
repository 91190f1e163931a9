"""``idsim demo``: the audit on a made-up population whose leaks are known."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["demo"]

ABOUT = """\
These are random vectors that stand for face embeddings: no face, no photograph and no face network is involved.
A person is a random direction, an image of the person that direction plus noise. {leaks} of the {clusters} synthetic
clusters were made from persons of the training set: these are the leaks that the scan should find."""


def demo(
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="A new folder; default: idsim-demo, or idsim-demo-2, ..."),
    ] = None,
    leaks: Annotated[
        int, typer.Option(min=0, max=1500, help="Planted leaks among 1,500 synthetic clusters.")
    ] = 45,
    seed: Annotated[int, typer.Option(min=0, help="Of the made-up population.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Run the audit on made-up embeddings with planted leaks, and compare what it finds with what was planted."""
    from idsim.audit.proving.made_up import Population, make_population, write_population
    from idsim.audit.run import scan
    from idsim.cli.scan import progress_bar, show

    folder = output or _free_folder()
    if folder.exists():
        raise ValueError(f"{folder} exists already: the demo writes into a new folder")
    population = Population(leaks=leaks, seed=seed)
    config = write_population(make_population(population), folder)
    with progress_bar(quiet=as_json) as progress:
        result = scan(config, progress=progress)
    found = _comparison(result.summary, population.leaks, population.clusters)
    if as_json:
        sys.stdout.write(json.dumps({"planted": found, "summary": result.summary}, indent=2) + "\n")
        return
    typer.echo(ABOUT.format(leaks=leaks, clusters=population.clusters) + "\n")
    show(result, pairs=5)
    typer.echo(
        f"\nPlanted: {found['clusters_planted']} of {found['clusters']} clusters, "
        f"{100 * found['rate_planted']:.2f} %. Found: excess leak rate {100 * found['excess']:.2f} %, "
        f"{100 * found['level']:g} % interval {100 * found['low']:.2f} % to {100 * found['high']:.2f} %."
    )
    if any(name.endswith(".csv") for name in result.summary["tables"]):
        typer.echo(
            "The tables are CSV, because pyarrow is not installed: pip install 'idsim[audit]' for Parquet."
        )
    typer.echo(f"The scan is described in {config}; its results are in {result.folder}.")


def _free_folder() -> Path:
    number = 1
    while True:
        folder = Path("idsim-demo" if number == 1 else f"idsim-demo-{number}")
        if not folder.exists():
            return folder
        number += 1


def _comparison(summary: dict[str, Any], leaks: int, clusters: int) -> dict[str, Any]:
    excess = summary["operating_points"][0]["excess_leak_rate"]
    return {
        "clusters": clusters,
        "clusters_planted": leaks,
        "rate_planted": leaks / clusters,
        "excess": excess["rate"],
        "low": excess["low"],
        "high": excess["high"],
        "level": excess["confidence"],
    }
