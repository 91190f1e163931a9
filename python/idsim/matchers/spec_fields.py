"""The keys of a specification, taken out one by one; a refusal names the key and what is allowed."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from idsim.errors import MatcherError
from idsim.strict_json import Fields

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["SpecTable"]

_REQUIRED: Any = object()
MAX_TEXT = 4000


class SpecTable(Fields):
    """A table of a specification, with defaults and with the values that are allowed."""

    def __init__(
        self, value: object, path: Any, place: str, error: type[MatcherError] = MatcherError
    ) -> None:
        super().__init__(value, path, place, error)
        self._known: list[str] = []

    def has(self, key: str) -> bool:
        """Whether the key stands in the table and was not taken yet."""
        self._known.append(key)
        return key in self._left

    def place(self, key: str) -> str:
        """Return the name of a key for messages."""
        return (
            ".".join(part for part in (self._place.removeprefix("specification"), key) if part)
            or "specification"
        )

    def section(self, key: str, *, required: bool = True) -> SpecTable:
        """Return a table within the table."""
        value = self._value(key, f"a table [{key}]", _REQUIRED if required else {})
        if not isinstance(value, dict):
            self.refuse(key, f"must be a table [{key}], not {value!r}")
        return SpecTable(value, self._path, self.place(key))

    def choice(self, key: str, allowed: Sequence[str], default: Any = _REQUIRED) -> str:
        """Return one of the texts that are allowed."""
        wanted = "one of " + ", ".join(allowed)
        value = self._value(key, wanted, default)
        if value not in allowed:
            self.refuse(key, f"must be {wanted}, not {value!r}")
        return str(value)

    def word(self, key: str, default: Any = "") -> str:
        """Return a text, perhaps an empty one."""
        value = self._value(key, "a text", default)
        if not isinstance(value, str) or len(value) > MAX_TEXT or "\0" in value:
            self.refuse(key, f"must be a text of at most {MAX_TEXT} characters, not {_short(value)}")
        return value

    def filled(self, key: str) -> str:
        """Return a text that says something."""
        value = self.word(key, _REQUIRED)
        if not value.strip():
            self.refuse(key, "must not be empty")
        return value

    def pattern(self, key: str, pattern: str, meaning: str, default: Any = _REQUIRED) -> str:
        """Return a text of a certain form."""
        value = self._value(key, meaning, default)
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            self.refuse(key, f"must be {meaning}, not {_short(value)}")
        return value

    def words(self, key: str) -> tuple[str, ...]:
        """Return an array of texts, perhaps an empty one."""
        value = self._value(key, "an array of texts", [])
        if not isinstance(value, list) or len(value) > 64 or not all(isinstance(item, str) for item in value):
            self.refuse(key, f"must be an array of texts, not {_short(value)}")
        return tuple(value)

    def flag(self, key: str, *, required: bool = False) -> bool:
        """Return true or false."""
        value = self._value(key, "true or false", _REQUIRED if required else False)
        if not isinstance(value, bool):
            self.refuse(key, f"must be true or false, not {_short(value)}")
        return value

    def whole(self, key: str, low: int, high: int, default: Any = _REQUIRED) -> int:
        """Return an integer within its limits."""
        wanted = f"an integer from {low} to {high}"
        value = self._value(key, wanted, default)
        if type(value) is not int or not low <= value <= high:
            self.refuse(key, f"must be {wanted}, not {_short(value)}")
        return value

    def word_or_whole(self, key: str, high: int) -> str | int:
        """Return a text, perhaps an empty one, or an integer from 0 on."""
        if type(self._left.get(key)) is int:
            return self.whole(key, 0, high)
        return self.word(key)

    def wholes(self, key: str, count: int, low: int, high: int, meaning: str) -> tuple[int, ...]:
        """Return an array of integers within their limits."""
        wanted = f"an array of {count} integers from {low} to {high} ({meaning})"
        value = self._value(key, wanted, _REQUIRED)
        if not isinstance(value, list) or len(value) != count:
            self.refuse(key, f"must be {wanted}, not {_short(value)}")
        if not all(type(item) is int and low <= item <= high for item in value):
            self.refuse(key, f"must be {wanted}, not {_short(value)}")
        return tuple(value)

    def numbers(self, key: str, counts: tuple[int, ...]) -> tuple[float, ...]:
        """Return one finite number or an array of them."""
        wanted = f"a number or an array of {' or '.join(map(str, counts))} numbers"
        value = self._value(key, wanted, _REQUIRED)
        items = value if isinstance(value, list) else [value]
        usable = all(type(item) in (int, float) and math.isfinite(item) for item in items)
        if not usable or len(items) not in counts:
            self.refuse(key, f"must be {wanted}, not {_short(value)}")
        return tuple(float(item) for item in items)

    def finish(self) -> None:
        """Refuse keys that nobody took."""
        if self._left:
            self.refuse(
                min(self._left), f"is not a key here; the keys are {', '.join(sorted(set(self._known)))}"
            )

    def _value(self, key: str, wanted: str, default: Any) -> Any:
        self._known.append(key)
        if key not in self._left:
            if default is _REQUIRED:
                self.refuse(key, f"is missing; it must be {wanted}")
            return default
        return self._left.pop(key)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
