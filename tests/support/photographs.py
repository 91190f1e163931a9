"""Photographs of scikit-image, and the forms in which pictures come."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np

__all__ = ["astronaut", "encodings", "png16", "two_faces"]


def astronaut():
    """Return Eileen Collins, 512 x 512, whose face is about 90 pixels wide."""
    import pytest

    pytest.importorskip("skimage", reason="the photograph is scikit-image's")
    from skimage import data

    return data.astronaut()


def two_faces(picture):
    """Return a picture with the same person twice, the second one mirrored."""
    return np.concatenate([picture[:300, 60:360], picture[:300, 360:60:-1]], axis=1)


def png16(pixels):
    """Return a PNG of 16 bits: uint16, grey ``[height, width]`` or RGB ``[height, width, 3]``. Pillow writes none."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = pixels.shape[:2]
    header = struct.pack(">II5B", width, height, 16, 0 if pixels.ndim == 2 else 2, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, data) for kind, data in parts)


def encodings(picture):
    """Return the same picture in the forms in which it may come, as bytes, by names."""
    from PIL import Image

    image = Image.fromarray(picture)

    def saved(form, kind="PNG", **options):
        buffer = io.BytesIO()
        form.save(buffer, kind, **options)
        return buffer.getvalue()

    turned, exif = image.transpose(Image.Transpose.ROTATE_90), Image.Exif()
    exif[274] = 6  # shown after a quarter turn to the right
    clear = image.convert("RGBA")
    clear.putalpha(
        Image.fromarray(np.linspace(0, 255, picture[..., 0].size).reshape(picture.shape[:2]).astype(np.uint8))
    )
    grey = np.asarray(image.convert("L"))
    return {
        "png": saved(image),
        "jpeg": saved(image, "JPEG", quality=95),
        "grey": saved(image.convert("L")),
        "rgba": saved(clear),
        "palette": saved(image.quantize(256)),
        "rgb16": png16(picture.astype(np.uint16) * 257),
        "grey16": png16(grey.astype(np.uint16) * 257),
        "exif": saved(turned, "JPEG", quality=95, exif=exif),
    }
