"""Sets compared with themselves, with nothing but NumPy."""

from __future__ import annotations

import numpy as np

from idsim import reference
from idsim.audit.pairs.compared import Compared
from idsim.results import Pairs


def compare_self(vectors, persons, metric="cosine", level=None, k=3):
    """What `Compared` says of a set against itself: no pair of one person, each pair once."""
    scores = reference.score_matrix(vectors, vectors, metric)
    return compared_of(scores, persons, metric, level, k)


def compared_of(scores, persons, metric="cosine", level=None, k=3):
    """The same from a symmetric matrix of scores."""
    worst = np.float32(np.inf if metric == "l2" else -np.inf)
    level = float(worst) if level is None else level
    scores = np.array(scores, np.float32)
    scores[persons[:, None] == persons[None, :]] = worst
    order = np.argsort(scores if metric == "l2" else -scores, axis=1, kind="stable")[:, :k]
    best = np.take_along_axis(scores, order, 1)
    ids = np.where(np.isinf(best), -1, order)
    reach = scores <= level if metric == "l2" else scores >= level
    rows, columns = np.nonzero(np.triu(reach & ~np.isinf(scores), 1))
    return Compared(metric, best, ids, level, Pairs(rows, columns, scores[rows, columns]))


def symmetric(rng, count, draw):
    """A symmetric matrix with `draw` above the diagonal."""
    matrix = np.zeros((count, count))
    above = np.triu_indices(count, 1)
    matrix[above] = draw(len(above[0]))
    return matrix + matrix.T
