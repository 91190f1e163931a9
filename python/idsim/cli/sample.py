"""``idsim sample``: pictures of generators, by seeds, into a folder."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path  # noqa: TC003 - Typer reads it
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from idsim.cli.failures import resumable

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["sample"]

Number = TypeVar("Number", int, float)


class Format(StrEnum):
    """How pictures are stored."""

    png = "png"
    jpeg = "jpeg"
    webp = "webp"
    zip = "zip"


def sample(
    networks: Annotated[
        list[str],
        typer.Argument(
            metavar="NETWORK...",
            help="Checkpoint of StyleGAN2, folder or zip of pictures, file.py:function, or KIND:ARGUMENT.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The run folder: new, or of this very run.")],
    seeds: Annotated[
        str, typer.Option(help="Like 0-9999,20000. Default: all, of stored pictures; else needed.")
    ] = "",
    psi: Annotated[str, typer.Option(help="Truncation, or several: 0.5,0.7,1. Default: the network's.")] = "",
    label: Annotated[str, typer.Option(help="Class of a conditional network, or several: 0,3.")] = "",
    noise: Annotated[str, typer.Option(help="Noise of StyleGAN2: const, none, random or seeded-tf.")] = "",
    form: Annotated[
        Format, typer.Option("--format", help="zip: an uncompressed zip of PNG for StyleGAN2-ADA.")
    ] = Format.png,
    quality: Annotated[int, typer.Option(min=0, max=100, help="Of JPEG (0: 95) and WebP (0: lossless).")] = 0,
    device: Annotated[
        str, typer.Option(help="Like cuda or cuda:0,cuda:1: one process each. Default: the generator's.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Draw pictures by seed: several networks and truncations in one run, a folder or zip for each pair.

    Finishes the run of an interrupted command of the same words. Exit status 4: the disk was full.
    """
    from idsim.cli.scan import progress_bar
    from idsim.sampling import SampleConfig
    from idsim.sampling import sample as run_sample

    config = SampleConfig(
        networks=tuple(networks),
        output=output,
        seeds=seeds,
        psi=_numbers("--psi", psi, float),
        labels=_numbers("--label", label, int),
        noise=noise,
        format=form.value,
        quality=quality,
        devices=tuple(part.strip() for part in device.split(",")) if device else (),
    )
    with resumable("parts"), progress_bar(quiet) as progress:
        result = run_sample(config, progress=progress)
    if as_json:
        shown = {"folder": str(result.folder), "table": result.table.name, "sets": result.sets}
        sys.stdout.write(json.dumps(shown | {"resumed": result.resumed}, indent=2) + "\n")
        return
    for place, count in result.sets.items():
        typer.echo(f"{result.folder / place}: {count} pictures")
    again = " (finished before)" if result.resumed else ""
    typer.echo(f"{result.table}: a row for every picture{again}")


def _numbers(option: str, text: str, kind: Callable[[str], Number]) -> tuple[Number, ...]:
    try:
        return tuple(kind(part) for part in text.split(",")) if text else ()
    except ValueError as error:
        raise ValueError(f"{option} must be numbers like 0.5,0.7 or 0,3, not {text!r}") from error
