"""Record files of MXNet and InsightFace: ``train.rec`` with the index ``train.idx``, read record by record.

A record is cut into parts where its bytes spell the magic number, which is left out there. Sources:
``python/mxnet/recordio.py`` of apache/mxnet 1.9, the record readers of NVIDIA DALI.
"""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING, NamedTuple, NoReturn

import numpy as np

from idsim.errors import SourceError
from idsim.files import InputFile
from idsim.images import MAX_FILE_BYTES
from idsim.sources.base import ImageSource, read_small

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["RecordImages"]

MAGIC = 0xCED7230A
PART = struct.Struct("<II")  # magic; kind of part << 29 | bytes
HEADER = struct.Struct("<IfQQ")  # number of labels that follow, label, id, second id
WHOLE, FIRST, MIDDLE, LAST = range(4)
MAX_INDEX_BYTES = 1 << 30
MAX_LABELS = 1 << 16


class _Record(NamedTuple):
    labels: tuple[float, ...]
    data: bytes


class RecordImages(ImageSource):
    """The pictures of a record file; their labels are the identities.

    InsightFace's own files begin with a record that says which keys are pictures, followed by records of
    identities; in others every key is a picture. Names are keys.

    Parameters
    ----------
    path : Path
        The ``.rec`` file, with the ``.idx`` file of the same name beside it; or the folder of ``train.rec``.

    Raises
    ------
    SourceError
        A file is missing or damaged.
    """

    kind = "recordio"

    def __init__(self, path: Path) -> None:
        self._file = InputFile(path / "train.rec" if path.is_dir() else path, SourceError)
        self._index = self._file.path.with_suffix(".idx")
        keys, offsets = self._read_index()
        order = np.argsort(keys, kind="stable")
        keys, offsets = keys[order], offsets[order]
        if len(keys) and keys[0] == 0:
            first = self._record(int(offsets[0]))
            if first.data == b"" and len(first.labels) >= 1:
                # A record without a picture: its first label is the key of the first record of an identity.
                images = (keys > 0) & (keys < first.labels[0])
                keys, offsets = keys[images], offsets[images]
        self._offsets = offsets
        identities = [self._identity(int(offset)) for offset in offsets]
        super().__init__(path, [f"{key:08d}" for key in keys.tolist()], identities)

    def _read_index(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        words = read_small(self._index, MAX_INDEX_BYTES).split()
        try:
            table = np.array(words, dtype=np.int64).reshape(-1, 2)
        except (ValueError, OverflowError) as error:
            raise SourceError(self._index, "index", "it is no list of keys and offsets") from error
        keys, offsets = table[:, 0], table[:, 1]
        if (keys < 0).any() or len(np.unique(keys)) != len(keys):
            raise SourceError(self._index, "keys", "they must be different numbers from 0 on")
        beyond = (offsets < 0) | (offsets > self._file.size - PART.size)
        if beyond.any():
            key = int(keys[np.argmax(beyond)])
            raise SourceError(self._index, f"key {key}", f"its offset is outside {self._file.path.name}")
        return keys, offsets

    def read(self, number: int) -> bytes:
        """Return the file of a picture."""
        try:
            return self._record(int(self._offsets[number])).data
        except SourceError as error:
            raise OSError(errno.EIO, f"{error.place}: {error.reason}", str(self._file.path)) from error

    def stamp(self, number: int) -> tuple[int, ...]:
        """Return place of a picture, and bytes and time of the file."""
        status = self._file.path.stat()
        return int(self._offsets[number]), status.st_size, status.st_mtime_ns

    def _identity(self, offset: int) -> str:
        """Return the label of a record, of which only the head is read; empty where it is damaged."""
        try:
            magic, word = PART.unpack(self._file.read(offset, PART.size))
            if magic == MAGIC and word >> 29 == WHOLE and word & 0x1FFFFFFF >= HEADER.size + 4:
                count, label, _, _, more = struct.unpack(
                    "<IfQQf", self._file.read(offset + PART.size, HEADER.size + 4)
                )
                value = more if count else label
            else:
                value = self._record(offset).labels[0]
        except SourceError:
            return ""  # the picture cannot be read either, and is listed with the reason
        return str(int(value)) if value == value // 1 else repr(value)

    def _record(self, offset: int) -> _Record:
        content = self._content(offset)
        if len(content) < HEADER.size:
            self._refuse(offset, f"the record has {len(content)} bytes, fewer than its header")
        count, label, _, _ = HEADER.unpack_from(content)
        stop = HEADER.size + 4 * count
        if count > MAX_LABELS or stop > len(content):
            self._refuse(offset, f"the record announces {count} labels in {len(content)} bytes")
        labels = struct.unpack_from(f"<{count}f", content, HEADER.size) if count else (label,)
        if not np.isfinite(labels).all():
            self._refuse(offset, "a label is not finite")
        return _Record(labels, content[stop:])

    def _content(self, offset: int) -> bytes:
        parts: list[bytes] = []
        place, total, expected = offset, 0, (WHOLE, FIRST)
        while True:
            magic, word = PART.unpack(self._file.read(place, PART.size))
            kind, size = word >> 29, word & 0x1FFFFFFF
            if magic != MAGIC or kind not in expected:
                self._refuse(place, "there is no record, or it is cut into parts in a way that none is")
            total += size + 4
            if total > MAX_FILE_BYTES:
                self._refuse(place, f"the record has more than {MAX_FILE_BYTES} bytes")
            parts.append(bytes(self._file.read(place + PART.size, size)))
            if kind in (WHOLE, LAST):
                return struct.pack("<I", MAGIC).join(parts)
            place += PART.size + (size + 3) // 4 * 4
            expected = (MIDDLE, LAST)

    def _refuse(self, place: int, reason: str) -> NoReturn:
        raise SourceError(self._file.path, f"byte {place}", reason)
