"""From a path to a source of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from idsim.sources.folders import DATASET, FFHQ_IMAGES, FFHQ_JSON, DatasetImages, FfhqImages, FolderImages
from idsim.sources.lists import ListImages
from idsim.sources.recordio import RecordImages
from idsim.sources.verification import VerificationImages

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from idsim.sources.base import ImageSource

__all__ = ["KINDS", "SPLITS", "detect_kind", "open_images"]

SPLITS = ("", "training", "validation")
READERS: dict[str, Callable[[Path], ImageSource]] = {
    "folder": FolderImages,
    "ffhq": FfhqImages,
    "dataset": DatasetImages,
    "recordio": RecordImages,
    "bin": VerificationImages,
    "list": ListImages,
}
KINDS = tuple(READERS)
SUFFIXES = {
    ".zip": "dataset", ".rec": "recordio", ".bin": "bin", ".csv": "list", ".tsv": "list", ".parquet": "list",
}  # fmt: skip


def open_images(path: str | os.PathLike[str], kind: str = "", split: str = "") -> ImageSource:
    """Open a source of pictures.

    Parameters
    ----------
    path : path-like
        A folder (``folder``; ``ffhq`` and ``dataset`` where it looks like one), a zip (``dataset``), a ``.rec``
        file or its folder (``recordio``), a ``.bin`` file (``bin``), or a CSV or Parquet file (``list``).
    kind : str
        One of `KINDS`; empty: told by the path.
    split : {"", "training", "validation"}
        Of FFHQ only: part of the pictures.

    Raises
    ------
    SourceError
        The file is damaged, or of no kind that is read.
    ValueError
        There is no such kind or split, there is no picture, or a zip is one that no honest program writes.
    OSError
        It cannot be read.
    """
    place = Path(path)
    chosen = kind or detect_kind(place)
    if chosen not in READERS:
        raise ValueError(f"the kind of a source must be one of {', '.join(KINDS)}, not {kind!r}")
    if split not in SPLITS:
        raise ValueError(f"split must be 'training' or 'validation', not {split!r}")
    if split and chosen != "ffhq":
        raise ValueError(f"{place}: only FFHQ has a split {split}, and this is a source of kind {chosen}")
    source = FfhqImages(place, split) if chosen == "ffhq" else READERS[chosen](place)
    if not source.items:
        raise ValueError(f"there is no JPEG, PNG or WebP file in {place}")
    return source


def detect_kind(path: Path) -> str:
    """Return the kind that a path looks like.

    Raises
    ------
    ValueError
        It looks like none.
    """
    if path.is_dir():
        if (path / FFHQ_JSON).exists() or any((path / name).is_dir() for name in FFHQ_IMAGES):
            return "ffhq"
        if (path / DATASET).exists():
            return "dataset"
        return "recordio" if (path / "train.rec").exists() else "folder"
    kind = SUFFIXES.get(path.suffix.lower())
    if kind is None and path.exists():
        raise ValueError(f"{path} is no source of pictures: a folder, or one of {', '.join(SUFFIXES)}")
    return kind or "folder"
