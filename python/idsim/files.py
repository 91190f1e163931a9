"""Files read by exact ranges, and files that appear whole or not at all.

Reading: `InputFile` reads with ``pread`` only, so a file that shrinks under a running scan gives a
`FileError` (a mapped file would kill the process). Writing: `NewFile` writes to a temporary name in the
same folder, and `commit` makes the content durable before the name appears:
write, fsync the file, rename, fsync the folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import stat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from idsim.errors import FileError, GalleryError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from typing_extensions import Buffer

__all__ = [
    "FileEntry",
    "InputFile",
    "NewFile",
    "hash_file",
    "is_temporary",
    "make_new_folder",
    "sync_folder",
]

READ_BYTES = 1 << 22  # one read of a whole-file pass; larger pieces are not faster from the page cache


class FileEntry(NamedTuple):
    """What a manifest says of one file: its name, its size in bytes, its SHA-256 in hexadecimal."""

    file: str
    bytes: int
    sha256: str


class InputFile:
    """A regular file opened for reads of exact ranges.

    Parameters
    ----------
    path : path-like
        The file. Symbolic links are followed; what they end at must be a regular file.
    error : type of FileError
        What is raised: by the constructor where the file is missing, may not be read, or is no regular file.
    """

    def __init__(self, path: str | os.PathLike[str], error: type[FileError] = GalleryError) -> None:
        self.path = Path(path)
        self.error = error
        self._descriptor = -1
        try:
            # O_NONBLOCK: a FIFO of this name must not block for ever; regular files ignore it.
            self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            status = os.fstat(self._descriptor)
        except (OSError, ValueError) as found:
            self.close()
            raise error(path, "file", _reason(found)) from found
        if not stat.S_ISREG(status.st_mode):
            self.close()
            raise error(path, "file", "it is not a regular file")
        self.size: int = status.st_size

    def read_into(self, buffer: Buffer, offset: int) -> None:
        """Fill `buffer` (C-contiguous, writable) with the bytes from `offset` on."""
        view = memoryview(buffer).cast("B")
        done = 0
        while done < len(view):
            try:
                count = os.preadv(self._descriptor, [view[done:]], offset + done)
            except OSError as error:
                raise self.error(self.path, f"byte {offset + done}", _reason(error)) from error
            if count == 0:
                raise self.error(
                    self.path,
                    f"byte {offset + done}",
                    f"the file ends here, {len(view) - done} bytes early",
                )
            done += count

    def read(self, offset: int, count: int) -> bytearray:
        """Return `count` bytes from `offset` on; refused before allocation where the file is shorter."""
        if offset < 0 or count < 0 or offset + count > self.size:
            raise self.error(
                self.path,
                f"byte {offset}",
                f"{count} bytes are expected here, and the file has {self.size} bytes",
            )
        data = bytearray(count)
        self.read_into(data, offset)
        return data

    def hash(self, on_piece: Callable[[int], None] | None = None) -> FileEntry:
        """Return name, size and SHA-256, read once from front to back in pieces."""
        digest = hashlib.sha256()
        self.expect_sequential()
        buffer = memoryview(bytearray(min(READ_BYTES, self.size)))
        for offset in range(0, self.size, READ_BYTES):
            piece = buffer[: min(READ_BYTES, self.size - offset)]
            self.read_into(piece, offset)
            digest.update(piece)
            if on_piece is not None:
                on_piece(len(piece))
        return FileEntry(self.path.name, self.size, digest.hexdigest())

    def fileno(self) -> int:
        """Return the file descriptor, valid until `close`."""
        return self._descriptor

    def expect_sequential(self) -> None:
        """Tell the kernel that the file is read from front to back: it reads ahead further."""
        with contextlib.suppress(OSError):
            os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)

    def expect_random(self) -> None:
        """Tell the kernel that single rows are read here and there: reading ahead would be for nothing."""
        with contextlib.suppress(OSError):
            os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_RANDOM)

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def hash_file(path: str | os.PathLike[str], on_piece: Callable[[int], None] | None = None) -> FileEntry:
    """Return name, size and SHA-256 of a file, read once from front to back.

    Parameters
    ----------
    path : path-like
        The file.
    on_piece : callable, optional
        Called with the number of bytes of each piece read.
    """
    with InputFile(path) as file:
        return file.hash(on_piece)


class NewFile:
    """A file that appears under its name only through `commit`: complete, hashed and on disk.

    Used as a context manager; leaving it without `commit` removes the temporary file.

    Parameters
    ----------
    path : path-like
        The final name.
    replace : bool
        Whether `commit` may replace a file of this name; otherwise nothing may stand there.

    Raises
    ------
    FileExistsError
        Something stands there already, now or at `commit`.
    """

    def __init__(self, path: str | os.PathLike[str], *, replace: bool = False) -> None:
        self.path = Path(path)
        self._replace = replace
        self._refuse_existing()
        self._temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
        self._descriptor = os.open(
            self._temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666
        )
        self._digest = hashlib.sha256()
        self._size = 0

    def write(self, data: Buffer) -> int:
        """Append `data` (C-contiguous) and return its number of bytes."""
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view):
            done += os.write(self._descriptor, view[done:])
        self._digest.update(view)
        self._size += len(view)
        return len(view)

    def rewrite_head(self, head: bytes) -> None:
        """Replace the first bytes of the file; costs one more read of what was written."""
        if len(head) > self._size:
            raise ValueError(f"head has {len(head)} bytes, and {self._size} were written")
        done = 0
        while done < len(head):
            done += os.pwrite(self._descriptor, head[done:], done)
        self._digest = hashlib.sha256()
        offset = 0
        while piece := os.pread(self._descriptor, READ_BYTES, offset):
            self._digest.update(piece)
            offset += len(piece)

    def commit(self) -> FileEntry:
        """Make the content durable and give it its name."""
        # After a failed fsync the pages may be marked clean: never tried again, the file is dropped.
        os.fsync(self._descriptor)
        self._close()
        self._refuse_existing()
        self._temporary.rename(self.path)
        sync_folder(self.path.parent)
        return FileEntry(self.path.name, self._size, self._digest.hexdigest())

    def discard(self) -> None:
        """Remove the temporary file, if it is still there."""
        with contextlib.suppress(OSError):
            self._close()
        self._temporary.unlink(missing_ok=True)

    def _refuse_existing(self) -> None:
        if not self._replace and os.path.lexists(self.path):
            raise FileExistsError(f"{self.path} exists already, and nothing is ever overwritten")

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.discard()


def is_temporary(name: str) -> bool:
    """Whether a file name is one that `NewFile` gives to unfinished files."""
    return name.startswith(".") and name.endswith(".tmp")


def make_new_folder(path: Path) -> None:
    """Create a folder that must not exist, and make its name durable."""
    try:
        path.mkdir()
    except FileExistsError:
        raise FileExistsError(f"{path} exists already, and nothing is ever overwritten") from None
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} cannot be made: there is no folder {path.parent}") from None
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return str(error.strerror)
    if isinstance(error, OSError) and error.strerror:
        return f"the system says: {error.strerror}"
    return f"the system says: {error}"
