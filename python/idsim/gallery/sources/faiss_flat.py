"""Flat indexes that FAISS wrote, read from their binary format without FAISS.

Layout, all little-endian (as written by faiss 1.5 to 1.15)::

    IndexFlatIP 'IxFI', IndexFlatL2 'IxF2', IndexFlat 'IxFl':
        fourcc      4 bytes
        d           int32        elements of a row
        ntotal      int64        rows
        unused      2 x int64
        is_trained  uint8        0 or 1
        metric      int32        0 inner product, 1 L2, others
        metric_arg  float32      only where metric > 1
        size        uint64       ntotal * d
        rows        float32[size]
    IndexIDMap 'IxMp', IndexIDMap2 'IxM2': fourcc and header as above (without size), then a flat index, then
        size        uint64       ntotal
        ids         int64[size]
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from idsim.errors import GalleryError
from idsim.files import InputFile
from idsim.gallery.rows import make_table
from idsim.gallery.sources.base import MatrixSource
from idsim.gallery.streaming import MatrixFiles, Part

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

__all__ = ["FLAT_FOURCCS", "MAP_FOURCCS", "FlatIndex", "open_faiss", "parse_index"]

FLAT_FOURCCS = (b"IxFI", b"IxF2", b"IxFl")
MAP_FOURCCS = (b"IxMp", b"IxM2")

_HEADER = struct.Struct("<4siqqqBi")


class FlatIndex(NamedTuple):
    """Where a FAISS file keeps its rows and ids.

    Attributes
    ----------
    rows, dim : int
        Shape.
    metric : int
        FAISS metric number: 0 inner product, 1 L2.
    offset : int
        Byte of the first row.
    ids_offset : int or None
        Byte of the first id, None without an id map.
    """

    rows: int
    dim: int
    metric: int
    offset: int
    ids_offset: int | None


def open_faiss(path: Path) -> MatrixSource:
    """Open a flat FAISS index; the ids of an id map become the ids of the rows."""
    with InputFile(path) as file:
        index = parse_index(file)
    part = Part(path, file.size, index.offset, index.rows)
    files = MatrixFiles([part], index.dim, np.dtype("<f4"))
    tables = None if index.ids_offset is None else _IdMap(path, file.size, index)
    return MatrixSource("faiss", path, files, "float32", tables)


def parse_index(file: InputFile) -> FlatIndex:
    """Read the headers of an index and check every size against the file's.

    Raises
    ------
    GalleryError
        The file is no flat index, or is damaged.
    """
    head = bytes(file.read(0, min(4, file.size)))
    if head not in MAP_FOURCCS:
        index, end = _flat(file, 0)
        return _at_end(file, index, end)
    _, rows, dim, after = _header(file, 0, MAP_FOURCCS)
    index, end = _flat(file, after)
    if (rows, dim) != (index.rows, index.dim):
        raise GalleryError(
            file.path, "byte 0", f"the id map is {rows} x {dim}, its index {index.rows} x {index.dim}"
        )
    size = int.from_bytes(file.read(end, 8), "little")
    if size != rows:
        raise GalleryError(file.path, f"byte {end}", f"the id map has {size} ids for {rows} rows")
    return _at_end(file, index._replace(ids_offset=end + 8), end + 8 + 8 * size)


def _flat(file: InputFile, offset: int) -> tuple[FlatIndex, int]:
    metric, rows, dim, after = _header(file, offset, FLAT_FOURCCS)
    size = int.from_bytes(file.read(after, 8), "little")
    if size != rows * dim:
        raise GalleryError(
            file.path, f"byte {after}", f"{size} elements are announced for {rows} rows of {dim}"
        )
    index = FlatIndex(rows, dim, metric, after + 8, None)
    return index, after + 8 + 4 * size


def _header(file: InputFile, offset: int, fourccs: tuple[bytes, ...]) -> tuple[int, int, int, int]:
    """Return metric, rows, dim and the byte after the header."""
    place = f"byte {offset}"
    fields = _HEADER.unpack(file.read(offset, _HEADER.size))
    fourcc, dim, rows, _, _, trained, metric = fields
    if fourcc not in fourccs:
        raise GalleryError(
            file.path, place, f"index type {fourcc!r} is not read; flat indexes are, alone or in an id map"
        )
    if dim < 1 or rows < 0 or trained > 1 or metric < 0:
        raise GalleryError(
            file.path,
            place,
            f"the header is damaged: d {dim}, rows {rows}, trained {trained}, metric {metric}",
        )
    after = offset + _HEADER.size
    return metric, rows, dim, after + 4 if metric > 1 else after


def _at_end(file: InputFile, index: FlatIndex, end: int) -> FlatIndex:
    if end != file.size:
        raise GalleryError(file.path, "size", f"the index ends at byte {end}, the file has {file.size} bytes")
    return index


class _IdMap:
    """The ids of an id map as the column ``id``."""

    def __init__(self, path: Path, file_bytes: int, index: FlatIndex) -> None:
        part = Part(path, file_bytes, index.ids_offset or 0, index.rows)
        self._ids = MatrixFiles([part], 1, np.dtype("<i8"))

    def table(self, start: int, stop: int) -> pa.Table:
        ids = self._ids.read(start, stop).reshape(-1)
        return make_table(start, stop - start, ids, None, None, None)
