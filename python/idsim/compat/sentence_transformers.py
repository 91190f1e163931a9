"""Similarity utilities as sentence-transformers calls them, without sentence-transformers.

``from idsim.compat.sentence_transformers import semantic_search`` in place of ``from sentence_transformers.util import
semantic_search``; likewise `paraphrase_mining_embeddings` and `community_detection`. The results are plain lists as
there. What differs:

- Scores are the canonical ones of ``docs/precision.md``; equal scores stand in ascending order of row, and no result
  depends on the chunk sizes, which are taken and, but for ``query_chunk_size`` of the mining, not needed.
- NaN or infinity in an embedding is a `ValueError`, a sparse tensor a `TypeError`.
- The score is the cosine or the dot product; a score function of one's own is a `ValueError`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim import Index, TopKScan, pairs_above, search
from idsim.arrays import is_torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from idsim.options import Metric

__all__ = ["community_detection", "paraphrase_mining_embeddings", "semantic_search"]

# By the names that sentence-transformers has for them, as functions and as strings.
_METRICS: dict[str, Metric] = {
    "cosine": "cosine",
    "cos_sim": "cosine",
    "pytorch_cos_sim": "cosine",
    "dot": "dot",
    "dot_score": "dot",
}


def semantic_search(
    query_embeddings: Any,
    corpus_embeddings: Any,
    query_chunk_size: int = 100,  # noqa: ARG001 - the memory is bounded without it
    corpus_chunk_size: int = 500_000,  # noqa: ARG001
    top_k: int = 10,
    score_function: str | Callable[..., Any] | None = None,
) -> list[list[dict[str, int | float]]]:
    """Find the best entries of a corpus for each query.

    Parameters
    ----------
    query_embeddings : array, or list of them
        [q, d], or [d] for one query: torch or NumPy, float32, float16, bfloat16 or float64.
    corpus_embeddings : array, or list of them, Index or Gallery
        [n, d]. An `idsim.Index` is prepared once for many calls; an `idsim.Gallery` may be larger than memory.
    query_chunk_size, corpus_chunk_size : int
        Not used.
    top_k : int
        Results per query; fewer where the corpus is smaller.
    score_function : function or str, optional
        ``cos_sim`` or ``dot_score`` of sentence-transformers, or "cosine" or "dot". Default: cosine, or the metric of
        the Index.

    Returns
    -------
    list of list of dict
        For each query its best entries, ``{"corpus_id": int, "score": float}``, best first.

    Raises
    ------
    ValueError
        Another score function, columns that differ, or NaN or infinity in a row.
    """
    queries, corpus = _matrix(query_embeddings, "query_embeddings"), _matrix(corpus_embeddings, "corpus")
    metric = None if score_function is None else _metric(score_function)
    scores, ids = search(queries, corpus, min(top_k, len(corpus)), metric=metric)
    return [
        [{"corpus_id": i, "score": s} for i, s in zip(*row, strict=True) if i >= 0]
        for row in zip(ids.tolist(), scores.tolist(), strict=True)
    ]


def paraphrase_mining_embeddings(
    embeddings: Any,
    query_chunk_size: int = 5000,
    corpus_chunk_size: int = 100_000,  # noqa: ARG001 - the rows are prepared once, not chunk by chunk
    max_pairs: int = 500_000,
    top_k: int = 100,
    score_function: str | Callable[..., Any] | None = None,
) -> list[list[float | int]]:
    """Find the most similar pairs of one set.

    Exactly what sentence-transformers documents: of each row its `top_k` best others, of these pairs, each taken once,
    the `max_pairs` best. There, chunks can add pairs beyond `top_k`, and both directions of a pair count towards
    `max_pairs`, so that it may return about half as many.

    Parameters
    ----------
    embeddings : array, or list of them
        [n, d].
    query_chunk_size : int
        Rows that are searched for at a time: bounds the memory, does not change the result.
    corpus_chunk_size : int
        Not used.
    max_pairs : int
        Pairs to return at most.
    top_k : int
        Other rows looked at for each.
    score_function : function or str, optional
        As of `semantic_search`.

    Returns
    -------
    list of [score, i, j]
        i < j; best first, equal scores by i, then j.

    Raises
    ------
    ValueError
        Another score function, a size out of range, or NaN or infinity in a row.
    """
    rows = _matrix(embeddings, "embeddings")
    metric = "cosine" if score_function is None else _metric(score_function)
    if query_chunk_size < 1 or max_pairs < 0:
        msg = f"query_chunk_size must be 1 or more and max_pairs 0 or more, not {query_chunk_size} and {max_pairs}"
        raise ValueError(msg)
    index = Index(rows, metric=metric)
    best = _BestPairs(max_pairs)
    for start in range(0, len(index), query_chunk_size):
        chunk = rows[start : start + query_chunk_size]
        scan = TopKScan(
            chunk,
            min(top_k, len(index) - 1),
            metric=metric,
            exclude_self=True,
            first_query_id=start,
            threshold=best.worst,
        )
        index.feed_into(scan, groups=None, progress=None)
        scores, ids = (_on_host(part) for part in scan.finish())
        best.add(start + np.arange(len(ids)), ids, scores)
    return [[s, i, j] for s, i, j in zip(*(part.tolist() for part in best.parts), strict=True)]


def community_detection(
    embeddings: Any,
    threshold: float = 0.75,
    min_community_size: int = 10,
    batch_size: int = 1024,  # noqa: ARG001 - the memory is that of the pairs
    show_progress_bar: bool = False,  # noqa: ARG001
) -> list[list[int]]:
    """Find groups of rows near to one row, the largest first, none in two groups.

    The rule of sentence-transformers: the neighbourhoods (rows with cosine >= threshold, itself included) are gone
    through from the largest to the smallest; each keeps the rows that no earlier group took, and is a group where
    `min_community_size` are left. Neighbourhoods of one size are taken in the order of their central rows.

    Parameters
    ----------
    embeddings : array, or list of them
        [n, d].
    threshold : float
        Cosine.
    min_community_size : int
        Rows of a group at least; or all there are.
    batch_size, show_progress_bar
        Not used.

    Returns
    -------
    list of list of int
        Groups, the largest first: the central row, if no earlier group took it, then the others by descending cosine
        with it, equal ones by row.

    Raises
    ------
    ValueError
        More than 100,000,000 pairs reach the threshold, or NaN or infinity in a row.
    """
    rows = _matrix(embeddings, "embeddings")
    count = len(rows)
    pairs = pairs_above(rows, rows, threshold)
    # The central row before copies of it, which have its score.
    order = np.lexsort((pairs.columns, pairs.columns != pairs.rows, -pairs.scores, pairs.rows))
    members = pairs.columns[order]
    ends = np.cumsum(np.bincount(pairs.rows, minlength=count))
    sizes = np.diff(ends, prepend=0)
    least = min(min_community_size, count)
    used = np.zeros(count, dtype=bool)
    groups: list[list[int]] = []
    for row in np.argsort(-sizes, kind="stable").tolist():
        if sizes[row] < least:
            break
        neighbourhood = members[ends[row] - sizes[row] : ends[row]]
        group = neighbourhood[~used[neighbourhood]]
        if len(group) >= least:
            used[group] = True
            groups.append(group.tolist())
    return sorted(groups, key=len, reverse=True)


class _BestPairs:
    """The best unordered pairs seen so far, each once."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.parts: tuple[NDArray[Any], ...] = (
            np.empty(0, np.float32),
            np.empty(0, np.int64),
            np.empty(0, np.int64),
        )

    @property
    def worst(self) -> float | None:
        """Score that a further pair must reach; None while there is room."""
        scores = self.parts[0]
        return float(scores[-1]) if 0 < self._most <= len(scores) else None

    def add(self, rows: NDArray[np.int64], ids: NDArray[np.int64], scores: NDArray[np.float32]) -> None:
        """Add for each row its others [rows, k]; -1: none."""
        there = ids >= 0
        first, second, scores = np.broadcast_to(rows[:, None], ids.shape)[there], ids[there], scores[there]
        low, high = np.minimum(first, second), np.maximum(first, second)
        score, i, j = map(np.concatenate, zip(self.parts, (scores, low, high), strict=True))
        order = np.lexsort((j, i, -score))
        score, i, j = score[order], i[order], j[order]
        # A pair that was found from both its rows has one score: the two stand side by side.
        new = np.ones(len(i), dtype=bool)
        new[1:] = (i[1:] != i[:-1]) | (j[1:] != j[:-1])
        self.parts = tuple(part[new][: self._most] for part in (score, i, j))


def _metric(score_function: str | Callable[..., Any]) -> Metric:
    if isinstance(score_function, str):
        name = score_function
    else:
        # A function of another module may have the name and not the meaning.
        ours = getattr(score_function, "__module__", "").partition(".")[0] == "sentence_transformers"
        name = score_function.__name__ if ours else ""
    if name not in _METRICS:
        msg = (
            "score_function must be cos_sim or dot_score of sentence-transformers, 'cosine' or 'dot', "
            f"not {score_function!r}"
        )
        raise ValueError(msg)
    return _METRICS[name]


def _matrix(embeddings: Any, name: str) -> Any:
    """Return rows that idsim reads: lists stacked, one row as a matrix."""
    if hasattr(embeddings, "feed_into"):
        return embeddings
    if isinstance(embeddings, list):
        torches = any(map(is_torch, embeddings))
        embeddings = sys.modules["torch"].stack(embeddings) if torches else np.asarray(embeddings)
    if is_torch(embeddings) and str(embeddings.layout) != "torch.strided":
        msg = f"{name}: sparse tensors are not read, give .to_dense()"
        raise TypeError(msg)
    return embeddings[None] if len(embeddings.shape) == 1 else embeddings


def _on_host(array: Any) -> NDArray[Any]:
    host: NDArray[Any] = array.cpu().numpy() if is_torch(array) else array
    return host
