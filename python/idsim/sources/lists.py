"""Lists of pictures: a CSV or Parquet file with a column of paths and perhaps one of identities."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from idsim.errors import SourceError
from idsim.files import InputFile
from idsim.images import read_bytes
from idsim.parquet import open_parquet
from idsim.sources.base import ImageSource, read_small

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["ListImages"]

# Names of columns that are taken, in this order; upper and lower case do not matter.
PATHS = ("path", "file", "filename", "image", "image_path", "source")
IDENTITIES = ("identity", "label", "person", "subject", "group", "class")
MAX_CSV_BYTES = 1 << 30
MAX_FIELD_BYTES = 1 << 16
DELIMITERS = {".tsv": "\t", ".csv": ","}


class ListImages(ImageSource):
    """The pictures that a CSV, TSV or Parquet file lists, in its order; names are the paths as listed.

    Parameters
    ----------
    path : Path
        The list. It has a column ``path`` (or ``file``, ``filename``, ``image``, ``image_path``, ``source``) and
        perhaps one of identities (``identity``, ``label``, ``person``, ``subject``, ``group``, ``class``).
        Relative paths start at the folder of the list.

    Raises
    ------
    SourceError
        The list cannot be read, has no such column, or lists a path twice.
    ModuleNotFoundError
        pyarrow is missing, for a Parquet file.
    """

    kind = "list"

    def __init__(self, path: Path) -> None:
        items, identities = _parquet(path) if path.suffix.lower() == ".parquet" else _csv(path)
        for row, item in enumerate(items):
            if not item or "\0" in item:
                raise SourceError(path, f"row {row}", "it has no path")
        super().__init__(path, items, identities)

    def _place(self, number: int) -> Path:
        return self.path.parent / self.items[number]

    def read(self, number: int) -> bytes:
        """Return the file of a picture."""
        return read_bytes(self._place(number))

    def stamp(self, number: int) -> tuple[int, ...]:
        """Return bytes and time of a picture."""
        status = self._place(number).stat(follow_symlinks=False)
        return status.st_size, status.st_mtime_ns


def _columns(names: Iterable[str], path: Path) -> tuple[str, str | None]:
    lower = {name.strip().lower(): name for name in reversed(list(names))}
    chosen = [next((lower[name] for name in wanted if name in lower), None) for wanted in (PATHS, IDENTITIES)]
    if chosen[0] is None:
        raise SourceError(path, "columns", f"there is no column {', '.join(PATHS[:-1])} or {PATHS[-1]}")
    return chosen[0], chosen[1]


def _csv(path: Path) -> tuple[list[str], list[str] | None]:
    data = read_small(path, MAX_CSV_BYTES)
    csv.field_size_limit(MAX_FIELD_BYTES)
    try:
        text = io.StringIO(data.decode("utf-8-sig"), newline="")
        rows = csv.reader(text, delimiter=DELIMITERS.get(path.suffix.lower(), ","), strict=True)
        header = next(rows, [])
        place, who = _columns(header, path)
        columns = [header.index(name) for name in (place, who) if name is not None]
        table = []
        for number, row in enumerate(rows):
            if row and len(row) != len(header):
                raise SourceError(
                    path, f"row {number}", f"it has {len(row)} cells, the header has {len(header)}"
                )
            if row:
                table.append([row[column] for column in columns])
    except (UnicodeDecodeError, csv.Error) as error:
        raise SourceError(path, "file", f"it is no CSV file in UTF-8 ({error})") from error
    return [row[0] for row in table], None if who is None else [row[1] for row in table]


def _parquet(path: Path) -> tuple[list[str], list[str] | None]:
    InputFile(path, SourceError).close()  # refuses what is no regular file
    try:
        with open_parquet(path) as file:
            place, who = _columns(file.schema_arrow.names, path)
            table: Any = file.read(columns=[name for name in (place, who) if name], use_threads=False)
        table.validate(full=True)
        columns = {name: table[name].to_pylist() for name in table.column_names}
    except (ValueError, TypeError, OSError, KeyError, OverflowError) as error:  # pyarrow's are of these kinds
        reason = str(error).strip().partition("\n")[0]
        raise SourceError(path, "table", f"Parquet cannot be read: {reason}") from error
    for name, values in columns.items():
        if any(value is None or isinstance(value, bytes | list | dict) for value in values):
            raise SourceError(path, f"column {name!r}", "a value is missing, or is no text or number")
    return [str(value) for value in columns[place]], None if who is None else [str(v) for v in columns[who]]
