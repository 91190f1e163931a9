"""``idsim search``: the best matches of every query, from files to a file."""

from __future__ import annotations

import dataclasses
import json
import sys
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path  # noqa: TC003 - Typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer

from idsim.cli.completion import devices, vectors
from idsim.cli.progress import progress_bar

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from idsim.gallery.hits import NamedRows, StreamedSource
    from idsim.memory import MemoryPlan

__all__ = ["search"]


class Metric(StrEnum):
    """The scores."""

    cosine = "cosine"
    dot = "dot"
    l2 = "l2"


class Nonfinite(StrEnum):
    """What to do with gallery rows that hold NaN or infinities."""

    refuse = "raise"
    skip = "skip"


def search(
    queries: Annotated[
        Path,
        typer.Argument(metavar="QUERIES", help="Vectors in any format that is read.", autocompletion=vectors),
    ],
    gallery: Annotated[
        Path,
        typer.Argument(metavar="GALLERY", help="Vectors in any format that is read.", autocompletion=vectors),
    ],
    k: Annotated[int, typer.Option("-k", min=1, help="Matches per query.")] = 10,
    threshold: Annotated[float | None, typer.Option(help="Worst score to report.")] = None,
    metric: Annotated[Metric, typer.Option(help="Score.")] = Metric.cosine,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="New file .parquet, .csv or .jsonl; default: CSV on standard output."
        ),
    ] = None,
    exclude_self: Annotated[
        bool, typer.Option("--exclude-self", help="Query i skips gallery row i: a gallery against itself.")
    ] = False,
    exclude_groups: Annotated[
        bool, typer.Option("--exclude-groups", help="A query skips gallery rows of its own group.")
    ] = False,
    query_key: Annotated[
        str | None, typer.Option(help="Which matrix of QUERIES, where there are several.")
    ] = None,
    gallery_key: Annotated[
        str | None, typer.Option(help="Which matrix of GALLERY, where there are several.")
    ] = None,
    nonfinite: Annotated[
        Nonfinite, typer.Option(help="What to do with gallery rows that hold NaN or infinities.")
    ] = Nonfinite.refuse,
    threads: Annotated[int | None, typer.Option(min=1, help="Default: one per core.")] = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="Where the work is done: cpu, cuda, cuda:N, cuda:N,M or cuda:all. Default: cpu.",
            autocompletion=devices,
        ),
    ] = None,
    memory_budget: Annotated[
        int | None, typer.Option(min=1, help="MiB of scratch, on a device of its memory. Default: 1024.")
    ] = None,
    plan: Annotated[
        bool,
        typer.Option("--plan", help="Print what the search would take of a CUDA device's memory, and stop."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Find the best matches of every query in a gallery, exactly; the gallery may be larger than memory."""
    import idsim
    from idsim.gallery import hits, open_source

    _check_output(output)
    if exclude_self and exclude_groups:
        raise typer.BadParameter("--exclude-self and --exclude-groups cannot be used together")
    rows, names = hits.load_rows(open_source(queries, key=query_key))
    source = hits.StreamedSource(open_source(gallery, key=gallery_key))
    budget = None if memory_budget is None else memory_budget << 20
    if plan:
        name = device if device not in {None, "cpu"} else "cuda"
        _report_plan(idsim.memory_plan(rows, source, k, device=name, memory_budget=budget), as_json)
        return
    exclude: Any = "self" if exclude_self else None
    if exclude_groups:
        exclude = _group_codes(names, source, queries)
    with _naming(queries, gallery), progress_bar("Searching", quiet=as_json) as progress:
        result = idsim.search(
            rows,
            source,
            k,
            metric=metric.value,
            exclude=exclude,
            threshold=threshold,
            nonfinite=nonfinite.value,
            threads=threads,
            memory_budget=budget,
            progress=progress,
            device=device,
        )
    columns = hits.hit_columns(result, names, source)
    summary: dict[str, Any] = {
        "queries": len(rows),
        "gallery_rows": len(source),
        "k": k,
        "metric": metric.value,
        "threshold": threshold,
        "hits": len(columns["score"]),
    }
    if output is not None:
        hits.write_hits(output, columns)
        summary["output"] = str(output)
    _report(summary, columns, as_json)


@contextmanager
def _naming(queries: Path, gallery: Path) -> Iterator[None]:
    """Name the file, where the engine speaks of a row of one of its arguments, and what can be done."""
    try:
        yield
    except ValueError as error:
        side, _, rest = str(error).partition(" ")
        if not (side in {"queries", "gallery"} and rest.startswith("row ")):
            raise
        path, hint = (
            (queries, "") if side == "queries" else (gallery, "; --nonfinite skip leaves such rows out")
        )
        raise ValueError(f"{path}: {rest}{hint}") from error


def _report_plan(plan: MemoryPlan, as_json: bool) -> None:
    typer.echo(json.dumps(dataclasses.asdict(plan), indent=2) if as_json else str(plan))


def _check_output(output: Path | None) -> None:
    """Refuse before the search what would fail behind it."""
    from idsim.gallery import hits

    if output is None:
        return
    if output.suffix not in hits.FORMATS:
        raise ValueError(f"{output} must end in one of {', '.join(hits.FORMATS)}")
    if output.exists():
        raise FileExistsError(f"{output} exists already, and nothing is ever overwritten")
    if not output.absolute().parent.is_dir():
        raise ValueError(f"{output} cannot be written: there is no folder {output.parent}")


def _group_codes(
    names: NamedRows, source: StreamedSource, queries: Path
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    own = names.groups()
    if own is None:
        raise ValueError(f"{queries} has no groups, which --exclude-groups needs")
    if source.gallery is None:
        raise ValueError("--exclude-groups needs a gallery: import the files with idsim gallery build")
    groups = source.gallery.groups()
    return groups.encode(own), groups.codes


def _report(summary: dict[str, Any], columns: dict[str, list[Any]], as_json: bool) -> None:
    from idsim.gallery import hits

    if as_json:
        if "output" not in summary:
            summary["hits"] = list(hits.hit_records(columns))
        typer.echo(json.dumps(summary, indent=2))
    elif "output" in summary:
        typer.echo(f"{summary['hits']:,} matches of {summary['queries']:,} queries in {summary['output']}")
    else:
        for text in hits.csv_lines(columns):
            sys.stdout.write(text)
