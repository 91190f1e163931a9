"""``idsim bundle``: a finished run packed into one file from which others get the same numbers."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path  # noqa: TC003 - Typer reads it
from typing import TYPE_CHECKING, Annotated

import typer

from idsim.cli.completion import runs

if TYPE_CHECKING:
    from idsim.audit.bundling.replicating import Replication

__all__ = ["bundle", "report_replication"]

DIFFERS = 1


class Extra(StrEnum):
    """What goes into a bundle only when asked for."""

    embeddings = "embeddings"
    images = "images"


def bundle(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.", autocompletion=runs)],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The bundle. Default: RUN.idsim.zip beside the run.")
    ] = None,
    extras: Annotated[
        list[Extra] | None,
        typer.Option("--with", help="Put biometric data in: embeddings or images. May be repeated."),
    ] = None,
    names: Annotated[
        bool, typer.Option("--names", help="Keep the names of files and persons instead of pseudonyms.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Pack a finished scan into one file from which idsim scan --from-bundle gives the same numbers.

    Configuration, seeds, hashes, versions, comparisons, summary and tables, and a card that explains them. No
    embeddings, pictures or names, unless asked for. The run's inputs must still be there. Exit status 4: the run is
    not finished.
    """
    from idsim.audit.bundling.card import BIOMETRIC
    from idsim.audit.bundling.packing import pack
    from idsim.cli.scan import progress_bar, unfinished

    chosen = set(extras or ())
    file = output or run.with_name(f"{run.resolve().name}.idsim.zip")
    if chosen:
        what = " and ".join(sorted(chosen))
        sys.stderr.write(f"idsim: warning: {what} go into the bundle. {BIOMETRIC}\n")
    with unfinished(), progress_bar(quiet) as progress:
        packed = pack(
            run,
            file,
            names=names,
            embeddings=Extra.embeddings in chosen,
            images=Extra.images in chosen,
            tell=progress,
        )
    if as_json:
        sys.stdout.write(json.dumps({**asdict(packed), "path": str(packed.path)}, indent=2) + "\n")
        return
    held = [name for name, there in packed.holds.items() if there]
    typer.echo(
        f"{packed.path}: {packed.members} members, {packed.bytes / 1e6:.2f} MB, "
        f"{'with ' + ' and '.join(held) if held else 'without names, embeddings and pictures'}.\n"
        f"SHA-256 {packed.sha256}\n"
        f"Replicate it with: idsim scan --from-bundle {packed.path.name}"
    )


def report_replication(found: Replication, as_json: bool) -> None:
    """Print what a replication did and found; exit with status 1 where a file is not the same."""
    if as_json:
        sys.stdout.write(json.dumps(found.entry(), indent=2) + "\n")
    else:
        _show(found)
    if found.differences:
        raise typer.Exit(DIFFERS)


def _show(found: Replication) -> None:
    from idsim.cli.tables import print_table

    rows = [(stage.matcher, stage.name, stage.how, stage.reason) for stage in found.stages]
    print_table("Stages", ("matcher", "stage", "", "because"), rows, left=4)
    if found.taken:
        typer.echo("Taken from the bundle, not computed again:")
        for place in found.taken:
            typer.echo(f"- {place}")
    typer.echo(f"\n{found.summary['verdict']['sentence']}\n")
    if not found.differences:
        typer.echo(f"The same: {len(found.same)} files, byte for byte.")
    for sentence in found.differences:
        typer.echo(f"Not the same: {sentence}.")
    if found.folder:
        typer.echo(f"The files are in {found.folder}.")
