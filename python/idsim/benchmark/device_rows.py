"""The rows of a case on a device, once for all tools, and answers that stay there until they are checked."""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from idsim.benchmark.tools import Float32

__all__ = ["DeviceRows", "OnDevice", "free_device_memory", "torch_module"]


def torch_module() -> Any:
    """Return PyTorch, which holds the rows for every library of the table."""
    import torch

    return torch


def free_device_memory() -> None:
    """Give back what libraries keep of freed memory: the others allocate past it."""
    gc.collect()
    torch_module().cuda.empty_cache()
    if "cupy" in sys.modules:
        sys.modules["cupy"].get_default_memory_pool().free_all_blocks()


class OnDevice:
    """Ids on the device; NumPy copies them to the host when it asks."""

    def __init__(self, ids: Any) -> None:
        self.ids = ids

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.asarray(torch_module().as_tensor(self.ids).cpu().numpy(), dtype=dtype)


class DeviceRows:
    """Copies of one case's rows on a device, one per element type.

    Parameters
    ----------
    device : str
        As PyTorch names it.
    keep : bool
        Keep 16-bit and 8-bit copies too. One-shot cases do not: making them belongs to the clock.
    """

    def __init__(self, device: str, *, keep: bool = True) -> None:
        self.device, self.keep = device, keep
        self._kept: dict[tuple[str, str], tuple[int, Any]] = {}

    def wait(self) -> None:
        """Return when the device has done all its work."""
        if self.device.startswith("cuda"):
            torch_module().cuda.synchronize()

    def gallery(self, rows: Float32, dtype: str = "float32") -> Any:
        """Return gallery rows [n, d] as a tensor of a type."""
        return self._get("gallery", rows, dtype)

    def queries(self, rows: Float32) -> Any:
        """Return queries float32 [q, d] as a tensor: they lie on the device before the clock starts."""
        return self._get("queries", rows, "float32")

    def codes(self, tensor: Any) -> Any:
        """Return int8 codes with one scale for all rows, as a quick user would make them."""
        torch = torch_module()
        return (tensor * (127.0 / tensor.abs().max())).round_().to(torch.int8)

    def _get(self, what: str, rows: Float32, dtype: str) -> Any:
        # A trial takes the first rows of a case: they have its address.
        key, address = (what, dtype), rows.ctypes.data
        before, tensor = self._kept.get(key, (0, None))
        if before == address and len(tensor) >= len(rows):
            return tensor[: len(rows)]
        self._kept.pop(key, None)
        tensor = None
        torch = torch_module()
        if dtype == "float32":
            tensor = torch.from_numpy(rows).to(self.device)
        elif dtype == "int8":
            tensor = self.codes(self._get(what, rows, "float32"))
        else:
            tensor = self._get(what, rows, "float32").to(getattr(torch, dtype))
        if self.keep or dtype == "float32":
            self._kept[key] = address, tensor
        return tensor
