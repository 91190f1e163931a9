"""The figures of a run as pictures inside a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from idsim.report.blocks import Section

if TYPE_CHECKING:
    from idsim.report.data import RunResults

__all__ = ["plots"]


def plots(run: RunResults) -> Section | None:
    """Return the figures of a run."""
    return None
