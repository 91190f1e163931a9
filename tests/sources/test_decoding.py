"""Pictures decoded elsewhere: the same pixels in the same order, and nothing that a picture does gets further."""

from __future__ import annotations

import io
import os
import re
import signal
import socket
import subprocess
import sys
import time
import zlib
from contextlib import closing
from pathlib import Path

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


def test_several_pictures_are_decoded_as_each_alone(decoder):
    files = [encoded("PNG", (3 + number, 7), number) for number in range(40)]
    files[4:4] = [b"GIF89a", b"", files[0][:60], encoded("JPEG", (30, 20))]
    found = decoder.decode_several(files)
    assert len(found) == len(files)
    for data, picture in zip(files, found, strict=True):
        wanted = decode(data)
        assert picture.reason == wanted.reason
        assert (picture.pixels is None) == (wanted.pixels is None)
        if wanted.pixels is not None:
            np.testing.assert_array_equal(picture.pixels, wanted.pixels)
    assert decoder.decode_several([]) == []


def test_several_pictures_end_when_their_pixels_are_many(decoder):
    small, large = encoded("PNG"), encoded("PNG", (700, 600))
    found = decoder.decode_several([small, large, small, large, small])
    assert [picture.pixels.shape[1] for picture in found] == [20, 700]


def test_one_of_several_that_ends_the_process_is_the_only_one_lost(planted):
    files = [encoded("PNG", (number + 1, 2)) for number in range(6)]
    with closing(planted("os.kill(os.getpid(), 9)")) as decoder:
        found = decoder.decode_several([*files[:3], b"!", *files[3:]])
    assert re.search(r"forbidden|ended the process \(", found.pop(3).reason)
    assert [picture.pixels.shape[1] for picture in found] == [1, 2, 3, 4, 5, 6]


def test_one_of_several_that_takes_too_long(planted):
    files = [encoded("PNG", (number + 1, 2)) for number in range(3)]
    with closing(planted("time.sleep(60)", 1)) as decoder:
        found = decoder.decode_several([files[0], b"!", *files[1:]])
    assert found.pop(1).reason == "decoding it takes more than 1 seconds"
    assert [picture.pixels.shape[1] for picture in found] == [1, 2, 3]


@pytest.mark.parametrize(
    ("answer", "pictures"),
    [(b"1 2 1 1", 2), (b"1 2", 1), (b"1 2 3 4 5 6", 0), (b"1 2 0 4", 0), (b"6000 6000 6000 6000", 0)],
)
def test_answers_about_several_are_not_trusted(answer, pictures):
    with closing(Decoder()) as decoder:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            decoder._channel = ours
            theirs.send(answer)
            found = decoder._try([b"a", b"b"])
    assert len([picture for picture in found if picture.pixels is not None]) == pictures
    if not pictures:
        assert found == [(None, "it has no pixels")]


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


def test_order_where_sizes_and_failures_change():
    sizes = [4, 5, 6, 7] * 12 + [900, 4, 901, 5, 902] + [4] * 30
    broken = {17: b"", 20: b"\x89PNG", 21: OSError(5, "broken disk"), 60: OSError(5, "broken disk"), 61: b"x"}

    def reader(number, size):
        def read():
            content = broken.get(number)
            if isinstance(content, OSError):
                raise content
            return encoded("PNG", (size, number + 1)) if content is None else content

        return read

    with closing(DecoderPool(2)) as pool:
        for _ in range(2):  # the second time the pool begins with groups
            contents = list(pool.decode(reader(number, size) for number, size in enumerate(sizes)))
            assert len(contents) == len(sizes)
            for number, (content, size) in enumerate(zip(contents, sizes, strict=True)):
                if number in broken:
                    assert content.picture.pixels is None
                    assert content.picture.reason.startswith("it cannot be read") == isinstance(
                        broken[number], OSError
                    )
                else:
                    assert content.picture.pixels.shape == (number + 1, size, 3)
            assert pool.take_times()[1] == len(sizes)


def test_an_error_that_is_no_reason_is_raised_in_its_turn():
    def reader(number):
        def read():
            if number == 50:
                raise ValueError("the archive is damaged")
            return encoded("PNG")

        return read

    with closing(DecoderPool(1)) as pool:
        stream = pool.decode(reader(number) for number in range(60))
        for _ in range(50):
            assert next(stream).picture.pixels is not None
        with pytest.raises(ValueError, match="damaged"):
            next(stream)


@pytest.mark.parametrize("victim", ["parent", "children"])
def test_nothing_is_left_behind_by_a_kill(victim):
    program = (
        "import sys\n"
        "from itertools import repeat\n"
        "from support.hostile import encoded\n"
        "from idsim.sources.decoding import DecoderPool\n"
        "pool, data = DecoderPool(2), encoded('PNG')\n"
        "for _ in pool.decode(repeat(lambda: data)):\n"
        "    processes = [d._process.pid for d in pool._decoders if d._process]\n"
        "    if len(processes) == 2:\n"
        "        print(*processes, flush=True)\n"
        "        break\n"
        "sys.stdin.read()\n"
        "pool.close()\n"
    )
    before = set(os.listdir("/dev/shm"))
    tests = str(Path(__file__).parents[1])
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([tests, os.environ.get("PYTHONPATH", "")])},
    ) as parent:
        children = [int(word) for word in parent.stdout.readline().split()]
        assert len(children) == 2
        if victim == "parent":
            parent.kill()
        else:
            for child in children:
                os.kill(child, signal.SIGKILL)
        parent.communicate()
        assert parent.returncode == (-signal.SIGKILL if victim == "parent" else 0)
    deadline = time.monotonic() + 10
    while any(map(alive, children)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(alive, children))
    left = {
        name for name in os.listdir("/dev/shm") if name.startswith(("idsim", "psm_"))
    }  # Python's own names too
    assert left <= before


def alive(process):
    """Return whether a process still runs; one that nobody has waited for does not."""
    try:
        state = Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False
    return state.rsplit(")", 1)[1].split()[0] not in "ZX"
