"""A gallery on disk, of any size: opened, described, read by ranges, streamed, searched and verified."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.errors import GalleryError
from idsim.feeding import HostSource
from idsim.gallery import prepared as codes
from idsim.gallery.columns import ColumnFiles, Groups
from idsim.gallery.elements import as_matrix, gallery_dtype, widen
from idsim.gallery.format import FORMAT, VERSION, Manifest, read_manifest, storage_dtype
from idsim.gallery.report import BlockProgress
from idsim.gallery.streaming import MatrixFiles, feed_shards, open_part
from idsim.gallery.verify import VerifyReport, all_entries, find_problems
from idsim.gallery.writer import GalleryWriter
from idsim.options import resolve_threads
from idsim.topk import search

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import pyarrow as pa
    from numpy.typing import ArrayLike, NDArray

    from idsim.feeding import ScanFeed
    from idsim.options import Exclude, Metric, Nonfinite, Progress
    from idsim.results import TopK

__all__ = ["BLOCK_BYTES", "Gallery"]

# Three blocks stay in the last-level cache, so that what was read is still there when it is worked on.
BLOCK_BYTES = 4 << 20


class Gallery(HostSource):
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
    prepared : PreparedFiles, optional
        Its prepared codes, checked.
    """

    def __init__(
        self, path: Path, manifest: Manifest, vectors: MatrixFiles, prepared: codes.PreparedFiles | None
    ) -> None:
        self.path = path
        self.manifest = manifest
        self._vectors = vectors
        self._prepared = prepared
        self._columns = ColumnFiles(path, manifest)

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, use_codes: bool = True) -> Gallery:
        """Open a gallery; reads the manifest and the header of every shard.

        With ``use_codes=False`` prepared codes are ignored, and searches stream the vectors.

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
        vectors = MatrixFiles(parts, manifest.dim, dtype)
        prepared = codes.open_prepared(folder, manifest, vectors) if use_codes else None
        return cls(folder, manifest, vectors, prepared)

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
        """Write arrays as a new gallery and open it; the arguments are those of `GalleryWriter`.

        Parameters
        ----------
        vectors : array-like
            ``[n, d]`` float16, bfloat16, float32 or float64 (stored as float32).
        dtype : str, optional
            Stored type; default: that of `vectors`.
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
        """Import files of another format as a new gallery; see `idsim.gallery.build`."""
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
        """Type of the stored rows, ``float32``, ``float16`` or ``bfloat16``."""
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
            "prepared_bytes": self._codes_manifest.bytes if self._codes_manifest else None,
            "metadata": dict(self.manifest.metadata),
            "sha256": self.digest,
        }

    def vectors(self, start: int = 0, stop: int | None = None) -> NDArray[np.float32] | NDArray[np.float16]:
        """Return rows `start` to `stop` in memory: float32 or float16 ``[stop - start, d]``.

        bfloat16 rows are widened to float32, exactly. `GalleryError`: a file is shorter than it was.
        """
        start, stop = self._range(start, stop)
        return widen(self._vectors.read(start, stop), self.dtype)

    def take(self, rows: ArrayLike) -> NDArray[np.float32] | NDArray[np.float16]:
        """Return single rows by number, in the order given, like `vectors`."""
        return widen(self._vectors.take(self._row_numbers(rows)), self.dtype)

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
        """Return columns (default: all) of rows `start` to `stop` as a ``pyarrow.Table``.

        Raises
        ------
        ValueError
            There is no such column, or the range is not inside the gallery.
        GalleryError
            A table is damaged or does not agree with the manifest.
        """
        return self._columns.read(columns, *self._range(start, stop))

    def take_rows(self, rows: ArrayLike, columns: Sequence[str] | None = None) -> pa.Table:
        """Return the columns of single rows by number, in the order given; reads the shards they are in."""
        return self._columns.take(self._row_numbers(rows), columns)

    def groups(self) -> Groups:
        """Return the group of every row as codes and labels.

        Raises
        ------
        ValueError
            The gallery has no column ``group``.
        """
        return self._columns.groups()

    def sent_to_device(self) -> tuple[str, int]:
        """Return how the rows reach a CUDA device, and the bytes of one; for `idsim.memory_plan`."""
        return "host_codes" if self.is_prepared else "host_rows", self._vectors.row_bytes

    @property
    def is_prepared(self) -> bool:
        """Whether searches use codes beside the vectors (a quarter of the bytes of float32)."""
        return self._prepared is not None

    def prepare(self, *, threads: int | None = None, progress: Progress | None = None) -> None:
        """Write the codes that searches stream, beside the vectors; does nothing where they are.

        `progress` is called with rows done and rows in all.
        """
        if self._prepared is None:
            self._prepared = codes.open_prepared(self.path, self.manifest, self._vectors)
        if self._prepared is not None:
            return
        report = BlockProgress(progress, len(self))
        codes.write_prepared(
            self.path,
            self.manifest,
            lambda start, stop: self._code_blocks(start, stop, threads, report),
        )
        self._prepared = codes.open_prepared(self.path, self.manifest, self._vectors)

    def prepared_arrays(self) -> codes.PreparedBlock:
        """Return codes, scale, residual and norm of all rows in memory.

        Raises `GalleryError` where the gallery has none.
        """
        if self._prepared is None:
            raise GalleryError(self.path, codes.PREPARED, "the gallery has no codes: see Gallery.prepare")
        return self._prepared.read()

    def search(
        self,
        queries: Any,
        k: int = 10,
        *,
        metric: Metric = "cosine",
        exclude: Exclude = None,
        threshold: float | None = None,
        nonfinite: Nonfinite = "raise",
        out: tuple[Any, Any] | None = None,
        threads: int | None = None,
        memory_budget: int | None = None,
        progress: Progress | None = None,
        certificate: bool = False,
    ) -> TopK:
        """Find the k best rows for each query by streaming the gallery; see `idsim.search`.

        Parameters
        ----------
        exclude : None, "self", (query_groups, gallery_groups) or (query_groups, None)
            With None in place of the gallery's groups, its own column ``group`` is meant.
        queries, k, metric, threshold, nonfinite, out, threads, memory_budget, progress, certificate
            As in `idsim.search`.

        Returns
        -------
        TopK
            The ids are row numbers: `take_rows` gives their columns.
        """
        if isinstance(exclude, tuple) and exclude[1] is None:
            groups = self.groups()
            exclude = (groups.encode(exclude[0]), groups.codes)
        return search(
            queries,
            self,
            k,
            metric=metric,
            exclude=exclude,
            threshold=threshold,
            nonfinite=nonfinite,
            out=out,
            threads=threads,
            memory_budget=memory_budget,
            progress=progress,
            certificate=certificate,
        )

    def resolve_metric(self, metric: Metric | None) -> Metric:
        """Return the metric of a search; a gallery serves all."""
        return metric or "cosine"

    def feed_into(
        self, scan: ScanFeed, *, groups: NDArray[np.int64] | None, progress: Progress | None
    ) -> None:
        """Feed all rows to a scan: the codes where there are some, else the vectors."""
        # Codes serve to skip rows with NaN or Inf; to refuse them the scan must see the vectors.
        finite = not any(shard.nonfinite_rows for shard in self.manifest.shards)
        if self._prepared is not None and (finite or scan.skips_nonfinite):
            self._prepared.feed_into(scan, groups=groups, progress=progress)
            return
        feed_shards(scan, self._vectors, [], self.dtype, groups=groups, progress=progress)

    def find_problems(
        self, progress: Callable[[int, int], object] | None = None, *, recompute: bool = False
    ) -> Iterator[GalleryError]:
        """Yield everything that `verify` refuses, instead of raising the first."""
        yield from find_problems(self.path, self.manifest, self._codes_manifest, progress)
        if recompute and self._prepared is not None:
            blocks = self._code_blocks(0, len(self), None, BlockProgress(None, len(self)))
            yield from self._prepared.differences(blocks)

    def verify(
        self, progress: Callable[[int, int], object] | None = None, *, recompute: bool = False
    ) -> VerifyReport:
        """Read every file and compare it with the manifest.

        Checked are sizes, SHA-256, headers, shapes, rows with NaN or infinities, schemas, row counts, ids;
        with `recompute` also that the codes are those of the rows, which checksums alone do not say of a
        gallery from strangers. `progress` is called with bytes done and bytes in all.

        Raises
        ------
        GalleryError
            The first thing that is not as the manifest says.
        """
        for problem in self.find_problems(progress, recompute=recompute):
            raise problem
        entries = list(all_entries(self.manifest, self._codes_manifest))
        return VerifyReport(len(entries), sum(entry.bytes for entry in entries), len(self))

    def _code_blocks(
        self, start: int, stop: int, threads: int | None, report: BlockProgress
    ) -> Iterator[codes.PreparedBlock]:
        blocks = self.stored_blocks(None, start, stop)
        return codes.prepare_blocks(blocks, self.dtype, resolve_threads(threads), report)

    @property
    def _codes_manifest(self) -> codes.PreparedManifest | None:
        return None if self._prepared is None else self._prepared.manifest

    def _range(self, start: int, stop: int | None) -> tuple[int, int]:
        end = len(self) if stop is None else stop
        if not 0 <= start <= end <= len(self):
            raise ValueError(f"rows {start} to {end} are not inside a gallery of {len(self)} rows")
        return start, end

    def _row_numbers(self, rows: ArrayLike) -> NDArray[np.int64]:
        numbers = np.asarray(rows, dtype=np.int64)
        if numbers.ndim != 1:
            raise ValueError(f"rows must be one-dimensional, not {numbers.ndim}-dimensional")
        if len(numbers) and not (numbers.min() >= 0 and numbers.max() < len(self)):
            raise ValueError(f"rows must be from 0 to {len(self) - 1}")
        return numbers
