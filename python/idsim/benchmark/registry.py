"""All tools of the table: ours and the rivals."""

from __future__ import annotations

from typing import Any

import idsim
from idsim.benchmark import libraries, products
from idsim.benchmark.tools import OURS, Float32, Setting, Tool, one_setting

__all__ = ["all_tools", "installed_tools"]


def _prepare_ours(gallery: Float32, threads: int) -> Any:
    return idsim.Index(gallery, threads=threads), threads


def _search_ours(state: Any, queries: Float32, k: int, _setting: Setting) -> Any:
    index, threads = state
    found = index.search(queries, k, threads=threads)
    return found.ids, found.scores


def _keep(gallery: Float32, threads: int) -> Any:
    return gallery, threads


def _search_ours_raw(state: Any, queries: Float32, k: int, _setting: Setting) -> Any:
    gallery, threads = state
    found = idsim.search(queries, gallery, k, threads=threads)
    return found.ids, found.scores


def our_tool(mode: str) -> Tool:
    """Return idsim with a prepared index, or on the raw array."""
    prepared = mode == "prepared"
    return Tool(
        name=OURS,
        modules=("idsim",),
        exact=True,
        # A one-shot search of few queries reads float32; with many, and when prepared, int8 codes.
        arithmetic="int8",
        value_bytes=1 if prepared else 4,
        prepare=_prepare_ours if prepared else _keep,
        search=_search_ours if prepared else _search_ours_raw,
        settings=one_setting,
    )


def all_tools(mode: str = "prepared") -> list[Tool]:
    """Return ours and every rival that takes part in a mode, installed or not; ours is first."""
    rivals = [*products.tools(), *libraries.tools()]
    return [our_tool(mode), *(tool for tool in rivals if mode == "prepared" or tool.one_shot)]


def installed_tools(mode: str = "prepared") -> list[Tool]:
    """Return the tools of a mode that can run here."""
    return [tool for tool in all_tools(mode) if not tool.missing]
