"""``idsim report``: a finished run, or several side by side, as one page that can be shown."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 - Typer reads it
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from idsim.cli.completion import runs as run_folders

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["report"]


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Folders of finished scans.", autocompletion=run_folders),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The HTML file; default: report.html in the folder of the run."),
    ] = None,
    faces: Annotated[
        Literal["blur", "none", "show"],
        typer.Option(
            help="blur: pictures of 6 x 6 pixels, from which nobody is recognised. none: no pictures. "
            "show: recognisable faces, blurred until they are asked for; passing the file on passes on personal data."
        ),
    ] = "blur",
    names: Annotated[
        bool,
        typer.Option("--names", help="Show names of files and persons, and whole paths, not pseudonyms."),
    ] = False,
    max_pairs: Annotated[int, typer.Option(min=0, help="How many of the nearest pairs to show.")] = 200,
    run_generator: Annotated[
        bool,
        typer.Option(
            "--run-generator",
            help="Run a generator that is a Python function, to draw its pictures again. StyleGAN2 needs no consent.",
        ),
    ] = False,
    figures: Annotated[
        Path | None,
        typer.Option(
            help="Also write the figures as PNG, SVG and PDF into this folder; replaces those of this name."
        ),
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="Also write a card for a data set or model; replaces the file.")
    ] = None,
    latex: Annotated[
        Path | None, typer.Option(help="Also write the results as a table for a paper; replaces the file.")
    ] = None,
    as_json: Annotated[
        Path | None,
        typer.Option("--json", help="Also write a short summary for programs; replaces the file."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the HTML file even if it is no report of these runs.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Write a finished scan as one HTML file: verdict, tables, figures, nearest pairs, checks, provenance.

    Several runs give a page that compares them. The file loads nothing from elsewhere and can be sent by mail.
    """
    others = {"card": markdown, "table": latex, "digest": as_json}
    if len(runs) > 1 and any(others.values()):
        raise ValueError("--markdown, --latex and --json are of one run, and several are named")
    from idsim.cli.scan import progress_bar
    from idsim.report.html import write_report

    with progress_bar(quiet) as progress:
        page = write_report(
            runs,
            output,
            faces=faces,
            names=names,
            max_pairs=max_pairs,
            run_code=run_generator,
            overwrite=overwrite,
            progress=progress,
        )
    typer.echo(f"The report is in {page}.")
    if figures is not None:
        typer.echo(f"{_write_figures(runs, figures)} files of figures are in {figures}.")
    for what, path in others.items():
        if path is not None:
            _write_summary(runs[0], what, path)
            typer.echo(f"The {what} is in {path}.")


def _write_figures(runs: list[Path], folder: Path) -> int:
    """Write the figures of a run, or those that compare several, and return how many files that makes."""
    from idsim.report.data import open_run
    from idsim.report.plots import comparison, figures, save

    found = [open_run(run) for run in runs]
    return len(save(figures(found[0]) if len(found) == 1 else comparison(found), folder))


def _write_summary(run: Path, what: str, path: Path) -> None:
    """Write the results of a run in another form."""
    from idsim.audit.shards import replace_file
    from idsim.report.data import open_run
    from idsim.report.digest import digest
    from idsim.report.latex import table
    from idsim.report.markdown import card

    found = open_run(run)
    makers: dict[str, Callable[[], str]] = {
        "card": lambda: card(found),
        "table": lambda: table(found),
        "digest": lambda: json.dumps(digest(found), indent=2) + "\n",
    }
    replace_file(path, makers[what]().encode())
