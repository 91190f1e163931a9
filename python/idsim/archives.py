"""Zips from strangers: members are listed with care, read as streams, and never unpacked to disk."""

from __future__ import annotations

import errno
import os
import stat
import weakref
import zipfile
import zlib
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

from idsim.images import MAX_FILE_BYTES, SUFFIXES

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["MAX_RATIO", "ZipMembers", "ZipPictures"]

MAX_RATIO = 50  # announced bytes over the bytes of the file; pictures hardly shrink any further
LOCAL_HEADER_BYTES = 30
ENCRYPTED = 0x1
READ_BYTES = 1 << 20


class ZipMembers:
    """The members of a zip file, which is never unpacked.

    Parameters
    ----------
    path : Path
        A regular file; links are not followed.
    member_bytes : int
        What one member may announce.
    spare_bytes : int
        What all members may announce together beyond 50 times the bytes of the file.

    Attributes
    ----------
    members : dict
        Name -> entry of the directory, in its order; folders too.

    Raises
    ------
    ValueError
        It is no zip, or one that no honest program writes: names that leave their folder, links, encryption,
        names given twice, members that overlap, or far more content than the file can hold.
    OSError
        It cannot be read, or is no regular file.
    """

    def __init__(self, path: Path, member_bytes: int = MAX_FILE_BYTES, spare_bytes: int = 0) -> None:
        self.path = path
        self._file = _open_regular(path)
        weakref.finalize(self, self._file.close)
        try:
            self._archive = zipfile.ZipFile(self._file)
            members = self._archive.infolist()
            self._check(members, member_bytes, spare_bytes)
        except (zipfile.BadZipFile, NotImplementedError, UnicodeError, EOFError, OverflowError) as error:
            raise ValueError(f"{path} is no zip file that can be read ({error})") from error
        self.members = {info.filename: info for info in members}

    def _check(self, members: list[zipfile.ZipInfo], member_bytes: int, spare_bytes: int) -> None:
        size = os.fstat(self._file.fileno()).st_size
        seen: set[str] = set()
        total = 0
        for info in members:
            reason = _refusal(info, member_bytes) or (
                "its name is there twice" if info.filename in seen else ""
            )
            if reason:
                raise ValueError(f"{self.path}: member {info.filename!r}: {reason}")
            seen.add(info.filename)
            total += info.file_size
        if total > MAX_RATIO * size + spare_bytes:
            raise ValueError(
                f"{self.path} has {size} bytes and announces {total}, more than {MAX_RATIO} times as many"
            )
        ends = 0
        for info in sorted(members, key=lambda info: info.header_offset):
            if info.header_offset < ends:
                raise ValueError(f"{self.path}: member {info.filename!r}: it overlaps the member before it")
            ends = info.header_offset + LOCAL_HEADER_BYTES + len(info.orig_filename) + info.compress_size
        if ends > size:
            raise ValueError(f"{self.path}: the last member ends beyond the end of the file")

    def content(self, name: str) -> bytes:
        """Return the content of a member.

        Raises
        ------
        KeyError
            There is none of that name.
        OSError
            The member is damaged, or holds more than it announces.
        """
        try:
            with self._archive.open(self.members[name]) as member:
                data = b"".join(iter(lambda: member.read(READ_BYTES), b""))
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            raise OSError(errno.EIO, f"member {name!r} is damaged ({error})", str(self.path)) from error
        return data

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class ZipPictures(ZipMembers):
    """The pictures of a zip file, in order of their names.

    Parameters
    ----------
    path : Path
        A regular file; links are not followed.

    Attributes
    ----------
    items : list of str
        Names of the picture members, ascending.
    skipped : list of tuple
        Names of other members, and why they were left out.

    Raises
    ------
    ValueError, OSError
        As `ZipMembers`.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        files = {name: info for name, info in self.members.items() if not info.is_dir()}
        self.items = sorted(name for name in files if PurePosixPath(name).suffix.lower() in SUFFIXES)
        kept = set(self.items)
        self.skipped = sorted(
            (name, "its name has no suffix of a picture") for name in files if name not in kept
        )

    def read(self, number: int) -> bytes:
        """Return the content of picture `number`.

        Raises
        ------
        OSError
            The member is damaged, or holds more than it announces.
        """
        return self.content(self.items[number])

    def read_other(self, name: str) -> bytes | None:
        """Return the content of any member, or None where there is none of that name.

        Raises
        ------
        OSError
            The member is damaged.
        """
        return self.content(name) if name in self.members else None

    def stamp(self, number: int) -> tuple[int, ...]:
        """Return what changes when picture `number` does: its bytes and its CRC-32."""
        info = self.members[self.items[number]]
        return info.file_size, info.CRC


def _open_regular(path: Path) -> BinaryIO:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return os.fdopen(descriptor, "rb")


def _refusal(info: zipfile.ZipInfo, member_bytes: int) -> str:
    """Return why a member is not acceptable in any zip; empty where it is."""
    name, parts = info.orig_filename, info.orig_filename.split("/")
    if name.startswith("/") or ".." in parts or "\\" in name or "\0" in name or ":" in parts[0]:
        return "its name leaves the folder that it would be unpacked to"
    if stat.S_ISLNK(info.external_attr >> 16):
        return "it is a symbolic link"
    if info.flag_bits & ENCRYPTED:
        return "it is encrypted"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"it is compressed by method {info.compress_type}; stored and deflated are read"
    if info.file_size > member_bytes:
        return f"it announces {info.file_size} bytes, more than {member_bytes}"
    return ""
