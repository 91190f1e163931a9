"""JSON from strangers: one object, no duplicate keys, no NaN, every field of its stated type."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, NoReturn

from idsim.errors import FileError, GalleryError
from idsim.files import InputFile

if TYPE_CHECKING:
    import os
    from pathlib import Path

__all__ = ["Fields", "canonical_json", "digest", "load_object", "read_object", "seal"]


def load_object(
    data: bytes | bytearray,
    path: str | os.PathLike[str],
    place: str,
    error: type[FileError] = GalleryError,
) -> dict[str, Any]:
    """Parse UTF-8 JSON text that must be one object.

    Raises
    ------
    FileError
        The text is not JSON, not an object, names a key twice, or holds NaN or an infinity; of class `error`.
    """
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except RecursionError:
        raise error(path, place, "the JSON text is nested too deeply") from None
    except ValueError as found:  # includes UnicodeDecodeError and JSONDecodeError
        raise error(path, place, f"not the JSON that is expected: {found}") from found
    if not isinstance(value, dict):
        raise error(path, place, "the JSON text is not an object")
    return value


def read_object(path: Path, max_bytes: int) -> dict[str, Any]:
    """Read a JSON file of at most `max_bytes` that holds one object."""
    with InputFile(path) as file:
        if file.size > max_bytes:
            raise GalleryError(path, "size", f"{file.size} bytes, at most {max_bytes} are read")
        return load_object(file.read(0, file.size), path, "text")


def canonical_json(value: object) -> bytes:
    """Return the one form of a JSON value that is hashed: sorted keys, no spaces, ASCII."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.encode("ascii")


def seal(content: dict[str, object]) -> bytes:
    """Return the text of a manifest: `content` with the SHA-256 of its canonical form as key ``sha256``."""
    sealed = content | {"sha256": digest(content)}
    return (json.dumps(sealed, indent=1, ensure_ascii=True, allow_nan=False) + "\n").encode("ascii")


def digest(content: dict[str, object]) -> str:
    """Return the SHA-256 of the canonical form of a JSON object."""
    return hashlib.sha256(canonical_json(content)).hexdigest()


class Fields:
    """The fields of one JSON object, taken out one by one with their types.

    Parameters
    ----------
    value : object
        What the JSON text holds at this place; it must be an object.
    path : path-like
        The file, for messages.
    place : str
        The part of the file, for messages.
    error : type of FileError
        What is raised.
    """

    def __init__(
        self,
        value: object,
        path: str | os.PathLike[str],
        place: str,
        error: type[FileError] = GalleryError,
    ) -> None:
        self._error = error
        self._path = path
        self._place = place
        if not isinstance(value, dict):
            self.refuse("", "is not an object")
        self._left: dict[str, object] = dict(value)

    def take(self, key: str) -> object:
        """Return any value; the key must be there."""
        if key not in self._left:
            self.refuse(key, "is missing")
        return self._left.pop(key)

    def text(self, key: str) -> str:
        """Return a string."""
        value = self.take(key)
        if not isinstance(value, str):
            self.refuse(key, "is not a string")
        return value

    def count(self, key: str, maximum: int = 2**63 - 1) -> int:
        """Return an integer from 0 to `maximum`."""
        value = self.take(key)
        if type(value) is not int or not 0 <= value <= maximum:
            self.refuse(key, f"is not an integer from 0 to {maximum}")
        return value

    def items(self, key: str) -> list[object]:
        """Return an array."""
        value = self.take(key)
        if not isinstance(value, list):
            self.refuse(key, "is not an array")
        return value

    def nested(self, key: str) -> Fields:
        """Return an object."""
        return Fields(self.take(key), self._path, self.place(key), self._error)

    def finish(self) -> None:
        """Refuse keys that nobody took."""
        if self._left:
            self.refuse(min(self._left), "is not a key of this format")

    def place(self, key: str) -> str:
        """Return the name of a field for messages."""
        return f"{self._place}.{key}" if key else self._place

    def refuse(self, key: str, reason: str) -> NoReturn:
        """Raise the error about one field."""
        raise self._error(self._path, self.place(key), reason)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")
