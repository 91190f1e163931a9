"""The prepared codes beside the vectors: a quarter of the bytes of float32 rows decides most pairs.

For every shard there are four arrays (docs/formats.md): the 8-bit codes, their scale, a bound on what they
lost, and the norm of the row. A search streams them and reads stored rows only for the few candidates that
the codes cannot decide; the answer is the same bytes as from the rows themselves.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from idsim import _core
from idsim.errors import GalleryError
from idsim.files import NewFile, is_temporary
from idsim.gallery.elements import widen
from idsim.gallery.format import Manifest, shard_file
from idsim.gallery.npyfile import MatrixFile
from idsim.gallery.prepared_format import (
    ARRAYS,
    PREPARED,
    PreparedManifest,
    PreparedShard,
    read_prepared_manifest,
)
from idsim.gallery.streaming import MatrixFiles, MatrixReader, feed_shards, open_part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from idsim.feeding import ScanFeed
    from idsim.gallery.report import BlockProgress
    from idsim.options import Progress

__all__ = [
    "PREPARED",
    "PreparedBlock",
    "PreparedFiles",
    "PreparedManifest",
    "PreparedShard",
    "open_prepared",
    "write_prepared",
]


class PreparedBlock(NamedTuple):
    """The arrays of n rows: codes ``[n, padded_dim]``, the others ``[n]``."""

    codes: NDArray[np.uint8]
    scale: NDArray[np.float32]
    residual: NDArray[np.float32]
    norm: NDArray[np.float64]

    @property
    def arrays(self) -> list[NDArray[np.generic]]:
        """The four arrays in the order of the files."""
        return [self.codes, self.scale, self.residual, self.norm]

    def slice(self, start: int, stop: int) -> PreparedBlock:
        """Return some of the rows, without a copy."""
        return PreparedBlock(
            self.codes[start:stop], self.scale[start:stop], self.residual[start:stop], self.norm[start:stop]
        )


class PreparedFiles:
    """The prepared arrays of a gallery, opened.

    Parameters
    ----------
    manifest : PreparedManifest
        Their manifest, checked.
    arrays : dict of str to MatrixFiles
        The four kinds of arrays.
    vectors : MatrixFiles
        The stored rows.
    dtype : str
        Their type.
    """

    def __init__(
        self, manifest: PreparedManifest, arrays: dict[str, MatrixFiles], vectors: MatrixFiles, dtype: str
    ) -> None:
        self.manifest = manifest
        self._arrays = arrays
        self._vectors = vectors
        self._dtype = dtype

    def read(self) -> PreparedBlock:
        """Return the arrays of all rows in memory."""
        block = self._empty_block(self._vectors.rows)
        with contextlib.ExitStack() as stack:
            self._fill(self._readers(stack), block, 0)
        return block

    def differences(self, blocks: Iterator[PreparedBlock]) -> Iterator[GalleryError]:
        """Yield where the arrays are not the expected ones, block by block from row 0 on."""
        first = 0
        with contextlib.ExitStack() as stack:
            readers = self._readers(stack)
            for expected in blocks:
                found = self._empty_block(len(expected.norm))
                self._fill(readers, found, first)
                for kind, a, b in zip(ARRAYS, found.arrays, expected.arrays, strict=True):
                    rows = _rows_that_differ(a, b)
                    if len(rows):
                        part, before = self._arrays[kind].part_of(first + int(rows[0]))
                        place = f"row {first + int(rows[0]) - before}"
                        yield GalleryError(part.path, place, "this is not the code of the row")
                first += len(expected.norm)

    def feed_into(
        self,
        scan: ScanFeed,
        *,
        groups: NDArray[np.int64] | None,
        progress: Progress | None,
    ) -> None:
        """Feed all rows to a scan: codes front to back, stored rows for candidates only.

        Raises
        ------
        GalleryError
            A file is shorter than it was, or cannot be read.
        """
        codes = [self._arrays[kind] for kind in ARRAYS]
        feed_shards(scan, self._vectors, codes, self._dtype, groups=groups, progress=progress)

    def _empty_block(self, rows: int) -> PreparedBlock:
        columns = self._arrays["codes"].columns
        return PreparedBlock(
            np.empty((rows, columns), np.uint8),
            np.empty(rows, np.float32),
            np.empty(rows, np.float32),
            np.empty(rows, np.float64),
        )

    def _readers(self, stack: contextlib.ExitStack) -> list[MatrixReader]:
        return [stack.enter_context(self._arrays[kind].open()) for kind in ARRAYS]

    def _fill(self, readers: list[MatrixReader], block: PreparedBlock, start: int) -> None:
        for reader, array in zip(readers, block.arrays, strict=True):
            reader.read_into(array, start)


def open_prepared(folder: Path, gallery: Manifest, vectors: MatrixFiles) -> PreparedFiles | None:
    """Open the prepared arrays of a gallery; None where it has none.

    Raises
    ------
    GalleryError
        They belong to other rows, are of another version, or a file is missing or damaged.
    """
    path = folder / PREPARED
    if not path.exists():
        return None
    manifest = read_prepared_manifest(path, gallery)
    arrays = {}
    for number, (kind, dtype) in enumerate(ARRAYS.items()):
        columns = manifest.padded_dim if kind == "codes" else 1
        parts = [
            open_part(folder / files[number].file, np.dtype(dtype), shard.rows, columns)
            for shard, files in zip(gallery.shards, manifest.shards, strict=True)
        ]
        arrays[kind] = MatrixFiles(parts, columns, np.dtype(dtype))
    return PreparedFiles(manifest, arrays, vectors, gallery.dtype)


def write_prepared(
    folder: Path,
    gallery: Manifest,
    blocks: Callable[[int, int], Iterator[PreparedBlock]],
) -> PreparedManifest:
    """Write prepared arrays beside the vectors; they count from the moment that `prepared.json` stands.

    Parameters
    ----------
    folder : Path
        The gallery.
    gallery : Manifest
        Its manifest.
    blocks : callable
        ``blocks(start, stop)`` yields the arrays of these rows in order.
    """
    _remove_unfinished(folder)
    shards, first = [], 0
    padded = _core.padded_dim(gallery.dim)
    for number, shard in enumerate(gallery.shards):
        with contextlib.ExitStack() as stack:
            files = []
            for kind, dtype in ARRAYS.items():
                shape = (padded,) if kind == "codes" else ()
                path = folder / shard_file(kind, number, "npy")
                file = MatrixFile(path, np.dtype(dtype), shape, shard.rows)
                stack.callback(file.discard)
                files.append(file)
            for block in blocks(first, first + shard.rows):
                for file, array in zip(files, block.arrays, strict=True):
                    file.append(array)
            shards.append(PreparedShard(*(file.commit() for file in files)))
        first += shard.rows
    manifest = PreparedManifest(gallery.digest, padded, tuple(shards))
    with NewFile(folder / PREPARED) as text:
        text.write(manifest.render())
        text.commit()
    return manifest


def prepare_blocks(
    blocks: Iterator[tuple[int, NDArray[np.generic]]],
    dtype: str,
    threads: int,
    report: BlockProgress,
) -> Iterator[PreparedBlock]:
    """Yield the prepared arrays of blocks of stored rows; rows with NaN or Inf are marked by their norm."""
    for first, stored in blocks:
        rows = widen(stored, dtype)
        count, dim = rows.shape
        block = PreparedBlock(
            np.empty((count, _core.padded_dim(dim)), np.uint8),
            np.empty(count, np.float32),
            np.empty(count, np.float32),
            np.empty(count, np.float64),
        )
        _core.prepare(rows, *block, threads, True, None)
        yield block
        report.finished(first + count)


def _rows_that_differ(a: NDArray[np.generic], b: NDArray[np.generic]) -> NDArray[np.int64]:
    same = a.view(np.uint8).reshape(len(a), -1) == b.view(np.uint8).reshape(len(b), -1)
    return np.flatnonzero(~same.all(axis=1))


def _remove_unfinished(folder: Path) -> None:
    """Remove what a killed preparation left: the same bytes are written again."""
    for file in folder.iterdir():
        if file.name.lstrip(".").partition("-")[0] in ARRAYS or (
            is_temporary(file.name) and file.name.startswith(f".{PREPARED}")
        ):
            file.unlink()
