"""The archive of a bundle: written so that equal members give equal bytes, and read as a stranger's file."""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from idsim.archives import MAX_RATIO, ZipMembers
from idsim.errors import BundleError
from idsim.files import NewFile
from idsim.strict_json import digest, load_object, seal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import NoReturn

    Content = bytes | Callable[[], bytes]

__all__ = ["KIND", "MANIFEST", "SCHEMA", "BundleArchive", "Entry", "json_bytes", "write_archive"]

KIND = "idsim replication bundle"
SCHEMA = 1
MANIFEST = "manifest.json"

LEVEL = 6  # zlib's own default
COMPRESSION = "deflate, level 6; members above 1 MiB that it would shrink below 1/50 are stored"
SMALL_BYTES = 1 << 20
DATE = (1980, 1, 1, 0, 0, 0)  # the first that a zip can state
OWNER_ONLY = 0o100600 << 16
UNIX = 3

# Of strangers' files: a member is held in memory as a whole, and small members may shrink as far as they like.
MEMBER_BYTES = 8 << 30
SPARE_BYTES = 256 << 20
MANIFEST_BYTES = 256 << 20


@dataclass(frozen=True)
class Entry:
    """What the manifest says of a member."""

    bytes: int
    sha256: str


def write_archive(path: Path, members: Mapping[str, Content]) -> str:
    """Write a bundle that appears whole or not at all, and return the SHA-256 of the file.

    Names are sorted, dates fixed, the compression is that of `COMPRESSION`; the manifest is added.

    Parameters
    ----------
    path : Path
        Nothing may stand there.
    members : mapping
        Name -> content, or what returns it; asked twice.

    Raises
    ------
    FileExistsError
        There is a file of that name.
    ValueError
        A member is too large to be read again.
    """
    entries = []
    for name in sorted(members):
        data = _content(members[name])
        if len(data) > MEMBER_BYTES:
            raise ValueError(f"{name} has {len(data)} bytes, more than a member of a bundle may have")
        entries.append({"file": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()})
    manifest = seal({"schema": SCHEMA, "kind": KIND, "compression": COMPRESSION, "members": entries})
    every = {**members, MANIFEST: manifest}
    with NewFile(path) as file:
        with zipfile.ZipFile(_Appending(file), "w") as archive:
            for name in sorted(every):
                _write(archive, name, _content(every[name]))
        return file.commit().sha256


class _Appending:
    """What `zipfile` needs of a file that is only appended to."""

    def __init__(self, file: NewFile) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        return self._file.write(data)

    def flush(self) -> None:
        """Do nothing: the file is made durable when it is whole."""

    def close(self) -> None:
        """Do nothing: whoever made the file closes it."""


def _content(content: Content) -> bytes:
    return content if isinstance(content, bytes) else content()


def _write(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    info = zipfile.ZipInfo(name, DATE)
    info.create_system, info.external_attr = UNIX, OWNER_ONLY
    shrinks_too_far = len(data) > SMALL_BYTES and len(zlib.compress(data, LEVEL)) * MAX_RATIO < len(data)
    kind = zipfile.ZIP_STORED if shrinks_too_far else zipfile.ZIP_DEFLATED
    archive.writestr(info, data, kind, LEVEL)


class BundleArchive:
    """A bundle opened: what its manifest says, and members that agree with it.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    BundleError
        It is no bundle, of another schema, or damaged; what is wrong is named.
    OSError
        It cannot be read, or is no regular file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._zip = ZipMembers(path, MEMBER_BYTES, SPARE_BYTES)
        except ValueError as error:
            raise BundleError(path, "archive", str(error).removeprefix(f"{path}").lstrip(": ")) from error
        if MANIFEST not in self._zip.members:
            self.refuse(MANIFEST, "there is none: this is no replication bundle, or it was cut")
        if self._zip.members[MANIFEST].file_size > MANIFEST_BYTES:
            self.refuse(MANIFEST, f"it has more than {MANIFEST_BYTES} bytes")
        self.entries = self._entries(self._raw(MANIFEST))
        for name in self._zip.members:
            if name != MANIFEST and name not in self.entries:
                self.refuse(name, "the manifest does not list it")
        for name, entry in self.entries.items():
            if name not in self._zip.members:
                self.refuse(name, "the manifest lists it, and it is not there")
            if self._zip.members[name].file_size != entry.bytes:
                found = self._zip.members[name].file_size
                self.refuse(name, f"it has {found} bytes, and the manifest says {entry.bytes}")

    def _entries(self, data: bytes) -> dict[str, Entry]:
        content = load_object(data, self.path, MANIFEST, BundleError)
        if content.get("kind") != KIND:
            self.refuse(MANIFEST, f"its kind is {content.get('kind')!r}, not {KIND!r}")
        if content.get("schema") != SCHEMA:
            self.refuse(
                MANIFEST, f"schema {content.get('schema')!r} is not known: this version reads schema {SCHEMA}"
            )
        if content.pop("sha256", None) != digest(content):
            self.refuse(MANIFEST, "its text is not the one that was hashed")
        entries = {}
        members = content.get("members")
        for entry in members if isinstance(members, list) else [None]:
            kinds = {"file": str, "bytes": int, "sha256": str}
            if not isinstance(entry, dict) or {key: type(value) for key, value in entry.items()} != kinds:
                self.refuse(MANIFEST, "its list of members is not of this format")
            entries[entry["file"]] = Entry(entry["bytes"], entry["sha256"])
        return entries

    def refuse(self, name: str, reason: str) -> NoReturn:
        """Raise the error about a member."""
        raise BundleError(self.path, name, reason)

    def __contains__(self, name: str) -> bool:
        return name in self.entries

    def below(self, folder: str) -> list[str]:
        """Return the names of the members below a folder, ascending."""
        return sorted(name for name in self.entries if name.startswith(f"{folder}/"))

    def read(self, name: str) -> bytes:
        """Return the content of a member, which is the one that the manifest was written for.

        Raises
        ------
        BundleError
            There is none, or it is damaged or another one.
        """
        if name not in self.entries:
            self.refuse(name, "it is missing")
        data = self._raw(name)
        if hashlib.sha256(data).hexdigest() != self.entries[name].sha256:
            self.refuse(name, "its SHA-256 is not the one in the manifest: it was changed")
        return data

    def object(self, name: str) -> dict[str, Any]:
        """Return the JSON object that a member holds."""
        return load_object(self.read(name), self.path, name, BundleError)

    def check(self) -> None:
        """Read every member once.

        Raises
        ------
        BundleError
            One is damaged or changed.
        """
        for name in self.entries:
            self.read(name)

    def _raw(self, name: str) -> bytes:
        try:
            return self._zip.content(name)
        except OSError as error:
            raise BundleError(self.path, name, str(error.strerror)) from error

    def close(self) -> None:
        """Close the file."""
        self._zip.close()


def json_bytes(content: dict[str, Any]) -> bytes:
    """Return the JSON text of a member: ASCII, a line for each key, in their order."""

    def text(value: Any) -> str:
        return json.dumps(value, ensure_ascii=True, allow_nan=False)

    lines = [f"{text(key)}: {text(value)}" for key, value in content.items()]
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()
