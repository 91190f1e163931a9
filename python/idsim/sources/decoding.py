"""Pictures decoded in processes of their own, in order, while other work goes on.

A picture that takes too long or too much memory, or ends its process, is a reason like any other: the process is
replaced, and the run goes on.
"""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import mmap
import os
import socket
import subprocess
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from idsim.errors import IdsimError
from idsim.images import MAX_FILE_BYTES, MAX_PIXELS, Picture, sha256
from idsim.sources.decoding_process import ANSWER_BYTES, MEMORY_BYTES
from idsim.walls import FORBIDDEN_STATUS, child_environment, module_command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

__all__ = ["Content", "Decoder", "DecoderPool", "default_workers", "in_order"]

Item = TypeVar("Item")
Result = TypeVar("Result")

DECODING_PROCESS = "idsim.sources.decoding_process"
SECONDS = 10  # for one picture; the largest allowed PNG takes about one
START_SECONDS = 60  # to start Python, NumPy and Pillow on a busy machine
KEPT_BYTES = 16 << 20  # a memory file that held more than this gives its pages back
MAX_WORKERS = 16


class Content(NamedTuple):
    """A picture, and the hash of its file (or of its pixels, where there is none); empty if unreadable."""

    sha256: str
    picture: Picture


def default_workers() -> int:
    """Return the number of processes that decode: the processors that this process may use, at most 16."""
    return max(1, min(MAX_WORKERS, len(os.sched_getaffinity(0))))


class Decoder:
    """A process that decodes one picture after another.

    Parameters
    ----------
    seconds : int
        Time for one picture.

    Raises
    ------
    ModuleNotFoundError
        Pillow is missing (the extra ``audit``).
    """

    def __init__(self, seconds: int = SECONDS) -> None:
        if importlib.util.find_spec("PIL") is None:
            raise ModuleNotFoundError("pictures need Pillow: pip install 'idsim[audit]'", name="PIL")
        self._seconds = seconds
        self._memory = os.memfd_create("idsim-pictures", os.MFD_CLOEXEC)
        os.ftruncate(self._memory, MEMORY_BYTES)
        self._shared = mmap.mmap(self._memory, MEMORY_BYTES)
        self._channel: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def decode(self, data: bytes) -> Picture:
        """Decode the file of a picture, at most 256 MiB, as `idsim.images.decode` does.

        Raises
        ------
        IdsimError
            The process cannot be started.
        """
        picture = self._try(data)
        # A busy machine and one short of memory end processes too: only what happens twice is the picture's fault.
        return self._try(data) if picture.pixels is None and self._channel is None else picture

    def _try(self, data: bytes) -> Picture:
        if self._channel is None:
            self._start()
        assert self._channel is not None
        self._shared[: len(data)] = data
        try:
            self._channel.send(b"%d" % len(data))
            answer = self._channel.recv(ANSWER_BYTES)
        except TimeoutError:
            self.stop()
            return Picture(None, f"decoding it takes more than {self._seconds} seconds")
        except OSError:
            answer = b""
        if not answer:
            return Picture(None, _ending(self.stop()))
        picture = self._read(answer)
        used = len(data) if picture.pixels is None else max(len(data), picture.pixels.size)
        if used > KEPT_BYTES:
            os.ftruncate(self._memory, 0)
            os.ftruncate(self._memory, MEMORY_BYTES)
        return picture

    def _read(self, answer: bytes) -> Picture:
        """Return what an answer says; the process is not trusted."""
        if answer.startswith(b"!"):
            return Picture(None, answer[1:].decode("utf-8", "backslashreplace"))
        try:
            height, width = (int(word) for word in answer.split())
        except ValueError:
            height = width = 0
        if not (0 < height <= MAX_PIXELS and 0 < width <= MAX_PIXELS and height * width <= MAX_PIXELS):
            return Picture(None, "it has no pixels")
        pixels = np.frombuffer(self._shared, np.uint8, 3 * height * width, offset=MAX_FILE_BYTES)
        return Picture(pixels.reshape(height, width, 3).copy(), "")

    def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            descriptors = [theirs.fileno(), self._memory]
            self._process = subprocess.Popen(  # noqa: S603 - the interpreter itself
                module_command(DECODING_PROCESS, *map(str, descriptors), str(self._seconds)),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=child_environment(),
                pass_fds=descriptors,
                start_new_session=True,  # Ctrl-C is for this process, which then ends that one
            )
        self._channel = ours
        ours.settimeout(START_SECONDS)
        with contextlib.suppress(OSError):
            if ours.recv(ANSWER_BYTES) == b"ready":
                ours.settimeout(self._seconds)
                return
        status = self.stop()
        raise IdsimError(f"the process that decodes pictures did not start (status {status})")

    def stop(self) -> int:
        """End the process, which the next picture starts again, and return its exit status."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        process, self._process = self._process, None
        if process is None:
            return 0
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(0.2)  # it ends by itself when its socket is closed, or has ended
        process.kill()
        return process.wait()

    def close(self) -> None:
        """End the process for good."""
        self.stop()
        self._shared.close()
        os.close(self._memory)


def _ending(status: int) -> str:
    if status == FORBIDDEN_STATUS:
        return "decoding it led to something that is forbidden"
    how = f"signal {-status}" if status < 0 else f"status {status}"
    return f"decoding it ended the process ({how})"


class DecoderPool:
    """Several decoders at work; pictures come in the order in which they were asked for.

    Parameters
    ----------
    workers : int
        Processes; 0: `default_workers`.
    seconds : int
        Time for one picture.

    Attributes
    ----------
    workers : int
        Processes.
    """

    def __init__(self, workers: int = 0, seconds: int = SECONDS) -> None:
        if workers < 0 or seconds < 1:
            raise ValueError(
                f"workers must be at least 0 and seconds at least 1, not {workers} and {seconds}"
            )
        self.workers = workers or default_workers()
        self._busy_seconds = 0.0
        self._pictures = 0
        self._threads = ThreadPoolExecutor(self.workers, "idsim-decode")
        self._idle: SimpleQueue[Decoder] = SimpleQueue()
        self._decoders = [Decoder(seconds) for _ in range(self.workers)]
        for decoder in self._decoders:
            self._idle.put(decoder)
        self._lock = threading.Lock()

    def decode(self, reads: Iterable[Callable[[], bytes]]) -> Iterator[Content]:
        """Return pictures in order; two per worker are read and decoded ahead.

        Parameters
        ----------
        reads : iterable of callable
            Each returns the file of a picture, or raises OSError, which becomes the reason why there is none. Any
            other exception is raised here.
        """
        return in_order(self._threads, self._content, reads, 2 * self.workers)

    def _content(self, read: Callable[[], bytes]) -> Content:
        decoder = self._idle.get()
        started = time.monotonic()
        try:
            try:
                data = read()
                if len(data) > MAX_FILE_BYTES:
                    raise OSError(errno.EFBIG, f"it has more than {MAX_FILE_BYTES} bytes")
            except OSError as error:
                return Content("", Picture(None, f"it cannot be read ({error.strerror or error})"))
            return Content(sha256(data), decoder.decode(data))
        finally:
            self._idle.put(decoder)
            with self._lock:
                self._busy_seconds += time.monotonic() - started
                self._pictures += 1

    def take_times(self) -> tuple[float, int]:
        """Return the time that all processes together spent, and on how many pictures, since the last call."""
        with self._lock:
            taken = self._busy_seconds, self._pictures
            self._busy_seconds, self._pictures = 0.0, 0
        return taken

    def close(self) -> None:
        """End all processes."""
        self._threads.shutdown(cancel_futures=True)
        for decoder in self._decoders:
            decoder.close()


def in_order(
    threads: ThreadPoolExecutor, work: Callable[[Item], Result], items: Iterable[Item], ahead: int
) -> Iterator[Result]:
    """Yield the results of work on items in their order; at most `ahead` are begun before they are asked for."""
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(threads.submit(work, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
