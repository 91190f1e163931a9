"""``idsim selftest``: prove on this machine that the engine gives the answers of the definition."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from idsim.cli.completion import one_of

__all__ = ["selftest"]


def _count(text: str) -> int:
    """Read a count that may be written as 1e9."""
    try:
        value = float(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not a number such as 1e9", param_hint="--pairs") from error
    if not (0 <= value < 1e15 and value == int(value)):
        raise typer.BadParameter(f"{text} is not a whole number from 0 to 1e15", param_hint="--pairs")
    return int(value)


def selftest(
    pairs: Annotated[str, typer.Option(help="Scored pairs to check, such as 1e9.")] = "1e9",
    dim: Annotated[int, typer.Option(min=1, help="Columns of the embeddings.")] = 512,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first round of data.")] = 0,
    plant: Annotated[
        str | None,
        typer.Option(
            help="Plant a bug (score, missing, order, ties): the test must then fail.",
            autocompletion=one_of("score", "missing", "order", "ties"),
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write the report as JSON.")] = False,
) -> None:
    """Check ids, order and score bits of exact top-k answers against a float64 certificate.

    Of the statistics of the audit: idsim selftest audit.

    Exit status 1 when there is any difference, or when nothing was checked.
    """
    from idsim import selftest as checks

    search = checks.engine_search if plant is None else checks.planted(plant)
    report = checks.run(_count(pairs), dim, seed=seed, search=search, progress=_show)
    values = report.to_dict()
    if as_json:
        typer.echo(json.dumps(values))
    else:
        typer.echo(
            f"{values['pairs']:,} pairs checked in {values['rounds']} rounds, "
            f"{values['differences']} differences\n"
            f"{values['tied']:,} ties lost by id, {values['decided_canonically']:,} close rows scored "
            f"canonically, {values['summed_exactly']:,} scores summed exactly\n"
            f"search {values['search_s']:.1f} s, check {values['check_s']:.1f} s"
        )
    for line in values["examples"]:
        typer.echo(line, err=True)
    if values["pairs"] == 0:
        typer.echo("No pairs were checked.", err=True)
    if not report.passed:
        raise typer.Exit(1)


def _show(done: int, total: int) -> None:
    typer.echo(f"{done:,} of {total:,} pairs", err=True)
