"""Zip files as `torch.save` writes them: stored members only, each in a place of its own, never extracted."""

from __future__ import annotations

import re
import struct
import zlib
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from idsim.inert.blobs import Blob

if TYPE_CHECKING:
    from idsim.inert.blobs import RandomAccess

__all__ = ["Archive", "Member", "open_archive"]

MAX_MEMBERS = 20_000
MAX_DIRECTORY_BYTES = 4 << 20
PIECE_BYTES = 1 << 20

_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR = struct.Struct("<4sIQI")
_ENTRY = struct.Struct("<4s6H3I5H2I")
_LOCAL = struct.Struct("<4s5H3I2H")
_ROOT = re.compile(r"[^/\\\x00-\x1f]{1,255}\Z")
_INNER = re.compile(
    r"(data\.pkl|version|byteorder|data/[0-9]{1,9}"
    r"|\.format_version|\.storage_alignment|\.data/serialization_id)\Z"
)


class Member(NamedTuple):
    """One member: its bytes in the file, and their CRC-32."""

    blob: Blob
    crc: int


class Archive:
    """The members of a `torch.save` file by their names below the root folder."""

    def __init__(self, file: RandomAccess, members: dict[str, Member]) -> None:
        self.file = file
        self.members = members

    def find(self, name: str) -> Blob:
        """Return the bytes of a member after comparing their checksum."""
        member = self.members.get(name)
        if member is None:
            raise self.file.error(self.file.path, name, "there is no such member")
        blob, crc = member.blob, 0
        for start in range(blob.start, blob.stop, PIECE_BYTES):
            crc = zlib.crc32(self.file.read(start, min(PIECE_BYTES, blob.stop - start)), crc)
        if crc != member.crc:
            raise self.file.error(self.file.path, name, "the checksum of the zip member differs")
        return blob


def open_archive(file: RandomAccess) -> Archive:
    """Read the directory of a zip file and check every member of it."""
    count, start, stop = _directory_range(file)
    directory = file.read(start, stop - start)
    members: dict[str, Member] = {}
    ranges: list[tuple[int, int, str]] = []
    roots: set[str] = set()
    offset = 0
    for _ in range(count):
        if offset + _ENTRY.size > len(directory):
            _refuse(file, start + offset, "the zip directory ends early")
        fields = _ENTRY.unpack_from(directory, offset)
        size = _ENTRY.size + sum(fields[10:13])
        if fields[0] != b"PK\x01\x02" or offset + size > len(directory):
            _refuse(file, start + offset, "the zip directory has a damaged entry")
        entry = bytes(directory[offset : offset + size])
        root, name, member, begin = _member(file, start + offset, fields, entry)
        if name in members:
            _refuse(file, start + offset, f"the member {name!r} stands twice in the zip directory")
        members[name] = member
        roots.add(root)
        ranges.append((begin, member.blob.stop, name))
        offset += size
    if offset != len(directory) or len(roots) != 1:
        _refuse(file, start, "the zip directory does not fit its members, which are in one folder")
    _check_overlaps(file, sorted(ranges), start)
    return Archive(file, members)


def _directory_range(file: RandomAccess) -> tuple[int, int, int]:
    """Return the number of members and the range of the directory."""
    if file.size < _END.size:
        _refuse(file, 0, "the zip file ends early")
    end = file.size - _END.size
    magic, disk, first, here, count, size, start, comment = _END.unpack(file.read(end, _END.size))
    if magic != b"PK\x05\x06" or disk or first or here != count or comment:
        _refuse(file, end, "the zip file has no end record, a comment, or several parts")
    stop = end
    if end >= _LOCATOR.size and file.read(end - _LOCATOR.size, 4) == b"PK\x06\x07":
        place = end - _LOCATOR.size
        _, disk, stop, disks = _LOCATOR.unpack(file.read(place, _LOCATOR.size))
        if disk or disks != 1 or stop + _END64.size != place:
            _refuse(file, place, "the zip64 end record is not where it should be")
        magic, _, _, _, disk, first, here, count, size, start = _END64.unpack(file.read(stop, _END64.size))
        if magic != b"PK\x06\x06" or disk or first or here != count:
            _refuse(file, stop, "the zip64 end record is damaged")
    if count > MAX_MEMBERS or size > MAX_DIRECTORY_BYTES or start + size != stop:
        _refuse(file, end, "the zip directory is too large or not where it should be")
    return count, start, stop


def _member(
    file: RandomAccess, place: int, fields: tuple[int, ...], entry: bytes
) -> tuple[str, str, Member, int]:
    """Return root, name, member and the first byte of its local header."""
    _, _, _, flags, method, _, _, crc, packed, size, name_size, extra_size, comment_size, _, _, _, start = (
        fields
    )
    raw = entry[_ENTRY.size : _ENTRY.size + name_size]
    extra = entry[_ENTRY.size + name_size : _ENTRY.size + name_size + extra_size]
    size, packed, start = _zip64(file, place, extra, size, packed, start)
    name = raw.decode("utf-8", "replace")
    root, _, inner = name.partition("/")
    if inner.startswith("code/") or inner == "constants.pkl":
        _refuse(file, place, "this is a TorchScript program, not a checkpoint")
    if not _ROOT.match(root) or root in (".", "..") or not _INNER.match(inner):
        _refuse(file, place, f"the member {name[:80]!r} is not one that torch.save writes")
    if method or packed != size or comment_size or flags & ~0x808:
        _refuse(file, place, f"the member {inner!r} is compressed, encrypted or has a comment")
    if start + _LOCAL.size > file.size:
        _refuse(file, place, f"the member {inner!r} is not in the file")
    magic, _, _, local_method, *_, local_name, local_extra = _LOCAL.unpack(file.read(start, _LOCAL.size))
    data = start + _LOCAL.size + local_name + local_extra
    if magic != b"PK\x03\x04" or local_method or local_name != name_size or data + size > file.size:
        _refuse(file, start, f"the local header of {inner!r} is damaged")
    if file.read(start + _LOCAL.size, local_name) != raw:
        _refuse(file, start, f"the local header of {inner!r} has another name")
    return root, inner, Member(Blob(file, data, data + size), crc), start


def _zip64(
    file: RandomAccess, place: int, extra: bytes, size: int, packed: int, start: int
) -> tuple[int, int, int]:
    """Return size, packed size and start, those of 2^32 - 1 replaced by the ones in the extra field."""
    values = [size, packed, start]
    wanted = [index for index, value in enumerate(values) if value == 0xFFFFFFFF]
    offset = 0
    while wanted and offset + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, offset)
        offset += 4
        if kind == 1 and length >= 8 * len(wanted) and offset + length <= len(extra):
            for number, index in enumerate(wanted):
                (values[index],) = struct.unpack_from("<Q", extra, offset + 8 * number)
            break
        offset += length
    if wanted and 0xFFFFFFFF in values:
        _refuse(file, place, "a zip64 member has no sizes")
    return values[0], values[1], values[2]


def _check_overlaps(file: RandomAccess, ranges: list[tuple[int, int, str]], stop: int) -> None:
    end, before = 0, ""
    for first, last, name in ranges:
        if first < end:
            _refuse(file, first, f"the members {before!r} and {name!r} overlap")
        end, before = last, name
    if end > stop:
        _refuse(file, stop, f"the member {before!r} reaches into the zip directory")


def _refuse(file: RandomAccess, place: int, reason: str) -> NoReturn:
    raise file.error(file.path, f"byte {place}", reason)
