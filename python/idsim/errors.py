"""Exceptions of idsim.

Bad arguments raise ``ValueError`` or ``TypeError``. The classes here are for what is found in files and
on devices.
"""

from __future__ import annotations

import os

__all__ = [
    "BundleError",
    "CheckpointError",
    "CudaError",
    "FileError",
    "GalleryError",
    "IdsimError",
    "MatcherError",
    "SourceError",
    "printable",
]


def printable(text: str) -> str:
    """Return a text in which control characters, which a terminal would obey, are escaped."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


class IdsimError(Exception):
    """Base of the errors that are idsim's own."""


class FileError(IdsimError):
    """An error in a file: which file, where in it, and what is wrong there.

    Attributes
    ----------
    path : str
        The file or folder.
    place : str
        The part of it: a byte, a row, a field, a member.
    reason : str
        What is wrong, as a sentence without a full stop.
    """

    def __init__(self, path: str | os.PathLike[str], place: str, reason: str) -> None:
        self.path = os.fspath(path)
        self.place = place
        self.reason = reason
        super().__init__(self.path, place, reason)

    def __str__(self) -> str:
        return printable(f"{self.path}: {self.place}: {self.reason}")


class GalleryError(FileError):
    """A gallery, or a file offered as one, cannot be used."""


class MatcherError(FileError):
    """A matcher's description, model or scores cannot be used."""


class SourceError(FileError):
    """A source of pictures cannot be used."""


class BundleError(FileError):
    """A replication bundle cannot be used."""


class CheckpointError(FileError):
    """A generator's checkpoint cannot be used."""


class CudaError(IdsimError, RuntimeError):
    """The CUDA driver, the device or a kernel reported an error."""
