"""TOML of plain values: equal values give equal bytes."""

from __future__ import annotations

from typing import Any

__all__ = ["to_toml"]


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
