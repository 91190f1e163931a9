"""Membership as a function of how many synthetic images an attacker has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from idsim.audit.persons.membership import Membership, infer_membership, membership_entry, person_scores

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from idsim.audit.pairs.compared import Compared

__all__ = [
    "CurvePoint",
    "Subset",
    "best_within",
    "membership_curve",
    "membership_curve_entry",
    "nested_subsets",
]


class Subset(NamedTuple):
    """Part of the synthetic clusters with all their embeddings.

    Attributes
    ----------
    clusters : int
        Number of them.
    keep : ndarray
        bool ``[n]``: whether a synthetic embedding is of one.
    """

    clusters: int
    keep: NDArray[np.bool_]


@dataclass(frozen=True)
class CurvePoint:
    """Membership with a part of the synthetic images."""

    clusters: int
    images: int
    membership: Membership | str


def nested_subsets(clusters: NDArray[np.int64], halvings: int, rng: np.random.Generator) -> list[Subset]:
    """Return 1/2^h, ..., 1/4, 1/2 and all of the clusters; each subset holds the ones before it.

    Parameters
    ----------
    clusters : ndarray
        int64 ``[n]``: code of the cluster of every synthetic embedding; codes 0 .. c-1.
    halvings : int
        How often to halve. Subsets that would be empty are left out.
    rng : numpy.random.Generator
        Source of the order in which clusters are taken.
    """
    total = int(clusters.max()) + 1 if len(clusters) else 0
    place = np.empty(total, np.int64)
    place[rng.permutation(total)] = np.arange(total)
    sizes = [total >> halving for halving in range(halvings, -1, -1)]
    return [Subset(size, place[clusters] < size) for size in sizes if size]


def best_within(compared: Compared, keep: NDArray[np.bool_]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the best match of every row among a part of the columns, as far as the k best tell it.

    Parameters
    ----------
    compared : Compared
        Rows are real embeddings, columns synthetic ones.
    keep : ndarray
        bool ``[columns]``.

    Returns
    -------
    scores : ndarray
        float32 ``[rows]``; the worst score where it is not known, or where nothing is kept.
    known : ndarray
        bool ``[rows]``: False where none of the k best is kept while there are other columns. Of the half of
        the columns one row in 2^k is not known on average, of an eighth (7/8)^k of them: these need a search.
    """
    inside = (compared.ids >= 0) & keep[compared.ids]
    found = inside.any(axis=1)
    worst = np.inf if compared.metric == "l2" else -np.inf
    first = compared.scores[np.arange(len(inside)), inside.argmax(axis=1)]
    exhausted = (compared.ids < 0).any(axis=1) | (compared.ids.shape[1] >= len(keep))
    return np.where(found, first, worst).astype(np.float32), found | exhausted


def membership_curve(
    subsets: Sequence[Subset],
    best: Callable[[NDArray[np.bool_]], tuple[NDArray[Any], NDArray[Any]]],
    persons: tuple[NDArray[np.int64], NDArray[np.int64]],
    metric: str,
    permutations: int,
    rng: np.random.Generator,
    confidence: float = 0.95,
) -> list[CurvePoint]:
    """Return membership for growing parts of the synthetic set.

    Parameters
    ----------
    subsets : sequence of Subset
        From `nested_subsets`.
    best : callable
        Takes ``keep`` of a subset and returns the score of every embedding of training and of the holdout
        with its best match in that part: ``idsim.search(real, synthetic[keep], 1)``, or `best_within` where
        that knows it. The searches of halved subsets together cost less than one of the whole. Density
        ratios (metric ``cosine``: higher is better) serve as well.
    persons : tuple of ndarray
        int64: code of the person of every embedding of training, and of the holdout.
    metric : str
        ``l2``: lower scores are better.
    permutations : int
        Exchanges of membership, for each subset.
    rng : numpy.random.Generator
        Source of the exchanges.
    confidence : float
        Of the two-sided intervals.
    """
    points = []
    for subset in subsets:
        scores = best(subset.keep)
        sides = [person_scores(side, codes, metric) for side, codes in zip(scores, persons, strict=True)]
        found = infer_membership(sides[0], sides[1], permutations, rng, confidence)
        points.append(CurvePoint(subset.clusters, int(subset.keep.sum()), found))
    return points


def membership_curve_entry(points: Sequence[CurvePoint]) -> list[dict[str, Any]]:
    """Return plain JSON values, one entry per subset."""
    return [
        {"clusters": point.clusters, "images": point.images, **membership_entry(point.membership)}
        for point in points
    ]
