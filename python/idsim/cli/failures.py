"""From exceptions to exit codes: the one place where the command line turns errors into numbers."""

from __future__ import annotations

import difflib
import errno
import os
import sys
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "BAD_INPUT",
    "INCOMPLETE",
    "INTERNAL",
    "INTERRUPTED",
    "MISSING_CAPABILITY",
    "describe",
    "resumable",
]

# 0 done, 1 policy violated, 3 inconclusive and 4 incomplete are results of a command, not failures: commands
# raise typer.Exit with them.
BAD_INPUT = 2
INCOMPLETE = 4
MISSING_CAPABILITY = 5
INTERNAL = 70  # an error of idsim itself (EX_SOFTWARE), shown with its traceback
INTERRUPTED = 130

# The module that is missing -> the extra that brings it.
EXTRAS = {
    "PIL": "audit",
    "pyarrow": "audit",
    "torch": "torch",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "dlib": "dlib",
    "face_recognition_models": "dlib",
    "jinja2": "report",
    "markupsafe": "report",
    "mtcnn": "mtcnn",
    "lz4": "mtcnn",
    "ray": "ray",
    "faiss": "bench",
}


def describe(error: Exception) -> tuple[int, str] | None:
    """Return the exit code and the sentence for an error that the user can mend.

    Parameters
    ----------
    error : Exception
        What a command raised.

    Returns
    -------
    tuple of (int, str) or None
        None for an error that is not the user's: it deserves its traceback.
    """
    from idsim import errors

    if isinstance(error, ModuleNotFoundError) and (missing := _missing_module(error)):
        return missing
    if isinstance(error, errors.CudaError):
        return MISSING_CAPABILITY, str(error)
    if isinstance(error, MemoryError):
        return BAD_INPUT, str(error) or "There is not enough memory for this."
    if isinstance(error, OSError) and error.filename is not None:
        return BAD_INPUT, f"{error.filename}: {error.strerror}{_near(error, error.filename)}"
    if isinstance(error, errors.FileError):
        return BAD_INPUT, f"{error}{_near(error.__cause__, error.path)}"
    if isinstance(error, errors.IdsimError):
        return BAD_INPUT, str(error)
    if (place := _own_code(error)) is not None:
        return BAD_INPUT, f"{place}: {type(error).__name__}: {error} (idsim --traceback shows the way there)"
    if isinstance(error, ValueError | TypeError | OSError):
        return BAD_INPUT, str(error) or type(error).__name__
    return None


def _near(error: BaseException | None, path: str | bytes | int) -> str:
    """Return what a path that is not there may have been meant to be."""
    if not isinstance(error, FileNotFoundError) or isinstance(path, int):
        return ""
    meant = Path(os.fsdecode(path))
    try:
        names = [entry.name for entry in meant.parent.iterdir()]
    except OSError:
        return f" (there is no folder {meant.parent})"
    close = difflib.get_close_matches(meant.name, names, n=1, cutoff=0.75)
    return f" (did you mean {meant.parent / close[0]}?)" if close else ""


def _own_code(error: Exception) -> str | None:
    """Return the place in the code of the user's own that an error came from; None: from elsewhere."""
    from idsim.functions import NAME_PREFIX

    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}" if error.filename else None
    frames = [
        (frame, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if str(frame.f_globals.get("__name__", "")).startswith(NAME_PREFIX)
    ]
    if not frames:
        return None
    frame, line = frames[-1]
    return f"{frame.f_code.co_filename}, line {line}, in {frame.f_code.co_name}"


def _missing_module(error: ModuleNotFoundError) -> tuple[int, str] | None:
    name = (error.name or "").partition(".")[0]
    extra = EXTRAS.get(name)
    if extra is None:
        return None
    return MISSING_CAPABILITY, f"This needs {name}, which is not installed: pip install 'idsim[{extra}]'."


@contextmanager
def resumable(finished: str) -> Iterator[None]:
    """Turn a full disk into the exit status of work that can go on; `finished` names what is kept."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        sys.stderr.write(
            f"idsim: the disk is full; finished {finished} are kept, and the same command goes on.\n"
        )
        raise typer.Exit(INCOMPLETE) from error
