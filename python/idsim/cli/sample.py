"""``idsim sample``: pictures of generators, by seeds, into a folder."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path  # noqa: TC003 - Typer reads it
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from idsim.cli.completion import aligns, detectors, devices, matchers, noises, vectors
from idsim.cli.failures import resumable

if TYPE_CHECKING:
    from collections.abc import Callable

    from idsim.sampling import ScreenConfig

__all__ = ["sample"]

Number = TypeVar("Number", int, float)


class Format(StrEnum):
    """How pictures are stored."""

    png = "png"
    jpeg = "jpeg"
    webp = "webp"
    zip = "zip"


class NoFace(StrEnum):
    """What becomes of a picture without a face."""

    reject = "reject"
    keep = "keep"


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
    noise: Annotated[
        str, typer.Option(help="Noise of StyleGAN2: const, none, random or seeded-tf.", autocompletion=noises)
    ] = "",
    form: Annotated[
        Format, typer.Option("--format", help="zip: an uncompressed zip of PNG for StyleGAN2-ADA.")
    ] = Format.png,
    quality: Annotated[int, typer.Option(min=0, max=100, help="Of JPEG (0: 95) and WebP (0: lossless).")] = 0,
    device: Annotated[
        str,
        typer.Option(
            help="Like cuda or cuda:0,cuda:1: one process each. Default: the generator's.",
            autocompletion=devices,
        ),
    ] = "",
    screen: Annotated[
        Path | None,
        typer.Option(
            help="Embeddings of people whom no released picture may resemble.", autocompletion=vectors
        ),
    ] = None,
    matcher: Annotated[
        str,
        typer.Option(
            "--matcher",
            "-m",
            help="Of the screen: the one that embedded it, as of idsim embed.",
            autocompletion=matchers,
        ),
    ] = "",
    model: Annotated[str, typer.Option(help="The matcher's model file.")] = "",
    detector: Annotated[
        str, typer.Option(help="The matcher's detector, as of idsim embed.", autocompletion=detectors)
    ] = "",
    align: Annotated[
        str, typer.Option(help="ffhq_fixed or none, as of idsim embed.", autocompletion=aligns)
    ] = "",
    matcher_device: Annotated[
        str, typer.Option(help="Of the matcher. Default: --device, else the CPU.", autocompletion=devices)
    ] = "",
    fpir: Annotated[
        float | None,
        typer.Option(
            help="Share of searches for outsiders that may match; needs --calibration. Default: 0.01."
        ),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Fixed score (l2: distance) of the screen, instead of --fpir.")
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(help="Embeddings of real people who are not in the screen.", autocompletion=vectors),
    ] = None,
    no_face: Annotated[NoFace | None, typer.Option(help="Pictures without a face. Default: reject.")] = None,
    max_redraws: Annotated[
        int | None, typer.Option(help="How often a picture may be drawn again. Default: 20.")
    ] = None,
    reserve: Annotated[
        str, typer.Option(help="Seeds for redraws, like 10000-19999. Default: those after the last one.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Draw pictures by seed: several networks and truncations in one run, a folder or zip for each pair.

    With --screen, pictures that resemble somebody in a gallery are drawn again from other seeds.

    Finishes the run of an interrupted command of the same words. Exit status 4: the disk was full.
    """
    from idsim.cli.scan import progress_bar
    from idsim.sampling import SampleConfig
    from idsim.sampling import sample as run_sample

    chosen = {
        "matcher": matcher, "model": model, "detector": detector, "align": align, "device": matcher_device,
        "fpir": fpir, "threshold": threshold, "calibration": calibration,
        "no_face": no_face.value if no_face else None, "max_redraws": max_redraws, "reserve": reserve,
    }  # fmt: skip
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
        screen=_screen(screen, chosen),
    )
    with resumable("parts"), progress_bar(quiet) as progress:
        result = run_sample(config, progress=progress)
    if as_json:
        shown: dict[str, Any] = {
            "folder": str(result.folder),
            "table": result.table.name,
            "sets": result.sets,
        }
        shown |= {"resumed": result.resumed, **({"screen": result.screen} if result.screen else {})}
        sys.stdout.write(json.dumps(shown, indent=2) + "\n")
        return
    for place, count in result.sets.items():
        typer.echo(f"{result.folder / place}: {count} pictures")
    again = " (finished before)" if result.resumed else ""
    typer.echo(f"{result.table}: a row for every picture{again}")
    if result.screen:
        _show_screen(result.screen)


# Field of the screen -> its option, where they are not called the same.
RENAMED = {"device": "--matcher-device"}


def _screen(gallery: Path | None, chosen: dict[str, Any]) -> ScreenConfig | None:
    """Return the screen that the options describe."""
    given = {name: value for name, value in chosen.items() if value not in (None, "")}
    if gallery is None:
        for name in given:
            raise ValueError(
                f"{RENAMED.get(name, '--' + name.replace('_', '-'))} is of a screen: give --screen"
            )
        return None
    from idsim.sampling import ScreenConfig

    return ScreenConfig(gallery=gallery, **{"matcher": "", **given})


def _show_screen(content: dict[str, Any]) -> None:
    for one in content["sets"]:
        typer.echo(
            f"{one['name']}: {one['drawn']} pictures drawn for {one['asked']}; {one['rejected']} resemble somebody in "
            f"the screen, {one['no_face']} have no face"
        )
    for sentence in content["limits"]:
        typer.echo(f"- {sentence}")


def _numbers(option: str, text: str, kind: Callable[[str], Number]) -> tuple[Number, ...]:
    try:
        return tuple(kind(part) for part in text.split(",")) if text else ()
    except ValueError as error:
        raise ValueError(f"{option} must be numbers like 0.5,0.7 or 0,3, not {text!r}") from error
