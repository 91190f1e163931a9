"""A folder of broken and hostile pictures, and the pieces that they are made of."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import struct
import zlib

import numpy as np
from PIL import Image


def encoded(kind, size=(20, 10), seed=0, **options):
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width, height, data):
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def hostile(root, count=1000):
    """Fill a folder with broken and hostile entries, and a few whole pictures; return who must be listed."""
    rng = np.random.default_rng(5)
    whole = {kind: encoded(kind, (32, 32)) for kind in ("PNG", "JPEG", "WEBP")}
    outside = root.parent / "outside.png"
    outside.write_bytes(whole["PNG"])
    makers = [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(png_of(30_000, 30_000, zlib.compress(bytes(1000)))),
        lambda path: path.write_bytes(png_of(6000, 6000, zlib.compress(bytes(1 << 20)))),
        lambda path: path.write_bytes(whole["PNG"][: int(rng.integers(1, len(whole["PNG"]) - 20))]),
        lambda path: path.write_bytes(whole["JPEG"][: int(rng.integers(1, 300))]),
        lambda path: path.write_bytes(whole["WEBP"][: int(rng.integers(1, 60))]),
        os.mkfifo,
        lambda path: path.symlink_to(outside),
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.write_bytes(rng.bytes(int(rng.integers(1, 4000)))),
        lambda path: path.write_bytes(encoded("TIFF")),
        lambda path: path.write_bytes(b"<svg onload='alert(1)'/>"),
        lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + rng.bytes(200)),
        lambda path: path.write_bytes(whole["JPEG"][:2] + rng.bytes(300)),
        sparse,
        unix_socket,
        lambda path: path.with_suffix(".exe").write_bytes(whole["PNG"]),
        lambda path: path.write_bytes(png_of(0, 0, b"")),
    ]
    bad = set()
    for number in range(count):
        path = root / f"d{number % 7}" / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        makers[number % len(makers)](path)
        bad.add(f"d{number % 7}/{number:04d}" + (".exe" if number % len(makers) == 16 else ".png"))
    Image.fromarray(np.full((1, 1, 3), 9, np.uint8)).save(root / "d0" / "dot.png")
    (root / "d0" / "good.png").write_bytes(whole["PNG"])
    return bad


def sparse(path):
    with path.open("wb") as file:
        file.truncate(300 << 20)


def unix_socket(path):
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as made:
        here = os.open(path.parent, os.O_RDONLY)
        try:
            made.bind(f"/proc/self/fd/{here}/{path.name}")
        finally:
            os.close(here)
