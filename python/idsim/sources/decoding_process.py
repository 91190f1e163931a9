"""The process that decodes pictures on behalf of another: ``python -m``, its socket, its memory file.

It confines itself, and then for every message (the sizes in bytes of the files that stand one after another at the
start of the memory file) decodes pictures, writes their pixels one after another behind the room for files, and answers
with height and width of each of the first ones, or with the reason why the very first has none. It stops before a
picture that has none, and when enough is done.
"""

from __future__ import annotations

import io
import mmap
import os
import resource
import signal
import socket
import sys
import time
from pathlib import Path

import numpy as np

from idsim import images
from idsim.images import MAX_FILE_BYTES, MAX_PIXELS, TOO_MUCH_MEMORY, Picture
from idsim.walls import Limits, confine

__all__ = ["ANSWER_BYTES", "ENOUGH_BYTES", "MEMORY_BYTES", "main"]

MEMORY_BYTES = MAX_FILE_BYTES + 3 * MAX_PIXELS  # of the memory file; pages that are not used take no memory
ANSWER_BYTES = 4096
ENOUGH_BYTES = 1 << 20  # of pixels, for one answer
ENOUGH_SECONDS = 0.2  # likewise; the time that one picture may take is not to be spent on several
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
            peer.send(_answer([int(word) for word in message.split()], shared))
            signal.alarm(0)


def decode(data: bytes) -> Picture:
    """Decode a picture whose pixels are only read."""
    return images.decode(data, writable=False)


def _answer(sizes: list[int], shared: mmap.mmap) -> bytes:
    enough, first, place = time.monotonic() + ENOUGH_SECONDS, 0, MAX_FILE_BYTES
    shapes: list[int] = []
    for size in sizes:
        try:
            picture = decode(shared[first : first + size])
        except MemoryError:
            picture = Picture(None, TOO_MUCH_MEMORY)
        if picture.pixels is None and not shapes:
            return b"!" + picture.reason.encode("utf-8", "backslashreplace")[: ANSWER_BYTES - 1]
        if picture.pixels is None or place + picture.pixels.size > MEMORY_BYTES:
            break
        room = np.frombuffer(shared, np.uint8, picture.pixels.size, place).reshape(picture.pixels.shape)
        np.copyto(room, picture.pixels)
        shapes += picture.pixels.shape[:2]
        first, place = first + size, place + picture.pixels.size
        if place >= MAX_FILE_BYTES + ENOUGH_BYTES or time.monotonic() > enough:
            break
    return " ".join(map(str, shapes)).encode()


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
