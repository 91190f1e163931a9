"""safetensors files: an 8-byte length, a JSON header, then the elements of all tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from idsim.errors import GalleryError
from idsim.gallery.files import InputFile
from idsim.gallery.sources.base import ColumnNames, MatrixSource
from idsim.gallery.sources.npy_files import side_tables
from idsim.gallery.streaming import MatrixFiles, Part
from idsim.gallery.strict_json import Fields, load_object

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Tensor", "open_safetensors", "read_tensors"]

MAX_HEADER_BYTES = 16 << 20

_ELEMENT_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1,
    "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
    "I32": 4, "U32": 4, "F32": 4,
    "I64": 8, "U64": 8, "F64": 8,
}  # fmt: skip
_MATRIX_TYPES = {
    "F32": ("float32", "<f4"),
    "F16": ("float16", "<f2"),
    "BF16": ("bfloat16", "<u2"),
    "F64": ("float64", "<f8"),
}


class Tensor(NamedTuple):
    """One tensor of a file: its type, its shape, the bytes of the file that hold it."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


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
        tensors = read_tensors(file)
    found = {
        name: tensor
        for name, tensor in tensors.items()
        if len(tensor.shape) == 2 and tensor.dtype in _MATRIX_TYPES
    }
    if key is None and len(found) != 1:
        raise GalleryError(
            path,
            "header",
            f"there are {len(found)} matrices of floats, name one with key: {sorted(found)[:8]}",
        )
    name = next(iter(found)) if key is None else key
    if name not in found:
        raise GalleryError(path, "header", f"there is no matrix of floats named {name!r}")
    tensor = found[name]
    element, dtype = _MATRIX_TYPES[tensor.dtype]
    part = Part(path, file.size, tensor.start, tensor.shape[0])
    files = MatrixFiles([part], tensor.shape[1], np.dtype(dtype))
    return MatrixSource("safetensors", path, files, element, side_tables([path], files, names))


def read_tensors(file: InputFile) -> dict[str, Tensor]:
    """Read the header: every tensor has just its bytes, and the tensors fill the file without gaps.

    Raises
    ------
    GalleryError
        The header is too large, no such JSON, or its ranges do not hold.
    """
    length = int.from_bytes(file.read(0, min(8, file.size)), "little")
    if file.size < 8 or length > file.size - 8:
        raise GalleryError(file.path, "byte 0", f"a header of {length} bytes is not in a file of {file.size}")
    if length > MAX_HEADER_BYTES:
        raise GalleryError(
            file.path, "byte 0", f"a header of {length} bytes, at most {MAX_HEADER_BYTES} are read"
        )
    content = load_object(file.read(8, length), file.path, "header")
    metadata = content.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise GalleryError(file.path, "header.__metadata__", "it is not an object of strings")
    tensors = {name: _tensor(value, file, f"header.{name}", 8 + length) for name, value in content.items()}
    end = 8 + length
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].stop)):
        if tensor.start != end:
            raise GalleryError(
                file.path,
                f"header.{name}",
                f"it begins at byte {tensor.start}, the one before it ends at {end}",
            )
        end = tensor.stop
    if end != file.size:
        raise GalleryError(file.path, "size", f"the tensors end at byte {end}, the file has {file.size}")
    return tensors


def _tensor(value: object, file: InputFile, place: str, base: int) -> Tensor:
    fields = Fields(value, file.path, place)
    dtype = fields.text("dtype")
    if dtype not in _ELEMENT_BYTES:
        fields.refuse("dtype", f"{dtype!r} is not a type that is known")
    shape = _counts(fields, "shape")
    offsets = _counts(fields, "data_offsets")
    fields.finish()
    count = _ELEMENT_BYTES[dtype]
    for extent in shape:
        count *= extent
    if len(shape) > 8 or len(offsets) != 2 or offsets[1] - offsets[0] != count:
        fields.refuse(
            "data_offsets", f"{list(offsets)} do not span the {count} bytes of {dtype} {list(shape)}"
        )
    return Tensor(dtype, shape, base + offsets[0], base + offsets[1])


def _counts(fields: Fields, key: str) -> tuple[int, ...]:
    counts: list[int] = []
    for value in fields.items(key):
        if type(value) is not int or not 0 <= value < 2**63:
            fields.refuse(key, "is not an array of counts")
        counts.append(value)
    return tuple(counts)
