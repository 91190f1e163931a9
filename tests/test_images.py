"""Pictures from strangers: every bad one has a reason, none stops or fools the scan."""

from __future__ import annotations

import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from idsim.images import decode, list_images, read_bytes


def encoded(kind, size=(20, 10), mode="RGB", **options):
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def bomb(width, height):
    """A PNG header that announces far more pixels than the file has."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 100))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("kind", "mode"), [("JPEG", "RGB"), ("JPEG", "L"), ("PNG", "RGBA"), ("PNG", "P"), ("WEBP", "RGB")]
)
def test_pictures_become_rgb(kind, mode):
    picture = decode(encoded(kind, mode=mode))
    assert picture.reason == ""
    assert picture.pixels.shape == (10, 20, 3)
    assert picture.pixels.dtype == np.uint8


def test_png_keeps_every_pixel_and_its_order():
    pixels = np.random.default_rng(1).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    np.testing.assert_array_equal(decode(buffer.getvalue()).pixels, pixels)


def test_a_turned_photograph_is_turned_back():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode(encoded("JPEG", exif=exif)).pixels.shape == (20, 10, 3)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no JPEG, PNG or WebP"),
        (b"\xff\xd8\xff", "no JPEG, PNG or WebP"),
        (encoded("TIFF"), "no JPEG, PNG or WebP"),
        (encoded("GIF"), "no JPEG, PNG or WebP"),
        (encoded("PNG", (200, 100))[:2000], "cannot be decoded"),
        (encoded("JPEG", (200, 100))[:1500], "cannot be decoded"),
        (bomb(8000, 6000), "48000000|8000 x 6000"),
        (bomb(60_000, 60_000), "DecompressionBomb|60000 x 60000"),
    ],
)
def test_bad_pictures_have_a_reason_that_does_not_change(data, reason):
    first, second = decode(data), decode(data)
    assert first.pixels is None
    assert first.reason == second.reason
    assert any(part in first.reason for part in reason.split("|")), first.reason
    assert "0x" not in first.reason


def test_flipped_bytes_never_raise():
    rng = np.random.default_rng(3)
    for kind in ("JPEG", "PNG", "WEBP"):
        good = encoded(kind, (64, 64))
        for _ in range(150):
            data = bytearray(good)
            for place in rng.integers(0, len(data), 3):
                data[place] ^= 1 << int(rng.integers(8))
            picture = decode(bytes(data))
            assert (picture.pixels is None) == bool(picture.reason)


def test_listing_follows_nothing_and_leaves_nothing_out(tmp_path):
    root = tmp_path / "set"
    (root / "b").mkdir(parents=True)
    for name in ("b/2.PNG", "b/1.jpg", "a.webp", ".hidden.png", "notes.txt"):
        (root / name).write_bytes(b"x")
    os.mkfifo(root / "fifo.jpg")
    (root / "link.jpg").symlink_to(root / "a.webp")
    (root / "loop").symlink_to(root)
    (root / os.fsdecode(b"\xff.png")).write_bytes(b"x")
    listing = list_images(root)
    assert [file.item for file in listing.images] == [r"\xff.png", "a.webp", "b/1.jpg", "b/2.PNG"]
    reasons = dict(listing.skipped)
    assert reasons["fifo.jpg"] == "it is no regular file"
    assert reasons["link.jpg"] == reasons["loop"] == "it is a symbolic link"
    assert "suffix" in reasons["notes.txt"]
    assert read_bytes(listing.images[0].path) == b"x"


def test_a_file_that_becomes_a_link_or_a_fifo_is_not_opened(tmp_path):
    (tmp_path / "real.jpg").write_bytes(b"x")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "real.jpg")
    os.mkfifo(tmp_path / "fifo.jpg")
    for name in ("link.jpg", "fifo.jpg"):
        with pytest.raises(OSError, match=r"link|regular|symbolic"):
            read_bytes(tmp_path / name)


def test_deep_folders_end(tmp_path):
    folder = tmp_path
    for _ in range(20):
        folder /= "d"
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(b"x")
    listing = list_images(tmp_path)
    assert listing.images == []
    assert "deeper" in listing.skipped[0][1]
