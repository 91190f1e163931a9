"""Comparisons made of whole score matrices, which small tests can afford."""

from __future__ import annotations

import numpy as np

from idsim.audit.pairs.compared import Compared, reaches
from idsim.results import Pairs


def compared_of(scores, kept=2, level=np.inf, metric="cosine"):
    """Return what would have been kept of a matrix of scores."""
    scores = np.asarray(scores, np.float32)
    level = -np.inf if metric == "l2" and level == np.inf else level
    order = np.argsort(scores if metric == "l2" else -scores, axis=1, kind="stable")[:, :kept]
    missing = kept - order.shape[1]
    best = np.take_along_axis(scores, order, axis=1)
    worst = np.float32(np.inf if metric == "l2" else -np.inf)
    rows, columns = np.nonzero(reaches(scores, level, metric))
    return Compared(
        metric,
        np.pad(best, ((0, 0), (0, missing)), constant_values=worst),
        np.pad(order.astype(np.int64), ((0, 0), (0, missing)), constant_values=-1),
        float(level),
        Pairs(rows.astype(np.int64), columns.astype(np.int64), scores[rows, columns]),
    )


def person_scores(scores, persons):
    """Return the best score of every row per person."""
    return np.stack([scores[:, persons == code].max(axis=1) for code in range(persons.max() + 1)], axis=1)
