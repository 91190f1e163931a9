"""Persons matched by how many images they have: more images, more chances to be matched."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["Strata", "image_strata"]

# Fewer persons on either side of a stratum than this are merged with the next number of images: ranks among
# fewer tell little, and pairing by exact numbers of images would leave most persons of large sets alone.
FEWEST_PERSONS = 30

# Inside a merged stratum the mean numbers of images may differ by this share before the result warns.
TOLERATED_IMBALANCE = 0.1


class Strata(NamedTuple):
    """Strata of the persons of two sets, by their numbers of images. Each has persons of both.

    Attributes
    ----------
    training, holdout : ndarray
        int64 ``[persons]``: stratum of every person; 0 has the fewest images.
    caution : str
        Says where the numbers of images differ inside a stratum; empty where they do not.
    """

    training: NDArray[np.int64]
    holdout: NDArray[np.int64]
    caution: str

    @property
    def number(self) -> int:
        """Number of strata."""
        return int(self.training.max()) + 1

    @property
    def sizes(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Persons of training and of holdout in each stratum: int64 ``[strata]`` each."""
        training = np.bincount(self.training, minlength=self.number)
        return training.astype(np.int64), np.bincount(self.holdout, minlength=self.number).astype(np.int64)

    def weights(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return weights of the persons of either set, with sum 1, that give strata their share of training.

        Training persons weigh the same; the holdout is standardised directly to the strata of training.
        """
        training, holdout = self.sizes
        inside = training / len(self.training) / holdout
        return np.full(len(self.training), 1 / len(self.training)), inside[self.holdout]

    def members(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Yield the persons of training and of holdout, stratum by stratum."""
        for stratum in range(self.number):
            yield np.flatnonzero(self.training == stratum), np.flatnonzero(self.holdout == stratum)


def image_strata(
    training: NDArray[np.int64], holdout: NDArray[np.int64], fewest: int = FEWEST_PERSONS
) -> Strata:
    """Return strata of persons with equal or neighbouring numbers of images.

    Numbers of images are taken in ascending order, and merged until a stratum has `fewest` persons of either
    set; what is left at the end joins the last stratum.

    Parameters
    ----------
    training, holdout : ndarray
        int64 ``[persons]``: images of every person.
    fewest : int
        Persons that a stratum needs of either set.
    """
    if not len(training) or not len(holdout):
        raise ValueError(f"strata need persons in both sets, not {len(training)} and {len(holdout)}")
    if fewest < 1:
        raise ValueError(f"a stratum needs at least 1 person of either set, not {fewest}")
    numbers = np.unique(np.concatenate([training, holdout]))
    counts = [
        np.bincount(np.searchsorted(numbers, side), minlength=len(numbers)) for side in (training, holdout)
    ]
    codes = np.zeros(len(numbers), np.int64)
    stratum, inside = 0, np.zeros(2, np.int64)
    for place, pair in enumerate(zip(*counts, strict=True)):
        codes[place] = stratum
        inside += pair
        if (inside >= fewest).all():
            stratum, inside = stratum + 1, np.zeros(2, np.int64)
    if stratum and inside.any():
        codes[codes == stratum] = stratum - 1
    of_training, of_holdout = (codes[np.searchsorted(numbers, side)] for side in (training, holdout))
    return Strata(of_training, of_holdout, _caution(training, holdout, of_training, of_holdout))


def _caution(
    training: NDArray[np.int64],
    holdout: NDArray[np.int64],
    of_training: NDArray[np.int64],
    of_holdout: NDArray[np.int64],
) -> str:
    means = [
        np.bincount(codes, weights=images) / np.bincount(codes)
        for images, codes in ((training, of_training), (holdout, of_holdout))
    ]
    ratio = np.maximum(means[0] / means[1], means[1] / means[0])
    worst = int(ratio.argmax())
    if ratio[worst] <= 1 + TOLERATED_IMBALANCE:
        return ""
    return (
        f"persons compared with each other have {means[0][worst]:.3g} images in training and "
        f"{means[1][worst]:.3g} in the holdout on average; more images mean more matches"
    )
