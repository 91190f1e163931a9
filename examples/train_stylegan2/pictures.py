"""Training pictures: a folder of files, cropped, shrunk and kept in one array."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError  # noqa: TID253 - a script

if TYPE_CHECKING:
    from pathlib import Path

SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}


def find(folder: Path) -> list[Path]:
    """Picture files under the folder, in the order of their names."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not found:
        raise SystemExit(f"{folder}: no pictures ({', '.join(sorted(SUFFIXES))})")
    return found


def fitting_resolution(paths: list[Path]) -> int:
    """The largest power of two from 8 to 1024 that no picture has to be enlarged to."""
    side = 1024
    for path in paths:
        with opened(path) as picture:
            side = min(side, *picture.size)
    if side < 8:
        raise SystemExit(f"the smallest picture has a side of {side} pixels; a generator needs 8 or more")
    return 1 << (side.bit_length() - 1)


def opened(path: Path) -> Image.Image:
    try:
        return Image.open(path)
    except (UnidentifiedImageError, OSError) as error:
        raise SystemExit(f"{path}: not a picture ({error})") from error


def square(path: Path, resolution: int) -> np.ndarray:
    """The middle square of a picture, uint8 ``[3, resolution, resolution]``."""
    with opened(path) as picture:
        try:
            upright = ImageOps.exif_transpose(picture).convert("RGB")
        except OSError as error:
            raise SystemExit(f"{path}: cannot be read ({error})") from error
        fitted = ImageOps.fit(upright, (resolution, resolution), Image.Resampling.LANCZOS)
    return np.asarray(fitted).transpose(2, 0, 1)


def prepare(paths: list[Path], resolution: int, cache: Path) -> np.ndarray:
    """All pictures as one memory-mapped array, uint8 ``[n, 3, resolution, resolution]``, made once."""
    shape = (len(paths), 3, resolution, resolution)
    if not cache.exists():
        part = cache.with_suffix(".part")
        array = np.lib.format.open_memmap(part, "w+", np.uint8, shape)
        for row, path in enumerate(paths):
            array[row] = square(path, resolution)
        array.flush()
        os.replace(part, cache)  # noqa: PTH105 - atomic, unlike a rename on every system
    array = np.load(cache, mmap_mode="r", allow_pickle=False)
    if array.shape != shape:
        raise SystemExit(f"{cache}: made from other pictures (shape {array.shape}, not {shape}); remove it")
    return array


def fingerprint(array: np.ndarray) -> str:
    """SHA-256 of the pictures."""
    digest = hashlib.sha256(str(array.shape).encode())
    for row in array:
        digest.update(row.tobytes())
    return digest.hexdigest()


def batch(array: np.ndarray, seed: int, seen: int, count: int, *, mirror: bool) -> np.ndarray:
    """The next pictures after `seen` ones, a pure function of its arguments: float32 in [-1, 1].

    Every pass over the set has its own order; a mirrored copy is drawn with probability one half.
    """
    rows = np.empty(count, np.int64)
    flips = np.zeros(count, bool)
    for place in range(count):
        epoch, offset = divmod(seen + place, len(array))
        if place == 0 or offset == 0:
            rng = np.random.default_rng([seed, epoch])
            order, mirrored = rng.permutation(len(array)), rng.random(len(array)) < 0.5
        rows[place], flips[place] = order[offset], mirror and mirrored[offset]
    taken = np.array(array[rows])
    taken[flips] = taken[flips, :, :, ::-1]
    return taken.astype(np.float32) / 127.5 - 1
