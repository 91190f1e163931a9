"""The nearest persons of every synthetic image, as all tests of this package see them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from idsim.audit.faces import FaceSet, encode_labels
from idsim.audit.pairs.compared import better_is_higher

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from idsim.audit.pairs.compared import Compared

__all__ = ["Best", "Nearest", "Searches", "best_among", "pooled_nearest"]


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
        float64 ``[m, a + b]``: all that were kept of either gallery, best first, higher is better; -inf beyond
        the last image.
    persons : ndarray
        int64 ``[m, a + b]``: persons of training are 0 .. t-1, those of holdout t .. t+h-1; -1 beyond the last.
    sure : int
        Columns that hold the best matches of both galleries together: as many as were kept of either. Further on
        others may be missing.
    """

    scores: NDArray[np.float64]
    persons: NDArray[np.int64]
    sure: int


def pooled_nearest(
    training: Compared, holdout: Compared, persons: tuple[NDArray[np.int64], NDArray[np.int64]]
) -> Nearest:
    """Return the best matches in training and holdout together.

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
    shift = int(persons[0].max()) + 1
    scores = np.concatenate([_best_scores(training), _best_scores(holdout)], axis=1)
    people = np.concatenate(
        [_best_persons(training, persons[0]), _best_persons(holdout, persons[1], shift)], axis=1
    )
    order = np.argsort(-scores, axis=1, kind="stable")
    return Nearest(
        np.take_along_axis(scores, order, axis=1),
        np.take_along_axis(people, order, axis=1),
        min(training.scores.shape[1], holdout.scores.shape[1]),
    )


class Best(NamedTuple):
    """The best match of every row in a gallery.

    Attributes
    ----------
    scores : ndarray
        float64 ``[m]``: higher is better; -inf where it is not among the matches kept.
    ids : ndarray
        int64 ``[m]``: image of the gallery; -1 where it is not known.
    leads : ndarray
        float64 ``[m]``: by how much its person is ahead of the next one, as far as the matches kept tell: 0 or
        more, too small where they are all of one person.
    """

    scores: NDArray[np.float64]
    ids: NDArray[np.int64]
    leads: NDArray[np.float64]


def best_among(compared: Compared, keep: NDArray[np.bool_], persons: NDArray[np.int64]) -> Best:
    """Return the best matches among some images of a gallery.

    Parameters
    ----------
    compared : Compared
        With the best matches in the whole gallery.
    keep : ndarray
        bool ``[g]``: the images that take part.
    persons : ndarray
        int64 ``[g]``: code of the person of every image.
    """
    ids = np.maximum(compared.ids, 0)
    scores = better_is_higher(compared.scores, compared.metric)
    usable = keep[ids] & (compared.ids >= 0)
    found = usable.any(axis=1)
    place = np.argmax(usable, axis=1)[:, None]
    best = np.take_along_axis(scores, place, axis=1)
    others = usable & (persons[ids] != np.take_along_axis(persons[ids], place, axis=1))
    # What is not listed is no better than the last that is.
    last = np.maximum(0, (compared.ids >= 0).sum(axis=1) - 1)
    next_place = np.where(others.any(axis=1), np.argmax(others, axis=1), last)[:, None]
    leads = np.zeros(len(scores))
    first, second = best[found, 0], np.take_along_axis(scores, next_place, axis=1)[found, 0]
    leads[found] = first - np.minimum(first, second)
    return Best(
        np.where(found, best[:, 0], -np.inf),
        np.where(found, np.take_along_axis(compared.ids, place, axis=1)[:, 0], -1),
        leads,
    )


def _best_scores(compared: Compared) -> NDArray[np.float64]:
    return np.where(compared.ids >= 0, better_is_higher(compared.scores, compared.metric), -np.inf)


def _best_persons(compared: Compared, persons: NDArray[np.int64], shift: int = 0) -> NDArray[np.int64]:
    return np.where(compared.ids >= 0, persons[np.maximum(compared.ids, 0)] + shift, -1).astype(np.int64)


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
