"""Bytes of a file that are read when they are needed, and a moving window over them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Buffer

    from idsim.errors import FileError

__all__ = ["Blob", "MemoryFile", "RandomAccess", "Window"]


class RandomAccess(Protocol):
    """What is read by exact ranges: an `InputFile`, or bytes that a pickle holds in another spelling."""

    path: Path
    error: type[FileError]
    size: int

    def read(self, offset: int, count: int) -> bytes | bytearray:
        """Return `count` bytes from `offset` on."""

    def read_into(self, buffer: Buffer, offset: int) -> None:
        """Fill `buffer` with the bytes from `offset` on."""


class MemoryFile:
    """Bytes in memory that read like a file.

    Parameters
    ----------
    data : bytes or bytearray
        The content.
    origin : RandomAccess
        The file that they come from, for messages.
    """

    def __init__(self, data: bytes | bytearray, origin: RandomAccess) -> None:
        self.path = origin.path
        self.error = origin.error
        self.size = len(data)
        self._data = memoryview(data)

    def read(self, offset: int, count: int) -> bytes:
        """Return `count` bytes from `offset` on."""
        if offset < 0 or count < 0 or offset + count > self.size:
            raise self.error(self.path, f"byte {offset} of a text", f"{count} bytes are expected here")
        return bytes(self._data[offset : offset + count])

    def read_into(self, buffer: Buffer, offset: int) -> None:
        """Fill `buffer` with the bytes from `offset` on."""
        view = memoryview(buffer).cast("B")
        view[:] = self.read(offset, len(view))


class Blob:
    """A range of bytes, not read yet.

    Parameters
    ----------
    file : RandomAccess
        Where they stand.
    start, stop : int
        The range.
    """

    __slots__ = ("file", "start", "stop")

    def __init__(self, file: RandomAccess, start: int, stop: int) -> None:
        self.file = file
        self.start = start
        self.stop = stop

    def __len__(self) -> int:
        return self.stop - self.start

    def read(self) -> bytes:
        """Return all bytes."""
        return bytes(self.file.read(self.start, len(self)))

    def refuse(self, reason: str, offset: int = 0) -> NoReturn:
        """Raise the file's error about the byte at `offset`."""
        raise self.file.error(self.file.path, f"byte {self.start + offset}", reason)


class Window:
    """Reads a blob from front to back in small pieces.

    Parameters
    ----------
    blob : Blob
        What is read.
    piece : int
        Bytes that are fetched at once.
    """

    def __init__(self, blob: Blob, piece: int) -> None:
        self.blob = blob
        self.place = blob.start
        self._piece = piece
        self._held = b""
        self._first = blob.start  # offset of the first byte held

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        begin = self.place - self._first
        end = begin + count
        if end > len(self._held) or begin < 0:
            self._fetch(count)
            begin, end = 0, count
        self.place += count
        return self._held[begin:end]

    def take_line(self, most: int) -> bytes:
        """Return the bytes up to the next line feed, which must be within `most` bytes, and step over it."""
        start = self.place
        self.require(0)
        near = self.take(min(most, self.blob.stop - start))
        end = near.find(b"\n")
        if end < 0:
            self.refuse(f"a line of more than {most} bytes, or without an end", start)
        self.place = start + end + 1
        return near[:end]

    def skip(self, count: int) -> Blob:
        """Step over the next `count` bytes and return their range."""
        self.require(count)
        blob = Blob(self.blob.file, self.place, self.place + count)
        self.place += count
        return blob

    def require(self, count: int) -> None:
        """Refuse where fewer than `count` bytes are left."""
        if count > self.blob.stop - self.place:
            left = self.blob.stop - self.place
            self.refuse(f"{count} bytes are expected here, and {left} are left", self.place)

    def refuse(self, reason: str, place: int) -> NoReturn:
        """Raise the file's error about the byte at `place`."""
        self.blob.refuse(reason, place - self.blob.start)

    def _fetch(self, count: int) -> None:
        self.require(count)
        wanted = max(count, min(self._piece, self.blob.stop - self.place))
        self._held = bytes(self.blob.file.read(self.place, wanted))
        self._first = self.place
