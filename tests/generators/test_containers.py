"""Hostile zip files and safetensors headers."""

from __future__ import annotations

import json
import re
import struct

import numpy as np
import pytest

from support.checkpoints import Shape, Storages, make_weights, rosinality, safetensors, zip_file
from support.pickles import dumps

SHAPE = Shape()
WEIGHTS = make_weights(SHAPE)


def good_members() -> dict[str, bytes]:
    storages = Storages()
    names = rosinality(SHAPE, WEIGHTS)
    content = {"g_ema": storages.state_dict(names), "latent_avg": storages.tensor(WEIGHTS["mapping.w_avg"])}
    return {
        "a/data.pkl": dumps(content, 2),
        **{f"a/data/{storage.key}": storage.array.tobytes() for storage in storages.made},
    }


MEMBERS = good_members()
ONE = np.ones(1, np.float32)


def test_members_in_order_load(load):
    assert load(zip_file(MEMBERS)).config.resolution == 8


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"a/../../x": b""}, "is not one that torch.save writes"),
        ({"/data/1": b""}, "is not one that torch.save writes"),
        ({"../data/1": b""}, "is not one that torch.save writes"),
        ({"a\\b/data/1": b""}, "is not one that torch.save writes"),
        ({"a/data/1x": b""}, "is not one that torch.save writes"),
        ({"a/extra": b""}, "is not one that torch.save writes"),
        ({"b/data/1": b""}, "stands twice|in one folder"),
        ({"a/code/__torch__.py": b""}, "a TorchScript program"),
        ({"a/constants.pkl": b""}, "a TorchScript program"),
        ({"a/byteorder": b"big"}, "not little-endian"),
        ({"a/data.pkl": None}, "there is no such member"),
        ({"a/data/0": None}, "there is no such member"),
        ({"a/data/0": b"1234"}, "has 4 bytes, not"),
    ],
)
def test_members_that_are_refused(refused, changes: dict[str, bytes | None], reason: str):
    members = {key: value for key, value in (MEMBERS | changes).items() if value is not None}
    assert re.search(reason, refused(zip_file(members)))


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"method": 8}, "compressed"), ({"flags": 1}, "encrypted"), ({"flags": 0x40}, "encrypted")],
)
def test_ways_of_storing_that_are_refused(refused, options: dict[str, int], reason: str):
    assert reason in refused(zip_file(MEMBERS, **options))


def directory(data: bytes) -> int:
    return struct.unpack_from("<I", data, len(data) - 6)[0]


def patched(data: bytes, place: int, new: bytes) -> bytes:
    return data[:place] + new + data[place + len(new) :]


GOOD = zip_file(MEMBERS)
START = directory(GOOD)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (GOOD[:-1], "no end record"),
        (GOOD + b"x", "no end record"),
        (patched(GOOD, len(GOOD) - 2, b"\x01\x00"), "a comment"),
        (patched(GOOD, len(GOOD) - 6, b"\x00\x00\x00\x00"), "not where it should be"),
        (patched(GOOD, len(GOOD) - 14, b"\xff\xff\xff\xff"), "too large"),
        (patched(GOOD, START, b"XX"), "damaged entry"),
        (patched(GOOD, START + 16, b"\0\0\0\0"), "checksum"),
        (patched(GOOD, START + 20, b"\xff\xff\xff\x7f" * 2), "is damaged"),
        (patched(GOOD, START + 20, b"\xff\xff\xff\xff" * 2), "has no sizes"),
        (patched(GOOD, START + 28, b"\xff\xff"), "damaged entry"),
        (patched(GOOD, START + 42, b"\xff\xff\xff\x7f"), "is not in the file"),
        (patched(GOOD, START + 42, b"\x01\x00\x00\x00"), "the local header"),
        (patched(GOOD, 8, b"\x08\x00"), "the local header"),
        (patched(GOOD, 30, b"b"), "has another name"),
        (patched(GOOD, GOOD.index(MEMBERS["a/data/0"]), b"\0"), "checksum"),
        (b"PK\3\4" + bytes(10), "ends early"),
    ],
)
def test_structures_of_zip_files_that_are_refused(refused, data: bytes, reason: str):
    assert reason in refused(data)


def test_members_that_overlap(refused):
    """The second entry of the directory points at the first member."""
    first, second = b"a/data/0", b"a/data/1"
    data = zip_file({first.decode(): b"12345678", second.decode(): b"12345678"})
    start = directory(data)
    entry = 46 + len(first)
    overlapping = patched(data, start + entry + 42, b"\0\0\0\0")
    assert "has another name" in refused(overlapping)
    twice = patched(overlapping, start + entry + 46, first)
    assert "stands twice" in refused(twice)
    longer = patched(data, start + 20, struct.pack("<II", 60, 60))
    assert "overlap" in refused(longer)


def header(data: bytes) -> dict[str, object]:
    (length,) = struct.unpack_from("<Q", data)
    return json.loads(data[8 : 8 + length])


def with_header(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (struct.pack("<Q", 2**63) + b"{}", "is not in a file of"),
        (struct.pack("<Q", 2 << 20) + b"{" + bytes(2 << 20), "at most 1048576 are read"),
        (with_header("{]"), "not the JSON"),
        (with_header('{"a":1,"a":2}'), "stands twice"),
        (with_header('{"a":NaN}'), "not a JSON number"),
        (with_header('{"a":3}'), "is not an object"),
        (with_header('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}}') + bytes(8), "do not span"),
        (with_header('{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}') + bytes(4), "counts"),
        (with_header('{"a":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}}') + bytes(4), "'F99'"),
        (with_header('{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}') + bytes(8), "the one before"),
        (with_header('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}') + bytes(9), "the tensors end"),
        (
            with_header('{"\x1b[31m":{"dtype":"F64","shape":[],"data_offsets":[0,8]}}') + bytes(8),
            "not the JSON",
        ),
        (with_header('{"\\u001b[31m":{"dtype":"F99","shape":[],"data_offsets":[0,8]}}'), "\\x1b[31m"),
        (with_header('{"__metadata__":{"format":3}}'), "not an object of strings"),
        (safetensors(WEIGHTS, {"format": "idsim-stylegan2-1"}), "its keys are not"),
    ],
)
def test_safetensors_that_are_refused(refused, data: bytes, reason: str):
    assert reason in refused(data)
