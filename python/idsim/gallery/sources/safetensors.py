"""The matrix of floats in a safetensors file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from idsim.errors import GalleryError
from idsim.files import InputFile
from idsim.gallery.sources.base import ColumnNames, MatrixSource
from idsim.gallery.sources.npy_files import side_tables
from idsim.gallery.streaming import MatrixFiles, Part
from idsim.safetensors import read_header

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["open_safetensors"]

_MATRIX_TYPES = {
    "F32": ("float32", "<f4"),
    "F16": ("float16", "<f2"),
    "BF16": ("bfloat16", "<u2"),
    "F64": ("float64", "<f8"),
}


def open_safetensors(path: Path, names: ColumnNames, key: str | None) -> MatrixSource:
    """Open the matrix of floats in a safetensors file, and ``NAME.parquet`` beside it.

    Parameters
    ----------
    path : Path
        The file.
    names : ColumnNames
        Which columns become id, group and source.
    key : str, optional
        Name of the tensor; needed where the file holds several matrices of floats.
    """
    with InputFile(path) as file:
        tensors = read_header(file).tensors
    found = {
        name: tensor
        for name, tensor in tensors.items()
        if len(tensor.shape) == 2 and tensor.dtype in _MATRIX_TYPES
    }
    if key is None and len(found) != 1:
        raise GalleryError(
            path,
            "header",
            f"there are {len(found)} matrices of floats, name one with key: {', '.join(sorted(found)[:8])}",
        )
    name = next(iter(found)) if key is None else key
    if name not in found:
        there = ", ".join(sorted(found)[:8])
        raise GalleryError(path, "header", f"there is no matrix of floats named {name!r}; there are: {there}")
    tensor = found[name]
    element, dtype = _MATRIX_TYPES[tensor.dtype]
    part = Part(path, file.size, tensor.start, tensor.shape[0])
    files = MatrixFiles([part], tensor.shape[1], np.dtype(dtype))
    return MatrixSource("safetensors", path, files, element, side_tables([path], files, names))
