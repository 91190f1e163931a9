"""Text of strangers made fit to be shown: nothing hidden, nothing turned around, nothing endless."""

from __future__ import annotations

import unicodedata
from pathlib import PurePath
from typing import TYPE_CHECKING

from idsim.audit.summary import percent

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["count", "interval", "last_part", "number", "p_value", "rate", "shortened", "visible"]

# What has no picture of its own: controls, format characters (directions, joiners), surrogates, private use,
# separators of lines and paragraphs.
HIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")

LONGEST_NAME = 96  # characters; the longest names of files have 255 bytes, labels have no limit


def visible(text: str) -> str:
    r"""Return text in which every character can be seen, and which any file can hold.

    Controls, directions, joiners, surrogates and unassigned characters become ``⟨U+202E⟩`` and the like; only the end
    of a line stays.

    Examples
    --------
    >>> visible("a\u202eb\x00")
    'a⟨U+202E⟩b⟨U+0000⟩'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_seen(character) for character in text)


def _seen(character: str) -> str:
    if character == "\n" or unicodedata.category(character) not in HIDDEN:
        return character
    return f"⟨U+{ord(character):04X}⟩"


def shortened(name: str, longest: int = LONGEST_NAME) -> str:
    """Return a name with its middle left out where it is long; both ends tell files apart."""
    if len(name) <= longest:
        return name
    head = longest * 2 // 3
    return f"{name[:head]}…{name[head - longest + 1 :]}"


def last_part(path: str) -> str:
    """Return the last part of a path: the others tell of the machine and of who works there.

    What follows a colon in ``file.py:function`` is kept.
    """
    return PurePath(path).name or path


SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float | None, digits: int = 3) -> str:
    """Return a number in `digits` significant digits, with powers of ten where it is tiny or huge; a dash for None."""
    if value is None:
        return "–"
    if 1000 <= value < 1e7:
        return count(value)
    mantissa, _, exponent = f"{value:.{digits}g}".replace("-", "−", 1 if value < 0 else 0).partition("e")
    if not exponent:
        return mantissa
    power = f"10{str(int(exponent)).translate(SUPERSCRIPTS)}"
    return power if mantissa == "1" else f"{mantissa}·{power}"


def count(value: float | None) -> str:
    """Return a whole number in groups of three digits, apart by thin spaces."""
    return "–" if value is None else f"{int(value):,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def p_value(value: float | None) -> str:
    """Return a p-value in two digits."""
    return number(value, 2)


def rate(value: float) -> str:
    """Return a rate in percent, which no line breaks apart."""
    return percent(value).replace(" ", "\N{NO-BREAK SPACE}").replace("-", "−")


def interval(entry: Mapping[str, float | None]) -> str:
    """Return an interval of rates in percent."""
    low, high = entry["low"], entry["high"]
    return "–" if low is None or high is None else f"{rate(low)} to\N{NO-BREAK SPACE}{rate(high)}"
