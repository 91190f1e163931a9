"""Stored pictures as a generator: their numbers, in order of their names, are the seeds."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idsim.generators.base import Drawn
from idsim.images import decode
from idsim.sources import open_images

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from idsim.generators.base import Pictures

__all__ = ["FolderGenerator"]


class FolderGenerator:
    """The pictures below a folder, in a zip such as the data sets of StyleGAN2-ADA, or of another source.

    Parameters
    ----------
    path : str or Path
        What `idsim.sources.open_images` opens.

    Raises
    ------
    SourceError
        The source is damaged.
    ValueError
        There is no picture, or the zip is one that no honest program writes.
    OSError
        It cannot be read.
    """

    name = "folder"

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._store = open_images(self._path)
        self._sha256 = ""

    def __len__(self) -> int:
        return len(self._store.items)

    def describe(self) -> dict[str, Any]:
        """Return what the pictures are, by content; reads every file once."""
        if not self._sha256:
            digest = hashlib.sha256()
            for number, item in enumerate(self._store.items):
                content = hashlib.sha256(self._store.read(number)).hexdigest()
                digest.update(json.dumps([item, content]).encode() + b"\n")
            self._sha256 = digest.hexdigest()
        return {"name": self.name, "pictures": len(self), "sha256": self._sha256, "licence": "not stated"}

    def sample(self, seeds: Sequence[int], *, psi: float | None = None, label: int | None = None) -> Pictures:
        """Return the pictures of these numbers, from 0; there is neither `psi` nor `label`.

        Drawing raises ValueError at a picture that cannot be decoded, and names it.
        """
        if psi is not None or label is not None:
            raise ValueError(f"{self._path} holds finished pictures: psi and label do not apply to them")
        beyond = [seed for seed in seeds if not 0 <= seed < len(self)]
        if beyond:
            raise ValueError(
                f"{self._path} has {len(self)} pictures, numbered from 0: there is no {beyond[0]}"
            )
        return Drawn(len(seeds), lambda: self._draw(seeds))

    def _draw(self, seeds: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
        for seed in seeds:
            picture = decode(self._store.read(seed))
            if picture.pixels is None:
                raise ValueError(f"{self._path}: {self._store.items[seed]}: {picture.reason}")
            yield picture.pixels
