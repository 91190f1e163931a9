"""The results of a search with the names of its rows, as a table and as files."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.feeding import HostSource
from idsim.files import NewFile
from idsim.gallery.elements import widen
from idsim.gallery.format import row_bytes
from idsim.gallery.reader import BLOCK_BYTES, Gallery
from idsim.gallery.report import BlockProgress
from idsim.gallery.rows import encode_table, import_pyarrow
from idsim.gallery.sources.detect import GallerySource

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from idsim.feeding import ScanFeed
    from idsim.gallery.sources.base import Source
    from idsim.options import Metric, Progress
    from idsim.results import TopK

__all__ = [
    "FORMATS",
    "NamedRows",
    "StreamedSource",
    "csv_lines",
    "hit_columns",
    "hit_records",
    "load_rows",
    "write_hits",
]

FORMATS = (".parquet", ".csv", ".jsonl")
RECORDS = 4096  # hits that are formatted at a time


class NamedRows:
    """The id, group and source columns of rows that were read.

    Parameters
    ----------
    tables : list of pyarrow.Table or None
        Their columns in row order; None where ids are row numbers.
    """

    def __init__(self, tables: list[Any] | None) -> None:
        self._table = import_pyarrow().concat_tables(tables) if tables else None

    def take(self, rows: NDArray[np.int64]) -> dict[str, list[Any]]:
        """Return the columns of single rows by number."""
        if self._table is None:
            return {"id": rows.tolist()}
        taken = self._table.take(rows)
        return {name: taken[name].to_pylist() for name in taken.column_names}

    def groups(self) -> NDArray[Any] | None:
        """Return the group of every row, None where there are none."""
        if self._table is None or "group" not in self._table.column_names:
            return None
        return np.array(self._table["group"].to_pylist())


class StreamedSource(HostSource):
    """Rows of any source as the gallery of a search, read once from front to back.

    Parameters
    ----------
    source : Source
        The rows. A gallery is searched through its prepared codes where it has some.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self.gallery: Gallery | None = source.gallery if isinstance(source, GallerySource) else None
        self.dim = source.dim
        self._names = NamedRows(None)

    def __len__(self) -> int:
        return self._source.rows

    def sent_to_device(self) -> tuple[str, int]:
        """Return how the rows reach a CUDA device, and the bytes of one; for `idsim.memory_plan`."""
        return ("host_rows", 4 * self.dim) if self.gallery is None else self.gallery.sent_to_device()

    def resolve_metric(self, metric: Metric | None) -> Metric:
        """Return the metric of a search; a source serves all."""
        return metric or "cosine"

    def feed_into(
        self, scan: ScanFeed, *, groups: NDArray[np.int64] | None, progress: Progress | None
    ) -> None:
        """Feed all rows to a scan."""
        if self.gallery is not None:
            self.gallery.feed_into(scan, groups=groups, progress=progress)
            return
        first, tables = 0, []
        report = BlockProgress(progress, len(self))
        for stored, table in self._source.batches(_batch_rows(self._source)):
            count = len(stored)
            scan.feed(
                widen(stored, self._source.dtype),
                first,
                groups=None if groups is None else groups[first : first + count],
                progress=report.inside(first),
            )
            first += count
            report.finished(first)
            if table is not None:
                tables.append(_named(table))
        self._names = NamedRows(tables)

    def take(self, rows: NDArray[np.int64]) -> dict[str, list[Any]]:
        """Return id, group and source of rows by number; for a source that is no gallery, after the search."""
        if self.gallery is None:
            return self._names.take(rows)
        columns = [name for name in ("id", "group", "source") if name in self.gallery.columns]
        if not columns:
            return {"id": rows.tolist()}
        taken = self.gallery.take_rows(rows, columns)
        return {name: taken[name].to_pylist() for name in columns}


def load_rows(source: Source) -> tuple[NDArray[Any], NamedRows]:
    """Read all rows of a source into memory.

    Returns
    -------
    rows : ndarray
        ``[n, d]`` float32 or float16.
    names : NamedRows
        Their ids, groups and sources.
    """
    batches: list[NDArray[Any]] = []
    tables = []
    for stored, table in source.batches(_batch_rows(source)):
        rows = widen(stored, source.dtype)
        batches.append(rows.copy())
        if table is not None:
            tables.append(_named(table))
    if not batches:
        return np.empty((0, source.dim), np.float32), NamedRows(None)
    return np.concatenate(batches), NamedRows(tables)


def hit_columns(result: TopK, queries: NamedRows, gallery: StreamedSource) -> dict[str, list[Any]]:
    """Return the found pairs as columns, by query and rank; padding is left out.

    Returns
    -------
    dict
        ``query_row``, ``query_id``, ``rank`` (from 1), ``gallery_row``, ``gallery_id``, ``score``, and
        ``query_group``, ``query_source``, ``gallery_group``, ``gallery_source`` where there are some.
    """
    scores, ids = np.asarray(result.scores), np.asarray(result.ids)
    query_rows, places = np.nonzero(ids >= 0)
    gallery_rows = ids[query_rows, places]
    query_names, gallery_names = queries.take(query_rows), gallery.take(gallery_rows)
    columns: dict[str, list[Any]] = {
        "query_row": query_rows.tolist(),
        "query_id": query_names.pop("id"),
        "rank": (places + 1).tolist(),
        "gallery_row": gallery_rows.tolist(),
        "gallery_id": gallery_names.pop("id"),
        "score": [_shortest(score) for score in scores[query_rows, places]],
    }
    columns |= {f"query_{name}": values for name, values in query_names.items()}
    return columns | {f"gallery_{name}": values for name, values in gallery_names.items()}


def write_hits(path: Path, columns: dict[str, list[Any]]) -> None:
    """Write pairs to a new file: Parquet, CSV or JSON lines, by its suffix.

    Raises
    ------
    ValueError
        The suffix is none of these.
    FileExistsError
        Something stands there already.
    """
    if path.suffix not in FORMATS:
        raise ValueError(f"{path} must end in one of {', '.join(FORMATS)}")
    with NewFile(path) as file:
        if path.suffix == ".parquet":
            file.write(encode_table(_hit_table(columns)))
        elif path.suffix == ".csv":
            for text in csv_lines(columns):
                file.write(text.encode("utf-8", "surrogatepass"))
        else:
            for record in hit_records(columns):
                file.write((json.dumps(record) + "\n").encode("ascii"))
        file.commit()


def hit_records(columns: dict[str, list[Any]]) -> Iterator[dict[str, Any]]:
    """Yield one dict for each pair."""
    for values in zip(*columns.values(), strict=True):
        yield dict(zip(columns, values, strict=True))


def csv_lines(columns: dict[str, list[Any]]) -> Iterator[str]:
    """Yield the text of a CSV file in pieces.

    Texts that a spreadsheet would run as a formula get an apostrophe in front.
    """
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(columns)
    for number, values in enumerate(zip(*columns.values(), strict=True), 1):
        writer.writerow([_harmless(value) for value in values])
        if number % RECORDS == 0:
            yield sink.getvalue()
            sink.seek(0)
            sink.truncate()
    yield sink.getvalue()


def _shortest(score: np.float32) -> float:
    """Return the float with the shortest text that is still this float32."""
    return float(str(score))


def _harmless(value: object) -> object:
    return (
        f"'{value}"
        if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
        else value
    )


def _hit_table(columns: dict[str, list[Any]]) -> Any:
    pa = import_pyarrow()
    fixed = {
        "query_row": pa.int64(),
        "rank": pa.int32(),
        "gallery_row": pa.int64(),
        "score": pa.float32(),
    }
    return pa.table({name: pa.array(values, fixed.get(name)) for name, values in columns.items()})


def _named(table: Any) -> Any:
    return table.select([name for name in ("id", "group", "source") if name in table.column_names])


def _batch_rows(source: Source) -> int:
    return max(1, BLOCK_BYTES // row_bytes(source.dim, source.dtype))
