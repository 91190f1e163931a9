"""Whether people of training and holdout can change places: the permutation test does nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from idsim.audit.diagnostics.findings import Finding

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["exchange_finding"]

FEW = 0.5


def exchange_finding(training: NDArray[np.int64], holdout: NDArray[np.int64]) -> Finding:
    """Return how many people of the training set can change places with somebody of the holdout.

    People with many images are reached more often, so the permutation test exchanges people with equal numbers of
    images only. A person whose number nobody of the other set has stays where it is.

    Parameters
    ----------
    training, holdout : ndarray
        int64 ``[n]``: person of every image with a face; codes 0 .. k-1, each present.
    """
    images = [np.bincount(codes) for codes in (training, holdout)]
    possible = int(np.isin(images[0], images[1]).sum())
    people = len(images[0])
    means = [float(counts.mean()) for counts in images]
    numbers = {"exchangeable": possible, "persons": people, "mean_images": means}
    sentence = (
        f"{possible} of {people} people of the training set have as many images as somebody of the holdout "
        f"({means[0]:.3g} and {means[1]:.3g} on average) and can change places in the permutation test"
    )
    if not possible:
        sentence += (
            ": its p-value is 1, whatever the generator does. Give both sets the same numbers of images."
        )
        return Finding("images per person", "error", sentence, numbers)
    if possible < FEW * people:
        sentence += ": it can hardly find anything. Give both sets the same numbers of images."
        return Finding("images per person", "warning", sentence, numbers)
    return Finding("images per person", "info", sentence + ".", numbers)
