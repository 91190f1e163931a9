"""Galleries on disk: a documented folder format, importers for others, and search by streaming.

A gallery is a folder of `.npy` shards that plain NumPy reads, Parquet tables with the columns of the rows,
and a manifest with checksums (docs/formats.md). It may be larger than memory.

The pieces: `format` (names, limits, manifest), `npy` and `files` (strict reading, durable writing),
`elements` (stored types), `rows` (columns), `streaming` (reads ahead), `reader`, `writer`, `verify`,
`sources` (importers), `convert` and `merge`.
"""

from __future__ import annotations

from idsim.gallery.columns import Groups
from idsim.gallery.convert import build, export
from idsim.gallery.merge import merge
from idsim.gallery.reader import Gallery
from idsim.gallery.sources import KINDS, ColumnNames, open_source
from idsim.gallery.verify import VerifyReport
from idsim.gallery.writer import GalleryWriter

__all__ = [
    "KINDS",
    "ColumnNames",
    "Gallery",
    "GalleryWriter",
    "Groups",
    "VerifyReport",
    "build",
    "export",
    "merge",
    "open_source",
]
