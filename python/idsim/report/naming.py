"""Names of figures: unique in a report, and fit for files and ids whatever the matchers and sets are called."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from idsim.report.figure import SIZE, Figure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Identity", "identities"]

LONGEST = 32


@dataclass(frozen=True)
class Identity:
    """Of which matcher and set figures are, and what their names end in."""

    matcher: str | None
    variant: str | None
    ending: str

    def figure(
        self,
        kind: str,
        title: str,
        caption: str,
        draw: Callable[[Any], None],
        size: tuple[float, float] = SIZE,
    ) -> Figure:
        """Return a figure of this matcher and set."""
        return Figure(kind + self.ending, kind, title, caption, self.matcher, draw, self.variant, size)


def identities(
    owners: Iterable[tuple[str | None, str | None]], by_matcher: bool, by_set: bool
) -> list[Identity]:
    """Return an identity for every (matcher, set), with endings that tell matchers or sets apart where asked for.

    Endings are made of letters, digits and hyphens; two names that would give one ending are numbered.
    """
    found: list[Identity] = []
    taken: set[str] = set()
    for matcher, variant in owners:
        parts = [name for name, wanted in ((matcher, by_matcher), (variant, by_set)) if wanted and name]
        ending = "".join(f"-{_slug(part)}" for part in parts)
        number = 2
        base = ending
        while ending in taken:
            ending = f"{base}-{number}"
            number += 1
        taken.add(ending)
        found.append(Identity(matcher, variant or None, ending))
    return found


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:LONGEST].strip("-") or "unnamed"
