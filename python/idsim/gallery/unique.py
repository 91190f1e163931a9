"""The check that no id stands in two rows, in 8 bytes per row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.gallery.rows import read_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from idsim.gallery.format import Shard

__all__ = ["UniqueIds"]


class UniqueIds:
    """Collects the ids of all rows as 64-bit keys (integers themselves, hashes of strings).

    Equal keys are only a suspicion where the ids are strings; then the ids of the suspects are read again
    from the shards and compared.
    """

    def __init__(self) -> None:
        self._keys: list[np.ndarray[Any, np.dtype[np.int64]]] = []

    def add(self, ids: Any) -> None:
        """Add an Arrow column of ids, the next rows of the gallery."""
        values = ids.to_pylist() if str(ids.type) == "string" else None
        keys = ids.to_numpy() if values is None else np.fromiter(map(hash, values), np.int64, len(values))
        self._keys.append(keys.astype(np.int64, copy=False))

    def check(self, folder: Path, shards: Sequence[Shard], types: Mapping[str, str]) -> None:
        """Raise `ValueError` that names an id standing in two rows, and the rows."""
        if not self._keys:
            return
        keys = np.concatenate(self._keys)
        order = np.argsort(keys, kind="stable")
        equal = keys[order[1:]] == keys[order[:-1]]
        if not equal.any():
            return
        suspects = np.zeros(len(keys), dtype=bool)
        suspects[order[1:][equal]] = True
        suspects[order[:-1][equal]] = True
        first_row: dict[object, int] = {}
        for row, value in _ids_of(folder, shards, types, suspects):
            if value in first_row:
                raise ValueError(
                    f"id {value!r} stands in row {first_row[value]} and in row {row}; ids must be unique"
                )
            first_row[value] = row


def _ids_of(
    folder: Path,
    shards: Sequence[Shard],
    types: Mapping[str, str],
    wanted: np.ndarray[Any, np.dtype[np.bool_]],
) -> Iterator[tuple[int, object]]:
    first = 0
    for shard in shards:
        rows = np.flatnonzero(wanted[first : first + shard.rows])
        if len(rows) and shard.table is not None:
            ids = read_table(folder / shard.table.file, types, shard.rows, ["id"])["id"].take(rows)
            yield from zip((first + rows).tolist(), ids.to_pylist(), strict=True)
        first += shard.rows
