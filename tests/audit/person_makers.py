"""Comparisons of made-up faces, and pairs written down."""

from __future__ import annotations

import numpy as np

from idsim.audit.pairs.compared import Compared
from idsim.audit.proving.made_up import Population, make_population
from idsim.results import Pairs
from idsim.tails import pairs_above
from idsim.topk import search


def pairs(listed, scores=None):
    rows = np.array(listed, np.int64).reshape(-1, 2)
    values = np.ones(len(rows), np.float32) if scores is None else np.asarray(scores, np.float32)
    order = np.lexsort((rows[:, 1], rows[:, 0]))
    return Pairs(rows[order, 0], rows[order, 1], values[order])


def compared(queries, gallery, k, level, metric="cosine"):
    """Both sides are different sets."""
    best = search(queries, gallery, k, metric=metric)
    tail = pairs_above(queries, gallery, level, metric=metric)
    return Compared(metric, np.asarray(best.scores), np.asarray(best.ids), level, tail)


def compared_within(vectors, persons, k, level, metric="cosine"):
    """A set with itself, without pairs of one person."""
    best = search(vectors, vectors, k, metric=metric, exclude=(persons, persons))
    tail = pairs_above(vectors, None, level, metric=metric, exclude=(persons, persons))
    return Compared(metric, np.asarray(best.scores), np.asarray(best.ids), level, tail)


def population(**sizes):
    """Vectors and labels of synthetic, training, holdout; a person's images have cosines near 0.5."""
    made = make_population(Population(**sizes))
    return made.vectors, made.labels, made.leaked


def is_plain(value):
    """Whether a value consists of what JSON knows, numbers finite."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_plain(entry) for key, entry in value.items())
    if isinstance(value, list):
        return all(is_plain(entry) for entry in value)
    if type(value) is float:
        return bool(np.isfinite(value))
    return value is None or type(value) in (str, int, bool)
