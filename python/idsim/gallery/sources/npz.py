"""`.npz` archives: ZIP files of `.npy` members, stored or deflated within limits."""

from __future__ import annotations

import contextlib
import re
import struct
import zipfile
import zlib
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from idsim.errors import GalleryError
from idsim.files import InputFile
from idsim.gallery.elements import gallery_dtype, to_storage
from idsim.gallery.npy import MAX_HEADER_BYTES, NpyHeader, parse_header
from idsim.gallery.rows import make_table
from idsim.gallery.sources.base import Batch, ColumnNames, check_columns

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["NpzSource"]

# Deflate reaches 1,000 to 1 on constant bytes: such members are bombs or hold nothing of interest.
MAX_RATIO = 20
FREE_BYTES = 1 << 20  # members up to this size may be compressed as well as they can be
MAX_MEMBERS = 1024

_NAME = re.compile(r"[^/\\\x00]{1,255}\.npy\Z")
_ALIASES = {"ids": "id", "groups": "group", "sources": "source"}


class NpzSource:
    """The matrix of floats in a `.npz` archive; one-dimensional members of its length are columns.

    Parameters
    ----------
    path : Path
        The archive.
    names : ColumnNames
        Which members become id, group and source; by default ``id`` or ``ids`` and so on.
    key : str, optional
        Name of the matrix; needed where the archive holds several matrices of floats.
    """

    kind = "npz"

    def __init__(self, path: Path, names: ColumnNames, key: str | None) -> None:
        self.path = path
        with _zip_errors(path, "archive"), _open_archive(path) as archive:
            self._members = _checked_members(archive, path)
            headers = {name: self._header(archive, name) for name in self._members}
        self._name = _matrix_name(headers, path, key)
        self._matrix = headers[self._name]
        self.rows, dim = self._matrix.shape
        self.dim = check_columns(dim, path)
        self.dtype = gallery_dtype(self._matrix.dtype)
        self._columns = _column_members(headers, self.rows, names, path)

    def batches(self, rows: int) -> Iterator[Batch]:
        """Yield all rows in order, at most `rows` at a time."""
        columns = {target: self._vector(name) for target, name in self._columns.items()}
        row_bytes = self.dim * self._matrix.dtype.itemsize
        with (
            _zip_errors(self.path, self._name),
            _open_archive(self.path) as archive,
            archive.open(self._members[self._name]) as member,
        ):
            _read_exact(member, self._matrix.offset, self.path, self._name)
            for start in range(0, self.rows, rows):
                stop = min(start + rows, self.rows)
                data = _read_exact(member, (stop - start) * row_bytes, self.path, self._name)
                block = np.frombuffer(data, self._matrix.dtype).reshape(stop - start, self.dim)
                piece = {target: values[start:stop] for target, values in columns.items()}
                ids, groups, sources = (piece.pop(name, None) for name in ("id", "group", "source"))
                table = make_table(start, stop - start, ids, groups, sources, piece)
                yield Batch(to_storage(block, self.dtype), table)
            if member.read(1):
                raise GalleryError(self.path, self._name, "the member is longer than its array")

    def _header(self, archive: zipfile.ZipFile, name: str) -> NpyHeader:
        info = self._members[name]
        with archive.open(info) as member:
            header = parse_header(member.read(MAX_HEADER_BYTES), self.path, name)
        if header.offset + header.data_bytes != info.file_size:
            raise GalleryError(
                self.path,
                name,
                f"its header announces {header.offset + header.data_bytes} bytes, "
                f"the member has {info.file_size}",
            )
        return header

    def _vector(self, name: str) -> NDArray[Any]:
        with _zip_errors(self.path, name), _open_archive(self.path) as archive:
            header = self._header(archive, name)
            with archive.open(self._members[name]) as member:
                _read_exact(member, header.offset, self.path, name)
                data = _read_exact(member, header.data_bytes, self.path, name)
            values: NDArray[Any] = np.frombuffer(data, header.dtype)
            if header.dtype.kind == "U":
                "".join(values.tolist()).encode()  # a ValueError for what is no Unicode
            return values


def _open_archive(path: Path) -> zipfile.ZipFile:
    with InputFile(path):  # refuses what is no regular file before zipfile opens it
        pass
    return zipfile.ZipFile(path)


def _checked_members(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    members: dict[str, zipfile.ZipInfo] = {}
    end = 0
    infos = archive.infolist()
    if len(infos) > MAX_MEMBERS:
        raise GalleryError(path, "archive", f"{len(infos)} members, at most {MAX_MEMBERS} are read")
    for info in sorted(infos, key=lambda info: info.header_offset):
        place = repr(info.filename)
        if not _NAME.match(info.filename):
            raise GalleryError(path, place, "the name of a member is not NAME.npy")
        if info.flag_bits & 1:
            raise GalleryError(path, place, "the member is encrypted")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise GalleryError(path, place, f"compression method {info.compress_type} is not read")
        if info.compress_type == zipfile.ZIP_STORED and info.file_size != info.compress_size:
            raise GalleryError(path, place, "the sizes of a stored member differ")
        if info.file_size > max(FREE_BYTES, MAX_RATIO * info.compress_size):
            raise GalleryError(
                path,
                place,
                f"{info.compress_size} bytes unpack to {info.file_size}, more than {MAX_RATIO} times; "
                "save it with numpy.savez (not compressed)",
            )
        if info.header_offset < end:
            raise GalleryError(path, place, "the member overlaps another")
        end = info.header_offset + 30 + len(info.filename.encode()) + info.compress_size
        name = info.filename.removesuffix(".npy")
        if name in members:
            raise GalleryError(path, place, "two members have this name")
        members[name] = info
    return members


def _matrix_name(headers: dict[str, NpyHeader], path: Path, key: str | None) -> str:
    found = [name for name, header in headers.items() if header.dtype.kind == "f" and len(header.shape) == 2]
    if key is not None:
        if key not in found:
            raise GalleryError(
                path,
                "archive",
                f"there is no matrix of floats named {key!r}; there are: {', '.join(found[:8])}",
            )
        return key
    if len(found) != 1:
        raise GalleryError(
            path,
            "archive",
            f"there are {len(found)} matrices of floats, name one with key: {', '.join(found[:8])}",
        )
    return found[0]


def _column_members(
    headers: dict[str, NpyHeader], rows: int, names: ColumnNames, path: Path
) -> dict[str, str]:
    vectors = {name for name, header in headers.items() if header.shape == (rows,)}
    plural = {target: alias for alias, target in _ALIASES.items() if alias in vectors}
    columns: dict[str, str] = {}
    for target, (name, required) in names.targets(plural).items():
        if name in vectors:
            columns[target] = name
        elif required:
            raise GalleryError(path, "archive", f"there is no member {name!r} of {rows} values for {target}")
    reserved = {"id", "group", "source"}
    free = sorted(vectors - set(columns.values()) - reserved)
    return columns | {name: name for name in free if headers[name].dtype.str != "<f2"}


def _read_exact(member: IO[bytes], count: int, path: Path, place: str) -> bytes:
    pieces = []
    left = count
    while left:
        piece = member.read(min(left, 1 << 24))
        if not piece:
            raise GalleryError(path, place, f"the member ends {left} bytes early")
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


@contextlib.contextmanager
def _zip_errors(path: Path, place: str) -> Iterator[None]:
    try:
        yield
    except (
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
        EOFError,
        LookupError,
        OSError,
        OverflowError,
        RuntimeError,
        ValueError,
    ) as error:
        raise GalleryError(path, place, f"the archive is damaged: {error}") from error
