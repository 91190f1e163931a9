"""Strata of items and persons: what is searched for and in which galleries, cell by cell."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from idsim.audit.rates.excess import Gallery
from idsim.audit.rates.resampling import Draw, matched_draws

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["SHARES", "UNKNOWN", "CellGallery", "Searched", "cell_draws", "check_weights", "person_cells"]

#: Code of the cell of what belongs to no known one.
UNKNOWN = -1
#: Sets whose composition can weigh the cells.
SHARES = ("synthetic", "training", "holdout")


class CellGallery(NamedTuple):
    """A gallery, the pairs in it that reach the threshold, and the cells of its persons.

    Attributes
    ----------
    gallery : Gallery
        Persons and pairs.
    cells : ndarray or None
        int64 ``[k]``: cell of every person, `UNKNOWN` where it is not known; None where none is.
    """

    gallery: Gallery
    cells: NDArray[np.int64] | None

    def of_items(self, kept: NDArray[np.bool_]) -> CellGallery:
        """Return the gallery with the pairs of some synthetic items (bool ``[n]``), which are numbered anew."""
        gallery, number = self.gallery, np.cumsum(kept) - 1
        used = kept[gallery.images]
        pairs = number[gallery.images[used]], gallery.columns[used]
        return CellGallery(Gallery(gallery.persons, *pairs), self.cells)

    def of_same_cell(self, items: NDArray[np.int64]) -> CellGallery:
        """Return the gallery with the pairs whose person is of the cell of the item (int64 ``[n]``)."""
        gallery, cells = self.gallery, self._known
        own = items[gallery.images]
        used = (own != UNKNOWN) & (own == cells[gallery.persons[gallery.columns]])
        return CellGallery(Gallery(gallery.persons, gallery.images[used], gallery.columns[used]), self.cells)

    def of_persons(self, cell: int) -> CellGallery:
        """Return the gallery of the persons of one cell, who are numbered anew."""
        gallery, cells = self.gallery, self._known
        there = cells == cell
        inside = there[gallery.persons]
        used = inside[gallery.columns]
        columns = (np.cumsum(inside) - 1)[gallery.columns[used]]
        persons = (np.cumsum(there) - 1)[gallery.persons[inside]]
        return CellGallery(Gallery(persons, gallery.images[used], columns), cells[there])

    @property
    def _known(self) -> NDArray[np.int64]:
        if self.cells is None:
            raise ValueError("the cells of the gallery's persons are not known")
        return self.cells


class Searched(NamedTuple):
    """The synthetic items that are searched for.

    Attributes
    ----------
    clusters : ndarray
        int64 ``[n]``: code of the cluster of every item, those without a face included; 0 .. c-1.
    cells : ndarray
        int64 ``[n]``: cell of every item, or `UNKNOWN`.
    """

    clusters: NDArray[np.int64]
    cells: NDArray[np.int64]

    def weights(self) -> NDArray[np.float64]:
        """Return float64 ``[n]``: 1 / size of its cluster for every item."""
        return np.asarray(1.0 / np.bincount(self.clusters)[self.clusters], dtype=np.float64)

    def clusters_of(self, kept: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return the clusters of some items (bool ``[n]``), numbered anew."""
        return np.unique(self.clusters[kept], return_inverse=True)[1].reshape(-1).astype(np.int64)


def check_weights(entries: Sequence[str]) -> str | dict[str, float]:
    """Return the name of a set whose shares weigh the cells, or the weight of each cell by name.

    Parameters
    ----------
    entries : sequence of str
        One of `SHARES`, or entries like ``female 20-39=0.3``.

    Raises
    ------
    ValueError
        They are neither, a cell is there twice, or a weight is not positive.
    """
    if len(entries) == 1 and entries[0] in SHARES:
        return entries[0]
    weights: dict[str, float] = {}
    for entry in entries:
        before, equals, number = entry.rpartition("=")
        cell = before.strip()
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not equals or not cell or not 0 < value < math.inf:
            raise ValueError(
                f"strata_weights must be one of {', '.join(SHARES)}, or entries like 'female 20-39=0.3' with positive "
                f"weights, not {entry!r}"
            )
        if cell in weights:
            raise ValueError(f"strata_weights names {cell!r} twice")
        weights[cell] = value
    if not weights:
        raise ValueError(f"strata_weights must be one of {', '.join(SHARES)}, or weights of strata")
    return weights


def person_cells(persons: NDArray[np.int64], cells: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
    """Return the cell of every person: the most frequent one of the images, the first of equally frequent ones.

    Parameters
    ----------
    persons : ndarray
        int64 ``[n]``: person of every image, codes 0 .. k-1, each present.
    cells : ndarray
        int64 ``[n]``: cell of every image, or `UNKNOWN`, which does not count.

    Returns
    -------
    cells : ndarray
        int64 ``[k]``: `UNKNOWN` where no image has a known cell.
    mixed : int
        Persons whose images are of several cells.
    """
    total = int(persons.max(initial=-1)) + 1
    result = np.full(total, UNKNOWN, np.int64)
    known = cells != UNKNOWN
    if not known.any():
        return result, 0
    width = int(cells.max()) + 1
    keys, counts = np.unique(persons[known] * width + cells[known], return_counts=True)
    people, found = keys // width, keys % width
    order = np.lexsort((found, -counts, people))
    first = order[np.flatnonzero(np.diff(people[order], prepend=-1))]
    result[people[first]] = found[first]
    return result, len(keys) - len(first)


def cell_draws(
    training: CellGallery, holdout: CellGallery, draws: int, rng: np.random.Generator
) -> list[Draw]:
    """Return matched sub-galleries with equal numbers of persons, and of images per person, in every cell.

    Cells that one gallery lacks take no part; persons whose cell is not known are matched among themselves. Where
    cells are not known at all, galleries are matched as `matched_draws` does. Parameters as there.

    Returns
    -------
    list of Draw
        Empty where no cell is in both galleries.
    """
    first, second = training.gallery.persons, holdout.gallery.persons
    if training.cells is None or holdout.cells is None:
        return matched_draws(first, second, draws, rng)
    parts = []
    for cell in np.intersect1d(training.cells, holdout.cells).tolist():
        inside = (training.cells == cell)[first], (holdout.cells == cell)[second]
        codes = [
            np.unique(persons[kept], return_inverse=True)[1].reshape(-1).astype(np.int64)
            for persons, kept in zip((first, second), inside, strict=True)
        ]
        parts.append((inside, matched_draws(codes[0], codes[1], draws, rng)))
    if not parts:
        return []
    result = []
    for number in range(max(len(found) for _, found in parts)):
        whole = Draw(np.zeros(len(first), np.bool_), np.zeros(len(second), np.bool_))
        for inside, found in parts:
            for side, kept, chosen in zip(whole, inside, found[number % len(found)], strict=True):
                side[kept] = chosen
        result.append(whole)
    return result
