"""What a device reaches at most, measured in the same process and at the same clocks as the table."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from idsim.benchmark.device_rows import torch_module
from idsim.benchmark.machine import Peaks, best_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DevicePeaks", "device_peaks", "device_state", "product_of"]

GEMM_SIZE = 8192
COPY_BYTES = 1 << 30
ROUNDS = 10


@dataclass(frozen=True)
class DevicePeaks(Peaks):
    """Peaks of a device; 0 where this PyTorch cannot measure it.

    Products in GFLOP/s (int8: GOP/s) of square matrices through cuBLAS. ``read`` is GB/s of a copy within the device,
    read and written bytes together. ``to_device`` and ``to_host`` are GB/s between pinned host memory and the
    device, ``pageable`` from memory that is not pinned.
    """

    float16: float = 0.0
    tf32: float = 0.0
    to_device: float = 0.0
    to_host: float = 0.0
    pageable: float = 0.0

    def highest(self, other: DevicePeaks) -> DevicePeaks:
        """Return the higher of two measurements, peak by peak: other load only lowers them."""
        mine, its = self.to_dict(), other.to_dict()
        return DevicePeaks(**{name: max(value, its[name]) for name, value in mine.items()})


def product_of(kind: str, size: int, device: str) -> Callable[[], Any]:
    """Return a call that multiplies two matrices [size, size] of random values through the vendor's library."""
    torch = torch_module()
    torch.backends.cuda.matmul.allow_tf32 = kind == "tf32"
    if kind == "int8":
        codes = torch.randint(-127, 128, (size, size), dtype=torch.int8, device=device)
        return lambda: torch._int_mm(codes, codes.T)
    values = torch.randn(size, size, device=device)
    values = values if kind in ("float32", "tf32") else values.to(getattr(torch, kind))
    return lambda: torch.mm(values, values.T)


def _seconds(run: Callable[[], Any], device: str) -> float:
    def waited() -> None:
        run()
        if device.startswith("cuda"):
            torch_module().cuda.synchronize()

    return best_seconds([waited], ROUNDS)


def _product(kind: str, size: int, device: str) -> float:
    try:
        return 2.0 * size**3 / _seconds(product_of(kind, size, device), device) / 1e9
    except RuntimeError:  # this device or build has no such product
        return 0.0


def device_peaks(device: str = "cuda", size: int = GEMM_SIZE, copied: int = COPY_BYTES) -> DevicePeaks:
    """Measure products of size x size matrices and copies of ``copied`` bytes."""
    torch = torch_module()
    on_host = torch.zeros(copied, dtype=torch.uint8)
    pinned = on_host.pin_memory() if device.startswith("cuda") else on_host.clone()
    source = torch.zeros(copied, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)

    def rate(to: Any, by: Any) -> float:
        return float(copied / _seconds(lambda: to.copy_(by, non_blocking=True), device) / 1e9)

    return DevicePeaks(
        float32=_product("float32", size, device),
        bfloat16=_product("bfloat16", size, device),
        int8=_product("int8", size, device),
        read=2 * rate(target, source),
        float16=_product("float16", size, device),
        tf32=_product("tf32", size, device),
        to_device=rate(target, pinned),
        to_host=rate(pinned, source),
        pageable=rate(target, on_host),
    )


def device_state() -> dict[str, str]:
    """Return clocks, power and temperature as nvidia-smi has them now; empty where it cannot be asked."""
    fields = ("clocks.sm", "clocks.mem", "clocks.max.sm", "power.draw", "temperature.gpu", "driver_version")
    command = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader", "--id=0"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return {}
    return dict(zip(fields, (value.strip() for value in said.split(",")), strict=False))
