"""``idsim generator``: describe, convert and verify the checkpoints of generators."""

from __future__ import annotations

import dataclasses
import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from idsim.generators.stylegan2 import Checkpoint

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Work with checkpoints of generators.")


class Network(StrEnum):
    """The networks of a training snapshot."""

    averaged = "G_ema"
    trained = "G"


File = Annotated[Path, typer.Argument(metavar="FILE", help="Checkpoint of any format that is read.")]
NetworkOption = Annotated[
    Network, typer.Option(help="The averaged generator or the one in training, where the file holds both.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command()
def info(file: File, network: NetworkOption = Network.averaged, as_json: AsJson = False) -> None:
    """Say what a checkpoint holds: architecture, resolution, labels, training, hashes.

    The file is read in a confined process, and no code in it is run.
    """
    from idsim.errors import printable

    checkpoint = _load(file, network)
    if as_json:
        _print_json(_facts(file, checkpoint))
        return
    for name, value in _lines(file, checkpoint):
        typer.echo(f"{name:<13} {printable(str(value))}")


@app.command()
def convert(
    file: File,
    output: Annotated[Path, typer.Option("--output", "-o", help="The safetensors file to write.")],
    network: NetworkOption = Network.averaged,
    force: Annotated[bool, typer.Option("--force", help="Replace the output where it exists.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a generator as safetensors with its configuration as JSON: no pickle is needed to load it."""
    from idsim.generators.stylegan2 import save_checkpoint

    checkpoint = _load(file, network)
    entry = save_checkpoint(checkpoint, output, replace=force)
    if as_json:
        _print_json(
            {
                "path": str(output),
                "bytes": entry.bytes,
                "sha256": entry.sha256,
                "weights_sha256": checkpoint.weights_sha256,
            }
        )
    else:
        typer.echo(str(output))


@app.command()
def verify(file: File, network: NetworkOption = Network.averaged, as_json: AsJson = False) -> None:
    """Read a checkpoint whole: structure, finite weights, and the hash that a converted file states.

    Exit status 2 when anything is wrong; every problem is reported.
    """
    from idsim.errors import CheckpointError
    from idsim.generators.stylegan2 import find_problems

    count, digest = 0, None
    try:
        checkpoint = _load(file, network)
    except CheckpointError as error:
        problems = [error]
    else:
        problems = find_problems(checkpoint, file)
        count, digest = len(checkpoint.weights), checkpoint.weights_sha256
    if as_json:
        found = [{"path": p.path, "place": p.place, "reason": p.reason} for p in problems]
        _print_json(
            {
                "path": str(file),
                "tensors": count,
                "weights_sha256": digest,
                "ok": not problems,
                "problems": found,
            }
        )
    elif problems:
        for problem in problems:
            typer.echo(f"idsim: {problem}", err=True)
    else:
        typer.echo(f"{file}: {count} tensors, all finite and of the shapes of the configuration")
    if problems:
        raise typer.Exit(2)


def _load(file: Path, network: Network) -> Checkpoint:
    from idsim.generators.stylegan2 import load_checkpoint

    return load_checkpoint(file, network=network.value, isolate=True)


def _facts(file: Path, checkpoint: Checkpoint) -> dict[str, Any]:
    return {
        "path": str(file),
        "config": dataclasses.asdict(checkpoint.config),
        "parameters": sum(array.size for array in checkpoint.weights.values()),
        "tensors": len(checkpoint.weights),
        "weights_sha256": checkpoint.weights_sha256,
        "provenance": checkpoint.provenance.as_dict(),
    }


def _lines(file: Path, checkpoint: Checkpoint) -> list[tuple[str, object]]:
    from idsim.generators.stylegan2.formats.nvlabs import KNOWN_SOURCES

    config, provenance = checkpoint.config, checkpoint.provenance
    network = f", network {provenance.network}" if provenance.network else ""
    count = sum(array.size for array in checkpoint.weights.values())
    clamp = f", outputs within ±{config.conv_clamp:g}" if config.conv_clamp is not None else ""
    half = f", half precision at {_joined(config.fp16_resolutions)}" if config.fp16_resolutions else ""
    origin = provenance.converted_from or {}
    kimg = provenance.kimg if provenance.kimg is not None else origin.get("kimg")
    lines: list[tuple[str, object]] = [
        ("file", f"{file}, {provenance.file_bytes:,} bytes"),
        ("format", f"{provenance.container}, {provenance.layout}{network}"),
        ("architecture", f"StyleGAN2 {config.architecture}{clamp}{half}"),
        ("pictures", f"{config.resolution} x {config.resolution}, {config.img_channels} channels"),
        ("latent codes", f"z {config.z_dim}, w {config.w_dim}, {config.mapping_layers} mapping layers"),
        ("labels", config.c_dim or "none"),
        ("noise", "yes" if config.use_noise else "no"),
        ("training", "not in the file" if kimg is None else f"{kimg:,g} kimg"),
        ("tensors", f"{len(checkpoint.weights)}, {count:,} values"),
        ("file sha256", provenance.file_sha256),
        ("weights hash", checkpoint.weights_sha256),
    ]
    lines += [
        ("source hash", f"{digest} ({KNOWN_SOURCES.get(digest, 'unknown')}; never executed)")
        for digest in provenance.source_sha256
    ]
    if origin:
        lines.append(("converted", f"from {origin.get('layout')}, sha256 {origin.get('file_sha256')}"))
    return lines + [("note", warning) for warning in provenance.warnings]


def _joined(values: tuple[int, ...]) -> str:
    return ", ".join(map(str, values))


def _print_json(value: dict[str, Any]) -> None:
    typer.echo(json.dumps(value, indent=1))
