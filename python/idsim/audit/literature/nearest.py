"""Statistics of earlier work that need nothing but nearest neighbours."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from idsim.audit.pairs.compared import better_is_higher
from idsim.audit.plain_values import NOT_LISTED
from idsim.audit.rates.grouped import Estimate, grouped_mean, grouped_share
from idsim.topk import search

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from idsim.audit.pairs.compared import Compared
    from idsim.options import Metric

__all__ = [
    "Authenticity",
    "CloserShare",
    "Similarities",
    "TopPairs",
    "authenticity",
    "closer_record_share",
    "nearest_others",
    "similarity_percentiles",
    "top_pairs",
]

PERCENTILES = (75, 90, 95)
COPY_SIMILARITY = 0.5


# --- authenticity ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Authenticity:
    """AuthPct.

    Attributes
    ----------
    authentic : Estimate
        Share of synthetic faces that are not nearer to their nearest training face than that is to another one.
    training_faces : int
        Training faces that are nearest to a synthetic one.
    inauthentic : ndarray
        bool ``[m]``: the other synthetic faces.
    """

    authentic: Estimate
    training_faces: int
    inauthentic: NDArray[np.bool_] = field(metadata=NOT_LISTED)


def nearest_others(
    training: NDArray[np.float32],
    rows: NDArray[np.int64],
    metric: Metric,
    persons: NDArray[np.int64] | None = None,
) -> NDArray[np.float32]:
    """Return float32 ``[len(rows)]``: the best score of some training faces against the others.

    Parameters
    ----------
    training : ndarray
        float32 ``[n, d]``.
    rows : ndarray
        int64: the faces that are searched for.
    metric : {"cosine", "l2"}
        How scores are compared.
    persons : ndarray, optional
        int64 ``[n]``: others are those of another person. Default, and in the literature: all but the face itself.
    """
    labels = np.arange(len(training)) if persons is None else np.asarray(persons)
    scores, _ = search(training[rows], training, 1, metric=metric, exclude=(labels[rows], labels))
    return np.asarray(scores)[:, 0]


def authenticity(
    scores: NDArray[np.float32],
    ids: NDArray[np.int64],
    training_rows: NDArray[np.int64],
    training_scores: NDArray[np.float32],
    metric: str,
    *,
    clusters: NDArray[np.int64] | None = None,
    confidence: float = 0.95,
) -> Authenticity:
    """Return AuthPct as a share (Alaa, van Breugel, Saveliev and van der Schaar 2022).

    A synthetic face g is inauthentic when ``d(g, t*) < d(t*, nearest other training face)``, with ``t*`` the
    training face nearest to g. The code that came with the paper indexes the right-hand side by g; this is the
    definition.

    Parameters
    ----------
    scores, ids : ndarray
        float32 and int64 ``[m]``: best match of every synthetic face in the training set.
    training_rows, training_scores : ndarray
        int64 and float32 ``[r]``: training faces, all that occur in `ids` among them, and their best score against
        other training faces: `nearest_others`, or the first column of T x T, where others are other persons.
    metric : str
        ``l2``: lower is better.
    clusters : ndarray, optional
        int64 ``[m]``: units of the interval.
    confidence : float
        Of the interval.

    Raises
    ------
    ValueError
        A training face that occurs has no score.
    """
    count = len(scores)
    used, place = np.unique(ids, return_inverse=True)
    if len(used) and used[0] < 0:
        refused = Estimate(None, None, count, 0, "the training set has no faces")
        return Authenticity(refused, 0, np.zeros(count, np.bool_))
    order = np.argsort(training_rows, kind="stable")
    found = np.searchsorted(training_rows, used, sorter=order)
    missing = found >= len(order)
    missing[~missing] = training_rows[order[found[~missing]]] != used[~missing]
    if missing.any():
        raise ValueError(f"training face {used[missing][0]} is nearest to a synthetic one and has no score")
    others = better_is_higher(training_scores, metric)[order[found]][place.reshape(-1)]
    inauthentic = better_is_higher(scores, metric) > others
    return Authenticity(grouped_share(~inauthentic, clusters, confidence), len(used), inauthentic)


# --- distance to the closest record ---------------------------------------------------------------


@dataclass(frozen=True)
class CloserShare:
    """Share of synthetic faces nearer to training than to the holdout, and scores made of it.

    Attributes
    ----------
    strict, split : Estimate
        Ties counted for the holdout, as SDMetrics does, and split.
    assumed, expected : float or None
        Share without leakage: 0.5, as SDMetrics assumes, and ``N_T / (N_T + N_H)``, which holds for galleries drawn
        from one population.
    score, corrected_score : float or None
        ``min(1, (1 - strict) / (1 - assumed))``, which is SDMetrics' DCROverfittingProtection, and
        ``min(1, (1 - split) / (1 - expected))``.
    """

    strict: Estimate
    split: Estimate
    assumed: float
    expected: float | None
    score: float | None
    corrected_score: float | None


def closer_record_share(
    training: NDArray[np.float32],
    holdout: NDArray[np.float32],
    sizes: tuple[int, int],
    metric: str,
    *,
    clusters: NDArray[np.int64] | None = None,
    confidence: float = 0.95,
) -> CloserShare:
    """Return the share of synthetic faces whose closest record is in the training set.

    Parameters
    ----------
    training, holdout : ndarray
        float32 ``[m]``: best score of every synthetic face against either.
    sizes : (int, int)
        Persons in either.
    metric : str
        ``l2``: lower is better.
    clusters : ndarray, optional
        int64 ``[m]``: units of the interval.
    confidence : float
        Of the interval.
    """
    left, right = better_is_higher(training, metric), better_is_higher(holdout, metric)
    if left.shape != right.shape:
        raise ValueError(f"training and holdout must have one score per face: {left.shape}, {right.shape}")
    if not all(sizes):
        refused = Estimate(None, None, len(left), 0, "the training set or the holdout is empty")
        return CloserShare(refused, refused, 0.5, None, None, None)
    nearer = left > right
    strict = grouped_share(nearer, clusters, confidence)
    split = grouped_share(nearer + 0.5 * (left == right), clusters, confidence)
    expected = sizes[0] / sum(sizes)
    scores = [
        None if share.value is None else min(1.0, (1 - share.value) / (1 - null))
        for share, null in ((strict, 0.5), (split, expected))
    ]
    return CloserShare(strict, split, 0.5, expected, scores[0], scores[1])


# --- similarity percentiles -----------------------------------------------------------------------


@dataclass(frozen=True)
class Similarities:
    """Best similarities of synthetic faces to training, beside those inside training.

    Attributes
    ----------
    mean, background_mean : Estimate
        Of the best similarity of every face.
    std, background_std : float
        Standard deviations over faces, divided by n.
    percentiles, background_percentiles : dict of str to float
        75, 90 and 95.
    above : Estimate
        Share of synthetic faces above 0.5.
    background_above : Estimate
        The same of training faces against other ones.
    above_background : Estimate
        Share of synthetic faces above the 95th percentile of the background; 5 % are expected of faces that relate
        to training as training faces do to each other.
    refusal : str
        Why there is nothing; empty where there is.
    """

    mean: Estimate
    std: float | None
    percentiles: dict[str, float]
    above: Estimate
    background_mean: Estimate
    background_std: float | None
    background_percentiles: dict[str, float]
    background_above: Estimate
    above_background: Estimate
    refusal: str = ""


def similarity_percentiles(
    synthetic: NDArray[np.float32],
    background: NDArray[np.float32],
    metric: str,
    *,
    clusters: NDArray[np.int64] | None = None,
    persons: NDArray[np.int64] | None = None,
    confidence: float = 0.95,
) -> Similarities:
    """Return the summary of Somepalli, Singla, Goldblum, Geiping and Goldstein (CVPR 2023).

    Parameters
    ----------
    synthetic : ndarray
        float32 ``[m]``: best cosine of every synthetic face in training.
    background : ndarray
        float32 ``[n]``: best cosine of every training face among those of other persons: the first column of T x T.
        The paper, whose images have no persons, takes the nearest other image.
    metric : str
        Refused but for ``cosine``: 0.5 is one.
    clusters, persons : ndarray, optional
        int64 ``[m]`` and ``[n]``: units of the intervals.
    confidence : float
        Of the intervals.
    """
    sides = [np.asarray(side, dtype=np.float64) for side in (synthetic, background)]
    reason = ""
    if metric != "cosine":
        reason = "the matcher gives no cosines"
    elif not (len(sides[0]) and len(sides[1])):
        reason = "there are no synthetic or no training faces"
    elif not (np.isfinite(sides[0]).all() and np.isfinite(sides[1]).all()):
        reason = "there are faces without any other person to compare with"
    if reason:
        no = Estimate(None, None, len(sides[0]), 0, reason)
        return Similarities(no, None, {}, no, no, None, {}, no, no, reason)
    limits = [
        dict(zip(map(str, PERCENTILES), np.percentile(s, PERCENTILES).tolist(), strict=True)) for s in sides
    ]
    units = (clusters, persons)
    means = [grouped_mean(s, u, confidence) for s, u in zip(sides, units, strict=True)]
    above = [grouped_share(s > COPY_SIMILARITY, u, confidence) for s, u in zip(sides, units, strict=True)]
    return Similarities(
        means[0],
        float(sides[0].std()),
        limits[0],
        above[0],
        means[1],
        float(sides[1].std()),
        limits[1],
        above[1],
        grouped_share(sides[0] > limits[1]["95"], clusters, confidence),
    )


# --- global top pairs -----------------------------------------------------------------------------


@dataclass(frozen=True)
class TopPairs:
    """The nearest pairs of all between two sets.

    Attributes
    ----------
    rows, columns, scores : ndarray
        int64, int64 and float32 ``[count]``, best first; equal scores by row, then column.
    least : float or None
        The worst of these scores.
    row_groups, column_groups : int
        Clusters and persons in them.
    effective_rows, effective_columns : float
        Inverse Simpson numbers of both: near 1 when one odd face makes all the pairs.
    refusal : str
        Why the list is not known to be complete; empty where it is.
    """

    rows: NDArray[np.int64] = field(metadata=NOT_LISTED)
    columns: NDArray[np.int64] = field(metadata=NOT_LISTED)
    scores: NDArray[np.float32]
    least: float | None
    row_groups: int
    column_groups: int
    effective_rows: float
    effective_columns: float
    refusal: str = ""


def top_pairs(
    compared: Compared,
    clusters: NDArray[np.int64],
    persons: NDArray[np.int64],
    count: int = 100,
) -> TopPairs:
    """Return the global best pairs, as "Beyond Real Faces" (arXiv 2510.17372) lists 100 of them.

    They are taken from the tail where it holds enough, else from the best matches of every row. Those are complete
    when no row's last listed match is among the best pairs.

    Parameters
    ----------
    compared : Compared
        Synthetic faces with training ones.
    clusters, persons : ndarray
        int64 per row and per column.
    count : int
        How many.
    """
    enough = len(compared.tail.rows) >= count
    rows, columns, scores = compared.tail if enough else _listed(compared)
    order = _best(rows, columns, scores, count, compared.metric)
    rows, columns, scores = rows[order], columns[order], scores[order]
    refusal = "" if enough else _incomplete(compared, scores, count, len(persons))
    return TopPairs(
        rows,
        columns,
        scores,
        float(scores[-1]) if len(scores) else None,
        len(np.unique(clusters[rows])),
        len(np.unique(persons[columns])),
        _effective(clusters[rows]),
        _effective(persons[columns]),
        refusal,
    )


def _listed(compared: Compared) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Return the pairs of the best matches of every row."""
    listed = compared.ids >= 0
    rows = np.broadcast_to(np.arange(len(compared.ids))[:, None], listed.shape)
    return rows[listed], compared.ids[listed], compared.scores[listed]


def _incomplete(compared: Compared, best: NDArray[np.float32], count: int, columns: int) -> str:
    """Return why best pairs from the best matches of every row may miss some; empty where they do not."""
    k = compared.ids.shape[1]
    if not len(best):
        return "there are no pairs"
    if k >= columns:
        return ""
    last = better_is_higher(compared.scores[:, -1], compared.metric)
    worst = better_is_higher(best[-1:], compared.metric)[0]
    cut = int(((compared.ids[:, -1] >= 0) & ((last >= worst) | (len(best) < count))).sum())
    return f"{cut} faces may have more of the best pairs than the {k} matches listed for each" if cut else ""


def _best(
    rows: NDArray[np.int64], columns: NDArray[np.int64], scores: NDArray[np.float32], count: int, metric: str
) -> NDArray[np.int64]:
    """Return the places of the best pairs, best first."""
    ascending = -better_is_higher(scores, metric)
    keep = np.arange(len(scores))
    if len(scores) > count:
        limit = np.partition(ascending, count - 1)[count - 1]
        keep = np.flatnonzero(ascending <= limit)
    return keep[np.lexsort((columns[keep], rows[keep], ascending[keep]))][:count]


def _effective(codes: NDArray[np.int64]) -> float:
    counts = np.unique(codes, return_counts=True)[1].astype(np.float64)
    return float(counts.sum() ** 2 / (counts**2).sum()) if len(counts) else 0.0
