"""The table on a CUDA device: ours, and what a patient PyTorch user would write there.

Every tool works on tensors of the device and returns after the device is done.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import idsim
from idsim.benchmark.machine import Peaks, best_seconds
from idsim.benchmark.tools import OURS, Float32, Setting, Tool, one_setting

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["device_peaks", "device_tools"]

CHUNKS = (65_536, 262_144, 1_048_576)
SCORE_BYTES = 8 << 30  # most that a tool's matrix of scores may take
GEMM_SIZE = 8192
COPY_BYTES = 1 << 30


def _torch() -> Any:
    import torch

    return torch


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        _torch().cuda.synchronize()


@dataclass
class _Rows:
    """A gallery on the device in a tool's type."""

    values: Any
    device: str


class _Product:
    """Scores by a matrix product, chunk by chunk, and PyTorch's topk; selection can be left out."""

    def __init__(self, dtype: str, device: str, *, tf32: bool = False, select: bool = True) -> None:
        self.dtype, self.device, self.tf32, self.select = dtype, device, tf32, select

    def prepare(self, gallery: Float32, _threads: int) -> _Rows:
        torch = _torch()
        return _Rows(torch.from_numpy(gallery).to(self.device, getattr(torch, self.dtype)), self.device)

    def settings(self, queries: int, rows: int) -> Sequence[Setting]:
        fitting = [chunk for chunk in CHUNKS if chunk < rows and 4 * queries * chunk <= SCORE_BYTES]
        if 4 * queries * rows <= SCORE_BYTES or not fitting:
            fitting.append(rows)
        return [{"chunk": chunk} for chunk in fitting]

    def search(self, state: _Rows, queries: Float32, k: int, setting: Setting) -> Any:
        torch = _torch()
        torch.backends.cuda.matmul.allow_tf32 = self.tf32
        rows = state.values
        q = torch.from_numpy(queries).to(self.device, rows.dtype)
        parts = []
        for start in range(0, len(rows), setting["chunk"]):
            scores = q @ rows[start : start + setting["chunk"]].T
            if self.select:
                best, at = scores.topk(min(k, scores.shape[1]), dim=1)
                parts.append((best, at + start))
        if not self.select:
            _wait(self.device)
            return None
        scores = torch.cat([part[0] for part in parts], dim=1)
        ids = torch.cat([part[1] for part in parts], dim=1)
        _, at = scores.topk(k, dim=1)
        return ids.gather(1, at).cpu().numpy()


def _ours(device: str, mode: str) -> Tool:
    def prepare(gallery: Float32, _threads: int) -> Any:
        rows = _torch().from_numpy(gallery).to(device)
        return idsim.Index(rows) if mode == "prepared" else rows

    def search(state: Any, queries: Float32, k: int, _setting: Setting) -> Any:
        q = _torch().from_numpy(queries).to(device)
        found = idsim.search(q, state, k)
        return found.ids.cpu().numpy(), found.scores.cpu().numpy()

    return Tool(OURS, ("torch",), True, "int8", 1 if mode == "prepared" else 4, prepare, search, one_setting)


def device_tools(device: str = "cuda", mode: str = "prepared") -> list[Tool]:
    """Return ours and the rivals; the tools named "product" select nothing and have no answer.

    Parameters
    ----------
    device : str
        As PyTorch names it.
    mode : {"prepared", "one-shot"}
        Whether the gallery's codes and copies are made before the clock starts; the float32 rows lie on the
        device either way only in prepared cases.
    """
    kinds = [
        ("torch float32", _Product("float32", device), True, "float32", 4),
        ("torch tf32", _Product("float32", device, tf32=True), False, "bfloat16", 4),
        ("torch float16", _Product("float16", device), False, "bfloat16", 2),
        ("torch bfloat16", _Product("bfloat16", device), False, "bfloat16", 2),
        ("product bfloat16", _Product("bfloat16", device, select=False), False, "bfloat16", 2),
    ]
    rivals = [
        Tool(name, ("torch",), exact, kind, size, tool.prepare, tool.search, tool.settings)
        for name, tool, exact, kind, size in kinds
    ]
    return [_ours(device, mode), *rivals]


def device_peaks(device: str = "cuda", size: int = GEMM_SIZE, copied: int = COPY_BYTES) -> Peaks:
    """Measure the device: products of size x size matrices, and a copy of `copied` bytes (read and written)."""
    torch = _torch()

    def product(dtype: Any) -> float:
        a = torch.randn(size, size, device=device).to(dtype)

        def run() -> None:
            a @ a
            _wait(device)

        return 2.0 * size**3 / best_seconds([run], 10) / 1e9

    def int8_product() -> float:
        a = torch.randint(-127, 127, (size, size), dtype=torch.int8, device=device)

        def run() -> None:
            torch._int_mm(a, a)
            _wait(device)

        return 2.0 * size**3 / best_seconds([run], 10) / 1e9

    def copy() -> float:
        source = torch.zeros(copied, dtype=torch.uint8, device=device)
        target = torch.empty_like(source)

        def run() -> None:
            target.copy_(source)
            _wait(device)

        return 2.0 * copied / best_seconds([run], 10) / 1e9

    torch.backends.cuda.matmul.allow_tf32 = False
    return Peaks(product(torch.float32), product(torch.bfloat16), int8_product(), copy())
