"""The nearest persons of every synthetic image, as all tests of this package see them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from idsim.audit.compared import better_is_higher
from idsim.audit.faces import FaceSet, encode_labels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from idsim.audit.compared import Compared

__all__ = ["Nearest", "Searches", "best_among", "pooled_nearest"]


class Searches(NamedTuple):
    """The set whose items are searched for: synthetic images, or real probes.

    Attributes
    ----------
    clusters : ndarray
        int64 ``[n]``: cluster (of probes: person) of every item, those without a face included; codes 0 .. c-1.
    rows : ndarray
        int64 ``[m]``: the item of every embedding, ascending.
    """

    clusters: NDArray[np.int64]
    rows: NDArray[np.int64]

    @classmethod
    def of(cls, faces: FaceSet) -> Searches:
        """Return the items of a set."""
        return cls(encode_labels(faces.labels)[0], faces.rows)

    def weights(self) -> NDArray[np.float64]:
        """Return float64 ``[n]``: 1 / size of its cluster, for every item."""
        return np.asarray(1.0 / np.bincount(self.clusters)[self.clusters], dtype=np.float64)


class Nearest(NamedTuple):
    """The best matches of every embedding among the images of both galleries together.

    They are the same whatever gallery a person belongs to, so membership may be exchanged among them.

    Attributes
    ----------
    scores : ndarray
        float64 ``[m, k]``: best first, higher is better; -inf beyond the last image.
    persons : ndarray
        int64 ``[m, k]``: persons of training are 0 .. a-1, those of holdout a .. a+b-1; -1 beyond the last.
    """

    scores: NDArray[np.float64]
    persons: NDArray[np.int64]


def pooled_nearest(
    training: Compared, holdout: Compared, persons: tuple[NDArray[np.int64], NDArray[np.int64]]
) -> Nearest:
    """Return the best matches in training and holdout together, as many as were kept of either.

    Parameters
    ----------
    training, holdout : Compared
        The synthetic set compared with either gallery.
    persons : tuple of ndarray
        int64 ``[g]``: code of the person of every embedding of training and of holdout; 0 .. a-1 and 0 .. b-1.

    Raises
    ------
    ValueError
        The comparisons are of different rows or metrics, or a gallery is empty.
    """
    _require_alike(training, holdout, persons)
    kept = min(training.scores.shape[1], holdout.scores.shape[1])
    shift = int(persons[0].max()) + 1
    scores = np.concatenate([_best_scores(training, kept), _best_scores(holdout, kept)], axis=1)
    people = np.concatenate(
        [_best_persons(training, persons[0], kept), _best_persons(holdout, persons[1], kept, shift)], axis=1
    )
    order = np.argsort(-scores, axis=1, kind="stable")[:, :kept]
    return Nearest(np.take_along_axis(scores, order, axis=1), np.take_along_axis(people, order, axis=1))


def best_among(compared: Compared, keep: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return score and gallery image of the best match among some images of a gallery.

    Parameters
    ----------
    compared : Compared
        With the best matches in the whole gallery.
    keep : ndarray
        bool ``[g]``: the images that take part.

    Returns
    -------
    tuple of ndarray
        float64 and int64 ``[m]``, higher is better; -inf and -1 where none of them is among the matches kept.
    """
    usable = keep[np.maximum(compared.ids, 0)] & (compared.ids >= 0)
    place = np.argmax(usable, axis=1)[:, None]
    found = usable.any(axis=1)
    scores = np.take_along_axis(better_is_higher(compared.scores, compared.metric), place, axis=1)[:, 0]
    ids = np.take_along_axis(compared.ids, place, axis=1)[:, 0]
    return np.where(found, scores, -np.inf), np.where(found, ids, -1)


def _best_scores(compared: Compared, kept: int) -> NDArray[np.float64]:
    wide = better_is_higher(compared.scores[:, :kept], compared.metric)
    return np.where(compared.ids[:, :kept] >= 0, wide, -np.inf)


def _best_persons(
    compared: Compared, persons: NDArray[np.int64], kept: int, shift: int = 0
) -> NDArray[np.int64]:
    ids = compared.ids[:, :kept]
    return np.where(ids >= 0, persons[np.maximum(ids, 0)] + shift, -1).astype(np.int64)


def _require_alike(
    training: Compared, holdout: Compared, persons: tuple[NDArray[np.int64], NDArray[np.int64]]
) -> None:
    if training.metric != holdout.metric:
        raise ValueError(f"training is compared by {training.metric} and holdout by {holdout.metric}")
    if len(training.scores) != len(holdout.scores):
        raise ValueError(
            f"{len(training.scores)} rows are compared with training and {len(holdout.scores)} with holdout"
        )
    for name, codes in zip(("training", "holdout"), persons, strict=True):
        if not len(codes):
            raise ValueError(f"{name} has no embedding")
