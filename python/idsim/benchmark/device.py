"""The table on a CUDA device: ours and the rivals, on rows that lie there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import idsim
from idsim.benchmark.device_rivals import rival_tools
from idsim.benchmark.device_rows import DeviceRows, OnDevice
from idsim.benchmark.tools import OURS, Float32, Setting, Tool, one_setting

if TYPE_CHECKING:
    from idsim.results import TopK

__all__ = ["device_tools"]


def _ours(rows: DeviceRows, mode: str) -> Tool:
    prepared = mode == "prepared"

    def prepare(gallery: Float32, _threads: int) -> Any:
        return idsim.Index(rows.gallery(gallery)) if prepared else rows.gallery(gallery)

    def search(state: Any, queries: Float32, k: int, _setting: Setting) -> Any:
        found: TopK = idsim.search(rows.queries(queries), state, k)
        rows.wait()
        return OnDevice(found.ids), OnDevice(found.scores)

    return Tool(OURS, ("torch",), True, "int8", 1 if prepared else 4, prepare, search, one_setting)


def device_tools(device: str = "cuda", mode: str = "prepared") -> list[Tool]:
    """Return ours and every rival, installed or not, for one case.

    Parameters
    ----------
    device : str
        As PyTorch names it.
    mode : {"prepared", "one-shot"}
        Whether codes and 16-bit copies of the gallery are made before the clock starts. The float32 rows lie on the
        device either way, and ids and scores stay there.
    """
    rows = DeviceRows(device, keep=mode == "prepared")
    return [_ours(rows, mode), *rival_tools(rows)]
