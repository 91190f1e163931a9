"""The process that decodes pictures on behalf of another: ``python -m``, its socket, its memory file.

It confines itself, and then for every message (the number of bytes that stand at the start of the memory file)
decodes a picture, writes its pixels behind them and answers with its size, or with the reason why there is none.
"""

from __future__ import annotations

import io
import mmap
import os
import resource
import signal
import socket
import sys
from pathlib import Path

import numpy as np

from idsim.images import MAX_FILE_BYTES, MAX_PIXELS, TOO_MUCH_MEMORY, decode
from idsim.walls import Limits, confine

__all__ = ["ANSWER_BYTES", "MEMORY_BYTES", "main"]

MEMORY_BYTES = MAX_FILE_BYTES + 3 * MAX_PIXELS  # of the memory file; pages that are not used take no memory
ANSWER_BYTES = 4096
DECODING_BYTES = 1 << 30  # what decoding may take: six copies of the largest picture as RGBA


def main(channel: int, memory: int, seconds: int) -> None:
    """Decode pictures until the socket is closed."""
    with socket.socket(fileno=channel) as peer, mmap.mmap(memory, MEMORY_BYTES) as shared:
        os.close(memory)
        _warm_up()
        confine(Limits(_address_space() + DECODING_BYTES, 0, resource.RLIM_INFINITY))
        peer.send(b"ready")
        while message := peer.recv(ANSWER_BYTES):
            # Whoever asked gives up after this time; if it is gone itself, the alarm ends this process.
            signal.alarm(2 * seconds)
            try:
                answer = _answer(bytes(shared[: int(message)]), shared)
            except MemoryError:
                answer = b"!" + TOO_MUCH_MEMORY.encode()
            peer.send(answer)
            signal.alarm(0)


def _answer(data: bytes, shared: mmap.mmap) -> bytes:
    picture = decode(data)
    if picture.pixels is None:
        return b"!" + picture.reason.encode("utf-8", "backslashreplace")[: ANSWER_BYTES - 1]
    height, width, _ = picture.pixels.shape
    place = np.frombuffer(shared, np.uint8, picture.pixels.size, offset=MAX_FILE_BYTES)
    np.copyto(place, picture.pixels.reshape(-1))
    return f"{height} {width}".encode()


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _warm_up() -> None:
    """Import whatever decoding imports: it is forbidden later."""
    from PIL import Image, ImageOps, MpoImagePlugin, TiffImagePlugin  # noqa: F401

    Image.init()
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind in ("JPEG", "PNG", "WEBP"):
        buffer = io.BytesIO()
        Image.new("RGB", (8, 8)).save(buffer, kind, exif=exif)
        decode(buffer.getvalue())
        decode(buffer.getvalue()[:-20])


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
