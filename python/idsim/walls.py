"""What a process gives up before it reads a stranger's file. Linux only; there is no way back."""

from __future__ import annotations

import ctypes
import os
import resource
import struct
import sys

__all__ = ["Limits", "confine"]

# linux/prctl.h and linux/landlock.h; the numbers of the system calls are the same on every architecture.
_PR_SET_NO_NEW_PRIVS = 38
_LANDLOCK_CREATE_RULESET = 444
_LANDLOCK_RESTRICT_SELF = 446
_FILE_ACCESS = (1 << 13) - 1  # all of the first version: read, write, execute, list, make, remove

_FORBIDDEN = (
    "compile", "ctypes.", "exec", "fcntl.", "import", "marshal.", "mmap.", "open", "os.", "pickle.", "pty.",
    "resource.", "shutil.", "signal.", "socket.", "subprocess.", "urllib.",
)  # fmt: skip
FORBIDDEN_STATUS = 86


class Limits:
    """The limits for a file.

    Parameters
    ----------
    file_bytes : int
        Its size.

    Attributes
    ----------
    address_space : int
        Bytes: Python and NumPy, the weights, and half-precision weights widened.
    written : int
        Bytes of what is written: the weights, at most twice the file, and their names.
    seconds : int
        Of processor time; a gigabyte takes about ten.
    """

    def __init__(self, file_bytes: int) -> None:
        self.address_space = (1 << 30) + 3 * file_bytes
        self.written = (16 << 20) + 2 * file_bytes
        self.seconds = 20 + file_bytes // (50 << 20)


def confine(limits: Limits) -> bool:
    """Give up memory, time, files, processes and privileges, and forbid what reading arrays does not need.

    Files that are open stay usable. An event of Python's audit hooks that is forbidden ends the process with
    `FORBIDDEN_STATUS`.

    Returns
    -------
    bool
        Whether the kernel denies access to all files too (Landlock, Linux 5.13).
    """
    for kind, amount in (
        (resource.RLIMIT_AS, limits.address_space),
        (resource.RLIMIT_CPU, limits.seconds),
        (resource.RLIMIT_FSIZE, limits.written),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, 16),
    ):
        _, hard = resource.getrlimit(kind)
        most = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
        resource.setrlimit(kind, (most, most))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    denied = _deny_files(libc)
    sys.addaudithook(_end_if_forbidden)
    return denied


def _deny_files(libc: ctypes.CDLL) -> bool:
    attributes = struct.pack("<Q", _FILE_ACCESS)
    ruleset = libc.syscall(
        ctypes.c_long(_LANDLOCK_CREATE_RULESET),
        attributes,
        ctypes.c_size_t(len(attributes)),
        ctypes.c_uint32(0),
    )
    if ruleset < 0:
        return False
    done = libc.syscall(ctypes.c_long(_LANDLOCK_RESTRICT_SELF), ctypes.c_int(ruleset), ctypes.c_uint32(0))
    os.close(ruleset)
    return bool(done == 0)


def _end_if_forbidden(event: str, _: object) -> None:
    if event.startswith(_FORBIDDEN):
        os._exit(FORBIDDEN_STATUS)
