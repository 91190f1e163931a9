"""Pictures in folders and zips: one folder per identity, FFHQ's tree, the data sets of StyleGAN2-ADA and 3."""

from __future__ import annotations

import json
import math
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.archives import ZipPictures
from idsim.errors import SourceError
from idsim.images import list_images, read_bytes
from idsim.sources.base import ImageSource, read_small

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["DATASET", "FFHQ_IMAGES", "FFHQ_JSON", "DatasetImages", "FfhqImages", "FolderImages"]

DATASET = "dataset.json"
FFHQ_IMAGES = ("images1024x1024", "thumbnails128x128")
FFHQ_JSON = "ffhq-dataset-v2.json"
FFHQ_TRAINING = 60_000  # FFHQ's own split: the pictures before this number are for training
FFHQ_SIDES = dict(zip(FFHQ_IMAGES, (1024, 128), strict=True))

# The files of FFHQ and ImageNet have 255 MB and 100 MB.
MAX_JSON_BYTES = 512 << 20


class FolderImages(ImageSource):
    """The pictures below a folder; where they are in folders of their own, the first folder is the identity.

    Links, special files and names without the suffix of a picture are left out and listed.

    Raises
    ------
    OSError
        `path` is no folder, or cannot be read.
    """

    kind = "folder"

    def __init__(self, path: Path) -> None:
        listing = list_images(path)
        self._files = [file.path for file in listing.images]
        items = [file.item for file in listing.images]
        nested = any("/" in item for item in items)
        identities = [item.partition("/")[0] for item in items] if nested else None
        super().__init__(path, items, identities, listing.skipped)

    def read(self, number: int) -> bytes:
        """Return the file of a picture."""
        return read_bytes(self._files[number])

    def stamp(self, number: int) -> tuple[int, ...]:
        """Return bytes and time of a picture."""
        status = self._files[number].stat(follow_symlinks=False)
        return status.st_size, status.st_mtime_ns

    def _keep(self, numbers: list[int]) -> None:
        """Go on with these pictures only."""
        self._files = [self._files[number] for number in numbers]
        self.items = [self.items[number] for number in numbers]


class FfhqImages(FolderImages):
    """The tree of FFHQ: ``images1024x1024/00000/00000.png`` and, for landmarks, ``ffhq-dataset-v2.json``.

    Parameters
    ----------
    path : Path
        The folder that holds ``images1024x1024`` (or ``thumbnails128x128``), or that folder itself.
    split : {"", "training", "validation"}
        All pictures, those before number 60,000, or the others.

    Raises
    ------
    SourceError
        A file has a name that is no number.
    OSError
        The folder cannot be read.
    """

    kind = "ffhq"

    def __init__(self, path: Path, split: str = "") -> None:
        below = [path / name for name in FFHQ_IMAGES if (path / name).is_dir()]
        super().__init__(below[0] if below else path)
        self.path = path
        self.identities = None
        self._side = FFHQ_SIDES.get(self._files[0].parents[1].name, 0) if self._files else 0
        self._described: dict[str, Any] | None = None
        numbers = [self._number(item) for item in self.items]
        self._keep([row for row, number in enumerate(numbers) if _in_split(number, split)])

    def _number(self, item: str) -> int:
        stem = PurePosixPath(item).stem
        if not (stem.isascii() and stem.isdigit()):
            raise SourceError(self.path, repr(item), "FFHQ's pictures are called by their numbers")
        return int(stem)

    def landmarks(self, number: int) -> NDArray[np.float32] | None:
        """Return the 68 landmarks that FFHQ's description has of a picture; None without that file.

        Raises
        ------
        SourceError
            The description is damaged.
        """
        path = (self.path if (self.path / FFHQ_JSON).exists() else self.path.parent) / FFHQ_JSON
        if self._described is None:
            self._described = _json(read_small(path, MAX_JSON_BYTES), path) if path.exists() else {}
        key = str(self._number(self.items[number]))
        if key not in self._described:
            return None
        try:
            points = np.array(self._described[key]["image"]["face_landmarks"], dtype=np.float32)
        except (KeyError, TypeError, ValueError) as error:
            raise SourceError(path, repr(key), "it has no face_landmarks") from error
        if points.shape != (68, 2) or not np.isfinite(points).all():
            raise SourceError(path, repr(key), f"its face_landmarks are {list(points.shape)}, not [68, 2]")
        return points * np.float32(self._side / 1024) if self._side else points


def _in_split(number: int, split: str) -> bool:
    return not split or (number < FFHQ_TRAINING) == (split == "training")


class DatasetImages(ImageSource):
    """A data set of StyleGAN2-ADA or 3: a folder or zip with ``dataset.json``, whose labels are the identities.

    Raises
    ------
    SourceError
        ``dataset.json`` is damaged, or labels only some of the pictures.
    ValueError
        The zip is one that no honest program writes.
    OSError
        It cannot be read.
    """

    kind = "dataset"

    def __init__(self, path: Path) -> None:
        self._zip = None if path.is_dir() else ZipPictures(path)
        store: Any = self._zip or FolderImages(path)
        self._store = store
        skipped = [entry for entry in store.skipped if entry[0] != DATASET]
        labels = self._labels(path)
        identities = None
        if labels is not None:
            bare = [item for item in store.items if item not in labels]
            if bare:
                raise SourceError(path, DATASET, f"it has no label for {bare[0]!r}")
            identities = [labels.pop(item) for item in store.items]
            skipped += [
                (name, f"{DATASET} labels it, and there is no such picture") for name in sorted(labels)
            ]
        super().__init__(path, store.items, identities, skipped)

    def _labels(self, path: Path) -> dict[str, str] | None:
        if self._zip is not None:
            data = self._zip.read_other(DATASET)
        else:
            data = read_small(path / DATASET, MAX_JSON_BYTES) if (path / DATASET).exists() else None
        labels = None if data is None else _json(data, path / DATASET).get("labels")
        if labels is None:
            return None
        entries = list(labels.items()) if isinstance(labels, dict) else labels
        if not isinstance(entries, list):
            raise SourceError(path, DATASET, "its labels are no list")
        found = {}
        for entry in entries:
            if not isinstance(entry, list | tuple) or len(entry) != 2 or not isinstance(entry[0], str):
                raise SourceError(path, DATASET, f"a label is {entry!r:.80}, not a name and a label")
            found[entry[0]] = _class(entry[1])
        return found

    def read(self, number: int) -> bytes:
        """Return the file of a picture."""
        data: bytes = self._store.read(number)
        return data

    def stamp(self, number: int) -> tuple[int, ...]:
        """Return bytes and time, or bytes and CRC-32, of a picture."""
        stamp: tuple[int, ...] = self._store.stamp(number)
        return stamp


def _class(label: Any) -> str:
    """Return a class as text; of a vector with a single one, the place of the one."""
    if isinstance(label, list) and all(type(value) in (int, float) for value in label):
        places = [place for place, value in enumerate(label) if value]
        if len(places) == 1 and label[places[0]] == 1:
            return str(places[0])
    return label if isinstance(label, str) else json.dumps(label)


def _json(data: bytes, path: Path) -> dict[str, Any]:
    try:
        value = json.loads(data, parse_constant=lambda _: math.nan)
    except (ValueError, RecursionError) as error:
        raise SourceError(path, "file", f"it is no JSON ({error})") from error
    if not isinstance(value, dict):
        raise SourceError(path, "file", "it is no JSON object")
    return value
