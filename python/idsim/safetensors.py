"""The header of safetensors files: an 8-byte length, a JSON object, then the elements of all tensors."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, NamedTuple

from idsim.strict_json import Fields, load_object

if TYPE_CHECKING:
    from idsim.files import InputFile

__all__ = ["Header", "Tensor", "read_header"]

MAX_HEADER_BYTES = 16 << 20
MAX_DIMENSIONS = 8

_ELEMENT_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1,
    "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
    "I32": 4, "U32": 4, "F32": 4,
    "I64": 8, "U64": 8, "F64": 8,
}  # fmt: skip


class Tensor(NamedTuple):
    """One tensor of a file: its type, its shape, the bytes of the file that hold it."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


class Header(NamedTuple):
    """The tensors of a file by name, and its free texts."""

    tensors: dict[str, Tensor]
    metadata: dict[str, str]


def read_header(file: InputFile, max_bytes: int = MAX_HEADER_BYTES) -> Header:
    """Read the header: every tensor has just its bytes, and the tensors fill the file without gaps.

    Raises
    ------
    FileError
        The header is larger than `max_bytes`, no such JSON, or its ranges do not hold; of the file's class.
    """
    length = int.from_bytes(file.read(0, min(8, file.size)), "little")
    if file.size < 8 or length > file.size - 8:
        raise file.error(file.path, "byte 0", f"a header of {length} bytes is not in a file of {file.size}")
    if length > max_bytes:
        raise file.error(file.path, "byte 0", f"a header of {length} bytes, at most {max_bytes} are read")
    content = load_object(file.read(8, length), file.path, "header", file.error)
    metadata = content.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise file.error(file.path, "header.__metadata__", "it is not an object of strings")
    tensors = {
        name: _tensor(value, file, f"header.{name[:200]}", 8 + length) for name, value in content.items()
    }
    end = 8 + length
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].stop)):
        if tensor.start != end:
            raise file.error(
                file.path,
                f"header.{name[:200]}",
                f"it begins at byte {tensor.start}, the one before it ends at {end}",
            )
        end = tensor.stop
    if end != file.size:
        raise file.error(file.path, "size", f"the tensors end at byte {end}, the file has {file.size}")
    return Header(tensors, metadata)


def _tensor(value: object, file: InputFile, place: str, base: int) -> Tensor:
    fields = Fields(value, file.path, place, file.error)
    dtype = fields.text("dtype")
    if dtype not in _ELEMENT_BYTES:
        fields.refuse("dtype", f"{dtype!r} is not a type that is known")
    shape = _counts(fields, "shape")
    offsets = _counts(fields, "data_offsets")
    fields.finish()
    # The product of very many extents would take long.
    count = _ELEMENT_BYTES[dtype] * prod(shape[:MAX_DIMENSIONS])
    if len(shape) > MAX_DIMENSIONS or len(offsets) != 2 or offsets[1] - offsets[0] != count:
        fields.refuse(
            "data_offsets",
            f"{list(offsets[:2])} do not span the {count} bytes of {dtype} {list(shape[:MAX_DIMENSIONS])}",
        )
    return Tensor(dtype, shape, base + offsets[0], base + offsets[1])


def _counts(fields: Fields, key: str) -> tuple[int, ...]:
    counts: list[int] = []
    for value in fields.items(key):
        if type(value) is not int or not 0 <= value < 2**63:
            fields.refuse(key, "is not an array of counts")
        counts.append(value)
    return tuple(counts)
