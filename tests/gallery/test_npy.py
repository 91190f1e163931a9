"""The header of .npy files: what NumPy writes is read, what is damaged is a GalleryError."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from idsim.errors import GalleryError
from idsim.files import InputFile
from idsim.gallery.npy import HEADER_BYTES, parse_header, read_header, render_header
from support.mutations import edits, truncations

DTYPES = ["<f2", "<f4", "<f8", ">f4", "|i1", "<i8", "|u1", "<u2", "|b1", "<U7"]


def saved(array: np.ndarray) -> bytes:
    sink = io.BytesIO()
    np.save(sink, array)
    return sink.getvalue()


@given(
    st.sampled_from(DTYPES),
    st.lists(st.integers(0, 5), max_size=5).map(tuple),
)
def test_reads_what_numpy_writes(dtype: str, shape: tuple[int, ...]) -> None:
    data = saved(np.zeros(shape, dtype))
    header = parse_header(data[:4096], "x.npy")
    assert (header.dtype, header.shape) == (np.dtype(dtype), shape)
    assert header.offset + header.data_bytes == len(data)


def test_reads_version_2(tmp_path: Path) -> None:
    with (tmp_path / "x.npy").open("wb") as sink:
        np.lib.format.write_array(sink, np.zeros((3, 4), np.float32), version=(2, 0))
    with InputFile(tmp_path / "x.npy") as file:
        assert read_header(file).shape == (3, 4)


@pytest.mark.parametrize("shape", [(0, 1), (3, 4), (10**18, 131072)])
def test_what_is_written_is_read_by_numpy(shape: tuple[int, int]) -> None:
    head = render_header(np.dtype("<f2"), shape)
    assert len(head) == HEADER_BYTES
    sink = io.BytesIO(head)
    assert np.lib.format.read_magic(sink) == (1, 0)
    assert np.lib.format.read_array_header_1_0(sink) == (shape, False, np.dtype("<f2"))
    assert parse_header(head, "x")[:2] == (np.dtype("<f2"), shape)


def with_text(text: str) -> bytes:
    body = text.encode("latin1")
    return b"\x93NUMPY\x01\x00" + len(body).to_bytes(2, "little") + body


GOOD = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }\n"


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        "{'shape':(3,4),'fortran_order':False,'descr':'<f4'}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4)}        \n",
    ],
)
def test_forms_that_are_read(text: str) -> None:
    assert parse_header(with_text(text), "x").shape == (3, 4)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (GOOD.replace("False", "True"), "Fortran"),
        (GOOD.replace("<f4", "|O"), "element type"),
        (GOOD.replace("<f4", "<c8"), "element type"),
        (GOOD.replace("<f4", "<f3"), "element type"),
        (GOOD.replace("<f4", "=f4"), "element type"),
        (GOOD.replace("'<f4'", "[('a', '<f4')]"), "not of the form"),
        (GOOD.replace("(3, 4)", "(3, 4"), "not of the form"),
        (GOOD.replace("(3, 4)", "(3)"), "not of the form"),
        (GOOD.replace("(3, 4)", "(-3, 4)"), "not of the form"),
        (GOOD.replace("(3, 4)", "(03, 4)"), "not of the form"),
        (GOOD.replace("(3, 4)", "(3.0, 4)"), "not of the form"),
        (GOOD.replace("(3, 4)", "(3, 99999999999999999999)"), "not of the form"),
        (GOOD.replace("(3, 4)", "(" + "1, " * 8 + "1)"), "9 axes"),
        (GOOD.replace("'shape'", "'descr'"), "not of the form"),
        (GOOD.replace("'shape': (3, 4)", "'descr': '<f4'"), "twice"),
        (GOOD.replace(", }", ", 'more': 1}"), "not of the form"),
        (GOOD.replace("}", "} + 1"), "not of the form"),
        (GOOD.replace("{", "dict("), "not of the form"),
        (GOOD.replace("<f4", "<f\xe9"), "ASCII"),
        ("", "not of the form"),
        ("{", "not of the form"),
    ],
)
def test_forms_that_are_refused(text: str, reason: str) -> None:
    with pytest.raises(GalleryError, match=reason):
        parse_header(with_text(text), "x")


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b"", "magic"),
        (b"\x93NUMPY", "version"),
        (b"\x93NUMPY\x03\x00" + b"\x00" * 100, "version 3.0"),
        (b"\x93NUMPY\x01\x00", "ends inside"),
        (b"\x93NUMPY\x01\x00\xff\xff" + b" " * 4086, "at most 4096"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "at most 4096"),
    ],
)
def test_heads_that_are_refused(head: bytes, reason: str) -> None:
    with pytest.raises(GalleryError, match=reason):
        parse_header(head, "x")


@given(st.binary(max_size=300))
def test_any_bytes_are_a_header_or_an_error(data: bytes) -> None:
    for head in (data, b"\x93NUMPY\x01\x00" + data, with_text(data.decode("latin1"))):
        try:
            parse_header(head, "x")
        except GalleryError:
            pass


def test_damaged_files_are_errors(tmp_path: Path) -> None:
    data = saved(np.arange(12, dtype=np.float32).reshape(3, 4))
    path = tmp_path / "x.npy"
    refused = read = 0
    for damaged in [*truncations(data), data + b"\x00", *edits(data, 700, seed=1, head=128)]:
        path.write_bytes(damaged)
        try:
            with InputFile(path) as file:
                header = read_header(file)
        except GalleryError as error:
            assert error.path == str(path)
            refused += 1
        else:
            assert header.offset + header.data_bytes == len(damaged)
            read += 1
    assert refused > 600
    assert read > 0
