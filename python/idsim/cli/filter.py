"""``idsim filter``: the synthetic images of a finished scan that may stay, and those that go."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path  # noqa: TC003 - Typer reads it
from typing import Annotated, Any

import typer

from idsim.cli.completion import one_of, runs

__all__ = ["filter_images"]


class Unit(StrEnum):
    """What goes when an image is found."""

    cluster = "cluster"
    image = "image"


class Keep(StrEnum):
    """What stays of a cluster that would go."""

    none = "none"
    farthest = "farthest"


class Pictures(StrEnum):
    """How kept pictures are put together."""

    copy = "copy"
    symlink = "symlink"


def filter_images(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.", autocompletion=runs)],
    output: Annotated[Path, typer.Option("--output", "-o", help="New folder for the lists and filter.json.")],
    point: Annotated[
        str, typer.Option(help="Operating point, like fpir=0.01. Default: the primary one.")
    ] = "",
    matchers: Annotated[
        str,
        typer.Option(
            help="By how many matchers a training person must be reached: any, all, or a number.",
            autocompletion=one_of("any", "all", "2"),
        ),
    ] = "any",
    by: Annotated[
        list[str] | None,
        typer.Option(
            help="A matcher that decides; may be repeated. Default: all; others check what is kept."
        ),
    ] = None,
    unit: Annotated[
        Unit, typer.Option(help="What goes: the cluster of an image that is found, or the image alone.")
    ] = Unit.cluster,
    keep: Annotated[
        Keep, typer.Option(help="farthest: the image of a cluster farthest from the training set may stay.")
    ] = Keep.none,
    distinct: Annotated[
        bool, typer.Option("--distinct", help="Of clusters that show one person, keep the first.")
    ] = False,
    drop_no_face: Annotated[
        bool,
        typer.Option("--drop-no-face", help="Also drop images in which a deciding matcher finds no face."),
    ] = False,
    pictures: Annotated[
        Pictures | None, typer.Option(help="Also put the kept pictures of a folder into OUTPUT/images.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print filter.json instead of tables.")] = False,
) -> None:
    """List the synthetic images that reach nobody in the training set, with the rates before and after.

    Nothing is deleted. kept.txt, kept.csv and dropped.csv hold names: they are working files.
    """
    from idsim.audit.remedies.filtering import Rule
    from idsim.audit.remedies.filtering_run import filter_run
    from idsim.audit.reopening import open_run
    from idsim.cli.scan import unfinished

    rule = Rule(point, matchers, unit.value, keep.value, distinct, drop_no_face)
    with unfinished(), open_run(run) as opened:
        content = filter_run(opened, rule, output, by=by or (), pictures=pictures.value if pictures else "")
    if as_json:
        sys.stdout.write(json.dumps(content, indent=2) + "\n")
        return
    for entry in content["sets"]:
        _show(entry, content["rule"]["point"])
    typer.echo(f"{output}: the lists and filter.json")


def _show(entry: dict[str, Any], point: str) -> None:
    from idsim.audit.summary import percent
    from idsim.cli.tables import print_table

    images, clusters = entry["images"], entry["clusters"]
    typer.echo(
        f"{entry['name']}: {images['after']} of {images['before']} images in {clusters['after']} of "
        f"{clusters['before']} clusters stay."
    )
    for reason, count in entry["dropped"].items():
        if count:
            typer.echo(f"  {count}: {reason}")
    rows = []
    for change in entry["matchers"]:
        for when in ("before", "after"):
            found = change[when]
            low, high = found["interval"]["low"], found["interval"]["high"]
            rows.append(
                (
                    change["matcher"] + ("" if change["decides"] else " (decides nothing)"), when,
                    percent(found["training"]["rate"]), percent(found["holdout"]["rate"]), percent(found["rate"]),
                    f"{percent(low)} to {percent(high)}",
                )
            )  # fmt: skip
    columns = ("matcher", "", "training", "holdout", "excess", "interval")
    print_table(f"Leak rates at {point}", columns, rows, left=2)
    for sentence in entry["limits"]:
        typer.echo(f"- {sentence}")
    typer.echo("")
