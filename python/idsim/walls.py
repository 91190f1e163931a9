"""What a process gives up before it reads a stranger's file. Linux only; there is no way back."""

from __future__ import annotations

import ctypes
import os
import resource
import struct
import sys
from pathlib import Path
from typing import NamedTuple

__all__ = ["FORBIDDEN_STATUS", "Limits", "child_environment", "confine", "module_command"]

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


class Limits(NamedTuple):
    """What a process may still use.

    Attributes
    ----------
    address_space : int
        Bytes.
    written : int
        Bytes of what is written.
    seconds : int
        Of processor time; -1: no limit.
    """

    address_space: int
    written: int
    seconds: int


def module_command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module of this package in a fresh interpreter."""
    return [sys.executable, "-P", "-m", module, *arguments]


def child_environment() -> dict[str, str]:
    """Return the environment in which `module_command` finds this package."""
    environment = dict(os.environ)
    packages = str(Path(__file__).parents[1])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (packages, environment.get("PYTHONPATH"))))
    environment["OPENBLAS_NUM_THREADS"] = "1"  # every thread reserves memory
    return environment


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
        if amount == resource.RLIM_INFINITY:
            continue
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
