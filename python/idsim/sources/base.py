"""What every source of pictures offers."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from idsim.errors import SourceError
from idsim.files import InputFile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["ImageSource", "read_small"]


class ImageSource(ABC):
    """Pictures by number.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    path : Path
        The file or folder.
    items : list of str
        Names of the pictures, unique, in the order of their numbers.
    identities : list of str or None
        Who is in each picture; None where the source does not say.
    skipped : list of tuple
        What was left out, and why.
    """

    kind: str

    def __init__(
        self,
        path: Path,
        items: list[str],
        identities: list[str] | None = None,
        skipped: Sequence[tuple[str, str]] = (),
    ) -> None:
        self.path = path
        self.items = items
        self.identities = identities
        self.skipped = list(skipped)
        if len(set(items)) != len(items):
            seen: set[str] = set()
            twice = next(item for item in items if item in seen or seen.add(item))  # type: ignore[func-returns-value]
            raise SourceError(path, repr(twice), "two pictures have this name")

    def __len__(self) -> int:
        return len(self.items)

    @abstractmethod
    def read(self, number: int) -> bytes:
        """Return the file of a picture.

        Raises
        ------
        OSError
            It cannot be read, is a link, no regular file, or larger than 256 MiB.
        """

    @abstractmethod
    def stamp(self, number: int) -> tuple[int, ...]:
        """Return numbers that change when the picture does, without reading it: its bytes, its time, its CRC.

        Raises
        ------
        OSError
            It is gone.
        """

    def landmarks(self, number: int) -> NDArray[np.float32] | None:
        """Return landmarks that the source has, float32 ``[n, 2]``: x and y in pixels of the picture."""
        del number
        return None

    def stamps(self, start: int, stop: int) -> str:
        """Return one SHA-256 over names and stamps of a range of pictures."""
        digest = hashlib.sha256()
        for number in range(start, stop):
            digest.update(json.dumps([self.items[number], self._stamp(number)]).encode() + b"\n")
        return digest.hexdigest()

    def _stamp(self, number: int) -> list[int]:
        try:
            return list(self.stamp(number))
        except OSError:
            return []

    def fingerprint(self) -> dict[str, Any]:
        """Return what tells this source from another, as plain JSON values; reads no picture."""
        return {
            "kind": self.kind,
            "images": len(self),
            "skipped": len(self.skipped),
            "stamps": self.stamps(0, len(self)),
        }


def read_small(path: Path, limit: int) -> bytes:
    """Return the content of a file that describes pictures.

    Raises
    ------
    SourceError
        It cannot be read, or has more than `limit` bytes.
    """
    with InputFile(path, SourceError) as file:
        if file.size > limit:
            raise SourceError(path, "file", f"it has {file.size} bytes, more than {limit}")
        return bytes(file.read(0, file.size))
