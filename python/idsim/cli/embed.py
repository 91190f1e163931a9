"""``idsim embed``: pictures to a gallery of embeddings."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path  # noqa: TC003 - Typer reads it
from typing import Annotated

import typer

from idsim.cli.completion import aligns, detectors, devices, matchers
from idsim.cli.failures import resumable
from idsim.cli.progress import progress_bar

__all__ = ["embed"]


class SourceKind(StrEnum):
    """Where pictures are."""

    folder = "folder"
    ffhq = "ffhq"
    dataset = "dataset"
    recordio = "recordio"
    bin = "bin"
    list = "list"


class Split(StrEnum):
    """Parts of FFHQ."""

    training = "training"
    validation = "validation"


class Missing(StrEnum):
    """What becomes of pictures without a face."""

    keep = "keep"
    drop = "drop"


def embed(
    images: Annotated[
        Path,
        typer.Argument(
            metavar="IMAGES", help="Folder, zip, train.rec, .bin, or a CSV or Parquet list of pictures."
        ),
    ],
    matcher: Annotated[
        str,
        typer.Option(
            "--matcher",
            "-m",
            help="As of idsim matcher list; spec.toml, model.onnx, insightface:FOLDER, file.py:function.",
            autocompletion=matchers,
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The gallery: new, or of this very run.")],
    model: Annotated[
        str, typer.Option(help="The matcher's model file, where its specification names none.")
    ] = "",
    detector: Annotated[
        str,
        typer.Option(
            help="dlib, dlib68, mtcnn, scrfd:FILE or yunet:FILE. Default: dlib for dlib, else mtcnn.",
            autocompletion=detectors,
        ),
    ] = "",
    align: Annotated[
        str,
        typer.Option(
            help="ffhq_fixed: a fixed part of FFHQ's crops; none: pictures are crops. No detector.",
            autocompletion=aligns,
        ),
    ] = "",
    source_kind: Annotated[
        SourceKind | None, typer.Option(help="Kind of the source. Default: told by its path.")
    ] = None,
    split: Annotated[Split | None, typer.Option(help="Part of FFHQ.")] = None,
    missing: Annotated[
        Missing, typer.Option(help="Pictures without a face: a row of NaN, or no row.")
    ] = Missing.keep,
    device: Annotated[
        str,
        typer.Option(
            help="Like cuda, or cuda:0,cuda:1 for one process each. Default: the matcher's.",
            autocompletion=devices,
        ),
    ] = "",
    workers: Annotated[
        int, typer.Option(min=0, help="Processes that decode. Default: the processors, at most 16.")
    ] = 0,
    seconds: Annotated[int, typer.Option(min=1, max=3600, help="Time for decoding one picture.")] = 10,
    require_gpu: Annotated[
        bool, typer.Option("--require-gpu", help="Exit status 5 where the matcher runs on no GPU.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Embed pictures with a matcher: a gallery with a row for each, and a table of those without an embedding.

    Finishes the run of an interrupted command of the same words. Exit status 4: the disk was full.
    """
    from idsim.embedding import EmbedConfig
    from idsim.embedding import embed as run_embed

    config = EmbedConfig(
        images=images,
        output=output,
        matcher=matcher,
        model=model,
        detector=detector,
        align=align,
        kind=source_kind.value if source_kind else "",
        split=split.value if split else "",
        missing=missing.value,
        devices=tuple(part.strip() for part in device.split(",")) if device else (),
        workers=workers,
        seconds=seconds,
        require_gpu=require_gpu,
    )
    with resumable("shards"), progress_bar("Embedding", quiet) as update:

        def tell(done: int, total: int, rates: dict[str, float]) -> None:
            update(done, total, note=_note(rates))

        result = run_embed(config, progress=tell)
    if as_json:
        shown = {"gallery": str(result.gallery), "folder": str(result.folder), **result.summary}
        shown |= {"stages": result.times, "resumed": result.resumed}
        sys.stdout.write(json.dumps(shown, indent=2) + "\n")
        return
    counts = result.summary
    again = " (finished before)" if result.resumed else ""
    typer.echo(f"{result.gallery}: {counts['faces']} faces of {counts['images']} pictures{again}")
    if counts["faces"] < counts["images"] or counts["skipped"]:
        typer.echo(
            f"{result.folder / counts['failures']}: {counts['no_face']} without a face, {counts['unreadable']} "
            f"unreadable, {counts['skipped']} left out"
        )
    if result.times:
        rates = {name: stage["images_per_second"] for name, stage in result.times.items()}
        typer.echo(f"pictures per second: {_note(rates)}")


def _note(rates: dict[str, float]) -> str:
    """Return the rates of the stages in words, the slowest one marked."""
    stages = {name: rate for name, rate in rates.items() if name != "all"}
    slowest = min(stages, key=lambda name: stages[name]) if len(stages) > 1 else ""
    shown = [f"{name} {rate:.0f}{' (slowest)' if name == slowest else ''}" for name, rate in rates.items()]
    return ", ".join(shown)
