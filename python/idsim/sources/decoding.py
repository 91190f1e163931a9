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
from itertools import islice
from queue import SimpleQueue
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from idsim.errors import IdsimError
from idsim.images import MAX_FILE_BYTES, MAX_PIXELS, Picture, sha256
from idsim.sources.decoding_process import ANSWER_BYTES, ENOUGH_BYTES, MEMORY_BYTES
from idsim.walls import FORBIDDEN_STATUS, child_environment, module_command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Future

__all__ = ["Content", "Decoder", "DecoderPool", "default_workers", "in_order"]

Item = TypeVar("Item")
Result = TypeVar("Result")

DECODING_PROCESS = "idsim.sources.decoding_process"
SECONDS = 10  # for one picture; the largest allowed PNG takes about one
START_SECONDS = 60  # to start Python, NumPy and Pillow on a busy machine
KEPT_BYTES = 16 << 20  # a memory file that held more than this gives its pages back
MAX_WORKERS = 16
MAX_TOGETHER = 16  # pictures in one message
TOGETHER_BYTES = 1 << 20  # of the files in one message, if there are several
# Freed memory stays with the process up to this size. glibc's own limits follow what was freed last, so that it gives
# back what a picture took and has it zeroed anew for the next one, which takes longer than decoding.
FREED_BYTES = 32 << 20


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
        return self.decode_several([data])[0]

    def decode_several(self, files: Sequence[bytes]) -> list[Picture]:
        """Decode the first of several files that have at most 256 MiB together: until their pixels take a MiB.

        Small pictures take less time together than one after another, and each is treated as if it were alone.

        Raises
        ------
        IdsimError
            The process cannot be started.
        """
        pictures: list[Picture] = []
        together, taken = MAX_TOGETHER, 0
        while len(pictures) < len(files) and taken < ENOUGH_BYTES:
            some = files[len(pictures) : len(pictures) + together]
            found = self._try(some)
            if self._channel is None:
                # A busy machine and one short of memory end processes too: only what happens twice is the
                # picture's fault, and of several nobody knows whose fault it is.
                if len(some) > 1:
                    together = 1
                    continue
                found = self._try(some)
            pictures += found
            taken += sum(picture.pixels.size for picture in found if picture.pixels is not None)
        return pictures

    def _try(self, files: Sequence[bytes]) -> list[Picture]:
        """Return the first pictures, or the reason why there is not even one; without a channel if that was fatal."""
        if self._channel is None:
            self._start()
        assert self._channel is not None
        used = 0
        for data in files:
            self._shared[used : used + len(data)] = data
            used += len(data)
        try:
            self._channel.send(b" ".join(b"%d" % len(data) for data in files))
            answer = self._channel.recv(ANSWER_BYTES)
        except TimeoutError:
            self.stop()
            return [Picture(None, f"decoding it takes more than {self._seconds} seconds")]
        except OSError:
            answer = b""
        if not answer:
            return [Picture(None, _ending(self.stop()))]
        pictures = self._read(answer, len(files))
        used = max(used, sum(picture.pixels.size for picture in pictures if picture.pixels is not None))
        if used > KEPT_BYTES:
            os.ftruncate(self._memory, 0)
            os.ftruncate(self._memory, MEMORY_BYTES)
        return pictures

    def _read(self, answer: bytes, asked: int) -> list[Picture]:
        """Return what an answer says; the process is not trusted."""
        if answer.startswith(b"!"):
            return [Picture(None, answer[1:].decode("utf-8", "backslashreplace"))]
        try:
            sides = [int(word) for word in answer.split()]
        except ValueError:
            sides = []
        shapes = list(zip(sides[::2], sides[1::2], strict=False))
        if (
            not 2 <= len(sides) <= 2 * asked
            or len(sides) % 2
            or not all(0 < side <= MAX_PIXELS for side in sides)
            or sum(height * width for height, width in shapes) > MAX_PIXELS
        ):
            return [Picture(None, "it has no pixels")]
        pictures, place = [], MAX_FILE_BYTES
        for height, width in shapes:
            pixels = np.frombuffer(self._shared, np.uint8, 3 * height * width, place)
            pictures.append(Picture(pixels.reshape(height, width, 3).copy(), ""))
            place += pixels.size
        return pictures

    def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            descriptors = [theirs.fileno(), self._memory]
            self._process = subprocess.Popen(  # noqa: S603 - the interpreter itself
                module_command(DECODING_PROCESS, *map(str, descriptors), str(self._seconds)),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=child_environment()
                | {"MALLOC_MMAP_THRESHOLD_": str(FREED_BYTES), "MALLOC_TRIM_THRESHOLD_": str(FREED_BYTES)},
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
        self._together = 1  # pictures in a group, as the last ones suggest
        self._threads = ThreadPoolExecutor(self.workers, "idsim-decode")
        self._idle: SimpleQueue[Decoder] = SimpleQueue()
        self._decoders = [Decoder(seconds) for _ in range(self.workers)]
        for decoder in self._decoders:
            self._idle.put(decoder)
        self._lock = threading.Lock()

    def decode(self, reads: Iterable[Callable[[], bytes]]) -> Iterator[Content]:
        """Return pictures in order; two per worker are read and decoded ahead, of small ones two groups of up to 16.

        Parameters
        ----------
        reads : iterable of callable
            Each returns the file of a picture, or raises OSError, which becomes the reason why there is none. Any
            other exception is raised here. Of a group, some may be called twice.
        """
        left = iter(reads)
        waiting: deque[tuple[Future[list[Content]], list[Callable[[], bytes]]]] = deque()
        try:
            while True:
                while len(waiting) <= 2 * self.workers and (group := list(islice(left, self._together))):
                    waiting.append((self._threads.submit(self._contents, group), group))
                if not waiting:
                    return
                future, group = waiting.popleft()
                contents = future.result()
                if rest := group[len(contents) :]:
                    waiting.appendleft((self._threads.submit(self._contents, rest), rest))
                self._together = _fitting(contents, self._together)
                yield from contents
        finally:
            for future, _ in waiting:
                future.cancel()

    def _contents(self, group: list[Callable[[], bytes]]) -> list[Content]:
        """Return the first pictures of a group, at least one."""
        decoder = self._idle.get()
        started = time.monotonic()
        contents: list[Content] = []
        try:
            files = _read(group)
            pictures = iter(decoder.decode_several([data for data in files if isinstance(data, bytes)]))
            for data in files:
                if isinstance(data, str):
                    contents.append(Content("", Picture(None, data)))
                elif picture := next(pictures, None):
                    contents.append(Content(sha256(data), picture))
                else:
                    break
            return contents
        finally:
            self._idle.put(decoder)
            with self._lock:
                self._busy_seconds += time.monotonic() - started
                self._pictures += len(contents)

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


def _read(group: list[Callable[[], bytes]]) -> list[bytes | str]:
    """Return the first files of a group, as many as go together, or the reasons why they cannot be read."""
    files: list[bytes | str] = []
    size = 0
    for read in group:
        try:
            data = read()
            if len(data) > MAX_FILE_BYTES:
                raise OSError(errno.EFBIG, f"it has more than {MAX_FILE_BYTES} bytes")
        except OSError as error:
            files.append(f"it cannot be read ({error.strerror or error})")
            continue
        except Exception:
            if files:
                break  # it is raised when those before it are delivered, and this one is read again
            raise
        size += len(data)
        if files and size > TOGETHER_BYTES:
            break
        files.append(data)
    return files


def _fitting(contents: list[Content], together: int) -> int:
    """Return how many pictures to take at once, from those that were taken last: at most twice as many."""
    largest = max((c.picture.pixels.size for c in contents if c.picture.pixels is not None), default=0)
    if not largest:
        return together
    return max(1, min(MAX_TOGETHER, 2 * together, ENOUGH_BYTES // largest))


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
