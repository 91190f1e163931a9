"""Tables of a run: Parquet where pyarrow is installed, else CSV; equal content gives equal bytes."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

from idsim.audit.shards import replace_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["csv_cell", "has_pyarrow", "table_path", "write_csv", "write_json", "write_lines", "write_table"]

# A spreadsheet takes a cell that starts with one of these for a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r")

# Types of the columns that may hold nothing but missing values.
SPARSE = {
    "left": "int64", "top": "int64", "right": "int64", "bottom": "int64", "confidence": "float64",
    "norm": "float64", "best_training": "float64", "best_holdout": "float64", "reaches_primary": "bool",
    "sha256": "string", "calibration_share": "float64",
}  # fmt: skip


def has_pyarrow() -> bool:
    """Whether tables become Parquet."""
    try:
        import pyarrow  # noqa: F401
    except ModuleNotFoundError:
        return False
    return True


def write_table(stem: Path, columns: Mapping[str, Sequence[Any]], types: Mapping[str, str] = SPARSE) -> Path:
    """Write a table as ``stem.parquet``, or as ``stem.csv`` without pyarrow, and return its path.

    `types` names the types of columns that may hold nothing but missing values.
    """
    path = table_path(stem)
    replace_file(path, _parquet(columns, types) if has_pyarrow() else _csv(columns))
    return path


def table_path(stem: Path) -> Path:
    """Return the path that `write_table` gives a table."""
    return stem.with_name(stem.name + (".parquet" if has_pyarrow() else ".csv"))


def _parquet(columns: Mapping[str, Sequence[Any]], types: Mapping[str, str]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    chosen = {name: pa.type_for_alias(alias) for name, alias in types.items()}
    table = pa.table({name: pa.array(values, chosen.get(name)) for name, values in columns.items()})
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue().to_pybytes())


def _csv(columns: Mapping[str, Sequence[Any]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in zip(*columns.values(), strict=True):
        writer.writerow([csv_cell(value) for value in row])
    return text.getvalue().encode()


def csv_cell(value: Any) -> Any:
    """Return a value as a cell of CSV shows it: nothing that a spreadsheet would take for a formula."""
    if isinstance(value, str) and value.startswith(FORMULA):
        return "'" + value
    return "" if value is None else value


def write_csv(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """Write a table as CSV, whether or not pyarrow is installed."""
    replace_file(path, _csv(columns))


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, keys in their order."""
    replace_file(path, (json.dumps(value, indent=2, ensure_ascii=True) + "\n").encode())


def write_lines(path: Path, values: Sequence[Any]) -> None:
    """Write one line of JSON per value."""
    replace_file(path, "".join(json.dumps(value, ensure_ascii=True) + "\n" for value in values).encode())
