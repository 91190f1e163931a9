"""Counting the matchers that flag an image, a person, or a person in an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from idsim.audit.rates.edges import distinct
from idsim.audit.rates.resampling import Hits, leak_rate
from idsim.audit.significance.permutations import Statistic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["any_person_difference", "any_person_rate", "pair_patterns", "pair_votes", "persons_hit"]


def pair_votes(found: Sequence[Hits], people: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return every (image, person) pair as ``image * people + person``, and how many matchers flag it."""
    keys = np.concatenate([hits.images * np.int64(people) + hits.persons for hits in found])
    pairs, votes = np.unique(keys, return_counts=True)
    return pairs, votes.astype(np.int64)


def pair_patterns(found: Sequence[Hits], people: int) -> list[tuple[list[int], int]]:
    """Return every set of matchers that alone flag some (image, person) pairs, and how many pairs.

    Matchers are numbers into `found`; sets with more pairs come first.
    """
    keys = [hits.images * np.int64(people) + hits.persons for hits in found]
    pairs = distinct(np.concatenate(keys))
    flags = np.stack([np.isin(pairs, of_matcher) for of_matcher in keys], axis=1)
    patterns, counts = np.unique(flags, axis=0, return_counts=True)
    rows = [
        (np.flatnonzero(pattern).tolist(), int(count))
        for pattern, count in zip(patterns, counts.tolist(), strict=True)
    ]
    return sorted(rows, key=lambda row: (-row[1], row[0]))


def persons_hit(found: Sequence[Hits], least: int) -> int:
    """Return how many persons at least so many matchers hit with any image."""
    people = np.concatenate([distinct(hits.persons) for hits in found])
    return int((np.unique(people, return_counts=True)[1] >= least).sum())


def any_person_rate(found: Sequence[Hits], least: int, weights: NDArray[np.float64]) -> float:
    """Return the weighted share of synthetic items in which at least so many matchers find anybody."""
    images = np.concatenate([distinct(hits.images) for hits in found])
    seen, votes = np.unique(images, return_counts=True)
    chosen = seen[votes >= least]
    return leak_rate(Hits(chosen, np.zeros_like(chosen)), weights)


def any_person_difference(
    whole: Sequence[Sequence[Hits]], least: int, weights: NDArray[np.float64], shift: int
) -> Statistic:
    """Return the difference of the rates at which at least so many matchers find anybody.

    Parameters
    ----------
    whole : list of list of Hits
        In training and in holdout, of every matcher.
    least : int
        Matchers that must find somebody.
    weights : ndarray
        float64 ``[n]``: 1 / size of its cluster, for every synthetic item.
    shift : int
        Persons of training: those of holdout are coded after them.
    """
    name = f"difference of the rates at which {least} matchers find anybody"
    parts = [
        (number, hits.images, hits.persons + turn * shift)
        for turn, found in enumerate(whole)
        for number, hits in enumerate(found)
    ]
    matchers = np.concatenate([np.full(len(images), number) for number, images, _ in parts])
    images = np.concatenate([part[1] for part in parts])
    order = np.lexsort((matchers, images))
    people, place = np.unique(np.concatenate([part[2] for part in parts])[order], return_inverse=True)
    place = place.reshape(-1)
    # One run of hits per (image, matcher), and one run of these per image.
    runs = np.stack([images[order], matchers[order]])
    starts = _starts((runs[:, 1:] != runs[:, :-1]).any(axis=0), len(order))
    images_of_runs = images[order][starts]
    image_starts = _starts(images_of_runs[1:] != images_of_runs[:-1], len(starts))
    share = weights[images_of_runs[image_starts]] / weights.sum()

    def values(labels: NDArray[np.bool_]) -> NDArray[np.float64]:
        if not len(place):
            return np.zeros(len(labels))
        flags = labels[:, place]
        sides = []
        for of_side in (flags, ~flags):
            voted = np.logical_or.reduceat(of_side, starts, axis=1).astype(np.int64)
            sides.append(np.add.reduceat(voted, image_starts, axis=1) >= least)
        return np.asarray((sides[0].astype(np.float64) - sides[1]) @ share, dtype=np.float64)

    return Statistic(name, people, values, len(place))


def _starts(changes: NDArray[np.bool_], total: int) -> NDArray[np.int64]:
    """Return where runs start, given where an entry differs from the one before."""
    if not total:
        return np.empty(0, np.int64)
    return np.concatenate([[0], np.flatnonzero(changes) + 1]).astype(np.int64)
