"""Results of parts of a gallery made one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.arrays import like_queries
from idsim.options import checked_k
from idsim.results import TopK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from idsim.options import Metric

__all__ = ["merge_topk"]


def merge_topk(parts: Sequence[tuple[Any, Any]], k: int | None = None, *, metric: Metric = "cosine") -> TopK:
    """Merge results of searches of the same queries over parts of a gallery.

    Parameters
    ----------
    parts : sequence of TopK
        Each (scores [q, k_i], ids [q, k_i]) with ids of the whole gallery; NumPy or torch.
    k : int, optional
        Results to keep. Default: the largest k_i.
    metric : {"cosine", "dot", "l2"}
        Which scores are better.

    Returns
    -------
    TopK
        What one search over the whole gallery returns.

    Raises
    ------
    ValueError
        No parts, or numbers of queries that differ.
    """
    if metric not in {"cosine", "dot", "l2"}:
        msg = f"metric must be 'cosine', 'dot' or 'l2', not {metric!r}"
        raise ValueError(msg)
    if not parts:
        msg = "parts must hold at least one result"
        raise ValueError(msg)
    scores = [np.asarray(p[0], dtype=np.float32) for p in parts]
    ids = [np.asarray(p[1], dtype=np.int64) for p in parts]
    if len({s.shape[0] for s in scores}) != 1 or any(
        s.shape != i.shape for s, i in zip(scores, ids, strict=True)
    ):
        msg = "parts must hold scores and ids of the same queries"
        raise ValueError(msg)
    k = max(s.shape[1] for s in scores) if k is None else checked_k(k)
    all_scores, all_ids = np.concatenate(scores, axis=1), np.concatenate(ids, axis=1)
    keys = all_scores if metric == "l2" else -all_scores
    # Padding (id -1) goes last, even behind real rows of the worst score.
    by_id = np.where(all_ids < 0, np.iinfo(np.int64).max, all_ids)
    order = np.lexsort((by_id, keys, all_ids < 0), axis=1)[:, :k]
    merged_scores = np.take_along_axis(all_scores, order, axis=1)
    merged_ids = np.take_along_axis(all_ids, order, axis=1)
    if short := k - merged_ids.shape[1]:
        worst = np.inf if metric == "l2" else -np.inf
        merged_scores = np.pad(merged_scores, ((0, 0), (0, short)), constant_values=worst)
        merged_ids = np.pad(merged_ids, ((0, 0), (0, short)), constant_values=-1)
    first = parts[0][0]
    return TopK(
        like_queries(np.ascontiguousarray(merged_scores), first),
        like_queries(np.ascontiguousarray(merged_ids), first),
    )
