"""Pictures and their mirror images: a generator that was trained on both copies either, and a pair counts once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from idsim.audit.pairs.compared import Compared, better_is_higher

if TYPE_CHECKING:
    from idsim.results import Pairs

__all__ = ["with_mirrored"]


def with_mirrored(plain: Compared, mirrored: Compared) -> Compared:
    """Return comparisons in which a pair has the better score of a picture and of its mirror image.

    Every pair is there once, with the better of its scores.

    Parameters
    ----------
    plain, mirrored : Compared
        All rows with all columns, and the mirrored rows with the same columns. Of a set with itself leave out
        of both what a self-comparison leaves out: pairs of one person, and row >= column in the tail.

    Raises
    ------
    ValueError
        The two do not compare the same, in the same way.
    """
    if plain.metric != mirrored.metric or plain.ids.shape != mirrored.ids.shape:
        raise ValueError(
            "a set and its mirrored pictures must be compared with the same columns, in the same way"
        )
    ids = np.concatenate([plain.ids, mirrored.ids], axis=1)
    scores = np.concatenate([plain.scores, mirrored.scores], axis=1)
    # By pair, better first; then a pair is repeated where its neighbour on the left has the same column.
    order = np.lexsort((-better_is_higher(scores, plain.metric), ids), axis=1)
    ids, scores = (np.take_along_axis(part, order, axis=1) for part in (ids, scores))
    worst = np.float32(np.inf if plain.metric == "l2" else -np.inf)
    repeated = np.zeros(ids.shape, np.bool_)
    repeated[:, 1:] = ids[:, 1:] == ids[:, :-1]
    ids, scores = np.where(repeated, -1, ids), np.where(repeated | (ids < 0), worst, scores)
    places = np.where(ids < 0, np.iinfo(np.int64).max, ids)
    order = np.lexsort((places, -better_is_higher(scores, plain.metric)), axis=1)[:, : plain.ids.shape[1]]
    level = min(plain.level, mirrored.level) if plain.metric == "l2" else max(plain.level, mirrored.level)
    return Compared(
        plain.metric,
        np.take_along_axis(scores, order, axis=1).astype(np.float32),
        np.take_along_axis(ids, order, axis=1).astype(np.int64),
        level,
        _united(plain.reaching(level), mirrored.reaching(level), plain.metric),
    )


def _united(first: Pairs, second: Pairs, metric: str) -> Pairs:
    rows = np.concatenate([first.rows, second.rows])
    columns = np.concatenate([first.columns, second.columns])
    scores = np.concatenate([first.scores, second.scores])
    order = np.lexsort((-better_is_higher(scores, metric), columns, rows))
    rows, columns, scores = rows[order], columns[order], scores[order]
    fresh = np.ones(len(rows), np.bool_)
    fresh[1:] = (rows[1:] != rows[:-1]) | (columns[1:] != columns[:-1])
    return type(first)(rows[fresh], columns[fresh], scores[fresh])
