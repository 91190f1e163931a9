"""The columns of a gallery's rows: id, group, source and free ones, as Arrow tables in Parquet files.

pyarrow is imported inside the functions: a gallery without columns needs NumPy only.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.errors import GalleryError
from idsim.gallery.format import COLUMN_TYPES, RESERVED_TYPES
from idsim.parquet import import_pyarrow, open_parquet

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa

__all__ = [
    "arrow_errors",
    "arrow_type",
    "check_table",
    "column_type",
    "encode_table",
    "import_pyarrow",
    "make_table",
    "open_parquet",
    "read_table",
    "table_types",
]


@contextlib.contextmanager
def arrow_errors(path: str | os.PathLike[str], place: str) -> Iterator[None]:
    """Turn what pyarrow raises on a damaged file into a `GalleryError`."""
    pa = import_pyarrow()
    try:
        yield
    except GalleryError:
        raise
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError, OverflowError) as error:
        raise GalleryError(path, place, f"Parquet cannot be read: {_first_line(error)}") from error


def make_table(
    first_row: int,
    count: int,
    ids: object,
    groups: object,
    sources: object,
    columns: Mapping[str, object] | None,
) -> pa.Table | None:
    """Return the table of `count` rows, or None where no column is given.

    Parameters
    ----------
    first_row : int
        Row number of the first row in the gallery; rows without ids get their number as id.
    count : int
        Number of rows; every column must have as many values.
    ids, groups, sources : array-like or None
        Integers or strings (sources: strings), NumPy, Arrow or a sequence.
    columns : mapping of str to array-like, optional
        Free columns of booleans, numbers or strings.

    Raises
    ------
    ValueError
        A column has another length, a missing value where none may be, or a reserved name.
    TypeError
        A column has a type that is not stored.
    """
    given = {"group": groups, "source": sources}
    free = dict(columns or {})
    for name in RESERVED_TYPES:
        if name in free:
            raise ValueError(f"column {name!r} has an argument of its own")
    arrays = {name: values for name, values in (given | free).items() if values is not None}
    if ids is None and not arrays:
        return None
    pa = import_pyarrow()
    if ids is None:
        ids = np.arange(first_row, first_row + count, dtype=np.int64)
    table = {name: _column(name, values, count) for name, values in ({"id": ids} | arrays).items()}
    return pa.table(table)


def table_types(table: pa.Table) -> dict[str, str]:
    """Return name and manifest type of every column, in order."""
    return {field.name: _type_name(field.type) for field in table.schema}


def encode_table(table: pa.Table) -> memoryview:
    """Return a table as the bytes of a Parquet file; the same table gives the same bytes."""
    pa = import_pyarrow()
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(table.combine_chunks(), sink, compression="zstd", write_page_checksum=True)
    return memoryview(sink.getvalue())


def read_table(
    path: str | os.PathLike[str],
    types: Mapping[str, str],
    rows: int,
    columns: Sequence[str] | None = None,
) -> pa.Table:
    """Read the table of one shard and check it against the manifest.

    Parameters
    ----------
    path : path-like
        The Parquet file.
    types : mapping of str to str
        Columns and types that the manifest announces.
    rows : int
        Rows that the manifest announces.
    columns : sequence of str, optional
        The columns to read; all by default.

    Raises
    ------
    GalleryError
        The file is damaged or does not agree with the manifest.
    """
    with arrow_errors(path, "table"):
        with open_parquet(path) as file:
            found = {field.name: _type_name(field.type) for field in file.schema_arrow}
            if found != dict(types):
                raise GalleryError(path, "schema", f"columns are {found}, the manifest says {dict(types)}")
            if file.metadata.num_rows != rows:
                raise GalleryError(
                    path, "rows", f"the file has {file.metadata.num_rows} rows, the manifest says {rows}"
                )
            table = file.read(columns=list(types if columns is None else columns), use_threads=False)
        table.validate(full=True)
        if table.num_rows != rows:
            raise GalleryError(path, "rows", f"{table.num_rows} rows were read, the manifest says {rows}")
    return check_table(table, path)


def check_table(table: pa.Table, path: str | os.PathLike[str]) -> pa.Table:
    """Return a table read from a file, or refuse missing ids and groups."""
    for name in ("id", "group"):
        if name in table.column_names and table[name].null_count:
            raise GalleryError(path, f"column {name!r}", f"{table[name].null_count} values are missing")
    return table


def _column(name: str, values: object, count: int) -> Any:
    pa = import_pyarrow()
    try:
        array = _to_arrow(values)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise TypeError(f"column {name!r} cannot be stored: {_first_line(error)}") from error
    array = _plain(array)
    if name in ("id", "group") and pa.types.is_integer(array.type):
        array = array.cast(pa.int64())
    kind = _type_name(array.type)
    if kind not in RESERVED_TYPES.get(name, COLUMN_TYPES):
        wanted = " or ".join(RESERVED_TYPES.get(name, ("boolean", "number", "string")))
        raise TypeError(f"column {name!r} must hold {wanted} values, not {array.type}")
    if len(array) != count:
        raise ValueError(f"column {name!r} has {len(array)} values for {count} rows")
    if name in ("id", "group") and array.null_count:
        raise ValueError(f"column {name!r} has {array.null_count} missing values")
    return array


def _to_arrow(values: object) -> Any:
    pa = import_pyarrow()
    if isinstance(values, pa.ChunkedArray):
        return values
    if isinstance(values, pa.Array):
        return pa.chunked_array([values])
    if isinstance(values, np.ndarray) and values.dtype.kind == "U":
        return pa.chunked_array([pa.array(values.tolist(), pa.string())])
    return pa.chunked_array([pa.array(values)])


def _plain(array: Any) -> Any:
    """Return an Arrow column with dictionary, large and view text as plain text."""
    pa = import_pyarrow()
    kind = array.type
    if pa.types.is_dictionary(kind):
        return _plain(array.cast(kind.value_type))
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) or pa.types.is_null(kind):
        return array.cast(pa.string())
    return array


def arrow_type(kind: str) -> Any:
    """Return the Arrow type of a manifest type."""
    pa = import_pyarrow()
    return {"float32": pa.float32(), "float64": pa.float64()}.get(kind) or pa.type_for_alias(kind)


def column_type(kind: Any) -> str:
    """Return the manifest type that stores an Arrow type (where there is none: Arrow's name of it)."""
    pa = import_pyarrow()
    if pa.types.is_dictionary(kind):
        return column_type(kind.value_type)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) or pa.types.is_null(kind):
        return "string"
    return _type_name(kind)


def _type_name(kind: Any) -> str:
    """Return the manifest's name of an Arrow type (where there is none: Arrow's name of it)."""
    name = str(kind)
    return {"float": "float32", "double": "float64"}.get(name, name)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0][:300] or type(error).__name__
