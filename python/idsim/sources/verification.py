"""Verification sets of InsightFace, such as ``lfw.bin``: a pickle of pictures and of which pairs are one person.

The pickle is read as plain records: nothing that it names is imported or called.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.errors import SourceError
from idsim.files import InputFile
from idsim.images import MAX_FILE_BYTES
from idsim.inert.blobs import Blob
from idsim.inert.machine import Budget, Machine
from idsim.inert.names import NUMPY
from idsim.inert.records import Array
from idsim.sources.base import ImageSource

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["VerificationImages"]


class VerificationImages(ImageSource):
    """The pictures of a verification set: two for each pair, in order. Who is in them it does not say.

    Attributes
    ----------
    same : ndarray
        bool ``[n / 2]``: whether pictures ``2 i`` and ``2 i + 1`` are of one person.

    Raises
    ------
    SourceError
        The file is no such set, or its pickle holds anything else.
    """

    kind = "bin"

    def __init__(self, path: Path) -> None:
        self._file = InputFile(path, SourceError)
        machine = Machine(Blob(self._file, 0, self._file.size), Budget(self._file.size), NUMPY)
        value = machine.run()
        if type(value) not in (tuple, list) or len(value) != 2:
            raise SourceError(path, "pickle", "it holds no pair of pictures and truths")
        pictures, same = value
        if type(pictures) is not list or (type(same) not in (list, Array)):
            raise SourceError(path, "pickle", "it holds no list of pictures and no list of truths")
        self._pictures = [self._bytes(number, picture) for number, picture in enumerate(pictures)]
        self.same = self._truths(same)
        if len(self._pictures) != 2 * len(self.same):
            raise SourceError(
                path, "pickle", f"{len(self._pictures)} pictures do not make {len(self.same)} pairs"
            )
        super().__init__(path, [f"{number:06d}" for number in range(len(self._pictures))])

    def _bytes(self, number: int, value: Any) -> Blob:
        if type(value) is Array and value.element is not None and value.element.code == "u1":
            value = value.blob  # a picture's file as an array of its bytes
        if type(value) is not Blob:
            raise SourceError(self._file.path, f"picture {number}", "it is not the bytes of a picture")
        return value

    def _truths(self, same: Any) -> NDArray[np.bool_]:
        values = same
        if type(same) is Array:
            if same.element is None or same.element.code != "b1" or same.blob is None:
                raise SourceError(self._file.path, "truths", "they are no array of bool")
            values = list(same.blob.read())
        if any(type(value) not in (bool, int) or value not in (0, 1) for value in values):
            raise SourceError(self._file.path, "truths", "they are not all True or False")
        return np.array(values, dtype=np.bool_)

    def read(self, number: int) -> bytes:
        """Return the file of a picture."""
        blob = self._pictures[number]
        if len(blob) > MAX_FILE_BYTES:
            raise OSError(errno.EFBIG, f"it has more than {MAX_FILE_BYTES} bytes", str(self.path))
        try:
            return blob.read()
        except SourceError as error:
            raise OSError(errno.EIO, f"{error.place}: {error.reason}", str(self.path)) from error

    def stamp(self, number: int) -> tuple[int, ...]:
        """Return place of a picture, and bytes and time of the file."""
        status = self.path.stat()
        blob = self._pictures[number]
        return blob.start, len(blob), status.st_size, status.st_mtime_ns
