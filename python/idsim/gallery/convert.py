"""From files to a gallery, and from any source to plain `.npy` or Parquet files."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idsim.files import NewFile, sync_folder
from idsim.gallery.elements import to_storage, widen
from idsim.gallery.format import default_shard_rows, row_bytes, shard_file, storage_dtype
from idsim.gallery.npyfile import MatrixFile
from idsim.gallery.reader import Gallery
from idsim.gallery.rows import encode_table, import_pyarrow
from idsim.gallery.sources import ColumnNames, Source, open_source
from idsim.gallery.writer import GalleryWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = ["EXPORTS", "build", "export"]

EXPORTS = ("npy", "parquet")
BATCH_BYTES = 16 << 20


def build(
    source: str | os.PathLike[str] | Source,
    path: str | os.PathLike[str],
    *,
    kind: str | None = None,
    key: str | None = None,
    names: ColumnNames | None = None,
    dtype: str | None = None,
    shard_rows: int | None = None,
    metadata: Mapping[str, object] | None = None,
    nonfinite: str = "raise",
    progress: Callable[[int, int], object] | None = None,
) -> Gallery:
    """Import files of any format that is read as a new gallery.

    Parameters
    ----------
    source : path-like or Source
        File or folder; ``kind``, ``key`` and ``names`` as in `idsim.gallery.open_source`.
    path : path-like
        The folder to create.
    dtype : str, optional
        Stored type; default: the one that holds the source's rows without loss (float32 for float64).
    shard_rows, metadata, nonfinite
        As in `GalleryWriter`. Without `metadata` a gallery's own is kept.
    progress : callable, optional
        Called with rows done and rows in all.

    Returns
    -------
    Gallery
        The new gallery, opened.

    Raises
    ------
    GalleryError
        The source is damaged or of no format that is read.
    ValueError
        A row holds NaN or an infinity, or an id stands in two rows.
    FileExistsError
        Something stands at `path` already.
    """
    rows = _open(source, kind, key, names)
    target = dtype or rows.dtype
    if metadata is None:
        metadata = _own_metadata(rows)
    with GalleryWriter(
        path, rows.dim, target, shard_rows=shard_rows, metadata=metadata, nonfinite=nonfinite
    ) as writer:
        for stored, table in _converted(rows, target, progress):
            writer.append_stored(stored, table)
    return Gallery.open(path)


def export(
    source: str | os.PathLike[str] | Source,
    path: str | os.PathLike[str],
    to: str,
    *,
    kind: str | None = None,
    key: str | None = None,
    names: ColumnNames | None = None,
    shard_rows: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Path:
    """Write rows and columns of any source as files that other programs read.

    Parameters
    ----------
    source : path-like or Source
        File or folder; ``kind``, ``key`` and ``names`` as in `idsim.gallery.open_source`.
    path : path-like
        The folder (``npy``) or file (``parquet``) to create.
    to : str
        ``"npy"``: a folder of ``part-00000.npy``, each with ``part-00000.parquet`` beside it where there
        are columns. ``"parquet"``: one file with the rows in the fixed-size list column ``vector``.
        bfloat16 rows become float32.
    shard_rows : int, optional
        Rows of a ``.npy`` file; default: about 1 GiB.
    progress : callable, optional
        Called with rows done and rows in all.

    Returns
    -------
    Path
        What was created.
    """
    if to not in EXPORTS:
        raise ValueError(f"to must be one of {', '.join(EXPORTS)}, not {to!r}")
    rows = _open(source, kind, key, names)
    target = "float32" if rows.dtype == "bfloat16" else rows.dtype
    place = Path(path)
    if to == "parquet":
        _export_parquet(rows, place, target, progress)
    else:
        _export_npy(rows, place, target, shard_rows, progress)
    return place


def _open(
    source: str | os.PathLike[str] | Source, kind: str | None, key: str | None, names: ColumnNames | None
) -> Source:
    if isinstance(source, str | os.PathLike):
        return open_source(source, kind, key=key, names=names)
    return source


def _own_metadata(source: Source) -> Mapping[str, object]:
    gallery = getattr(source, "gallery", None)
    return gallery.manifest.metadata if isinstance(gallery, Gallery) else {}


def _converted(
    source: Source, dtype: str, progress: Callable[[int, int], object] | None
) -> Iterator[tuple[NDArray[np.generic], Any]]:
    done = 0
    for stored, table in source.batches(max(1, BATCH_BYTES // row_bytes(source.dim, source.dtype))):
        yield stored if dtype == source.dtype else to_storage(widen(stored, source.dtype), dtype), table
        done += len(stored)
        if progress is not None:
            progress(done, source.rows)


def _export_npy(
    source: Source,
    path: Path,
    dtype: str,
    shard_rows: int | None,
    progress: Callable[[int, int], object] | None,
) -> None:
    size = default_shard_rows(source.dim, dtype) if shard_rows is None else shard_rows
    if size < 1:
        raise ValueError(f"shard_rows must be at least 1, not {shard_rows}")
    if os.path.lexists(path):
        raise FileExistsError(f"{path} exists already, and nothing is ever overwritten")
    # The folder appears under its name when everything in it is written.
    folder = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    folder.mkdir()
    try:
        parts = _Parts(folder, storage_dtype(dtype), source.dim, size)
        for stored, table in _converted(source, dtype, progress):
            parts.append(stored, table)
        parts.end()
        folder.rename(path)
    except BaseException:
        shutil.rmtree(folder)
        raise
    sync_folder(path.parent)


class _Parts:
    """Files ``part-00000.npy`` and ``part-00000.parquet`` of a fixed number of rows."""

    def __init__(self, folder: Path, dtype: np.dtype[np.generic], dim: int, size: int) -> None:
        self._folder = folder
        self._dtype = dtype
        self._dim = dim
        self._size = size
        self._number = 0
        self._file: MatrixFile | None = None
        self._tables: list[Any] = []

    def append(self, stored: NDArray[np.generic], table: pa.Table | None) -> None:
        start = 0
        while start < len(stored):
            if self._file is None:
                name = shard_file("part", self._number, "npy")
                self._file = MatrixFile(self._folder / name, self._dtype, (self._dim,), self._size)
            stop = min(start + self._size - self._file.rows, len(stored))
            self._file.append(stored[start:stop])
            if table is not None:
                self._tables.append(table[start:stop])
            if self._file.rows == self._size:
                self.end()
            start = stop

    def end(self) -> None:
        if self._file is None:
            return
        self._file.commit()
        self._file = None
        if self._tables:
            with NewFile(self._folder / shard_file("part", self._number, "parquet")) as file:
                file.write(encode_table(import_pyarrow().concat_tables(self._tables)))
                file.commit()
            self._tables = []
        self._number += 1


def _export_parquet(
    source: Source, path: Path, dtype: str, progress: Callable[[int, int], object] | None
) -> None:
    pa = import_pyarrow()
    import pyarrow.parquet as pq

    element = pa.float16() if dtype == "float16" else pa.float32()
    with NewFile(path) as file, contextlib.ExitStack() as stack:
        writer = None
        for stored, table in _converted(source, dtype, progress):
            vector = pa.FixedSizeListArray.from_arrays(pa.array(stored.reshape(-1), element), source.dim)
            columns = {name: table[name] for name in table.column_names} if table is not None else {}
            piece = pa.table({"vector": vector} | columns)
            if writer is None:
                writer = stack.enter_context(pq.ParquetWriter(_Sink(file), piece.schema, compression="zstd"))
            writer.write_table(piece)
        if writer is None:
            empty = pa.table({"vector": pa.array([], pa.list_(element, source.dim))})
            pq.write_table(empty, _Sink(file))
        stack.close()
        file.commit()


class _Sink:
    """A `NewFile` as the file object that pyarrow writes to; closing it does not commit."""

    closed = False

    def __init__(self, file: NewFile) -> None:
        self.write = file.write

    def flush(self) -> None:
        """Do nothing: `NewFile` does not buffer."""

    def close(self) -> None:
        """Do nothing: the file is committed by its owner."""
