"""The columns of a gallery's rows, read from the tables of its shards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from idsim.gallery.rows import arrow_type, import_pyarrow, read_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

    from idsim.gallery.format import Manifest

__all__ = ["ColumnFiles", "Groups"]


class Groups(NamedTuple):
    """The groups (identities) of all rows.

    Attributes
    ----------
    codes : ndarray
        ``[n]`` int64: index into `labels` of every row's group.
    labels : list of int or list of str
        The distinct groups, ascending.
    """

    codes: NDArray[np.int64]
    labels: list[Any]

    def encode(self, labels: Sequence[Any] | NDArray[Any]) -> NDArray[np.int64]:
        """Return the codes of other labels: int64, -1 for a label that no row has."""
        known = {label: code for code, label in enumerate(self.labels)}
        values = labels.tolist() if isinstance(labels, np.ndarray) else labels
        return np.array([known.get(label, -1) for label in values], np.int64)


class ColumnFiles:
    """The tables of all shards as one.

    Parameters
    ----------
    folder : Path
        The gallery.
    manifest : Manifest
        Its manifest.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self._folder = folder
        self._manifest = manifest

    def read(self, columns: Sequence[str] | None, start: int, stop: int) -> pa.Table:
        """Return the columns of rows `start` to `stop`."""
        types = self._types(columns)
        pa = import_pyarrow()
        shards = self._shards_in(start, stop)
        if not shards:
            return pa.table({name: pa.array([], arrow_type(kind)) for name, kind in types.items()})
        tables = [self._table(number, first, types) for number, first in shards]
        return pa.concat_tables(tables).slice(start - shards[0][1], stop - start)

    def take(self, rows: NDArray[np.int64], columns: Sequence[str] | None) -> pa.Table:
        """Return the columns of single rows, in the order given; reads the shards they are in."""
        found, inverse = np.unique(rows, return_inverse=True)
        if len(found) == 0:
            return self.read(columns, 0, 0)
        types = self._types(columns)
        tables = []
        for number, first in self._shards_in(int(found[0]), int(found[-1]) + 1):
            last = first + self._manifest.shards[number].rows
            inside = found[np.searchsorted(found, first) : np.searchsorted(found, last)]
            if len(inside):
                tables.append(self._table(number, first, types).take(inside - first))
        return import_pyarrow().concat_tables(tables).take(inverse)

    def groups(self) -> Groups:
        """Return the group of every row."""
        if "group" not in self._manifest.columns:
            raise ValueError(f"{self._folder} has no groups: it was built without a group column")
        codes = np.empty(self._manifest.rows, np.int64)
        numbers: dict[Any, int] = {}
        for shard, first in self._shards_in(0, len(codes)):
            column = self._table(shard, first, {"group": self._manifest.columns["group"]})["group"]
            encoded = column.combine_chunks().dictionary_encode()
            local = [numbers.setdefault(label, len(numbers)) for label in encoded.dictionary.to_pylist()]
            codes[first : first + len(column)] = np.array(local, np.int64)[encoded.indices.to_numpy()]
        labels = sorted(numbers)
        rank = np.empty(len(labels), np.int64)
        rank[[numbers[label] for label in labels]] = np.arange(len(labels))
        return Groups(rank[codes], labels)

    def _shards_in(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Return number and first row of the shards that hold rows `start` to `stop`."""
        found, first = [], 0
        for number, shard in enumerate(self._manifest.shards):
            if first < stop and start < first + shard.rows:
                found.append((number, first))
            first += shard.rows
        return found

    def _types(self, columns: Sequence[str] | None) -> dict[str, str]:
        known = dict(self._manifest.columns) or {"id": "int64"}
        for name in columns or ():
            if name not in known:
                raise ValueError(f"{self._folder} has no column {name!r}; it has {', '.join(known)}")
        return {name: known[name] for name in (known if columns is None else columns)}

    def _table(self, number: int, first: int, types: Mapping[str, str]) -> pa.Table:
        shard = self._manifest.shards[number]
        if shard.table is None:
            ids = np.arange(first, first + shard.rows, dtype=np.int64)
            return import_pyarrow().table(dict.fromkeys(types, ids))
        return read_table(self._folder / shard.table.file, self._manifest.columns, shard.rows, list(types))
