"""Which synthetic images to leave out, because matchers take them for people of the training set.

Nothing here opens or writes a file: what every matcher found goes in, a reason per image comes out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from idsim.audit.rates.edges import connected_components, distinct

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from idsim.audit.rates.excess import Gallery

__all__ = [
    "KEPT",
    "NO_FACE",
    "OF_CLUSTER",
    "REACHES",
    "REASONS",
    "REPEATS",
    "Decision",
    "Rule",
    "View",
    "decide",
]

KEPT, REACHES, OF_CLUSTER, NO_FACE, REPEATS = range(5)

#: What becomes of an image, by the codes of `Decision.reasons`.
REASONS = (
    "kept",
    "reaches a training person",
    "another image of its cluster does",
    "no face",
    "repeats another cluster",
)

UNITS = ("cluster", "image")
KEEPS = ("none", "farthest")


@dataclass(frozen=True)
class Rule:
    """What is left out.

    Attributes
    ----------
    point : str
        Operating point, like ``fpir=0.01``; empty: the primary one.
    matchers : str
        By how many matchers an image must reach a person of the training set: ``any``, ``all``, or a number. They
        need not find the same person.
    unit : {"cluster", "image"}
        What goes: the whole cluster of such an image, or the image alone.
    keep : {"none", "farthest"}
        Of a cluster that would go: nothing, or the image that is farthest from the training set and does not reach
        it. Several matchers are compared by ranks among all images; the closest rank of an image counts.
    distinct : bool
        Whether clusters that show one person are reduced to the first of them: those that are linked by images
        that reach each other, by as many matchers.
    drop_no_face : bool
        Whether images in which a matcher finds no face go too: nothing is known of them.
    """

    point: str = ""
    matchers: str = "any"
    unit: str = "cluster"
    keep: str = "none"
    distinct: bool = False
    drop_no_face: bool = False

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise ValueError(f"unit must be 'cluster' or 'image', not {self.unit!r}")
        if self.keep not in KEEPS:
            raise ValueError(f"keep must be 'none' or 'farthest', not {self.keep!r}")
        if self.keep == "farthest" and self.unit == "image":
            raise ValueError(
                "the farthest image is one of a cluster: keep 'farthest' needs the unit 'cluster'"
            )
        if self.matchers not in ("any", "all") and not (self.matchers.isdecimal() and int(self.matchers)):
            raise ValueError(f"matchers must be 'any', 'all' or a number from 1 on, not {self.matchers!r}")

    def least(self, count: int) -> int:
        """Return how many of `count` matchers must agree.

        Raises
        ------
        ValueError
            There are fewer than the rule asks for.
        """
        wanted = {"any": 1, "all": count}.get(self.matchers) or int(self.matchers)
        if wanted > count:
            raise ValueError(f"the rule asks for {wanted} matchers, and there are {count}")
        return wanted


@dataclass(frozen=True)
class View:
    """What one matcher sees of a synthetic set at a threshold.

    Attributes
    ----------
    matcher : str
        Its name.
    threshold : float
        Of the operating point.
    training, holdout : Gallery
        The pairs that reach the threshold; images are items of the synthetic set.
    scores : ndarray
        float64 ``[n]``: best score of every synthetic item in the training set, as the matcher gives it; NaN where
        there is no face.
    closeness : ndarray
        float64 ``[n]``: the same with higher meaning closer.
    match : ndarray
        int64 ``[n]``: code of the training person behind the best score, -1 where there is none.
    people : list of str
        Labels of the training persons, by their codes.
    repeats : tuple of ndarray or None
        int64 ``[p]`` twice: items of different clusters that reach each other; None where that was not asked for.
    """

    matcher: str
    threshold: float
    training: Gallery
    holdout: Gallery
    scores: NDArray[np.float64]
    closeness: NDArray[np.float64]
    match: NDArray[np.int64]
    people: list[str]
    repeats: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None

    @property
    def faces(self) -> NDArray[np.bool_]:
        """Whether each item has a face, bool ``[n]``."""
        return ~np.isnan(self.closeness)


@dataclass(frozen=True)
class Decision:
    """What becomes of every item.

    Attributes
    ----------
    reasons : ndarray
        int8 ``[n]``: a code of `REASONS`.
    because : ndarray
        int64 ``[n]``: the item for which an item of a cluster goes: the first that reaches a training person, or
        the first of the cluster that is repeated; -1 for others.
    least : int
        Matchers that had to agree.
    """

    reasons: NDArray[np.int8]
    because: NDArray[np.int64]
    least: int

    @property
    def kept(self) -> NDArray[np.bool_]:
        """Whether each item is kept, bool ``[n]``."""
        return np.asarray(self.reasons == KEPT)


def decide(views: Sequence[View], clusters: NDArray[np.int64], rule: Rule) -> Decision:
    """Return what becomes of every item of a synthetic set.

    Parameters
    ----------
    views : sequence of View
        Of the matchers that decide, all of the same items.
    clusters : ndarray
        int64 ``[n]``: code of the cluster of every item; 0 .. c-1.
    rule : Rule
        What is left out.

    Raises
    ------
    ValueError
        There are fewer matchers than the rule asks for.
    """
    least = rule.least(len(views))
    votes = np.zeros(len(clusters), np.int64)
    for view in views:
        votes[distinct(view.training.images)] += 1
    reached = votes >= least
    reasons = np.where(reached, REACHES, KEPT).astype(np.int8)
    because = np.full(len(clusters), -1, np.int64)
    if rule.drop_no_face:
        seen = np.logical_and.reduce([view.faces for view in views])
        reasons[~seen & (reasons == KEPT)] = NO_FACE
    if rule.unit == "cluster":
        first = _first_items(clusters, reached)
        leaking = first[clusters] >= 0
        goes = leaking & (reasons == KEPT)
        if rule.keep == "farthest":
            goes[_farthest(views, clusters, goes)] = False
        reasons[goes] = OF_CLUSTER
        because[goes] = first[clusters[goes]]
    if rule.distinct:
        kept = reasons == KEPT
        original = _originals(_linked(views, least, kept), clusters, kept)
        repeats = kept & (original != clusters)
        reasons[repeats] = REPEATS
        because[repeats] = _first_items(clusters, kept)[original[repeats]]
    return Decision(reasons, because, least)


def _first_items(clusters: NDArray[np.int64], chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return int64 ``[c]``: the first chosen item of every cluster, -1 where none is."""
    first = np.full(int(clusters.max(initial=-1)) + 1, -1, np.int64)
    items = np.flatnonzero(chosen)[::-1]
    first[clusters[items]] = items  # of several the last one stays, which is the first item
    return first


def _farthest(
    views: Sequence[View], clusters: NDArray[np.int64], candidates: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Return the candidate of every cluster whose closest rank is the farthest; items without a face are none."""
    seen = np.logical_and.reduce([view.faces for view in views])
    closest = np.zeros(len(clusters), np.float64)
    for view in views:
        known = np.flatnonzero(seen)
        ranks = np.unique(view.closeness[known], return_inverse=True)[1].reshape(-1)
        closest[known] = np.maximum(closest[known], ranks / max(1, len(known)))
    items = np.flatnonzero(candidates & seen)
    ordered = items[np.lexsort((items, closest[items], clusters[items]))]
    return ordered[np.flatnonzero(np.diff(clusters[ordered], prepend=-1))]


def _linked(
    views: Sequence[View], least: int, kept: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the pairs of kept items that at least so many matchers find to reach each other."""
    keys = [np.empty(0, np.int64)]
    for view in views:
        if view.repeats is None:
            raise ValueError(f"{view.matcher}: the synthetic set was not compared with itself")
        left, right = view.repeats
        both = kept[left] & kept[right]
        low, high = np.minimum(left, right)[both], np.maximum(left, right)[both]
        keys.append(distinct(low * len(kept) + high))
    pairs, votes = np.unique(np.concatenate(keys), return_counts=True)
    chosen = pairs[votes >= least]
    return chosen // len(kept), chosen % len(kept)


def _originals(
    pairs: tuple[NDArray[np.int64], NDArray[np.int64]],
    clusters: NDArray[np.int64],
    kept: NDArray[np.bool_],
) -> NDArray[np.int64]:
    """Return for every item the cluster that stands for its component: the one whose first kept item comes first."""
    first = _first_items(clusters, kept)
    order = np.argsort(np.where(first < 0, len(clusters), first), kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    root = connected_components(place[clusters[pairs[0]]], place[clusters[pairs[1]]], len(order))
    return order[root[place[clusters]]]
