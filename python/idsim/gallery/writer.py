"""Writing a gallery: batches in, shards of fixed size out, the manifest last."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from idsim.files import FileEntry, NewFile, make_new_folder, sync_folder
from idsim.gallery.elements import as_matrix, nonfinite_rows, to_storage
from idsim.gallery.format import (
    MANIFEST,
    MARKER,
    Manifest,
    Shard,
    check_dim,
    check_metadata,
    default_shard_rows,
    row_bytes,
    shard_file,
    storage_dtype,
)
from idsim.gallery.npyfile import MatrixFile
from idsim.gallery.rows import encode_table, import_pyarrow, make_table, table_types
from idsim.gallery.unique import UniqueIds

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

    import pyarrow as pa
    from numpy.typing import ArrayLike, NDArray

__all__ = ["GalleryWriter"]

PIECE_BYTES = 16 << 20  # rows are converted and checked this much at a time, whatever a batch holds


class GalleryWriter:
    """Writes a new gallery from batches of rows.

    As a context manager it finishes the gallery when the block ends well, and removes what it wrote when
    the block raises. A writer that is killed leaves a folder that every reader names as half-written.

    Parameters
    ----------
    path : path-like
        The folder to create; nothing may stand there.
    dim : int
        Elements of a row.
    dtype : str
        ``float32``, ``float16`` or ``bfloat16`` (stored as the bits in uint16).
    shard_rows : int, optional
        Rows of a shard; by default about 1 GiB of rows.
    metadata : mapping, optional
        Free facts for the manifest: names to strings, numbers, booleans or None.
    nonfinite : str
        ``"raise"`` refuses rows with NaN or infinities, ``"keep"`` stores and counts them.

    Raises
    ------
    FileExistsError
        Something stands at `path` already.
    ValueError, TypeError
        An argument is out of range.

    Examples
    --------
    >>> import numpy as np, pathlib, tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp()) / "faces"
    >>> with GalleryWriter(folder, dim=4) as writer:
    ...     writer.append(np.eye(4, dtype=np.float32))
    >>> sorted(file.name for file in folder.iterdir())
    ['manifest.json', 'vectors-00000.npy']
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        dim: int,
        dtype: str = "float32",
        *,
        shard_rows: int | None = None,
        metadata: Mapping[str, object] | None = None,
        nonfinite: str = "raise",
    ) -> None:
        if nonfinite not in ("raise", "keep"):
            raise ValueError(f"nonfinite must be 'raise' or 'keep', not {nonfinite!r}")
        self.path = Path(path)
        self.dim = check_dim(dim)
        self.dtype = dtype
        self.rows = 0
        self._storage = storage_dtype(dtype)
        self._shard_rows = default_shard_rows(dim, dtype) if shard_rows is None else shard_rows
        if self._shard_rows < 1:
            raise ValueError(f"shard_rows must be at least 1, not {shard_rows}")
        self._metadata = check_metadata(metadata or {})
        self._keep_nonfinite = nonfinite == "keep"
        self._shards: list[Shard] = []
        self._types: dict[str, str] | None = None  # None: no batch yet; empty: rows without columns
        self._ids = UniqueIds()
        self._file: MatrixFile | None = None
        self._tables: list[pa.Table] = []
        self._nonfinite = 0
        self._created: list[str] = []
        make_new_folder(self.path)
        try:
            self._commit(MARKER, b"This folder is a gallery whose writing did not finish.\n")
        except BaseException:
            self.abort()
            raise

    def append(
        self,
        vectors: ArrayLike,
        ids: object = None,
        groups: object = None,
        sources: object = None,
        columns: Mapping[str, object] | None = None,
    ) -> None:
        """Append a batch of rows.

        Parameters
        ----------
        vectors : array-like
            ``[n, dim]`` float16, bfloat16, float32 or float64; converted to the gallery's type, rounding to
            nearest where that is narrower.
        ids : array-like, optional
            ``[n]`` integers or strings, unique in the gallery; default: the row numbers.
        groups : array-like, optional
            ``[n]`` integers or strings: the identity that a row belongs to.
        sources : array-like, optional
            ``[n]`` strings: where a row came from, such as the path of an image.
        columns : mapping of str to array-like, optional
            Further columns of ``[n]`` booleans, numbers or strings. Every batch must give the same columns.

        Raises
        ------
        ValueError
            Shapes or columns do not agree, or a row holds NaN or an infinity (the first one is named).
        TypeError
            A type cannot be stored.
        """
        matrix = as_matrix(vectors, self.dim)
        table = make_table(self.rows, len(matrix), ids, groups, sources, columns)
        step = max(1, PIECE_BYTES // row_bytes(self.dim, self.dtype))
        for start in range(0, len(matrix), step):
            piece = None if table is None else table[start : start + step]
            self.append_stored(to_storage(matrix[start : start + step], self.dtype), piece)

    def append_stored(self, stored: NDArray[np.generic], table: pa.Table | None) -> None:
        """Append rows of the stored type with a table made by `make_table`."""
        if len(stored) == 0:
            return
        bad = nonfinite_rows(stored, self.dtype)
        if len(bad) and not self._keep_nonfinite:
            raise ValueError(
                f"row {self.rows + int(bad[0])} holds NaN or an infinity as {self.dtype} "
                "(nonfinite='keep' or --keep-nonfinite stores such rows)"
            )
        table = self._same_columns(table)
        start = 0
        while start < len(stored):
            room = self._shard_rows - (self._file.rows if self._file else 0)
            stop = min(start + room, len(stored))
            self._nonfinite += int(np.searchsorted(bad, stop) - np.searchsorted(bad, start))
            self._add_to_shard(stored[start:stop], None if table is None else table[start:stop])
            start = stop

    def finish(self) -> Manifest:
        """Write the last shard and the manifest; the gallery exists from here on.

        Raises
        ------
        ValueError
            An id stands in two rows.
        """
        self._end_shard()
        self._ids.check(self.path, self._shards, self._types or {})
        manifest = Manifest(
            dim=self.dim,
            dtype=self.dtype,
            columns=self._types or {},
            shards=tuple(self._shards),
            metadata=self._metadata,
        )
        self._commit(MANIFEST, manifest.render())
        (self.path / MARKER).unlink()
        sync_folder(self.path)
        return manifest

    def abort(self) -> None:
        """Remove everything that this writer wrote, and the folder if nothing else is in it."""
        if self._file is not None:
            self._file.discard()
            self._file = None
        # The marker was the first file and goes last, so that what a crash leaves is still named.
        for name in reversed(self._created):
            (self.path / name).unlink(missing_ok=True)
        if not any(self.path.iterdir()):
            self.path.rmdir()

    def _same_columns(self, table: pa.Table | None) -> pa.Table | None:
        types = {} if table is None else table_types(table)
        if self._types is None:
            self._types = types
        if types == self._types:
            return table
        if table is not None and types.keys() == self._types.keys():
            pa = import_pyarrow()
            if all(
                types[name] == kind or table[name].null_count == len(table)
                for name, kind in self._types.items()
            ):
                names = list(self._types)
                return pa.table({name: table[name].cast(self._types[name]) for name in names})
        raise ValueError(f"this batch has the columns {types}, the batches before it {self._types}")

    def _add_to_shard(self, stored: NDArray[np.generic], table: pa.Table | None) -> None:
        if self._file is None:
            name = shard_file("vectors", len(self._shards), "npy")
            self._file = MatrixFile(self.path / name, self._storage, (self.dim,), self._shard_rows)
        self._file.append(stored)
        if table is not None:
            self._tables.append(table)
            self._ids.add(table["id"])
        self.rows += len(stored)
        if self._file.rows == self._shard_rows:
            self._end_shard()

    def _end_shard(self) -> None:
        if self._file is None:
            return
        rows = self._file.rows
        vectors = self._file.commit()
        self._file = None
        self._created.append(vectors.file)
        entry = None
        if self._tables:
            table = import_pyarrow().concat_tables(self._tables)
            entry = self._commit(shard_file("rows", len(self._shards), "parquet"), encode_table(table))
        self._shards.append(Shard(rows, self._nonfinite, vectors, entry))
        self._tables = []
        self._nonfinite = 0

    def _commit(self, name: str, data: bytes | memoryview) -> FileEntry:
        with NewFile(self.path / name) as file:
            file.write(data)
            entry = file.commit()
        self._created.append(name)
        return entry

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self.abort()
            return
        try:
            self.finish()
        except BaseException:
            self.abort()
            raise
