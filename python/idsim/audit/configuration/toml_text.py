"""TOML of plain values: read from files, and written so that equal values give equal bytes."""

from __future__ import annotations

import difflib
import tomllib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["read_toml", "suggestion", "to_toml"]

MAX_BYTES = 1 << 20


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """Return the tables of a TOML file; `what` it should be is named in errors.

    Raises
    ------
    ValueError
        It is no TOML, or larger than 1 MiB.
    OSError
        The file cannot be read.
    """
    if path.is_dir():
        raise ValueError(f"{path} is a folder: a TOML file is expected ({what})")
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"{path} is larger than {MAX_BYTES} bytes: this is no {what}")
    try:
        return tomllib.loads(data.decode())
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text, and so no TOML: this is no {what}") from error
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is not valid TOML: {error}") from error


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return the end of a sentence that refuses a name: the known one that is near it, or all known ones."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    return f" (did you mean {close[0]}?)" if close else f": known are {', '.join(names)}"


def to_toml(tables: dict[str, Any]) -> str:
    """Return TOML of plain values, tables of plain values and lists of such tables; equal input gives equal bytes."""
    lines = [f"{key} = {_toml(value)}" for key, value in tables.items() if not _tables(value)]
    for name, value in tables.items():
        heading = f"[[{name}]]" if isinstance(value, list) else f"[{name}]"
        for table in _tables(value):
            lines += ["", heading, *(f"{key} = {_toml(entry)}" for key, entry in table.items())]
    return "\n".join(lines) + "\n"


def _tables(value: Any) -> list[dict[str, Any]]:
    """Return the tables that a value consists of; none, where it is a plain value."""
    if isinstance(value, dict):
        return [value]
    return value if isinstance(value, list) and value and isinstance(value[0], dict) else []


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + "".join(_escaped(character) for character in value) + '"'
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml(entry) for entry in value) + "]"
    if isinstance(value, (int, float)):
        return repr(value)
    raise TypeError(f"TOML of {type(value).__name__} is not written here")


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    return character if character.isprintable() else f"\\U{ord(character):08x}"
