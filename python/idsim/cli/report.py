"""``idsim report``: a finished run, or several side by side, as one page that can be shown."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - Typer reads it
from typing import Annotated, Literal

import typer

__all__ = ["report"]


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of finished scans.")],
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
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the HTML file even if it is no report of these runs.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Write a finished scan as one HTML file: verdict, tables, figures, nearest pairs, checks, provenance.

    Several runs give a page that compares them. The file loads nothing from elsewhere and can be sent by mail.

    \b
    idsim report runs/ffhq-audit
    idsim report runs/a runs/b runs/c -o comparison.html
    idsim report runs/ffhq-audit -o paper.html --faces none --figures figures --latex table.tex
    """
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
        from idsim.report.data import open_run
        from idsim.report.plots import comparison, save
        from idsim.report.plots import figures as figures_of

        found = [open_run(run) for run in runs]
        made = save(figures_of(found[0]) if len(found) == 1 else comparison(found), figures)
        typer.echo(f"{len(made)} files of figures are in {figures}.")
