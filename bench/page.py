"""Tables that live between two marks of a page."""

from __future__ import annotations


def put_into(page: str, text: str, marks: tuple[str, str]) -> str:
    """Return the page with ``text`` between its two marks."""
    if any(page.count(mark) != 1 for mark in marks):
        raise ValueError(f"the page must hold {marks[0]} and {marks[1]} once each")
    head, rest = page.split(marks[0])
    _, tail = rest.split(marks[1])
    return f"{head}{marks[0]}\n\n{text}\n\n{marks[1]}{tail}"
