"""The header of `.npy` files, read by a fixed grammar and written in one form.

NumPy's own reader evaluates the header as Python text and leaks several kinds of exceptions for a damaged
one. Here a header is a match of a regular expression or it is refused; the shape is checked against the
size of the file before anything is allocated.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from idsim.errors import GalleryError

if TYPE_CHECKING:
    import os

    from idsim.files import InputFile

__all__ = ["HEADER_BYTES", "NpyHeader", "parse_header", "read_header", "render_header"]

MAX_HEADER_BYTES = 4096
HEADER_BYTES = 128  # what `render_header` writes: room for two 19-digit numbers, and 64-byte alignment

_MAGIC = b"\x93NUMPY"
_NUMBER = r"(?:0|[1-9][0-9]{0,18})"
_SHAPE = rf"\((?:{_NUMBER},|{_NUMBER}(?:, ?{_NUMBER})+,?)?\)"
_ENTRIES = {
    "descr": r"'(?P<descr>[<>|=]?[a-zA-Z][0-9]{0,4})'",
    "fortran_order": r"(?P<fortran_order>True|False)",
    "shape": rf"(?P<shape>{_SHAPE})",
}
_ENTRY = re.compile("|".join(rf"'(?P<key_{key}>{key})': ?{value}" for key, value in _ENTRIES.items()))
_SEPARATOR = re.compile(r", ?")
_CLOSE = re.compile(r",? ?\}[ ]*\n?\Z")

# Kind and size in bytes; `U` counts characters of 4 bytes.
_DESCR = re.compile(r"(?:[<>]f[248]|[<>][iu][248]|\|[iu]1|\|b1|[<>]U[1-9][0-9]{0,3})\Z")


class NpyHeader(NamedTuple):
    """What the header of a `.npy` file says.

    Attributes
    ----------
    dtype : numpy.dtype
        Type of the elements: a float, integer, boolean or fixed-width text type.
    shape : tuple of int
        Row-major shape.
    offset : int
        Byte at which the elements begin.
    """

    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    offset: int

    @property
    def data_bytes(self) -> int:
        """Bytes of all elements, as a Python integer of any size."""
        count = self.dtype.itemsize
        for extent in self.shape:
            count *= extent
        return count


def read_header(file: InputFile) -> NpyHeader:
    """Read the header of a whole `.npy` file and check that the file has just the bytes it announces.

    Parameters
    ----------
    file : InputFile
        The file, header at byte 0.

    Raises
    ------
    GalleryError
        The header is not of the grammar, or the file is shorter or longer than header and elements.
    """
    head = bytes(file.read(0, min(file.size, MAX_HEADER_BYTES)))
    header = parse_header(head, file.path)
    expected = header.offset + header.data_bytes
    if expected != file.size:
        state = "truncated" if file.size < expected else "longer than its array"
        raise GalleryError(
            file.path,
            "size",
            f"the file is {state}: its header announces {expected} bytes, and it has {file.size}",
        )
    return header


def parse_header(head: bytes, path: str | os.PathLike[str], place: str = "npy header") -> NpyHeader:
    """Parse the header at the start of `head`.

    Parameters
    ----------
    head : bytes
        The first bytes of the file, up to 4,096 of them.
    path : path-like
        The file, for messages.
    place : str
        The part of the file, for messages.

    Raises
    ------
    GalleryError
        The bytes are not a header of the grammar.
    """
    text, offset = _header_text(head, path, place)
    fields = _fields(text, path, place)
    if fields["fortran_order"] == "True":
        raise GalleryError(
            path, place, "the array is in Fortran order; save numpy.ascontiguousarray(array) instead"
        )
    descr = fields["descr"]
    if not _DESCR.match(descr):
        raise GalleryError(
            path, place, f"element type {descr!r} is not a float, integer, boolean or text type"
        )
    shape = tuple(int(number) for number in re.findall(r"[0-9]+", fields["shape"]))
    if len(shape) > 8:
        raise GalleryError(path, place, f"the array has {len(shape)} axes, at most 8 are read")
    return NpyHeader(np.dtype(descr), shape, offset)


def render_header(dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> bytes:
    """Return the 128 bytes of a version 1.0 header for a matrix or a vector."""
    text = f"{{'descr': '{dtype.str}', 'fortran_order': False, 'shape': {shape}, }}"
    length = HEADER_BYTES - 10
    return _MAGIC + b"\x01\x00" + length.to_bytes(2, "little") + (text.ljust(length - 1) + "\n").encode()


def _header_text(head: bytes, path: str | os.PathLike[str], place: str) -> tuple[str, int]:
    if head[:6] != _MAGIC:
        raise GalleryError(path, place, "the file does not begin with the magic bytes of .npy")
    version = tuple(head[6:8])
    if version not in ((1, 0), (2, 0)):
        raise GalleryError(path, place, f"npy version {'.'.join(map(str, version))} is not read")
    width = 2 if version == (1, 0) else 4
    start = 8 + width
    offset = start + int.from_bytes(head[8:start], "little")
    if offset > MAX_HEADER_BYTES:
        raise GalleryError(path, place, f"the header has {offset} bytes, at most {MAX_HEADER_BYTES} are read")
    if len(head) < max(offset, start):
        raise GalleryError(path, place, "the file ends inside the header")
    try:
        return head[start:offset].decode("ascii"), offset
    except UnicodeDecodeError as error:
        raise GalleryError(path, f"byte {start + error.start}", "the header is not ASCII") from None


def _fields(text: str, path: str | os.PathLike[str], place: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    position = 1
    while text[:1] == "{" and (match := _ENTRY.match(text, position)):
        key = next(name for name in _ENTRIES if match[f"key_{name}"])
        if key in fields:
            raise GalleryError(path, place, f"the header names {key!r} twice")
        fields[key] = match[key]
        position = match.end()
        if len(fields) == len(_ENTRIES) and _CLOSE.match(text, position):
            return fields
        if not (separator := _SEPARATOR.match(text, position)):
            break
        position = separator.end()
    raise GalleryError(
        path,
        place,
        "the header is not of the form {'descr': TYPE, 'fortran_order': False, 'shape': SHAPE, }",
    )
