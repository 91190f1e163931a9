"""The page that compares several runs: generators, truncations, checkpoints, dates."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from idsim.report.blocks import Page
    from idsim.report.data import RunResults
    from idsim.report.page import Options
    from idsim.report.thumbnails import Thumbnail

__all__ = ["several_runs"]


def several_runs(runs: list[RunResults], options: Options) -> tuple[Page, dict[str, Thumbnail]]:
    """Return the page."""
    raise NotImplementedError
