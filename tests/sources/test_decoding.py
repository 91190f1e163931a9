"""Pictures decoded elsewhere: the same pixels in the same order, and nothing that a picture does gets further."""

from __future__ import annotations

import io
import os
import re
import signal
import socket
import time
import zlib
from contextlib import closing

import numpy as np
import pytest
from PIL import Image

from idsim.errors import IdsimError
from idsim.images import MAX_PIXELS, decode
from idsim.sources import decoding
from idsim.sources.decoding import Decoder, DecoderPool
from support.hostile import encoded, png_of


@pytest.fixture(scope="module")
def decoder():
    with closing(Decoder()) as made:
        yield made


def test_the_same_as_in_this_process(decoder):
    exif = Image.Exif()
    exif[0x0112] = 6
    several = [Image.new("RGB", (9, 9), color) for color in ("red", "blue")]
    mpo = io.BytesIO()
    several[0].save(mpo, "MPO", save_all=True, append_images=several[1:])
    whole = [encoded("JPEG"), encoded("PNG"), encoded("WEBP"), encoded("JPEG", exif=exif), mpo.getvalue()]
    whole.append(encoded("PNG", icc_profile=b"\0" * 200))
    for data in [*whole, *(data[: len(data) // 2] for data in whole), b"", b"GIF89a", encoded("TIFF")]:
        ours, theirs = decode(data), decoder.decode(data)
        assert ours.reason == theirs.reason
        if ours.pixels is not None:
            np.testing.assert_array_equal(ours.pixels, theirs.pixels)


def test_the_largest_picture_and_one_that_is_larger(decoder):
    side = 6320
    assert side**2 <= MAX_PIXELS < (side + 10) ** 2
    rows = zlib.compress(b"\0" * (3 * side + 1) * side, 1)
    assert decoder.decode(png_of(side, side, rows)).pixels.shape == (side, side, 3)
    assert "more than 40000000 in all" in decoder.decode(png_of(side + 10, side, rows)).reason
    assert decoder.decode(encoded("PNG")).pixels.shape == (10, 20, 3)


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """Decoders whose process runs a statement instead of decoding a file that begins with ``!``."""

    def plant(statement, seconds=10):
        (tmp_path / "faulty_decoder.py").write_text(
            "import os, socket, sys, time\n"
            "import numpy\n"
            "from idsim.sources import decoding_process\n"
            "real = decoding_process.decode\n"
            "def decode(data):\n"
            "    if data.startswith(b'!'):\n"
            f"        {statement}\n"
            "    return real(data)\n"
            "decoding_process.decode = decode\n"
            "decoding_process.main(*map(int, sys.argv[1:]))\n"
        )
        monkeypatch.setattr(decoding, "DECODING_PROCESS", "faulty_decoder")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        return Decoder(seconds)

    return plant


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("time.sleep(60)", "takes more than 1 seconds"),
        (
            "numpy.lib.stride_tricks.as_strided(numpy.zeros(1), (1 << 40,))[1 << 39]",
            r"ended the process \(signal 11\)",
        ),
        ("open('/etc/hostname')", "something that is forbidden"),
        ("socket.socket()", "something that is forbidden"),
        ("__import__('wave')", "something that is forbidden"),
        ("bytearray(3 << 30)", "more memory than a picture should"),
        ("os._exit(3)", r"something that is forbidden|ended the process \(status 3\)"),
    ],
)
def test_walls_around_decoding(planted, statement, reason):
    with closing(planted(statement, 1)) as decoder:
        assert decoder.decode(encoded("PNG")).pixels is not None
        started = time.monotonic()
        picture = decoder.decode(b"!")
        assert time.monotonic() - started < 20
        assert picture.pixels is None
        assert np.array_equal(decoder.decode(encoded("PNG")).pixels, decode(encoded("PNG")).pixels)
    assert re.search(reason, picture.reason)


def test_a_process_that_is_killed_is_replaced(decoder):
    assert decoder.decode(encoded("PNG")).pixels is not None
    os.kill(decoder._process.pid, signal.SIGKILL)
    assert decoder.decode(encoded("PNG")).pixels is not None  # the picture is not to blame


@pytest.mark.parametrize(
    "answer", [b"1 2 3", b"-1 -1", b"0 5", b"100000 100000", b"x", b"1e3 5", "\u0664 5".encode()]
)
def test_answers_are_not_trusted(answer):
    with closing(Decoder()) as decoder:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            decoder._channel = ours
            theirs.send(answer)
            picture = decoder.decode(b"data")
    if picture.pixels is not None:
        assert picture.pixels.size <= 3 * MAX_PIXELS
    else:
        assert picture.reason == "it has no pixels"


def test_a_process_that_cannot_start(monkeypatch):
    monkeypatch.setattr(decoding, "DECODING_PROCESS", "no_such_module")
    with closing(Decoder()) as decoder, pytest.raises(IdsimError, match="did not start"):
        decoder.decode(b"")


def test_order_and_failures_of_reading():
    with closing(DecoderPool(3)) as pool:

        def read(number):
            def reader():
                time.sleep(0.02 * (number % 3))
                if number == 5:
                    raise OSError(5, "broken disk")
                return encoded("PNG", (number + 1, 2))

            return reader

        contents = list(pool.decode(read(number) for number in range(20)))
        widths = [
            0 if content.picture.pixels is None else content.picture.pixels.shape[1] for content in contents
        ]
        assert widths == [1, 2, 3, 4, 5, 0, *range(7, 21)]
        assert contents[5] == ("", (None, "it cannot be read (broken disk)"))
        assert pool.take_times()[1] == 20
        assert pool.take_times() == (0.0, 0)


def test_only_some_are_read_ahead():
    begun = []
    with closing(DecoderPool(2)) as pool:

        def reader(number):
            def read():
                begun.append(number)
                return b""

            return read

        stream = pool.decode(reader(number) for number in range(1000))
        for _ in range(10):
            next(stream)
        stream.close()
        assert len(begun) < 20
