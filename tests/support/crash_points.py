"""Work that is killed, or refused by the system, at a named system call: the process is forked for every case.

A point is a call on a file below the watched folder: its kind, the file's name without what makes temporary names
unique, and which of the calls of that kind on that name it is. Names hold whatever the order in which threads get on.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import threading
import time
from pathlib import Path
from typing import NamedTuple

__all__ = ["KILLED", "MODES", "Point", "attempt", "modes_of", "points_of", "random_kills", "snapshot"]

KILLED = 9
SECONDS = 120  # a case that takes longer hangs
MODES = ("before", "after", "torn", "full", "broken")
TEMPORARY = re.compile(r"^\.(.+)\.\d+\.[0-9a-f]+\.tmp$")

REAL = {name: getattr(os, name) for name in ("open", "write", "fsync", "mkdir", "rename", "unlink")}


class Point(NamedTuple):
    """A system call of a piece of work."""

    call: str
    file: str
    number: int


def modes_of(point):
    """The ways in which a point can go wrong: only a write can be torn, and a name is always removed."""
    if point.call == "write":
        return MODES
    return ("before", "after") if point.call == "unlink" else ("before", "after", "full", "broken")


class _Watch:
    """Counts the calls below a folder, and lets one of them go wrong.

    before, after : the process ends there; torn: after half of the bytes; full: from there on the disk is full;
    broken: this one call fails with an input/output error.
    """

    def __init__(self, folder, at=None, mode=""):
        self.folder, self.at, self.mode = folder, at, mode
        self.seen, self.counts = [], {}
        self.full = False
        self.lock = threading.Lock()
        for name in REAL:
            setattr(os, name, getattr(self, name))

    def _file(self, place):
        path = Path(f"/proc/self/fd/{place}").readlink() if isinstance(place, int) else Path(place).absolute()
        if not path.is_relative_to(self.folder):
            return None
        match = TEMPORARY.match(path.name)
        return str((path.with_name(match[1]) if match else path).relative_to(self.folder))

    def _call(self, name, place, arguments, options, half=None):
        file = self._file(place)
        if file is None:
            return REAL[name](*arguments, **options)
        with self.lock:
            number = self.counts[name, file] = self.counts.get((name, file), 0) + 1
            point = Point(name, file, number)
            self.seen.append(point)
        hit = point == self.at
        if hit and self.mode == "before":
            os._exit(KILLED)
        if hit and self.mode == "torn":
            half()
            os._exit(KILLED)
        self.full = self.full or (hit and self.mode == "full")
        if self.full and (hit or name in ("open", "write", "mkdir")):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if hit and self.mode == "broken":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        try:
            return REAL[name](*arguments, **options)
        finally:
            if hit and self.mode == "after":
                os._exit(KILLED)

    def open(self, path, flags, mode=0o777, **options):
        if not flags & os.O_CREAT:
            return REAL["open"](path, flags, mode, **options)
        return self._call("open", path, (path, flags, mode), options)

    def write(self, descriptor, data):
        def half():
            REAL["write"](descriptor, bytes(data[: len(data) // 2]))

        return self._call("write", descriptor, (descriptor, data), {}, half)

    def fsync(self, descriptor):
        # A killed process loses nothing that it wrote: the call only has its place in the order.
        return self._call("fsync", descriptor, (descriptor,), {})

    def mkdir(self, path, *arguments, **options):
        if Path(path).is_dir():
            return REAL["mkdir"](path, *arguments, **options)
        return self._call("mkdir", path, (path, *arguments), options)

    def rename(self, source, target, **options):
        return self._call("rename", target, (source, target), options)

    def unlink(self, path, **options):
        if not os.path.lexists(path):
            return REAL["unlink"](path, **options)
        return self._call("unlink", path, (path,), options)


REAL["fsync"] = lambda descriptor: None


def attempt(work, folder, at=None, mode="", log=None):
    """Do the work in a process of its own, and return its exit status and the calls that it made.

    `log` takes what it writes to standard output and error; calls are only known of a process that was not killed.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _work_in_child(work, folder, at, mode, log, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read().decode()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    calls = [line.split("\t") for line in told.splitlines()]
    return status, [Point(call, file, int(number)) for call, file, number in calls]


def _work_in_child(work, folder, at, mode, log, writing):
    code = 70
    try:
        signal.alarm(SECONDS)
        target = REAL["open"](log or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(target, 1)
        os.dup2(target, 2)
        watch = _Watch(folder, at, mode)
        code = work()
        lines = "".join(f"{point.call}\t{point.file}\t{point.number}\n" for point in watch.seen)
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(lines.encode())
    finally:
        os._exit(code)


def points_of(calls):
    """The points of an undisturbed run, but not those on the files of locks, which hold nothing."""
    return [point for point in calls if not Path(point.file).name.startswith(".")]


def snapshot(folder, left_out):
    """The files below a folder but those named, with their bytes."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in left_out)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def random_kills(work, folder, kills, rng, check):
    """Kill the work at random moments, go on each time, and check every time that it comes to its end.

    Returns how often it did.
    """
    started = time.perf_counter()
    assert attempt(work, folder)[0] == 0
    whole = time.perf_counter() - started
    check()
    shutil.rmtree(folder)
    finished = 0
    while kills:
        child = os.fork()
        if child == 0:
            _work_in_child(work, folder, None, "", None, REAL["open"](os.devnull, os.O_WRONLY))
        time.sleep(rng.uniform(0, whole))
        os.kill(child, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status in (0, -signal.SIGKILL), status
        kills -= status != 0
        if status == 0:
            finished += 1
            check()
            shutil.rmtree(folder)
    assert attempt(work, folder)[0] == 0
    check()
    return finished + 1
