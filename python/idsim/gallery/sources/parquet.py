"""Parquet files with the embeddings in a list column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.errors import GalleryError
from idsim.gallery.elements import to_storage
from idsim.gallery.rows import arrow_errors, import_pyarrow, open_parquet
from idsim.gallery.sources.base import (
    Batch,
    ColumnNames,
    check_columns,
    gallery_table,
    natural_order,
    select_columns,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["ParquetSource"]

BATCH_BYTES = 64 << 20  # Arrow decodes this much at a time, whatever a row group holds


class ParquetSource:
    """A Parquet file, or a folder of them in natural order, with one vector in each row.

    Parameters
    ----------
    path : Path
        File or folder.
    names : ColumnNames
        Which columns become id, group and source.
    key : str, optional
        Name of the vector column: a fixed-size list, or a list of one length in all rows, of float, half or
        double. Needed where there are several.
    """

    kind = "parquet"

    def __init__(self, path: Path, names: ColumnNames, key: str | None) -> None:
        self.path = path
        folder_files = (file for file in path.iterdir() if file.suffix == ".parquet") if path.is_dir() else ()
        self._paths = natural_order(folder_files) if path.is_dir() else [path]
        if not self._paths:
            raise GalleryError(path, "folder", "there is no .parquet file in it")
        self.rows = 0
        schema: Any = None
        for file_path in self._paths:
            with arrow_errors(file_path, "footer"), open_parquet(file_path) as file:
                if schema is not None and not file.schema_arrow.equals(schema):
                    raise GalleryError(
                        file_path, "schema", f"the columns differ from those of {self._paths[0]}"
                    )
                schema = file.schema_arrow
                self.rows += file.metadata.num_rows
        self._column = _vector_column(schema, self._paths[0], key)
        kind = schema.field(self._column).type
        self.dim = check_columns(self._dim(kind), path)
        element = str(kind.value_type)
        self.dtype = {"halffloat": "float16", "float": "float32", "double": "float32"}[element]
        self._columns = select_columns(schema, names, {}, self._paths[0], leave_out=self._column)

    def batches(self, rows: int) -> Iterator[Batch]:
        """Yield all rows in order, at most `rows` at a time."""
        first = 0
        size = max(1, min(rows, BATCH_BYTES // (8 * self.dim)))
        for path in self._paths:
            with arrow_errors(path, f"column {self._column!r}"), open_parquet(path) as file:
                wanted = [self._column, *self._columns.values()]
                expected = first + file.metadata.num_rows
                for batch in file.iter_batches(batch_size=size, columns=wanted, use_threads=False):
                    batch.validate(full=True)
                    matrix = self._matrix(batch.column(self._column), path, first)
                    table = import_pyarrow().Table.from_batches([batch])
                    columns = gallery_table(table, self._columns, first, path) if self._columns else None
                    yield Batch(to_storage(matrix, self.dtype), columns)
                    first += len(matrix)
                if first != expected:
                    raise GalleryError(path, "rows", f"{expected - first} rows of the footer are missing")

    def _dim(self, kind: Any) -> int:
        pa = import_pyarrow()
        if pa.types.is_fixed_size_list(kind):
            return int(kind.list_size)
        for path in self._paths:
            with arrow_errors(path, f"column {self._column!r}"), open_parquet(path) as file:
                for batch in file.iter_batches(batch_size=1, columns=[self._column], use_threads=False):
                    return len(batch.column(0)[0].as_py() or ())
        raise GalleryError(
            self.path, f"column {self._column!r}", "there is no row to tell the length of rows"
        )

    def _matrix(self, column: Any, path: Path, first: int) -> NDArray[np.generic]:
        pa = import_pyarrow()
        place = f"column {self._column!r}, rows from {first}"
        if column.null_count:
            raise GalleryError(path, place, f"{column.null_count} vectors are missing")
        if not pa.types.is_fixed_size_list(column.type):
            lengths = column.value_lengths().to_numpy(zero_copy_only=False)
            if (lengths != self.dim).any():
                bad = int(np.flatnonzero(lengths != self.dim)[0])
                raise GalleryError(
                    path,
                    f"column {self._column!r}, row {first + bad}",
                    f"{lengths[bad]} elements, not {self.dim}",
                )
        values = column.flatten()
        if values.null_count:
            raise GalleryError(path, place, f"{values.null_count} elements are missing")
        matrix: NDArray[np.generic] = values.to_numpy(zero_copy_only=False)
        return matrix.reshape(len(column), self.dim)


def _vector_column(schema: Any, path: Path, key: str | None) -> str:
    pa = import_pyarrow()
    found: list[str] = [
        field.name
        for field in schema
        if (
            pa.types.is_fixed_size_list(field.type)
            or pa.types.is_list(field.type)
            or pa.types.is_large_list(field.type)
        )
        and str(field.type.value_type) in ("halffloat", "float", "double")
    ]
    if key is not None:
        if key not in found:
            raise GalleryError(
                path,
                "schema",
                f"there is no list column of floats named {key!r}; there are: {', '.join(found[:8])}",
            )
        return key
    if len(found) != 1:
        raise GalleryError(
            path,
            "schema",
            f"there are {len(found)} list columns of floats, name one with key: {', '.join(found[:8])}",
        )
    return found[0]
