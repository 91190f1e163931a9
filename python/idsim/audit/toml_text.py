"""TOML of plain values: equal values give equal bytes."""

from __future__ import annotations

from typing import Any

__all__ = ["to_toml"]


def to_toml(tables: dict[str, Any]) -> str:
    """Return TOML of plain values and tables of plain values; equal input gives equal bytes."""
    lines = [f"{key} = {_toml(value)}" for key, value in tables.items() if not isinstance(value, dict)]
    for name, table in tables.items():
        if isinstance(table, dict):
            lines += ["", f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + "".join(_escaped(character) for character in value) + '"'
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml(entry) for entry in value) + "]"
    if isinstance(value, (int, float)):
        return repr(value)
    raise TypeError(f"TOML of {type(value).__name__} is not written here")


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    return character if character.isprintable() else f"\\U{ord(character):08x}"
