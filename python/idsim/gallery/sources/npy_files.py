"""`.npy` files: one matrix, a folder of matrices, or the layout that clip-retrieval writes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from idsim.errors import GalleryError
from idsim.files import InputFile
from idsim.gallery.npy import NpyHeader, read_header
from idsim.gallery.sources.base import ColumnNames, MatrixSource, TableFiles, natural_order
from idsim.gallery.streaming import MatrixFiles, Part

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["open_clip_retrieval", "open_npy", "side_tables"]


def open_npy(path: Path, names: ColumnNames) -> MatrixSource:
    """Open a `.npy` matrix, or a folder of them in natural order of their names.

    A file ``NAME.parquet`` beside ``NAME.npy`` holds the columns of its rows; all matrices have one or none
    has.
    """
    paths = _matrices_in(path, ".npy") if path.is_dir() else [path]
    files, element = _matrix_files(paths)
    return MatrixSource("npy", path, files, element, side_tables(paths, files, names))


def open_clip_retrieval(path: Path, names: ColumnNames, key: str | None) -> MatrixSource:
    """Open a folder that clip-retrieval wrote.

    Parameters
    ----------
    path : Path
        Folder with ``img_emb/img_emb_0.npy``, ... and, if there are columns,
        ``metadata/metadata_0.parquet``, ...
    names : ColumnNames
        Which columns become id, group and source; by default ``image_path`` is the source.
    key : str, optional
        ``"img"`` (default) or ``"text"``: which embeddings.
    """
    kind = key or "img"
    if kind not in ("img", "text"):
        raise GalleryError(path, "key", f"embeddings are 'img' or 'text', not {kind!r}")
    folder = path / f"{kind}_emb"
    if not folder.is_dir():
        raise GalleryError(path, folder.name, "there is no such folder")
    paths = _matrices_in(folder, ".npy")
    files, element = _matrix_files(paths)
    tables = None
    if (path / "metadata").is_dir():
        table_paths = [path / "metadata" / f"metadata_{_part_number(file, kind)}.parquet" for file in paths]
        tables = TableFiles(table_paths, files.part_rows, names, {"source": "image_path"})
    return MatrixSource("clip-retrieval", path, files, element, tables)


def side_tables(paths: Sequence[Path], files: MatrixFiles, names: ColumnNames) -> TableFiles | None:
    """Return the tables that stand beside the matrices, None where there are none."""
    tables = [path.with_suffix(".parquet") for path in paths]
    missing = [table for table in tables if not table.exists()]
    if len(missing) == len(tables):
        for wanted in filter(None, (names.id, names.group, names.source)):
            raise GalleryError(
                paths[0], "columns", f"there are none: {wanted!r} would stand in {tables[0].name} beside it"
            )
        return None
    if missing:
        raise GalleryError(missing[0], "file", "it is missing, and other matrices have a table beside them")
    return TableFiles(tables, files.part_rows, names)


def _matrices_in(folder: Path, suffix: str) -> list[Path]:
    paths = natural_order(
        path for path in folder.iterdir() if path.suffix == suffix and not path.name.startswith(".")
    )
    if not paths:
        raise GalleryError(folder, "folder", f"there is no {suffix} file in it")
    return paths


def _matrix_files(paths: Sequence[Path]) -> tuple[MatrixFiles, str]:
    first: NpyHeader | None = None
    parts = []
    for path in paths:
        with InputFile(path) as file:
            header = read_header(file)
            if len(header.shape) != 2 or header.dtype.kind != "f":
                raise GalleryError(
                    path,
                    "npy header",
                    f"a matrix of floats is expected, the array is {header.dtype.str} {header.shape}",
                )
            first = first or header
            if header.dtype != first.dtype or header.shape[1] != first.shape[1]:
                raise GalleryError(
                    path,
                    "npy header",
                    f"the array is {header.dtype.str} with {header.shape[1]} columns; "
                    f"{paths[0].name} is {first.dtype.str} with {first.shape[1]}",
                )
            parts.append(Part(path, file.size, header.offset, header.shape[0]))
    dtype, dim = (first.dtype, first.shape[1]) if first else (np.dtype("<f4"), 0)
    return MatrixFiles(parts, dim, dtype), dtype.name


def _part_number(path: Path, kind: str) -> str:
    match = re.fullmatch(rf"{kind}_emb_([0-9]+)\.npy", path.name)
    if not match:
        raise GalleryError(path, "name", f"the name is not {kind}_emb_NUMBER.npy")
    return match[1]
