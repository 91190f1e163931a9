"""Matrices larger than memory: several `.npy` files read as one, fed to a scan or read by a thread ahead."""

from __future__ import annotations

import bisect
import contextlib
import os
import threading
from itertools import accumulate
from queue import SimpleQueue
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from idsim import _core
from idsim.errors import GalleryError
from idsim.files import InputFile
from idsim.gallery.npy import read_header
from idsim.gallery.report import BlockProgress

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from numpy.typing import NDArray

    from idsim.feeding import ScanFeed
    from idsim.options import Progress

__all__ = ["MatrixFiles", "MatrixReader", "Part", "feed_shards", "open_part", "read_ahead"]


class Part(NamedTuple):
    """Rows that stand together in one file: the file, its size, the byte they begin at, their number."""

    path: Path
    file_bytes: int
    offset: int
    rows: int


def open_part(path: Path, dtype: np.dtype[np.generic], rows: int, columns: int) -> Part:
    """Check that a `.npy` file is the matrix that a manifest announces, by its header and its size.

    Parameters
    ----------
    path : Path
        The file.
    dtype : numpy.dtype
        The element type it must have.
    rows, columns : int
        The shape it must have; with one column a vector ``[rows]`` is expected.

    Raises
    ------
    GalleryError
        The file is missing, damaged, or another array.
    """
    with InputFile(path) as file:
        header = read_header(file)
    shape = (rows,) if columns == 1 and len(header.shape) == 1 else (rows, columns)
    if header.dtype != dtype or header.shape != shape:
        raise GalleryError(
            path,
            "npy header",
            f"the array is {header.dtype.str} {header.shape}, expected is {dtype.str} {shape}",
        )
    return Part(path, header.offset + header.data_bytes, header.offset, rows)


class MatrixFiles:
    """Consecutive parts of files, read as one matrix.

    Parameters
    ----------
    parts : sequence of Part
        The parts in row order.
    columns : int
        Elements of a row.
    dtype : numpy.dtype
        Stored element type.
    """

    def __init__(self, parts: Sequence[Part], columns: int, dtype: np.dtype[np.generic]) -> None:
        self._parts = tuple(parts)
        self._ends = list(accumulate(part.rows for part in parts))
        self.columns = columns
        self.dtype = dtype
        self.row_bytes = columns * dtype.itemsize

    @property
    def rows(self) -> int:
        """Rows of all parts."""
        return self._ends[-1] if self._ends else 0

    @property
    def part_rows(self) -> list[int]:
        """Rows of each part."""
        return [part.rows for part in self._parts]

    def part_of(self, row: int) -> tuple[Part, int]:
        """Return the part that holds a row, and the number of the part's first row."""
        number = bisect.bisect_right(self._ends, row)
        part = self._parts[number]
        return part, self._ends[number] - part.rows

    def open(self, *, sequential: bool = True) -> MatrixReader:
        """Return a reader, to be closed; every thread needs its own."""
        return MatrixReader(self, sequential)

    def read(self, start: int, stop: int) -> NDArray[np.generic]:
        """Return rows `start` to `stop` as a new array ``[stop - start, columns]``."""
        out = np.empty((stop - start, self.columns), self.dtype)
        with self.open() as reader:
            reader.read_into(out, start)
        return out

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.generic]:
        """Return single rows, in the order given, as a new array ``[len(rows), columns]``."""
        out = np.empty((len(rows), self.columns), self.dtype)
        with self.open(sequential=False) as reader:
            for place in np.argsort(rows, kind="stable").tolist():
                reader.read_into(out[place : place + 1], int(rows[place]))
        return out

    def stream(
        self, start: int, stop: int, block_rows: int, slots: int = 3
    ) -> Iterator[tuple[int, NDArray[np.generic]]]:
        """Yield ``(first_row, block)`` over rows `start` to `stop`, read ahead by a thread.

        A block is a view of one of `slots` buffers and is overwritten some time after the next is asked for.
        """
        rows = max(1, min(block_rows, stop - start))
        firsts = range(start, stop, rows)
        buffers = [np.empty((rows, self.columns), self.dtype) for _ in range(min(slots, len(firsts)))]

        def block(task: int, slot: int) -> NDArray[np.generic]:
            return buffers[slot][: min(rows, stop - firsts[task])]

        with self.open() as reader:

            def fill(task: int, slot: int) -> None:
                reader.read_into(block(task, slot), firsts[task])

            with contextlib.closing(read_ahead(len(firsts), len(buffers), fill)) as steps:
                for task, slot in steps:
                    yield firsts[task], block(task, slot)


class MatrixReader:
    """Reads rows of `MatrixFiles`; keeps the file that it read last open.

    Parameters
    ----------
    files : MatrixFiles
        What to read.
    sequential : bool
        Whether it is read from front to back.
    """

    def __init__(self, files: MatrixFiles, sequential: bool) -> None:
        self._files = files
        self._sequential = sequential
        self._part: Part | None = None
        self._file: InputFile | None = None

    def read_into(self, out: NDArray[np.generic], start: int) -> None:
        """Fill `out` (C-contiguous, of the stored type) with the rows from `start` on.

        Raises
        ------
        GalleryError
            A file is shorter than it was, or cannot be read.
        """
        if not out.size:
            return
        flat = out.view(np.uint8).reshape(-1).data
        row_bytes = self._files.row_bytes
        row, stop = start, start + len(out)
        while row < stop:
            part, first = self._files.part_of(row)
            count = min(stop, first + part.rows) - row
            piece = flat[(row - start) * row_bytes : (row - start + count) * row_bytes]
            self.file(part).read_into(piece, part.offset + (row - first) * row_bytes)
            row += count

    def file(self, part: Part) -> InputFile:
        """Return the open file of a part; valid until rows of another part are read."""
        if self._file is not None and self._part == part:
            return self._file
        self.close()
        file = InputFile(part.path)
        self._file, self._part = file, part
        if file.size != part.file_bytes:
            raise GalleryError(
                part.path,
                "size",
                f"the file has {file.size} bytes, it had {part.file_bytes} when it was opened",
            )
        if self._sequential:
            file.expect_sequential()
        else:
            file.expect_random()
        return file

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def feed_shards(
    scan: ScanFeed,
    vectors: MatrixFiles,
    codes: Sequence[MatrixFiles],
    dtype: str,
    *,
    groups: NDArray[np.int64] | None,
    progress: Progress | None,
) -> None:
    """Feed all rows to a scan, shard by shard; its threads read the blocks that they search themselves.

    Parameters
    ----------
    scan : ScanFeed
        What is fed.
    vectors : MatrixFiles
        The stored rows.
    codes : sequence of MatrixFiles
        The prepared arrays, in the same shards; or none.
    dtype : str
        Type of the stored rows.
    groups : ndarray, optional
        int64 labels of all rows.
    progress : callable, optional
        Called with rows done and rows in all.

    Raises
    ------
    GalleryError
        A file is shorter than it was, or cannot be read.
    """
    report = BlockProgress(progress, vectors.rows)
    first = 0
    for rows in filter(None, vectors.part_rows):
        with contextlib.ExitStack() as stack:
            files = []
            for matrix in (vectors, *codes):
                # Where there are codes, only single rows of the vectors are read.
                reader = stack.enter_context(matrix.open(sequential=matrix is not vectors or not codes))
                part, _ = matrix.part_of(first)
                files.append((reader.file(part).fileno(), part.offset, os.fsencode(part.path)))
            shard = _core.FileGallery(files, rows, vectors.columns, dtype)
            own = None if groups is None else groups[first : first + rows]
            try:
                scan.feed_file(shard, first, groups=own, progress=report.inside(first))
            except OSError as error:
                if error.filename is None:  # from the progress callback
                    raise
                raise GalleryError(error.filename, f"rows from {first}", str(error.strerror)) from error
        first += rows
        report.finished(first)


def read_ahead(tasks: int, slots: int, fill: Callable[[int, int], None]) -> Generator[tuple[int, int]]:
    """Yield ``(task, slot)`` for tasks 0, 1, ..., each filled by a background thread before its turn.

    Parameters
    ----------
    tasks : int
        Number of tasks.
    slots : int
        Number of buffers; the thread is at most ``slots - 1`` tasks ahead.
    fill : callable
        ``fill(task, slot)`` does one task. What it raises is raised by the generator at that task.
    """
    if tasks <= 1 or slots <= 1:
        for task in range(tasks):
            fill(task, 0)
            yield task, 0
        return
    free: SimpleQueue[int] = SimpleQueue()
    ready: SimpleQueue[tuple[int, int] | BaseException] = SimpleQueue()
    stopped = threading.Event()

    def work() -> None:
        try:
            for task in range(tasks):
                slot = free.get()
                if stopped.is_set():
                    return
                fill(task, slot)
                ready.put((task, slot))
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that consumes
            ready.put(error)

    for slot in range(slots):
        free.put(slot)
    thread = threading.Thread(target=work, name="idsim-read-ahead", daemon=True)
    thread.start()
    try:
        for _ in range(tasks):
            item = ready.get()
            if isinstance(item, BaseException):
                raise item
            yield item
            free.put(item[1])
    finally:
        stopped.set()
        free.put(0)
        thread.join()
