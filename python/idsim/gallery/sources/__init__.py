"""Importers: files of other formats as rows for a gallery."""

from __future__ import annotations

from idsim.gallery.sources.base import Batch, ColumnNames, Source
from idsim.gallery.sources.detect import KINDS, detect_kind, open_source

__all__ = ["KINDS", "Batch", "ColumnNames", "Source", "detect_kind", "open_source"]
