"""``idsim gallery``: build, describe, verify, convert, merge and prepare galleries."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from idsim.cli.completion import galleries, vectors
from idsim.cli.progress import progress_bar

if TYPE_CHECKING:
    from idsim.gallery import ColumnNames, Gallery

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Work with galleries on disk.")


class Kind(StrEnum):
    """The formats that are read."""

    gallery = "gallery"
    npy = "npy"
    npz = "npz"
    clip_retrieval = "clip-retrieval"
    safetensors = "safetensors"
    parquet = "parquet"
    faiss = "faiss"


class Target(StrEnum):
    """The formats that are written."""

    gallery = "gallery"
    npy = "npy"
    parquet = "parquet"


class Dtype(StrEnum):
    """The types that are stored."""

    float32 = "float32"
    float16 = "float16"
    bfloat16 = "bfloat16"


class IdRule(StrEnum):
    """What becomes of ids in a merge."""

    keep = "keep"
    prefix = "prefix"
    renumber = "renumber"


class GroupRule(StrEnum):
    """What becomes of groups in a merge."""

    keep = "keep"
    prefix = "prefix"


Source = Annotated[
    Path,
    typer.Argument(
        metavar="SOURCE", help="File or folder of any format that is read.", autocompletion=vectors
    ),
]
Folder = Annotated[
    Path, typer.Argument(metavar="GALLERY", help="Folder of a gallery.", autocompletion=galleries)
]
Output = Annotated[Path, typer.Option("--output", "-o", help="What to create; nothing is overwritten.")]
FromKind = Annotated[
    Kind | None, typer.Option("--from", help="Format of the source; told by its content if not given.")
]
Key = Annotated[
    str | None, typer.Option(help="Which matrix, where the source holds several: array, tensor or column.")
]
IdColumn = Annotated[str | None, typer.Option("--id", help="Column that becomes the id.")]
GroupColumn = Annotated[str | None, typer.Option("--group", help="Column that becomes the group (identity).")]
SourceColumn = Annotated[str | None, typer.Option("--source", help="Column that becomes the source path.")]
DtypeOption = Annotated[Dtype | None, typer.Option(help="Stored type; default: that of the source.")]
ShardRows = Annotated[int | None, typer.Option(min=1, help="Rows of a shard; default: about 1 GiB of rows.")]
Metadata = Annotated[
    list[str] | None, typer.Option("--metadata", "-m", help="NAME=VALUE for the manifest; may be repeated.")
]
KeepNonfinite = Annotated[
    bool, typer.Option("--keep-nonfinite", help="Store rows with NaN or infinities instead of refusing them.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command()
def build(
    source: Source,
    output: Output,
    from_kind: FromKind = None,
    key: Key = None,
    id_column: IdColumn = None,
    group_column: GroupColumn = None,
    source_column: SourceColumn = None,
    dtype: DtypeOption = None,
    shard_rows: ShardRows = None,
    metadata: Metadata = None,
    keep_nonfinite: KeepNonfinite = False,
    prepared: Annotated[
        bool, typer.Option("--prepare", help="Write the codes for fast searches too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Import vectors and their columns as a new gallery."""
    from idsim.gallery import build as build_gallery

    with progress_bar("Building", quiet=as_json) as progress:
        gallery = build_gallery(
            source,
            output,
            kind=from_kind,
            key=key,
            names=_column_names(id_column, group_column, source_column),
            dtype=dtype,
            shard_rows=shard_rows,
            metadata=_parse_metadata(metadata),
            nonfinite="keep" if keep_nonfinite else "raise",
            progress=progress,
        )
        if prepared:
            gallery.prepare(progress=progress)
    _describe(gallery, as_json)


@app.command()
def info(folder: Folder, as_json: AsJson = False) -> None:
    """Say what a gallery holds, by its manifest."""
    from idsim.gallery import Gallery

    _describe(Gallery.open(folder), as_json)


@app.command()
def verify(
    folder: Folder,
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Make the codes again too and compare them.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Read every file of a gallery and compare it with the manifest.

    Exit status 2 when anything differs; every difference is reported.
    """
    from idsim.gallery import Gallery

    gallery = Gallery.open(folder)
    with progress_bar("Verifying", quiet=as_json) as progress:
        problems = list(gallery.find_problems(progress, recompute=recompute))
    if as_json:
        found = [{"path": p.path, "place": p.place, "reason": p.reason} for p in problems]
        _print_json({"path": str(folder), "rows": len(gallery), "ok": not problems, "problems": found})
    elif problems:
        for problem in problems:
            typer.echo(f"idsim: {problem}", err=True)
    else:
        typer.echo(f"{folder}: {len(gallery):,} rows, every file is as the manifest says")
    if problems:
        raise typer.Exit(2)


@app.command()
def convert(
    source: Source,
    output: Output,
    to: Annotated[Target, typer.Option(help="Format to write.")] = Target.gallery,
    from_kind: FromKind = None,
    key: Key = None,
    id_column: IdColumn = None,
    group_column: GroupColumn = None,
    source_column: SourceColumn = None,
    dtype: DtypeOption = None,
    shard_rows: ShardRows = None,
    as_json: AsJson = False,
) -> None:
    """Write vectors and columns of any source as a gallery, a folder of .npy files or one Parquet file."""
    from idsim.gallery import build as build_gallery
    from idsim.gallery import export

    names = _column_names(id_column, group_column, source_column)
    if to is not Target.gallery and dtype is not None:
        raise typer.BadParameter("--dtype applies to galleries alone")
    with progress_bar("Converting", quiet=as_json) as progress:
        if to is Target.gallery:
            build_gallery(
                source, output, kind=from_kind, key=key, names=names, dtype=dtype, shard_rows=shard_rows,
                nonfinite="keep", progress=progress,
            )  # fmt: skip
        else:
            export(
                source,
                output,
                to,
                kind=from_kind,
                key=key,
                names=names,
                shard_rows=shard_rows,
                progress=progress,
            )
    if as_json:
        _print_json({"path": str(output), "format": to.value})
    else:
        typer.echo(str(output))


@app.command()
def merge(
    galleries: Annotated[
        list[Path],
        typer.Argument(metavar="GALLERY...", help="Galleries, in this order.", autocompletion=galleries),
    ],
    output: Output,
    ids: Annotated[
        IdRule, typer.Option(help="Ids: keep them, put the gallery's name in front, or renumber.")
    ] = IdRule.keep,
    groups: Annotated[
        GroupRule, typer.Option(help="Groups: keep them, or put the gallery's name in front.")
    ] = GroupRule.keep,
    names: Annotated[
        list[str] | None,
        typer.Option("--name", help="Name for prefixes, one per gallery; default: its folder's."),
    ] = None,
    dtype: DtypeOption = None,
    shard_rows: ShardRows = None,
    metadata: Metadata = None,
    as_json: AsJson = False,
) -> None:
    """Write the rows of several galleries, one behind the other, as a new gallery."""
    from idsim.gallery import merge as merge_galleries

    with progress_bar("Merging", quiet=as_json) as progress:
        gallery = merge_galleries(
            galleries,
            output,
            ids=ids,
            groups=groups,
            names=names or None,
            dtype=dtype,
            shard_rows=shard_rows,
            metadata=_parse_metadata(metadata),
            progress=progress,
        )
    _describe(gallery, as_json)


@app.command()
def prepare(
    folder: Folder,
    threads: Annotated[int | None, typer.Option(min=1, help="Default: one per core.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write 8-bit codes beside the vectors, so that searches read a quarter of the bytes."""
    from idsim.gallery import Gallery

    gallery = Gallery.open(folder)
    with progress_bar("Preparing", quiet=as_json) as progress:
        gallery.prepare(threads=threads, progress=progress)
    _describe(gallery, as_json)


def _column_names(id_column: str | None, group: str | None, source: str | None) -> ColumnNames:
    from idsim.gallery import ColumnNames

    return ColumnNames(id_column, group, source)


def _parse_metadata(pairs: list[str] | None) -> dict[str, str] | None:
    if not pairs:
        return None
    metadata = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals):
            raise typer.BadParameter(f"{pair!r} is not NAME=VALUE", param_hint="--metadata")
        metadata[name] = value
    return metadata


def _describe(gallery: Gallery, as_json: bool) -> None:
    facts = gallery.info()
    if as_json:
        _print_json(facts)
        return
    columns = ", ".join(f"{name} ({kind})" for name, kind in facts["columns"].items())
    prepared = facts["prepared_bytes"]
    lines = {
        "path": facts["path"],
        "rows": f"{facts['rows']:,} x {facts['dim']} {facts['dtype']}",
        "shards": f"{facts['shards']}, {_size(facts['vector_bytes'])} vectors, {_size(facts['table_bytes'])} tables",
        "codes": "none (idsim gallery prepare)" if prepared is None else _size(prepared),
        "columns": columns or "none: ids are row numbers",
        "not finite": f"{facts['nonfinite_rows']:,} rows",
        "metadata": ", ".join(f"{name}={value}" for name, value in facts["metadata"].items()) or "none",
        "sha256": facts["sha256"],
    }
    for name, value in lines.items():
        typer.echo(f"{name:<11}{_printable(value)}")


def _size(count: int) -> str:
    size = float(count)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def _printable(text: str) -> str:
    """Return text of a stranger's file without control characters."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def _print_json(value: dict[str, Any]) -> None:
    typer.echo(json.dumps(value, indent=2))
