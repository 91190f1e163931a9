"""Folders of portraits, as `labels = "folder"` of a scan reads them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from idsim.demo_world.people import person
from idsim.demo_world.portraits import portrait

if TYPE_CHECKING:
    import os


def draw(folder: str | os.PathLike[str], population: str, people: int, images: int, size: int = 32) -> None:
    """Write the first portraits of the first people of a population: ``folder/POPULATION-0001/000.png``.

    Parameters
    ----------
    folder : path
        Made where it is missing. Files of these names are written again.
    population : str
        See `person`; here it is part of file names, so without ``/``.
    people, images : int
        How many people, and portraits of each. The folder 0001 is the person with number 0.
    size : int
        Pixels of a side.

    Raises
    ------
    ValueError
        For a population that is no file name, or counts below 1.
    """
    from PIL import Image

    if not population or Path(population).name != population:
        raise ValueError(f"population must be usable as a file name, not {population!r}")
    if min(people, images) < 1:
        raise ValueError(f"people and images must be 1 or more, not {people} and {images}")
    for number in range(people):
        somebody = person(population, number)
        place = Path(folder) / f"{population}-{number + 1:04}"
        place.mkdir(parents=True, exist_ok=True)
        for image in range(images):
            Image.fromarray(portrait(somebody, image, size)).save(place / f"{image:03}.png")
