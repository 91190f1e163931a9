"""The tile kernels of a device's scans, chosen as its environment variable does: at every search, by name."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from idsim.benchmark.device_rows import torch_module

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["TILES", "check_tiles", "chosen_tiles", "other_tiles", "tiers", "using"]

TILES = "IDSIM_CUDA_TILES"
# Products of single warps, on every device; products of warp groups, on compute capability 9.0.
DEFAULT, GROUPS = "mma", "wgmma"


def tiers(device: str) -> tuple[str, ...]:
    """Return the kernels that a device can be asked for, the default first; none where PyTorch has no CUDA there."""
    if not device.startswith("cuda"):
        return ()
    return (DEFAULT, GROUPS) if torch_module().cuda.get_device_capability(device) == (9, 0) else (DEFAULT,)


def chosen_tiles() -> str:
    """Return what the environment asks for, or what is taken without."""
    return os.environ.get(TILES) or DEFAULT


def other_tiles(device: str) -> tuple[str, ...]:
    """Return the kernels that a device has beside those that searches take now."""
    return tuple(tier for tier in tiers(device) if tier != chosen_tiles())


def check_tiles(device: str) -> None:
    """Raise where the environment asks for kernels that there are not, before anything is measured.

    Raises
    ------
    ValueError
        The value is unknown, or the device has other kernels.
    """
    asked, have = chosen_tiles(), tiers(device)
    if asked not in (DEFAULT, GROUPS):
        msg = f"{TILES} is {asked!r}: it can be {DEFAULT} or {GROUPS}"
        raise ValueError(msg)
    if have and asked not in have:
        msg = f"{TILES} is {asked}, which needs compute capability 9.0; {device} has {', '.join(have)}"
        raise ValueError(msg)


@contextmanager
def using(tier: str) -> Iterator[None]:
    """Take a tier's kernels within."""
    before = os.environ.get(TILES)
    os.environ[TILES] = tier
    try:
        yield
    finally:
        if before is None:
            del os.environ[TILES]
        else:
            os.environ[TILES] = before
