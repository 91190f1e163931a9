"""A `.npy` file written row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from idsim.files import FileEntry, NewFile
from idsim.gallery.npy import render_header

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["MatrixFile"]


class MatrixFile:
    """A `.npy` array that grows row by row and appears under its name when it is complete.

    Parameters
    ----------
    path : Path
        The final name.
    dtype : numpy.dtype
        Stored element type.
    row_shape : tuple of int
        Shape of a row: ``(columns,)`` for a matrix, ``()`` for a vector.
    planned_rows : int
        The rows it will probably get: then the file is hashed as it is written. With another number it is
        read once more.
    """

    def __init__(
        self, path: Path, dtype: np.dtype[np.generic], row_shape: tuple[int, ...], planned_rows: int
    ) -> None:
        self._dtype = dtype
        self._row_shape = row_shape
        self._planned_rows = planned_rows
        self.rows = 0
        self._file = NewFile(path)
        try:
            self._file.write(render_header(dtype, (planned_rows, *row_shape)))
        except BaseException:
            self.discard()
            raise

    def append(self, rows: NDArray[np.generic]) -> None:
        """Append rows of the stored type."""
        if rows.size:
            self._file.write(np.ascontiguousarray(rows).view(np.uint8).reshape(-1).data)
        self.rows += len(rows)

    def commit(self) -> FileEntry:
        """Make the file durable under its name."""
        if self.rows != self._planned_rows:
            self._file.rewrite_head(render_header(self._dtype, (self.rows, *self._row_shape)))
        return self._file.commit()

    def discard(self) -> None:
        """Remove what was written."""
        self._file.discard()
