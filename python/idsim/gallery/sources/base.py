"""What every importer offers: rows of a stored type in order, with the columns that belong to them."""

from __future__ import annotations

import bisect
import logging
import re
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from idsim.errors import GalleryError
from idsim.gallery.elements import to_storage
from idsim.gallery.format import COLUMN_TYPES, MAX_DIM, RESERVED_TYPES
from idsim.gallery.rows import arrow_errors, column_type, import_pyarrow, make_table, open_parquet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from idsim.gallery.streaming import MatrixFiles

__all__ = [
    "Batch",
    "ColumnNames",
    "MatrixSource",
    "RowTables",
    "Source",
    "TableFiles",
    "check_columns",
    "gallery_table",
    "natural_order",
    "select_columns",
]

logger = logging.getLogger(__name__)


class Batch(NamedTuple):
    """Rows as they go into a gallery.

    Attributes
    ----------
    stored : ndarray
        ``[r, d]`` of the stored type; valid until the next batch is asked for.
    table : pyarrow.Table or None
        Their columns, None where the source has none.
    """

    stored: NDArray[np.generic]
    table: pa.Table | None


class Source(Protocol):
    """Files of some format that hold rows of embeddings.

    Attributes
    ----------
    kind : str
        Name of the format.
    path : Path
        File or folder.
    rows, dim : int
        Shape of the whole.
    dtype : str
        Gallery type that holds the rows without loss (float64 rows are rounded to float32).
    """

    kind: str
    path: Path
    rows: int
    dim: int
    dtype: str

    def batches(self, rows: int) -> Iterator[Batch]:
        """Yield all rows in order, at most `rows` at a time."""


@dataclass(frozen=True)
class ColumnNames:
    """Which columns of a foreign table become id, group and source.

    Attributes
    ----------
    id, group, source : str, optional
        Column names; by default a column of just that name, if there is one.
    """

    id: str | None = None
    group: str | None = None
    source: str | None = None

    def targets(self, defaults: dict[str, str]) -> dict[str, tuple[str, bool]]:
        """Return for each gallery column the foreign one, and whether it must exist."""
        given = {"id": self.id, "group": self.group, "source": self.source}
        return {
            target: (name or defaults.get(target, target), name is not None) for target, name in given.items()
        }


class RowTables(Protocol):
    """The columns of a source's rows."""

    def table(self, start: int, stop: int) -> pa.Table:
        """Return the columns of rows `start` to `stop`; calls come in ascending order."""


class MatrixSource:
    """A source whose rows stand in plain matrices: `.npy`, safetensors and FAISS files.

    Parameters
    ----------
    kind : str
        Name of the format.
    path : Path
        File or folder.
    files : MatrixFiles
        The rows.
    element : str
        What the stored elements are: ``float32``, ``float16``, ``float64`` or ``bfloat16`` (bits in uint16).
    tables : RowTables, optional
        The columns.
    """

    def __init__(
        self,
        kind: str,
        path: Path,
        files: MatrixFiles,
        element: str,
        tables: RowTables | None = None,
    ) -> None:
        self.kind = kind
        self.path = path
        self.rows = files.rows
        self.dim = check_columns(files.columns, path)
        self.dtype = "float32" if element == "float64" else element
        self._files = files
        self._element = element
        self._tables = tables

    def batches(self, rows: int) -> Iterator[Batch]:
        """Yield all rows in order, at most `rows` at a time."""
        for first, block in self._files.stream(0, self.rows, rows):
            stored = block if self._element == "bfloat16" else to_storage(block, self.dtype)
            table = None if self._tables is None else self._tables.table(first, first + len(block))
            yield Batch(stored, table)


class TableFiles:
    """Parquet files beside the matrices of a source, one for each, with as many rows.

    Parameters
    ----------
    paths : sequence of Path
        The files in row order.
    rows : sequence of int
        The rows that each must have.
    names : ColumnNames
        Which columns become id, group and source.
    defaults : dict of str to str, optional
        Other names that these have in this format.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        rows: Sequence[int],
        names: ColumnNames,
        defaults: dict[str, str] | None = None,
    ) -> None:
        self._paths = paths
        self._ends = list(accumulate(rows))
        self._rows = rows
        self._current: tuple[int, pa.Table] | None = None
        schema = None
        for path, count in zip(paths, rows, strict=True):
            with arrow_errors(path, "table"), open_parquet(path) as file:
                if file.metadata.num_rows != count:
                    raise GalleryError(
                        path,
                        "rows",
                        f"the table has {file.metadata.num_rows} rows for {count} vectors",
                    )
                if schema is not None and not file.schema_arrow.equals(schema):
                    raise GalleryError(path, "schema", f"the columns differ from those of {paths[0]}")
                schema = file.schema_arrow
        self._columns = select_columns(schema, names, defaults or {}, paths[0])

    def table(self, start: int, stop: int) -> pa.Table:
        """Return the columns of rows `start` to `stop`."""
        pieces = []
        while start < stop:
            number = bisect.bisect_right(self._ends, start)
            first = self._ends[number] - self._rows[number]
            end = min(stop, self._ends[number])
            piece = self._read(number).slice(start - first, end - start)
            pieces.append(gallery_table(piece, self._columns, start, self._paths[number]))
            start = end
        return import_pyarrow().concat_tables(pieces)

    def _read(self, number: int) -> Any:
        if self._current is None or self._current[0] != number:
            path = self._paths[number]
            with arrow_errors(path, "table"), open_parquet(path) as file:
                table = file.read(columns=list(self._columns.values()), use_threads=False)
                table.validate(full=True)
            if table.num_rows != self._rows[number]:
                raise GalleryError(path, "rows", f"{table.num_rows} rows, not {self._rows[number]}")
            self._current = (number, table)
        return self._current[1]


def select_columns(
    schema: Any, names: ColumnNames, defaults: dict[str, str], path: Path, leave_out: str = ""
) -> dict[str, str]:
    """Return which foreign column becomes which gallery column: ``{gallery name: foreign name}``.

    Free columns of types that a gallery does not store are left out, with a warning in the log.

    Raises
    ------
    GalleryError
        A column that was asked for is not there, or has a type that cannot be an id, group or source.
    """
    types = {field.name: column_type(field.type) for field in schema if field.name != leave_out}
    if len(types) != len(schema) - bool(leave_out):
        raise GalleryError(path, "schema", "two columns have the same name")
    selected: dict[str, str] = {}
    for target, (name, required) in names.targets(defaults).items():
        if name not in types:
            if required:
                raise GalleryError(path, "schema", f"there is no column {name!r} for {target}")
            continue
        if types[name] not in RESERVED_TYPES[target] and not _is_integer(types[name], target):
            raise GalleryError(path, f"column {name!r}", f"its type {types[name]} cannot be a row's {target}")
        selected[target] = name
    for name, kind in types.items():
        if name in selected.values():
            continue
        if kind in COLUMN_TYPES and name not in RESERVED_TYPES:
            selected[name] = name
        else:
            logger.warning("%s: column %r of type %s is left out", path, name, kind)
    return selected


def gallery_table(table: Any, columns: dict[str, str], first_row: int, path: Path) -> Any:
    """Return the columns of a foreign table as a gallery's, or None where none is left."""
    given = {target: table[name] for target, name in columns.items()}
    ids, groups, sources = (given.pop(name, None) for name in RESERVED_TYPES)
    try:
        return make_table(first_row, table.num_rows, ids, groups, sources, given)
    except (TypeError, ValueError) as error:
        raise GalleryError(path, f"rows from {first_row}", str(error)) from error


def natural_order(paths: Iterable[Path]) -> list[Path]:
    """Return paths sorted by name with numbers compared as numbers: ``part_2`` before ``part_10``."""

    def key(path: Path) -> list[tuple[int, int, str]]:
        pieces = re.split(r"([0-9]+)", path.name)
        return [(1, int(piece), "") if piece.isdecimal() else (0, 0, piece) for piece in pieces]

    return sorted(paths, key=lambda path: (key(path), path.name))


def check_columns(dim: int, path: Path) -> int:
    """Return the row length of a source, or refuse one that a gallery cannot have."""
    if not 1 <= dim <= MAX_DIM:
        raise GalleryError(path, "shape", f"rows have {dim} elements, 1 to {MAX_DIM} are stored")
    return dim


def _is_integer(kind: str, target: str) -> bool:
    return target in ("id", "group") and "int" in kind and kind in COLUMN_TYPES
