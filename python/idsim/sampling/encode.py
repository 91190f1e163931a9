"""Pixels to files: equal pixels give equal bytes with one version of Pillow, which the run records."""

from __future__ import annotations

import io
import os
import secrets
import zipfile
from typing import TYPE_CHECKING, Any

from idsim.files import sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["encode", "write_zip"]

JPEG_QUALITY = 95
PNG_LEVEL = 6  # zlib's own default; more costs time and saves next to nothing on photographs
EARLIEST = (1980, 1, 1, 0, 0, 0)  # of the format: a zip must not depend on the clock


def encode(pixels: NDArray[np.uint8], kind: str, quality: int) -> bytes:
    """Return the file of a picture. Needs Pillow (the extra ``audit``).

    Parameters
    ----------
    pixels : ndarray
        uint8 ``[height, width, 3]`` RGB, C-contiguous.
    kind : str
        ``png``, ``zip`` (PNG), ``jpeg`` or ``webp``.
    quality : int
        1 to 100 of JPEG and WebP; 0: JPEG 95, WebP lossless.
    """
    from PIL import Image

    options: dict[str, dict[str, Any]] = {
        "JPEG": {"quality": quality or JPEG_QUALITY, "subsampling": 0},
        "WEBP": {"quality": quality} if quality else {"lossless": True},
        "PNG": {"compress_level": PNG_LEVEL},
    }
    name = {"jpeg": "JPEG", "webp": "WEBP"}.get(kind, "PNG")
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, name, **options[name])
    return buffer.getvalue()


def write_zip(path: Path, members: Iterable[tuple[str, bytes]]) -> None:
    """Write an uncompressed zip durably, members in their order; it appears whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                for name, data in members:
                    info = zipfile.ZipInfo(name, EARLIEST)
                    info.create_system = 3  # Unix, whatever writes it
                    info.external_attr = 0o644 << 16
                    archive.writestr(info, data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)
