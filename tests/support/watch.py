"""What a reader of files must not cause: code, imports, other files, processes. Seen through audit hooks."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

FORBIDDEN = (
    "code.__new__", "compile", "cpython.run", "ctypes.", "exec", "fcntl.", "function.__new__", "import",
    "marshal.", "mmap.", "open", "os.", "pickle.", "pty.", "shutil.", "socket.", "subprocess.", "urllib.",
)  # fmt: skip

_active: list[tuple[str, list[str]]] = []
_installed = False


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if not _active or not event.startswith(FORBIDDEN):
        return
    path, seen = _active[-1]
    if event == "open" and arguments and arguments[0] in (path, os.fspath(path)):
        return
    seen.append(f"{event} {arguments!r}"[:300])


@contextlib.contextmanager
def watched(path: object) -> Iterator[list[str]]:
    """Collect forbidden events while the block runs; opening `path` is allowed."""
    global _installed  # noqa: PLW0603 - a hook cannot be removed, so there is one
    if not _installed:
        sys.addaudithook(_hook)
        _installed = True
    seen: list[str] = []
    _active.append((os.fspath(path), seen))  # type: ignore[call-overload]
    try:
        yield seen
    finally:
        _active.pop()
