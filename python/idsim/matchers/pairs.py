"""Pairs of pictures to check a matcher with: a folder with a folder for each person, or a list of pairs."""

from __future__ import annotations

import csv
import io
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from idsim.errors import MatcherError
from idsim.images import decode, list_images, read_bytes
from idsim.matchers.pair_statistics import Pair

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from idsim.matchers.faces import AlignedMatcher

__all__ = ["Crops", "PicturePairs", "crops_of_pairs", "read_pairs"]

MAX_PICTURES = 2000
MAX_PAIRS = 20_000
MAX_LIST_BYTES = 16 << 20
ANSWERS = {"same": True, "1": True, "true": True, "different": False, "0": False, "false": False}
HEADER = ["left", "right", "same"]


class PicturePairs(NamedTuple):
    """Pictures and pairs of them.

    Attributes
    ----------
    names : list of str
        Names of the pictures, for messages.
    files : list of Path
        Where they are.
    pairs : list of Pair
        Their positions, and whether they show the same person.
    """

    names: list[str]
    files: list[Path]
    pairs: list[Pair]


class Crops(NamedTuple):
    """Crops of pictures, and the pairs that are left.

    Attributes
    ----------
    crops : ndarray
        uint8 ``[n, height, width, 3]`` RGB.
    pairs : list of Pair
        Positions of crops, and whether they show the same person.
    without_face : list of str
        Names of the pictures in which no face was found, or none that can be aligned.
    """

    crops: NDArray[np.uint8]
    pairs: list[Pair]
    without_face: list[str]


def read_pairs(path: Path) -> PicturePairs:
    """Read which pictures are pairs.

    Parameters
    ----------
    path : Path
        A folder whose folders hold the pictures of one person each: all pairs of the same person are taken, and of the
        pairs of different people every so many that all take part; or a CSV file: two pictures, relative to the file,
        and ``same`` or ``different`` (``1`` or ``0``, ``true`` or ``false``), with or without the header
        ``left,right,same``.

    Raises
    ------
    MatcherError
        There are no pictures or too many, or the list is not as described.
    OSError
        It cannot be read.
    """
    found = _folder(path) if path.is_dir() else _list(path)
    if not found.files or len(found.files) > MAX_PICTURES:
        expected = "a folder with a folder of pictures for each person, or a CSV list of pairs, is expected"
        raise MatcherError(
            path, "pictures", f"there are {len(found.files)}; 1 to {MAX_PICTURES} are needed ({expected})"
        )
    return found


def crops_of_pairs(matcher: AlignedMatcher, listed: PicturePairs) -> Crops:
    """Cut the faces out of pictures as a matcher does, one picture after another.

    Where the matcher takes pictures for crops (the alignment ``none``), they must have the size of its crops.

    Raises
    ------
    MatcherError
        A picture cannot be read, or has another size than a crop.
    """
    places: dict[int, int] = {}
    crops: list[NDArray[np.uint8]] = []
    without = []
    for number, (name, file) in enumerate(zip(listed.names, listed.files, strict=True)):
        pixels = _picture(file)
        if matcher.alignment.mode == "none":
            _check_size(file, pixels, matcher.alignment.size)
        crop = matcher.prepare(pixels)[1]
        if crop is None:
            without.append(name)
        else:
            places[number] = len(crops)
            crops.append(crop)
    size = (*matcher.alignment.size, 3)
    stacked = np.stack(crops) if crops else np.empty((0, *size), dtype=np.uint8)
    return Crops(stacked, _still_there(listed.pairs, places), without)


def _folder(root: Path) -> PicturePairs:
    images = [entry for entry in list_images(root).images if len(Path(entry.item).parts) > 1][
        : MAX_PICTURES + 1
    ]
    people = [Path(entry.item).parts[0] for entry in images]
    everyone = [Pair(a, b, people[a] == people[b]) for a, b in combinations(range(len(people)), 2)]
    same = [pair for pair in everyone if pair.same][:MAX_PAIRS]
    different = [pair for pair in everyone if not pair.same]
    # Every so many, so that all people take part.
    pairs = same + different[:: -(-len(different) // MAX_PAIRS) or 1]
    return PicturePairs([entry.item for entry in images], [entry.path for entry in images], pairs)


def _list(path: Path) -> PicturePairs:
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
        if not any(cells) or (number == 1 and cells == HEADER):
            continue
        if len(cells) != 3 or cells[2].lower() not in ANSWERS:
            raise MatcherError(path, f"line {number}", "must be: picture, picture, same or different")
        first, second = (places.setdefault(cell, len(places)) for cell in cells[:2])
        pairs.append(Pair(first, second, ANSWERS[cells[2].lower()]))
    if len(pairs) > MAX_PAIRS:
        raise MatcherError(path, "pairs", f"{len(pairs)}; at most {MAX_PAIRS} are used")
    return PicturePairs(list(places), [path.parent / name for name in places], pairs)


def _picture(file: Path) -> NDArray[np.uint8]:
    picture = decode(read_bytes(file))
    if picture.pixels is None:
        raise MatcherError(file, "picture", picture.reason)
    return picture.pixels


def _check_size(file: Path, pixels: NDArray[np.uint8], size: tuple[int, int]) -> None:
    if pixels.shape[:2] != size:
        found = " x ".join(map(str, pixels.shape[:2]))
        raise MatcherError(
            file, "size", f"is {found}, and the matcher takes crops of {size[0]} x {size[1]} (height x width)"
        )


def _still_there(pairs: Sequence[Pair], places: dict[int, int]) -> list[Pair]:
    """Return the pairs of pictures that have a crop, by the positions of the crops."""
    return [
        Pair(places[pair.first], places[pair.second], pair.same)
        for pair in pairs
        if pair.first in places and pair.second in places
    ]
