"""The gallery format, version 1: names, limits and the manifest (docs/formats.md is the specification)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from idsim.errors import GalleryError
from idsim.files import FileEntry
from idsim.strict_json import Fields, digest, read_object, seal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = [
    "DTYPES",
    "FORMAT",
    "MANIFEST",
    "MARKER",
    "MAX_DIM",
    "MAX_MANIFEST_BYTES",
    "VERSION",
    "Manifest",
    "Metadata",
    "Shard",
    "check_dim",
    "check_metadata",
    "default_shard_rows",
    "parse_entry",
    "read_manifest",
    "row_bytes",
    "shard_file",
    "storage_dtype",
]

FORMAT = "idsim-gallery"
VERSION = 1
MANIFEST = "manifest.json"
MARKER = "UNFINISHED"  # stands in the folder from its creation until the manifest does

MAX_DIM = 1 << 17  # the engine's limit: longer integer products of codes could overflow
MAX_MANIFEST_BYTES = 64 << 20  # 100,000 shards and more
SHARD_BYTES = 1 << 30

DTYPES: Mapping[str, str] = {"float32": "<f4", "float16": "<f2", "bfloat16": "<u2"}
COLUMN_TYPES = frozenset(
    ["string", "bool", "float32", "float64"]
    + [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
)
RESERVED_TYPES: Mapping[str, tuple[str, ...]] = {
    "id": ("int64", "string"),
    "group": ("int64", "string"),
    "source": ("string",),
}

Metadata = dict[str, "str | int | float | bool | None"]

_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True)
class Shard:
    """One row range of a gallery: a matrix file and, where the gallery has columns, a table file."""

    rows: int
    nonfinite_rows: int
    vectors: FileEntry
    table: FileEntry | None


@dataclass(frozen=True)
class Manifest:
    """What `manifest.json` says.

    Attributes
    ----------
    dim : int
        Elements of a row.
    dtype : str
        ``float32``, ``float16`` or ``bfloat16``.
    columns : dict of str to str
        Name and type of the columns of the row tables, in order; empty when there are no tables and the
        id of a row is its number.
    metadata : dict
        Free facts about the gallery: strings, numbers, booleans.
    shards : tuple of Shard
        Consecutive row ranges.
    """

    dim: int
    dtype: str
    columns: Mapping[str, str]
    shards: tuple[Shard, ...]
    metadata: Metadata = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Rows of all shards."""
        return sum(shard.rows for shard in self.shards)

    def render(self) -> bytes:
        """Return the bytes of `manifest.json`; the same manifest gives the same bytes."""
        return seal(self._content())

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest's content: it names everything that the gallery holds."""
        return digest(self._content())

    def _content(self) -> dict[str, object]:
        def entry(file: FileEntry | None) -> dict[str, object] | None:
            return None if file is None else file._asdict()

        return {
            "format": FORMAT,
            "version": VERSION,
            "rows": self.rows,
            "dim": self.dim,
            "dtype": self.dtype,
            "columns": [{"name": name, "type": kind} for name, kind in self.columns.items()],
            "metadata": self.metadata,
            "shards": [
                {
                    "rows": shard.rows,
                    "nonfinite_rows": shard.nonfinite_rows,
                    "vectors": entry(shard.vectors),
                    "table": entry(shard.table),
                }
                for shard in self.shards
            ],
        }


def read_manifest(folder: Path) -> Manifest:
    """Read and check the manifest of a gallery.

    Raises
    ------
    GalleryError
        The folder is no gallery, an unfinished one, of another version, or its manifest is damaged.
    """
    if not folder.is_dir():
        reason = "it is not a folder" if folder.exists() else "there is no such folder"
        raise GalleryError(folder, "gallery", reason)
    if not (folder / MANIFEST).exists():
        _refuse_without_manifest(folder)
    path = folder / MANIFEST
    return _parse(read_object(path, MAX_MANIFEST_BYTES), path)


def check_dim(dim: int) -> int:
    """Return `dim`, or raise `ValueError` where rows of that length cannot be stored."""
    if not 1 <= dim <= MAX_DIM:
        raise ValueError(f"rows must have 1 to {MAX_DIM} elements, not {dim}")
    return dim


def check_metadata(metadata: Mapping[str, object]) -> Metadata:
    """Return `metadata` as it goes into a manifest; names and values must be plain JSON scalars."""
    checked: Metadata = {}
    for key, value in metadata.items():
        if not isinstance(key, str):
            raise TypeError(f"metadata names must be strings, not {key!r}")
        if value is not None and not isinstance(value, str | int | float | bool):
            raise TypeError(f"metadata {key!r} must be a string, a number, a boolean or None, not {value!r}")
        if isinstance(value, float) and not np.isfinite(value):
            raise ValueError(f"metadata {key!r} must be finite, not {value!r}")
        checked[key] = value
    return checked


def storage_dtype(dtype: str) -> np.dtype[np.generic]:
    """Return the NumPy type that holds rows of a gallery type (bfloat16: the bits, as uint16)."""
    if dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, not {dtype!r}")
    return np.dtype(DTYPES[dtype])


def row_bytes(dim: int, dtype: str) -> int:
    """Bytes of one stored row."""
    return dim * storage_dtype(dtype).itemsize


def default_shard_rows(dim: int, dtype: str) -> int:
    """Rows of a shard of about 1 GiB, a multiple of 1,024."""
    return max(1, SHARD_BYTES // row_bytes(dim, dtype) // 1024) * 1024


def shard_file(kind: str, number: int, suffix: str) -> str:
    """Name of a shard's file, such as ``vectors-00003.npy``."""
    return f"{kind}-{number:05d}.{suffix}"


def _refuse_without_manifest(folder: Path) -> NoReturn:
    if (folder / MARKER).exists():
        raise GalleryError(
            folder,
            MARKER,
            "the gallery is half-written: whoever built it did not finish; delete the folder and build again",
        )
    raise GalleryError(folder, MANIFEST, "the folder has no manifest, so it is not a gallery")


def _parse(content: dict[str, object], path: Path) -> Manifest:
    fields = Fields(content, path, "manifest")
    name = fields.text("format")
    if name != FORMAT:
        fields.refuse("format", f"is {name!r}, not {FORMAT!r}")
    version = fields.count("version")
    if version != VERSION:
        fields.refuse("version", f"is {version}; this idsim reads version {VERSION}")
    sealed = fields.text("sha256")
    manifest = Manifest(
        dim=_dim(fields),
        dtype=_dtype(fields),
        columns=_columns(fields, path),
        metadata=_metadata(fields, path),
        shards=_shards(fields, path),
    )
    rows = fields.count("rows")
    fields.finish()
    if rows != manifest.rows:
        fields.refuse("rows", f"is {rows}, and the shards have {manifest.rows}")
    for number, shard in enumerate(manifest.shards):
        if (shard.table is None) != (not manifest.columns):
            state = (
                "has no table, and there are columns" if manifest.columns else "has a table without columns"
            )
            fields.refuse(f"shards[{number}]", state)
    if sealed != manifest.digest:
        fields.refuse("sha256", "does not agree with the manifest's content: it was changed or damaged")
    return manifest


def _dim(fields: Fields) -> int:
    dim = fields.count("dim", MAX_DIM)
    if dim == 0:
        fields.refuse("dim", "is 0")
    return dim


def _dtype(fields: Fields) -> str:
    dtype = fields.text("dtype")
    if dtype not in DTYPES:
        fields.refuse("dtype", f"is {dtype!r}, not one of {', '.join(DTYPES)}")
    return dtype


def _columns(fields: Fields, path: Path) -> dict[str, str]:
    columns: dict[str, str] = {}
    for number, item in enumerate(fields.items("columns")):
        column = Fields(item, path, fields.place(f"columns[{number}]"))
        name, kind = column.text("name"), column.text("type")
        column.finish()
        if name in columns:
            column.refuse("name", f"{name!r} stands twice")
        if kind not in RESERVED_TYPES.get(name, COLUMN_TYPES):
            column.refuse("type", f"{kind!r} is not a type of column {name!r}")
        columns[name] = kind
    if columns and "id" not in columns:
        fields.refuse("columns", "has no column 'id'")
    return columns


def _metadata(fields: Fields, path: Path) -> Metadata:
    value = fields.take("metadata")
    if not isinstance(value, dict):
        fields.refuse("metadata", "is not an object")
    try:
        return check_metadata(value)
    except (TypeError, ValueError) as error:
        raise GalleryError(path, fields.place("metadata"), str(error)) from None


def _shards(fields: Fields, path: Path) -> tuple[Shard, ...]:
    shards = []
    for number, item in enumerate(fields.items("shards")):
        shard = Fields(item, path, fields.place(f"shards[{number}]"))
        rows = shard.count("rows", 2**62)
        if rows == 0:
            shard.refuse("rows", "is 0")
        nonfinite = shard.count("nonfinite_rows", rows)
        vectors = parse_entry(shard.nested("vectors"), shard_file("vectors", number, "npy"))
        table = shard.take("table")
        if table is not None:
            place = shard.place("table")
            table = parse_entry(Fields(table, path, place), shard_file("rows", number, "parquet"))
        shard.finish()
        shards.append(Shard(rows, nonfinite, vectors, table))
    return tuple(shards)


def parse_entry(fields: Fields, expected: str) -> FileEntry:
    """Take name, size and checksum of a file; the name must be the expected one."""
    # The name follows from the number of the shard, so a manifest cannot point outside its folder.
    if (name := fields.text("file")) != expected:
        fields.refuse("file", f"is {name!r}, not {expected!r}")
    entry = FileEntry(name, fields.count("bytes"), fields.text("sha256"))
    if not _SHA256.match(entry.sha256):
        fields.refuse("sha256", "is not 64 lower-case hexadecimal digits")
    fields.finish()
    return entry
