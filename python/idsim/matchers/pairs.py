"""Pairs of crops to check a matcher with: a folder with a folder for each person, or a list of pairs."""

from __future__ import annotations

import csv
import io
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from idsim.errors import MatcherError
from idsim.images import decode, list_images, read_bytes
from idsim.matchers.check import Pair

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["read_pairs"]

MAX_CROPS = 2000
MAX_PAIRS = 20_000
MAX_LIST_BYTES = 16 << 20
ANSWERS = {"same": True, "1": True, "different": False, "0": False}


def read_pairs(path: Path, size: tuple[int, int]) -> tuple[NDArray[np.uint8], list[Pair]]:
    """Read crops and pairs of them.

    Parameters
    ----------
    path : Path
        A folder whose folders hold the crops of one person each, of which all pairs are made; or a CSV file without
        a header: two pictures, relative to the file, and ``same`` or ``different``.
    size : tuple of int
        Height and width that the crops must have.

    Returns
    -------
    crops : ndarray
        uint8 ``[n, height, width, 3]`` RGB.
    pairs : list of Pair
        Positions of crops, and whether they show the same person.

    Raises
    ------
    MatcherError
        A picture cannot be read or has another size, or the list is not as described.
    """
    files, pairs = _folder(path) if path.is_dir() else _list(path)
    if not files or len(files) > MAX_CROPS:
        raise MatcherError(path, "pictures", f"{len(files)}; 1 to {MAX_CROPS} are needed")
    return np.stack([_crop(file, size) for file in files]), pairs


def _folder(root: Path) -> tuple[list[Path], list[Pair]]:
    images = [entry for entry in list_images(root).images if len(Path(entry.item).parts) > 1][: MAX_CROPS + 1]
    people = [Path(entry.item).parts[0] for entry in images]
    everyone = [Pair(a, b, people[a] == people[b]) for a, b in combinations(range(len(people)), 2)]
    same = [pair for pair in everyone if pair.same][:MAX_PAIRS]
    different = [pair for pair in everyone if not pair.same]
    # Every so many, so that all people take part.
    return [entry.path for entry in images], same + different[:: -(-len(different) // MAX_PAIRS) or 1]


def _list(path: Path) -> tuple[list[Path], list[Pair]]:
    try:
        if path.stat().st_size > MAX_LIST_BYTES:
            raise MatcherError(path, "size", f"at most {MAX_LIST_BYTES} bytes are read")
        rows = list(csv.reader(io.StringIO(read_bytes(path).decode("utf-8"))))
    except (csv.Error, UnicodeDecodeError) as error:
        raise MatcherError(path, "text", f"it is no CSV file in UTF-8: {error}") from error
    places: dict[str, int] = {}
    pairs = []
    for number, row in enumerate(rows, 1):
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        if len(cells) != 3 or cells[2] not in ANSWERS:
            raise MatcherError(path, f"line {number}", "must be: picture, picture, same or different")
        first, second = (places.setdefault(cell, len(places)) for cell in cells[:2])
        pairs.append(Pair(first, second, ANSWERS[cells[2]]))
    if len(pairs) > MAX_PAIRS:
        raise MatcherError(path, "pairs", f"{len(pairs)}; at most {MAX_PAIRS} are used")
    return [path.parent / name for name in places], pairs


def _crop(file: Path, size: tuple[int, int]) -> NDArray[np.uint8]:
    picture = decode(read_bytes(file))
    if picture.pixels is None:
        raise MatcherError(file, "picture", picture.reason)
    if picture.pixels.shape[:2] != size:
        found = " x ".join(map(str, picture.pixels.shape[:2]))
        raise MatcherError(
            file, "size", f"is {found}, and the matcher takes crops of {size[0]} x {size[1]} (height x width)"
        )
    return picture.pixels
