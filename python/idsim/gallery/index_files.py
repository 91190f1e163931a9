"""An `idsim.Index` on disk: a gallery with its codes, and the metric in its metadata."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from idsim.errors import GalleryError
from idsim.gallery.elements import as_matrix, gallery_dtype, to_storage
from idsim.gallery.prepared import PreparedBlock, write_prepared
from idsim.gallery.reader import Gallery
from idsim.gallery.writer import GalleryWriter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["StoredIndex", "load_index", "save_index"]

Arrays = tuple["NDArray[np.uint8]", "NDArray[np.float32]", "NDArray[np.float32]", "NDArray[np.float64]"]

METRICS = ("cosine", "dot", "l2")


class StoredIndex(NamedTuple):
    """What an index is made of, in memory."""

    rows: NDArray[Any]
    arrays: PreparedBlock
    metric: str
    skipped_rows: int


def save_index(path: Path, rows: NDArray[Any], arrays: Arrays, metric: str) -> None:
    """Write rows and their codes as a new gallery.

    Parameters
    ----------
    path : Path
        The folder to create.
    rows : ndarray
        ``[n, d]`` float16, float32, float64 (stored as float32, which is what the codes stand for) or
        uint16 (the bits of bfloat16).
    arrays : tuple of ndarray
        Their codes, scale, residual and norm.
    metric : str
        The metric of the index.

    Raises
    ------
    FileExistsError
        Something stands at `path` already.
    TypeError
        The rows are of another type.
    """
    if rows.dtype == np.uint16:
        dtype, stored = "bfloat16", np.ascontiguousarray(rows)
    else:
        matrix = as_matrix(rows)
        dtype = gallery_dtype(matrix.dtype)
        stored = to_storage(matrix, dtype)
    with GalleryWriter(path, rows.shape[1], dtype, metadata={"metric": metric}, nonfinite="keep") as writer:
        writer.append_stored(stored, None)
    manifest = Gallery.open(path).manifest

    def blocks(start: int, stop: int) -> Iterator[PreparedBlock]:
        yield PreparedBlock(*arrays).slice(start, stop)

    write_prepared(path, manifest, blocks)


def load_index(path: Path) -> StoredIndex:
    """Read rows and codes of a gallery into memory.

    Raises
    ------
    GalleryError
        The gallery is damaged, has no codes, or names no metric.
    """
    gallery = Gallery.open(path)
    arrays = gallery.prepared_arrays()
    metric = gallery.manifest.metadata.get("metric")
    if metric not in METRICS:
        raise GalleryError(path, "metadata.metric", f"is {metric!r}, not one of {', '.join(METRICS)}")
    skipped = sum(shard.nonfinite_rows for shard in gallery.manifest.shards)
    return StoredIndex(gallery.vectors(), arrays, str(metric), skipped)
