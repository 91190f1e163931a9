"""Files of scores, row by row: tables (Parquet, CSV) and the score text of bob.

Every reader yields blocks of rows with the number of the first; what a row holds is checked here, what it names is
checked by the tables that are made of them.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import numpy as np

from idsim.errors import MatcherError
from idsim.files import InputFile
from idsim.gallery.rows import arrow_errors, open_parquet

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import Any

    from numpy.typing import NDArray

__all__ = ["TABLES", "Rows", "read_columns", "read_rows"]

TABLES = (".parquet", ".csv", ".txt")
BLOCK_ROWS = 1 << 16
READ_BYTES = 1 << 20
MAX_LINE_BYTES = 1 << 16

# The names of idsim's own files of hits are taken too.
PROBE = ("probe_id", "query_id")
GALLERY = ("gallery_id",)
SCORE = ("score",)


class Rows(NamedTuple):
    """A block of rows.

    Attributes
    ----------
    first : int
        Number of the first row (a CSV or text file: line) in the file, from 1.
    probes, galleries : sequence of str
        Ids.
    scores : ndarray
        float32.
    """

    first: int
    probes: Sequence[str]
    galleries: Sequence[str]
    scores: NDArray[np.float32]


def read_rows(path: Path) -> Iterator[Rows]:
    """Yield the rows of a file of scores, at most 65,536 at a time.

    Formats: Parquet and CSV with the columns ``probe_id`` (or ``query_id``), ``gallery_id`` and ``score``; ``.txt``:
    bob's text of 4 columns (claimed id, real id, probe, score) or 5 (claimed id, model, real id, probe, score), where
    the claimed id or the model is the gallery's.

    Raises
    ------
    MatcherError, GalleryError
        The file cannot be read, or a row is not of the form; the row is named.
    ValueError
        The suffix is none of these.
    ModuleNotFoundError
        pyarrow, which Parquet needs, is not installed.
    """
    if path.suffix == ".parquet":
        return _parquet_rows(path)
    if path.suffix == ".csv":
        return _csv_rows(path)
    if path.suffix == ".txt":
        return _bob_rows(path)
    raise ValueError(f"{path} must end in .npy, {', '.join(TABLES)}")


def read_columns(path: Path, known: Sequence[str], needed: str) -> tuple[list[str], list[dict[str, str]]]:
    """Return the columns and the rows of a CSV file with a header.

    Parameters
    ----------
    path : Path
        The file.
    known : sequence of str
        Names that columns may have.
    needed : str
        A column that there must be.
    """
    with InputFile(path, MatcherError) as file:
        rows = _csv(file)
        header = next(rows, (1, []))[1]
        if needed not in header or len(set(header)) != len(header) or not set(header) <= set(known):
            _refuse(path, 1, f"the columns must be {needed} and some of {', '.join(known)}, not {header[:8]}")
        found = []
        for number, row in rows:
            if len(row) != len(header):
                _refuse(path, number, f"{len(row)} fields, where the header has {len(header)}")
            found.append(dict(zip(header, row, strict=True)))
    return header, found


def _refuse(path: Path, row: int, reason: str) -> NoReturn:
    raise MatcherError(path, f"row {row}", reason)


# --- text -----------------------------------------------------------------------------------------


def _lines(file: InputFile) -> Iterator[str]:
    rest, number = b"", 0
    for offset in range(0, file.size, READ_BYTES):
        *lines, rest = (rest + file.read(offset, min(READ_BYTES, file.size - offset))).split(b"\n")
        for line in lines:
            number += 1
            yield _decoded(file, number, line)
        if len(rest) > MAX_LINE_BYTES:
            _refuse(file.path, number + 1, f"the line has more than {MAX_LINE_BYTES} bytes")
    if rest:
        yield _decoded(file, number + 1, rest)


def _decoded(file: InputFile, number: int, line: bytes) -> str:
    if len(line) > MAX_LINE_BYTES:
        _refuse(file.path, number, f"the line has more than {MAX_LINE_BYTES} bytes")
    try:
        return line.removesuffix(b"\r").decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError:
        _refuse(file.path, number, "the line is not UTF-8")


def _csv(file: InputFile) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the fields of every line that is not empty; a field does not span lines."""
    for number, line in enumerate(_lines(file), 1):
        if not line:
            continue
        try:
            (fields,) = csv.reader([line], strict=True)
        except (csv.Error, ValueError) as error:
            _refuse(file.path, number, f"this is no line of CSV ({error})")
        yield number, fields


def _csv_rows(path: Path) -> Iterator[Rows]:
    with InputFile(path, MatcherError) as file:
        rows = _csv(file)
        number, header = next(rows, (1, []))
        columns = [_column(path, header, names) for names in (PROBE, GALLERY, SCORE)]
        block: list[tuple[int, str, str, str]] = []
        for number, fields in rows:
            if len(fields) != len(header):
                _refuse(path, number, f"{len(fields)} fields, where the header has {len(header)}")
            probe, gallery, score = (fields[column] for column in columns)
            block.append((number, probe, gallery, score))
            if len(block) == BLOCK_ROWS:
                yield from _blocks(path, block)
                block = []
        yield from _blocks(path, block)


def _bob_rows(path: Path) -> Iterator[Rows]:
    with InputFile(path, MatcherError) as file:
        block: list[tuple[int, str, str, str]] = []
        width = 0
        for number, line in enumerate(_lines(file), 1):
            fields = line.split()
            width = width or len(fields)
            if len(fields) not in (4, 5) or len(fields) != width:
                _refuse(path, number, f"{len(fields)} columns, where 4 or 5 are read, in all lines the same")
            block.append((number, fields[-2], fields[1] if width == 5 else fields[0], fields[-1]))
            if len(block) == BLOCK_ROWS:
                yield from _blocks(path, block)
                block = []
        yield from _blocks(path, block)


def _column(path: Path, header: Sequence[str], names: tuple[str, ...]) -> int:
    found = [index for index, name in enumerate(header) if name in names]
    if len(found) != 1:
        _refuse(path, 1, f"{len(found)} columns are named {' or '.join(names)}, where one must be")
    return found[0]


def _blocks(path: Path, block: list[tuple[int, str, str, str]]) -> Iterator[Rows]:
    """Yield runs of lines that follow each other without empty ones, so that row numbers are line numbers."""
    start = 0
    for place in range(1, len(block) + 1):
        if place < len(block) and block[place][0] == block[place - 1][0] + 1:
            continue
        run = block[start:place]
        numbers = [line[0] for line in run]
        texts = [line[3] for line in run]
        scores = _float32([_number(path, *pair) for pair in zip(numbers, texts, strict=True)])
        yield Rows(numbers[0], [line[1] for line in run], [line[2] for line in run], scores)
        start = place


def _number(path: Path, row: int, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        _refuse(path, row, f"the score {text[:40]!r} is not a number")


def _float32(values: Any) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        return np.asarray(values, np.float64).astype(np.float32)


# --- Parquet --------------------------------------------------------------------------------------


def _parquet_rows(path: Path) -> Iterator[Rows]:
    with arrow_errors(path, "scores"), open_parquet(path) as file:
        schema = file.schema_arrow
        wanted = [schema.names[_column(path, schema.names, names)] for names in (PROBE, GALLERY, SCORE)]
        kind = str(schema.field(wanted[2]).type)
        if kind not in ("halffloat", "float", "double", "int8", "int16", "int32", "uint8", "uint16"):
            raise MatcherError(path, "score", f"the column is of {kind}, not of numbers")
        first = 1
        for batch in file.iter_batches(batch_size=BLOCK_ROWS, columns=wanted, use_threads=False):
            batch.validate(full=True)
            columns = [batch.column(batch.schema.names.index(name)) for name in wanted]
            for name, column in zip(wanted, columns, strict=True):
                if column.null_count:
                    row = column.is_null().to_pylist().index(True)
                    _refuse(path, first + row, f"{name} is missing")
            probes, galleries = ([str(value) for value in column.to_pylist()] for column in columns[:2])
            scores = _float32(columns[2].to_numpy(zero_copy_only=False))
            yield Rows(first, probes, galleries, scores)
            first += len(scores)
