"""Several galleries as one, with rules for ids, groups and columns that collide."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.gallery.elements import to_storage, widen
from idsim.gallery.format import row_bytes
from idsim.gallery.reader import Gallery
from idsim.gallery.rows import arrow_type, import_pyarrow, make_table
from idsim.gallery.sources.detect import GallerySource
from idsim.gallery.writer import GalleryWriter

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["LABEL_RULES", "merge"]

LABEL_RULES = ("keep", "prefix", "renumber")
BATCH_BYTES = 16 << 20


def merge(
    galleries: Sequence[str | os.PathLike[str] | Gallery],
    path: str | os.PathLike[str],
    *,
    ids: str = "keep",
    groups: str = "keep",
    names: Sequence[str] | None = None,
    dtype: str | None = None,
    shard_rows: int | None = None,
    metadata: Mapping[str, object] | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Gallery:
    """Write the rows of several galleries, one behind the other, as a new gallery.

    Parameters
    ----------
    galleries : sequence of path-like or Gallery
        At least one, of one row length.
    path : path-like
        The folder to create.
    ids : str
        ``"keep"``: ids stay, and an id that stands in two galleries is an error. ``"prefix"``: the id
        becomes ``NAME/ID``. ``"renumber"``: the id becomes the new row number. Where no gallery has
        columns, ids are row numbers and stay so.
    groups : str
        ``"keep"``: equal groups in two galleries are one identity. ``"prefix"``: the group becomes
        ``NAME/GROUP``, so that identities stay apart.
    names : sequence of str, optional
        The names for prefixes; default: the names of the folders.
    dtype : str, optional
        Stored type; default: that of the galleries, which then must have one.
    shard_rows, metadata
        As in `GalleryWriter`.
    progress : callable, optional
        Called with rows done and rows in all.

    Returns
    -------
    Gallery
        The new gallery, opened. Columns that a gallery does not have are empty in its rows.

    Raises
    ------
    ValueError
        The galleries do not fit together: row length, type, ids, groups, columns of different types.
    """
    opened = [one if isinstance(one, Gallery) else Gallery.open(one) for one in galleries]
    if not opened:
        raise ValueError("merge needs at least one gallery")
    if ids not in LABEL_RULES:
        raise ValueError(f"ids must be one of {', '.join(LABEL_RULES)}, not {ids!r}")
    if groups not in LABEL_RULES[:2]:
        raise ValueError(f"groups must be 'keep' or 'prefix', not {groups!r}")
    rules = {"id": ids, "group": groups}
    labels = _labels(opened, names, "prefix" in rules.values())
    target = dtype or _common_dtype(opened)
    columns = _common_columns(opened, rules)
    total = sum(len(gallery) for gallery in opened)
    with GalleryWriter(
        path, _common_dim(opened), target, shard_rows=shard_rows, metadata=metadata, nonfinite="keep"
    ) as writer:
        for gallery, label in zip(opened, labels, strict=True):
            source = GallerySource(gallery)
            first = writer.rows
            for batch in source.batches(max(1, BATCH_BYTES // row_bytes(gallery.dim, gallery.dtype))):
                stored = batch.stored
                if gallery.dtype != target:
                    stored = to_storage(widen(stored, gallery.dtype), target)
                own = _own_columns(batch.table, writer.rows - first, len(stored))
                arrays = _ruled_columns(own, columns, rules, label, len(stored))
                writer.append_stored(stored, _table(arrays, writer.rows, len(stored)))
                if progress is not None:
                    progress(writer.rows, total)
    return Gallery.open(path)


def _labels(galleries: Sequence[Gallery], names: Sequence[str] | None, as_prefixes: bool) -> list[str]:
    labels = [Path(gallery.path).resolve().name for gallery in galleries] if names is None else list(names)
    if len(labels) != len(galleries):
        raise ValueError(f"{len(labels)} names are given for {len(galleries)} galleries")
    if as_prefixes and len(set(labels)) != len(labels):
        raise ValueError(f"the names {labels} are prefixes and must differ: give others with names")
    return labels


def _common_dim(galleries: Sequence[Gallery]) -> int:
    dims = {gallery.dim for gallery in galleries}
    if len(dims) != 1:
        raise ValueError(f"the galleries have rows of {sorted(dims)} elements; they must have one length")
    return dims.pop()


def _common_dtype(galleries: Sequence[Gallery]) -> str:
    dtypes = {gallery.dtype for gallery in galleries}
    if len(dtypes) != 1:
        raise ValueError(f"the galleries store {', '.join(sorted(dtypes))}; name one with dtype")
    return dtypes.pop()


def _common_columns(galleries: Sequence[Gallery], rules: Mapping[str, str]) -> dict[str, str]:
    """Return the columns of the merged gallery; empty where no gallery has any."""
    if not any(gallery.columns for gallery in galleries):
        return {}
    columns: dict[str, str] = {}
    for gallery in galleries:
        own = gallery.columns or {"id": "int64"}
        if "group" not in own and any("group" in other.columns for other in galleries):
            raise ValueError(f"{gallery.path} has no groups and another gallery has: give it groups first")
        for name, own_kind in own.items():
            kind = _ruled_type(own_kind, rules.get(name, "keep"))
            if columns.setdefault(name, kind) != kind:
                hint = "; 'prefix' makes strings of both" if name in ("id", "group") else ""
                raise ValueError(
                    f"column {name!r} is {columns[name]} in one gallery, {kind} in {gallery.path}{hint}"
                )
    return columns


def _ruled_type(kind: str, rule: str) -> str:
    return {"keep": kind, "prefix": "string", "renumber": "int64"}[rule]


def _own_columns(table: Any, first_row: int, count: int) -> dict[str, Any]:
    """Return the columns of a batch; ids that are row numbers count from the gallery's own first row."""
    if table is None:
        return {"id": np.arange(first_row, first_row + count, dtype=np.int64)}
    return {name: table[name] for name in table.column_names}


def _ruled_columns(
    own: Mapping[str, Any],
    columns: Mapping[str, str],
    rules: Mapping[str, str],
    label: str,
    count: int,
) -> dict[str, Any]:
    """Return one array for every column of the merged gallery; none where that has no columns."""
    arrays: dict[str, Any] = {}
    for name, kind in columns.items():
        rule = rules.get(name, "keep")
        if rule == "renumber":
            continue
        if name not in own:
            arrays[name] = import_pyarrow().nulls(count, arrow_type(kind))
        elif rule == "prefix":
            values = own[name].tolist() if isinstance(own[name], np.ndarray) else own[name].to_pylist()
            arrays[name] = [f"{label}/{value}" for value in values]
        else:
            arrays[name] = own[name]
    return arrays


def _table(arrays: dict[str, Any], first_row: int, count: int) -> Any:
    ids, groups, sources = (arrays.pop(name, None) for name in ("id", "group", "source"))
    return make_table(first_row, count, ids, groups, sources, arrays)
