"""A gallery on disk, of any size: opened, described, read by ranges, streamed, searched and verified."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from idsim.gallery.elements import as_matrix, gallery_dtype, widen
from idsim.gallery.format import FORMAT, VERSION, Manifest, read_manifest, storage_dtype
from idsim.gallery.rows import arrow_type, import_pyarrow, read_table
from idsim.gallery.streaming import MatrixFiles, open_part
from idsim.gallery.verify import VerifyReport, find_problems, total_bytes
from idsim.gallery.writer import GalleryWriter

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import pyarrow as pa
    from numpy.typing import ArrayLike, NDArray

    from idsim.errors import GalleryError

__all__ = ["BLOCK_BYTES", "Gallery", "Groups"]

BLOCK_BYTES = 4 << 20


class Groups(NamedTuple):
    """The groups (identities) of all rows.

    Attributes
    ----------
    codes : ndarray
        ``[n]`` int64: index into `labels` of every row's group.
    labels : list of int or list of str
        The distinct groups, ascending.
    """

    codes: NDArray[np.int64]
    labels: list[Any]


class Gallery:
    """A folder of embeddings in the idsim gallery format (docs/formats.md).

    Use `Gallery.open`, `Gallery.from_arrays` or `Gallery.build`.

    Parameters
    ----------
    path : Path
        The folder.
    manifest : Manifest
        Its manifest, checked.
    vectors : MatrixFiles
        Its vector shards, checked.
    """

    def __init__(self, path: Path, manifest: Manifest, vectors: MatrixFiles) -> None:
        self.path = path
        self.manifest = manifest
        self._vectors = vectors

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Gallery:
        """Open a gallery; reads the manifest and the header of every shard.

        Raises
        ------
        GalleryError
            The folder is no finished gallery of this version, or a shard is missing, truncated or not the
            array that the manifest announces. (Flipped bytes inside are found by `verify`.)
        """
        folder = Path(path)
        manifest = read_manifest(folder)
        dtype = storage_dtype(manifest.dtype)
        parts = [
            open_part(folder / shard.vectors.file, dtype, shard.rows, manifest.dim)
            for shard in manifest.shards
        ]
        return cls(folder, manifest, MatrixFiles(parts, manifest.dim, dtype))

    @classmethod
    def from_arrays(
        cls,
        path: str | os.PathLike[str],
        vectors: ArrayLike,
        *,
        ids: object = None,
        groups: object = None,
        sources: object = None,
        columns: Mapping[str, object] | None = None,
        dtype: str | None = None,
        shard_rows: int | None = None,
        metadata: Mapping[str, object] | None = None,
        nonfinite: str = "raise",
    ) -> Gallery:
        """Write arrays as a new gallery and open it.

        Parameters
        ----------
        path : path-like
            The folder to create.
        vectors : array-like
            ``[n, d]`` float16, bfloat16, float32 or float64 (stored as float32).
        ids, groups, sources, columns : array-like, optional
            Columns of the rows, as in `GalleryWriter.append`.
        dtype : str, optional
            Stored type; default: that of `vectors`.
        shard_rows, metadata, nonfinite
            As in `GalleryWriter`.
        """
        matrix = as_matrix(vectors)
        stored = dtype or gallery_dtype(matrix.dtype)
        with GalleryWriter(
            path, matrix.shape[1], stored, shard_rows=shard_rows, metadata=metadata, nonfinite=nonfinite
        ) as writer:
            writer.append(matrix, ids, groups, sources, columns)
        return cls.open(path)

    @classmethod
    def build(cls, source: str | os.PathLike[str], path: str | os.PathLike[str], **options: Any) -> Gallery:
        """Import files of another format as a new gallery and open it; see `idsim.gallery.build`."""
        from idsim.gallery.convert import build  # noqa: PLC0415 - it imports this module

        return build(source, path, **options)

    def __len__(self) -> int:
        return self._vectors.rows

    def __repr__(self) -> str:
        return f"Gallery({str(self.path)!r}, rows={len(self)}, dim={self.dim}, dtype={self.dtype!r})"

    @property
    def dim(self) -> int:
        """Elements of a row."""
        return self.manifest.dim

    @property
    def dtype(self) -> str:
        """Stored type: ``float32``, ``float16`` or ``bfloat16``."""
        return self.manifest.dtype

    @property
    def columns(self) -> dict[str, str]:
        """Name and type of the columns of the rows; empty when ids are row numbers."""
        return dict(self.manifest.columns)

    @property
    def digest(self) -> str:
        """SHA-256 over the manifest's content; two galleries with equal digests hold the same bytes."""
        return self.manifest.digest

    def info(self) -> dict[str, Any]:
        """Return what the manifest tells, as plain JSON values."""
        shards = self.manifest.shards
        tables = sum(shard.table.bytes for shard in shards if shard.table)
        return {
            "path": str(self.path),
            "format": FORMAT,
            "version": VERSION,
            "rows": len(self),
            "dim": self.dim,
            "dtype": self.dtype,
            "shards": len(shards),
            "columns": self.columns,
            "nonfinite_rows": sum(shard.nonfinite_rows for shard in shards),
            "vector_bytes": sum(shard.vectors.bytes for shard in shards),
            "table_bytes": tables,
            "metadata": dict(self.manifest.metadata),
            "sha256": self.digest,
        }

    def vectors(self, start: int = 0, stop: int | None = None) -> NDArray[np.float32] | NDArray[np.float16]:
        """Return rows `start` to `stop` in memory: float32 or float16 ``[stop - start, d]``.

        bfloat16 rows are widened to float32, exactly.

        Raises
        ------
        ValueError
            The range is not inside the gallery.
        GalleryError
            A file is shorter than it was, or cannot be read.
        """
        start, stop = self._range(start, stop)
        return widen(self._vectors.read(start, stop), self.dtype)

    def take(self, rows: ArrayLike) -> NDArray[np.float32] | NDArray[np.float16]:
        """Return single rows by number, in the order given, like `vectors`."""
        numbers = np.asarray(rows, dtype=np.int64)
        if numbers.ndim != 1:
            raise ValueError(f"rows must be one-dimensional, not {numbers.ndim}-dimensional")
        if len(numbers) and not (numbers.min() >= 0 and numbers.max() < len(self)):
            raise ValueError(f"rows must be from 0 to {len(self) - 1}")
        return widen(self._vectors.take(numbers), self.dtype)

    def stored_blocks(
        self, rows: int | None = None, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[int, NDArray[np.generic]]]:
        """Yield blocks as they are stored (bfloat16: bits in uint16), otherwise like `blocks`."""
        start, stop = self._range(start, stop)
        if rows is None:
            rows = max(1, BLOCK_BYTES // self._vectors.row_bytes)
        if rows < 1:
            raise ValueError(f"rows must be at least 1, not {rows}")
        return self._vectors.stream(start, stop, rows)

    def blocks(
        self, rows: int | None = None, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[int, NDArray[np.float32] | NDArray[np.float16]]]:
        """Yield ``(first_row, block)`` over the gallery in order, while a thread reads the next blocks.

        Parameters
        ----------
        rows : int, optional
            Rows of a block (the last may be shorter); default: about 4 MiB.
        start, stop : int, optional
            The range of rows.

        Yields
        ------
        first_row : int
            Number of the block's first row.
        block : ndarray
            ``[r, d]`` float32 or float16, read-only, **valid until the next block is asked for**: the few
            buffers are used again. Copy what must stay.

        Raises
        ------
        GalleryError
            A file is shorter than it was, or cannot be read; raised at the block it concerns.
        """
        for first, stored in self.stored_blocks(rows, start, stop):
            block = widen(stored, self.dtype).view()
            block.flags.writeable = False
            yield first, block

    def rows(self, columns: Sequence[str] | None = None, start: int = 0, stop: int | None = None) -> pa.Table:
        """Return the columns of rows `start` to `stop` as a ``pyarrow.Table``.

        Parameters
        ----------
        columns : sequence of str, optional
            The columns; all by default.
        start, stop : int, optional
            The range of rows.

        Raises
        ------
        ValueError
            There is no such column, or the range is not inside the gallery.
        GalleryError
            A table is damaged or does not agree with the manifest.
        """
        start, stop = self._range(start, stop)
        types = self._column_types(columns)
        pa = import_pyarrow()
        tables = [self._table(number, first, types) for number, first in self._shards_in(start, stop)]
        if not tables:
            return pa.table({name: pa.array([], arrow_type(kind)) for name, kind in types.items()})
        first = self._shards_in(start, stop)[0][1]
        return pa.concat_tables(tables).slice(start - first, stop - start)

    def take_rows(self, rows: ArrayLike, columns: Sequence[str] | None = None) -> pa.Table:
        """Return the columns of single rows by number, in the order given; reads the shards they are in."""
        numbers = np.asarray(rows, dtype=np.int64)
        pa = import_pyarrow()
        found, inverse = np.unique(numbers, return_inverse=True)
        if len(found) == 0:
            return self.rows(columns, 0, 0)
        if found[0] < 0 or found[-1] >= len(self):
            raise ValueError(f"rows must be from 0 to {len(self) - 1}")
        types = self._column_types(columns)
        tables = []
        for number, first in self._shards_in(int(found[0]), int(found[-1]) + 1):
            last = first + self.manifest.shards[number].rows
            inside = found[np.searchsorted(found, first) : np.searchsorted(found, last)]
            if len(inside):
                tables.append(self._table(number, first, types).take(inside - first))
        return pa.concat_tables(tables).take(inverse)

    def groups(self) -> Groups:
        """Return the group of every row as codes and labels.

        Raises
        ------
        ValueError
            The gallery has no column ``group``.
        """
        if "group" not in self.columns:
            raise ValueError(f"{self.path} has no groups: it was built without a group column")
        codes = np.empty(len(self), np.int64)
        numbers: dict[Any, int] = {}
        for shard, first in self._shards_in(0, len(self)):
            column = self._table(shard, first, {"group": self.columns["group"]})["group"]
            encoded = column.combine_chunks().dictionary_encode()
            local = [numbers.setdefault(label, len(numbers)) for label in encoded.dictionary.to_pylist()]
            codes[first : first + len(column)] = np.array(local, np.int64)[encoded.indices.to_numpy()]
        labels: list[Any] = sorted(numbers)
        rank = np.empty(len(labels), np.int64)
        rank[[numbers[label] for label in labels]] = np.arange(len(labels))
        return Groups(rank[codes], labels)

    def find_problems(self, progress: Callable[[int, int], object] | None = None) -> Iterator[GalleryError]:
        """Yield what is not as the manifest says; see `verify`."""
        total = total_bytes(self.manifest)
        done = 0

        def count(size: int) -> None:
            nonlocal done
            done += size
            if progress is not None:
                progress(min(done, total), total)

        yield from find_problems(self.path, self.manifest, count)

    def verify(self, progress: Callable[[int, int], object] | None = None) -> VerifyReport:
        """Read every file and compare it with the manifest.

        Checked are sizes, SHA-256, headers, shapes, rows with NaN or infinities, schemas, row counts, ids.

        Parameters
        ----------
        progress : callable, optional
            Called with bytes done and bytes in all.

        Raises
        ------
        GalleryError
            The first thing that is not as the manifest says.
        """
        for problem in self.find_problems(progress):
            raise problem
        shards = self.manifest.shards
        files = len(shards) + sum(shard.table is not None for shard in shards)
        return VerifyReport(files, total_bytes(self.manifest), len(self))

    def _range(self, start: int, stop: int | None) -> tuple[int, int]:
        end = len(self) if stop is None else stop
        if not 0 <= start <= end <= len(self):
            raise ValueError(f"rows {start} to {end} are not inside a gallery of {len(self)} rows")
        return start, end

    def _shards_in(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Return number and first row of the shards that hold rows `start` to `stop`."""
        found, first = [], 0
        for number, shard in enumerate(self.manifest.shards):
            if first < stop and start < first + shard.rows:
                found.append((number, first))
            first += shard.rows
        return found

    def _column_types(self, columns: Sequence[str] | None) -> dict[str, str]:
        known = self.columns or {"id": "int64"}
        for name in columns or ():
            if name not in known:
                raise ValueError(f"{self.path} has no column {name!r}; it has {', '.join(known)}")
        return {name: known[name] for name in (known if columns is None else columns)}

    def _table(self, number: int, first: int, types: Mapping[str, str]) -> pa.Table:
        shard = self.manifest.shards[number]
        if shard.table is None:
            ids = np.arange(first, first + shard.rows, dtype=np.int64)
            return import_pyarrow().table(dict.fromkeys(types, ids))
        return read_table(self.path / shard.table.file, self.columns, shard.rows, list(types))
