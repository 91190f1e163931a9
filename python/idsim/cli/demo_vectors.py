"""``idsim demo --vectors``: the audit on made-up embeddings whose leaks are known."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["demo_of_vectors"]

ABOUT = """\
These are random vectors that stand for face embeddings: no face, no photograph and no face network is involved.
A person is a random direction, an image of the person that direction plus noise. {leaks} of the {clusters} synthetic
clusters were made from persons of the training set: these are the leaks that the scan should find."""


def demo_of_vectors(folder: Path, leaks: int, seed: int, as_json: bool) -> None:
    """Run the audit on made-up embeddings with planted leaks, and compare what it finds with what was planted."""
    from idsim.audit.proving.made_up import Population, make_population, write_population
    from idsim.audit.run import scan
    from idsim.cli.scan import progress_bar, show

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
