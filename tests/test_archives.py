"""Zips from strangers: every trick is refused by name, before a byte of it is unpacked."""

from __future__ import annotations

import io
import os
import struct
import zipfile

import numpy as np
import pytest
from PIL import Image

from idsim.archives import ZipPictures


def png(seed=0):
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def make(path, members, kind=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def test_pictures_come_in_order_of_their_names(tmp_path):
    members = [("b/2.png", png(2)), ("a/1.PNG", png(1)), ("dataset.json", b"{}"), ("notes.txt", b"x")]
    pictures = ZipPictures(make(tmp_path / "a.zip", members, zipfile.ZIP_DEFLATED))
    assert pictures.items == ["a/1.PNG", "b/2.png"]
    assert [name for name, _ in pictures.skipped] == ["dataset.json", "notes.txt"]
    assert pictures.read(0) == png(1)


@pytest.mark.parametrize("name", ["../a.png", "/etc/a.png", "a/../../b.png", "a\\b.png", "C:a.png"])
def test_names_that_leave_the_folder_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match="leaves the folder"):
        ZipPictures(make(tmp_path / "a.zip", [(name, png())]))


def test_a_symbolic_link_is_refused(tmp_path):
    link = zipfile.ZipInfo("a.png")
    link.external_attr = 0o120777 << 16
    with pytest.raises(ValueError, match="symbolic link"):
        ZipPictures(make(tmp_path / "a.zip", [(link, "/etc/passwd")]))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_given_twice_is_refused(tmp_path):
    with pytest.raises(ValueError, match="there twice"):
        ZipPictures(make(tmp_path / "a.zip", [("a.png", png(0)), ("a.png", png(1))]))


def test_a_bomb_is_refused_by_what_it_announces(tmp_path):
    members = [("a.png", b"\0" * 5_000_000)]
    with pytest.raises(ValueError, match="announces 5000000"):
        ZipPictures(make(tmp_path / "a.zip", members, zipfile.ZIP_DEFLATED))


def test_other_compression_is_refused(tmp_path):
    with pytest.raises(ValueError, match="stored and deflated"):
        ZipPictures(make(tmp_path / "a.zip", [("a.png", png())], zipfile.ZIP_LZMA))


def central(path):
    data = bytearray(path.read_bytes())
    return data, data.index(b"PK\x01\x02")


def test_an_encrypted_member_is_refused(tmp_path):
    path = make(tmp_path / "a.zip", [("a.png", png())])
    data, start = central(path)
    data[start + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match="encrypted"):
        ZipPictures(path)


def test_members_that_share_bytes_are_refused(tmp_path):
    path = make(tmp_path / "a.zip", [("a.png", png(0)), ("b.png", png(1))])
    data, start = central(path)
    second = data.index(b"PK\x01\x02", start + 4)
    data[second + 42 : second + 46] = struct.pack("<I", 0)
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"overlaps|cannot be read"):
        ZipPictures(path)


def test_a_changed_byte_is_an_error_of_that_member(tmp_path):
    path = make(tmp_path / "a.zip", [("a.png", png(0)), ("b.png", png(1))])
    data = bytearray(path.read_bytes())
    data[data.index(png(1)) + 30] ^= 1
    path.write_bytes(data)
    pictures = ZipPictures(path)
    assert pictures.read(0) == png(0)
    with pytest.raises(OSError, match=r"b\.png"):
        pictures.read(1)


def test_links_and_fifos_are_not_opened(tmp_path):
    make(tmp_path / "real.zip", [("a.png", png())])
    (tmp_path / "link.zip").symlink_to(tmp_path / "real.zip")
    os.mkfifo(tmp_path / "fifo.zip")
    for name in ("link.zip", "fifo.zip"):
        with pytest.raises(OSError, match=name):
            ZipPictures(tmp_path / name)


def test_damage_ends_in_one_documented_error(tmp_path):
    """Flips and cuts anywhere: read, or ValueError or OSError, never anything else."""
    path = make(tmp_path / "a.zip", [("a.png", png(0)), ("b/b.png", png(1))], zipfile.ZIP_DEFLATED)
    good = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for trial in range(600):
        data = bytearray(good)
        if trial % 3 == 0:
            del data[int(rng.integers(len(data))) :]
        else:
            data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        path.write_bytes(data)
        try:
            pictures = ZipPictures(path)
        except (ValueError, OSError):
            refused += 1
            continue
        for number in range(len(pictures.items)):
            try:
                pictures.read(number)
            except (ValueError, OSError):
                refused += 1
    assert refused > 200
