"""Which format a path holds, told by its content, and the importer for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from idsim.errors import GalleryError
from idsim.files import InputFile
from idsim.gallery.format import MANIFEST, MARKER
from idsim.gallery.reader import Gallery
from idsim.gallery.sources.base import Batch, ColumnNames, Source
from idsim.gallery.sources.faiss_flat import FLAT_FOURCCS, MAP_FOURCCS, open_faiss
from idsim.gallery.sources.npy_files import open_clip_retrieval, open_npy
from idsim.gallery.sources.npz import NpzSource
from idsim.gallery.sources.parquet import ParquetSource
from idsim.gallery.sources.safetensors import open_safetensors

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

__all__ = ["KINDS", "GallerySource", "detect_kind", "open_source"]

KINDS = ("gallery", "npy", "npz", "clip-retrieval", "safetensors", "parquet", "faiss")
# Formats of vectors that are not read, and that people offer.
OTHER_SUFFIXES = {
    ".csv",
    ".tsv",
    ".txt",
    ".json",
    ".jsonl",
    ".h5",
    ".hdf5",
    ".mat",
    ".pkl",
    ".pickle",
    ".pt",
    ".pth",
}


class GallerySource:
    """A gallery as a source of rows.

    Parameters
    ----------
    gallery : Gallery
        The gallery.
    """

    kind = "gallery"

    def __init__(self, gallery: Gallery) -> None:
        self.gallery = gallery
        self.path = gallery.path
        self.rows = len(gallery)
        self.dim = gallery.dim
        self.dtype = gallery.dtype

    def batches(self, rows: int) -> Iterator[Batch]:
        """Yield all rows in order, at most `rows` at a time."""
        has_columns = bool(self.gallery.columns)
        for number, shard in enumerate(self.gallery.manifest.shards):
            first = sum(before.rows for before in self.gallery.manifest.shards[:number])
            last = first + shard.rows
            table = self.gallery.rows(None, first, last) if has_columns else None
            for start, block in self.gallery.stored_blocks(rows, first, last):
                yield Batch(block, table and table.slice(start - first, len(block)))


def open_source(
    path: str | os.PathLike[str],
    kind: str | None = None,
    *,
    key: str | None = None,
    names: ColumnNames | None = None,
) -> Source:
    """Open files of any format that is read.

    Parameters
    ----------
    path : path-like
        File or folder.
    kind : str, optional
        One of `KINDS`; told by the content if not given.
    key : str, optional
        Which matrix, where a file holds several: array (npz), tensor (safetensors) or column (Parquet);
        ``img`` or ``text`` (clip-retrieval).
    names : ColumnNames, optional
        Which columns become id, group and source.

    Raises
    ------
    GalleryError
        The files are damaged, or of no format that is read.
    ValueError
        `kind` is not known, or `key` or `names` do not apply to it.
    """
    place = Path(path)
    kind = kind or detect_kind(place)
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}")
    if key is not None and kind in ("gallery", "npy", "faiss"):
        raise ValueError(f"key does not apply to {kind} files: they hold one matrix")
    if names is not None and names != ColumnNames() and kind in ("gallery", "faiss"):
        raise ValueError(f"column names do not apply to {kind} files")
    return _open(place, kind, key, names or ColumnNames())


def detect_kind(path: Path) -> str:
    """Return the format of a file or folder: one of `KINDS`.

    Raises
    ------
    GalleryError
        There is nothing, or nothing that is read.
    """
    if path.is_dir():
        return _detect_folder(path)
    with InputFile(path) as file:
        head = bytes(file.read(0, min(file.size, 16)))
    if head.startswith(b"\x93NUMPY"):
        return "npy"
    if head.startswith(b"PK\x03\x04"):
        return "npz"
    if head.startswith(b"PAR1"):
        return "parquet"
    if head[:4] in FLAT_FOURCCS + MAP_FOURCCS:
        return "faiss"
    if head[8:9] == b"{":
        return "safetensors"
    if not head:
        raise GalleryError(path, "byte 0", "the file is empty")
    hint = "; write its vectors as .npy or Parquet" if path.suffix.lower() in OTHER_SUFFIXES else ""
    raise GalleryError(path, "byte 0", f"the file is none of: {', '.join(KINDS)}{hint}")


def _detect_folder(path: Path) -> str:
    if (path / MANIFEST).exists() or (path / MARKER).exists():
        return "gallery"
    if (path / "img_emb").is_dir() or (path / "text_emb").is_dir():
        return "clip-retrieval"
    suffixes = {file.suffix for file in path.iterdir() if not file.name.startswith(".")}
    if ".npy" in suffixes:
        return "npy"
    if ".parquet" in suffixes:
        return "parquet"
    raise GalleryError(path, "folder", "it is no gallery, and there is no .npy or .parquet file in it")


def _open(path: Path, kind: str, key: str | None, names: ColumnNames) -> Source:
    if kind == "gallery":
        return GallerySource(Gallery.open(path))
    if kind == "npy":
        return open_npy(path, names)
    if kind == "clip-retrieval":
        return open_clip_retrieval(path, names, key)
    if kind == "faiss":
        return open_faiss(path)
    if kind == "safetensors":
        return open_safetensors(path, names, key)
    return NpzSource(path, names, key) if kind == "npz" else ParquetSource(path, names, key)
