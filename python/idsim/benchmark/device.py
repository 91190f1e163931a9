"""The table on a CUDA device: ours and the rivals, on rows that lie there."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import idsim
from idsim.benchmark.device_rivals import rival_tools
from idsim.benchmark.device_rows import DeviceRows, OnDevice
from idsim.benchmark.device_tiles import other_tiles, using
from idsim.benchmark.tools import OURS, Float32, Setting, Tool, one_setting

if TYPE_CHECKING:
    from idsim.results import TopK

__all__ = ["device_tools"]


def _ours(rows: DeviceRows, mode: str, tier: str | None = None) -> Tool:
    """Return idsim with the kernels that the environment says, or those of a tier."""
    prepared = mode == "prepared"

    def kernels() -> Any:
        return using(tier) if tier else nullcontext()

    def prepare(gallery: Float32, _threads: int) -> Any:
        with kernels():
            return idsim.Index(rows.gallery(gallery)) if prepared else rows.gallery(gallery)

    def search(state: Any, queries: Float32, k: int, _setting: Setting) -> Any:
        with kernels():
            found: TopK = idsim.search(rows.queries(queries), state, k)
        rows.wait()
        return OnDevice(found.ids), OnDevice(found.scores)

    name = f"{OURS} {tier}" if tier else OURS
    return Tool(name, ("torch",), True, "int8", 1 if prepared else 4, prepare, search, one_setting)


def device_tools(device: str = "cuda", mode: str = "prepared") -> list[Tool]:
    """Return ours and every rival, installed or not, for one case.

    Parameters
    ----------
    device : str
        As PyTorch names it. Where it has several kinds of tile kernels, ours comes once more for each that the
        environment does not choose, with its name: "idsim wgmma".
    mode : {"prepared", "one-shot"}
        Whether codes and 16-bit copies of the gallery are made before the clock starts. The float32 rows lie on the
        device either way, and ids and scores stay there.
    """
    rows = DeviceRows(device, keep=mode == "prepared")
    ours = [_ours(rows, mode), *(_ours(rows, mode, tier) for tier in other_tiles(device))]
    return [*ours, *rival_tools(rows)]
