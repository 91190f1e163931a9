"""The definition of every answer that the engine gives, in NumPy float64: slow and plain.

Each compiled path is compared with these functions byte for byte, so nothing here is fast, clever
or tolerant. The score of two rows is fixed down to the order of its additions:

- ``dot``: 32 interleaved float64 lanes. Lane ``l`` starts at 0.0 and adds the products of elements
  ``l, l+32, l+64, ...`` in ascending order; the lanes are then folded by halves (16, 8, 4, 2, 1).
  The product of two float32 numbers is exact in float64, so a fused multiply-add changes nothing.
- ``cosine = float32(dot(q, x) / (sqrt(dot(q, q)) * sqrt(dot(x, x))))``; a zero row scores +0.0.
- ``l2 = float32(sqrt(max(0, (dot(q, q) + dot(x, x)) - 2 * dot(q, x))))``.
- Order: better returned float32 score first, then the lower id; -0.0 and 0.0 are equal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = [
    "cosine",
    "count_above",
    "dot",
    "dot_products",
    "histogram",
    "l2",
    "merge_topk",
    "normalize",
    "paired_scores",
    "pairs_above",
    "score_matrix",
    "search",
]

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Exclude = str | tuple[Any, Any] | None

LANES = 32
# Block sizes keep the lanes of one block (32 * 4 * 512 float64 = 512 KiB) inside a core's cache.
QUERY_BLOCK = 4
GALLERY_BLOCK = 512


# --- rows -----------------------------------------------------------------------------------------


def as_float32(rows: npt.ArrayLike, name: str = "rows") -> Float32:
    """Return [n, d] as float32: 16-bit floats are widened exactly, float64 is rounded once."""
    array = np.asarray(rows)
    if array.ndim != 2:
        raise ValueError(f"{name} must be a matrix [n, d], not an array of {array.ndim} dimensions")
    if array.dtype.name not in ("float16", "bfloat16", "float32", "float64"):
        raise TypeError(f"{name} must be float16, bfloat16, float32 or float64, not {array.dtype}")
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(array.astype(np.float32))


def finite_rows(rows: Float32) -> npt.NDArray[np.bool_]:
    """Return bool [n]: which rows hold neither NaN nor infinity."""
    finite: npt.NDArray[np.bool_] = np.all(np.isfinite(rows), axis=1)
    return finite


def _check_finite(rows: Float32, name: str) -> None:
    bad = np.flatnonzero(~finite_rows(rows))
    if bad.size:
        raise ValueError(f"{name} row {bad[0]} holds NaN or infinity ({bad.size} such rows in all)")


def _prepare(
    queries: npt.ArrayLike, gallery: npt.ArrayLike, nonfinite: str
) -> tuple[Float32, Float32, npt.NDArray[np.bool_]]:
    """Return float32 queries and gallery and bool [n]: the gallery rows that take part."""
    q, x = as_float32(queries, "queries"), as_float32(gallery, "gallery")
    if q.shape[1] != x.shape[1]:
        raise ValueError(f"gallery must have {q.shape[1]} columns like queries, not {x.shape[1]}")
    if nonfinite not in ("raise", "skip"):
        raise ValueError(f"nonfinite must be 'raise' or 'skip', not {nonfinite!r}")
    _check_finite(q, "queries")
    if nonfinite == "raise":
        _check_finite(x, "gallery")
    keep = finite_rows(x)
    return q, np.where(keep[:, None], x, np.float32(0)), keep


# --- canonical scores -----------------------------------------------------------------------------


def _fold(lanes: Float64) -> Float64:
    """Fold the 32 lanes on axis 0 by halves."""
    for half in (16, 8, 4, 2, 1):
        lanes = lanes[:half] + lanes[half : 2 * half]
    folded: Float64 = lanes[0]
    return folded


def _lane_columns(rows: Float32) -> Float64:
    """Return float64 [steps, 32, n]: element ``32 * step + lane`` of each row, else 0."""
    n, d = rows.shape
    steps = -(-d // LANES)
    padded = np.zeros((n, steps * LANES), dtype=np.float64)
    padded[:, :d] = rows
    return np.ascontiguousarray(padded.reshape(n, steps, LANES).transpose(1, 2, 0))


def paired_dot(a: Float32, b: Float32) -> Float64:
    """Return float64 [n]: the canonical dot product of row i of ``a`` with row i of ``b``."""
    lanes = np.zeros((LANES, len(a)), dtype=np.float64)
    for left, right in zip(_lane_columns(a), _lane_columns(b), strict=True):
        lanes = lanes + left * right
    return _fold(lanes)


def dot_products(queries: npt.ArrayLike, gallery: npt.ArrayLike) -> Float64:
    """Return float64 [q, n]: the canonical dot product of every query with every gallery row."""
    q, x = as_float32(queries, "queries"), as_float32(gallery, "gallery")
    result = np.zeros((len(q), len(x)), dtype=np.float64)
    for column in range(0, len(x), GALLERY_BLOCK):
        right = _lane_columns(x[column : column + GALLERY_BLOCK])[:, :, None, :]
        for row in range(0, len(q), QUERY_BLOCK):
            left = _lane_columns(q[row : row + QUERY_BLOCK])[:, :, :, None]
            lanes = np.zeros((LANES, left.shape[2], right.shape[3]), dtype=np.float64)
            for step in range(len(left)):
                lanes = lanes + left[step] * right[step]
            result[row : row + QUERY_BLOCK, column : column + GALLERY_BLOCK] = _fold(lanes)
    return result


def _finish(qx: Float64, qq: Float64, xx: Float64, metric: str) -> Float32:
    """Return float32 scores from dot products; ``qq`` and ``xx`` broadcast against ``qx``."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
        if metric == "dot":
            return qx.astype(np.float32)
        if metric == "cosine":
            norms = np.sqrt(qq) * np.sqrt(xx)
            return np.where(norms > 0, qx / norms, 0.0).astype(np.float32)
        if metric == "l2":
            return np.sqrt(np.maximum(0.0, (qq + xx) - 2.0 * qx)).astype(np.float32)
    raise ValueError(f"metric must be 'cosine', 'dot' or 'l2', not {metric!r}")


def score_matrix(queries: npt.ArrayLike, gallery: npt.ArrayLike, metric: str = "cosine") -> Float32:
    """Return float32 [q, n]: the canonical score of every pair.

    Parameters
    ----------
    queries, gallery : array [q, d] and [n, d], floating
        Finite rows.
    metric : {"cosine", "dot", "l2"}
        Higher is better, but for ``l2``.
    """
    q, x = as_float32(queries, "queries"), as_float32(gallery, "gallery")
    qq, xx = paired_dot(q, q), paired_dot(x, x)
    return _finish(dot_products(q, x), qq[:, None], xx[None, :], metric)


def paired_scores(a: npt.ArrayLike, b: npt.ArrayLike, metric: str = "cosine") -> Float32:
    """Return float32 [n]: the canonical score of row i of ``a`` with row i of ``b``."""
    left, right = as_float32(a, "a"), as_float32(b, "b")
    qq, xx = paired_dot(left, left), paired_dot(right, right)
    return _finish(paired_dot(left, right), qq, xx, metric)


def cosine(queries: npt.ArrayLike, gallery: npt.ArrayLike) -> Float32:
    """Return float32 [q, n]: canonical cosines."""
    return score_matrix(queries, gallery, "cosine")


def dot(queries: npt.ArrayLike, gallery: npt.ArrayLike) -> Float32:
    """Return float32 [q, n]: canonical dot products, rounded once."""
    return score_matrix(queries, gallery, "dot")


def l2(queries: npt.ArrayLike, gallery: npt.ArrayLike) -> Float32:
    """Return float32 [q, n]: canonical Euclidean distances."""
    return score_matrix(queries, gallery, "l2")


def normalize(rows: npt.ArrayLike) -> Float32:
    """Return float32 [n, d]: rows of unit length, divided in float64; a zero row stays as it is."""
    x = as_float32(rows)
    norm = np.sqrt(paired_dot(x, x))[:, None]
    wide = x.astype(np.float64)
    with np.errstate(under="ignore"):
        return np.divide(wide, norm, out=wide.copy(), where=norm > 0).astype(np.float32)


# --- questions to the scores ----------------------------------------------------------------------


def reaches(scores: Float32, threshold: float, metric: str) -> npt.NDArray[np.bool_]:
    """Return where a score is at least as good as ``threshold``; both are compared as float64."""
    wide = scores.astype(np.float64)
    return wide <= threshold if metric == "l2" else wide >= threshold


def _allowed(q: int, keep: npt.NDArray[np.bool_], exclude: Exclude) -> npt.NDArray[np.bool_]:
    """Return bool [q, n]: the pairs that take part."""
    allowed = np.repeat(keep[None, :], q, axis=0)
    if exclude is None:
        return allowed
    if isinstance(exclude, str):
        if exclude != "self":
            raise ValueError(f"exclude must be None, 'self' or a pair of label arrays, not {exclude!r}")
        allowed &= np.arange(q)[:, None] != np.arange(len(keep))[None, :]
        return allowed
    query_groups, gallery_groups = (np.asarray(labels) for labels in exclude)
    allowed &= query_groups[:, None] != gallery_groups[None, :]
    return allowed


def _order(scores: Float32, ids: Int64, metric: str) -> Int64:
    """Return the order "better score first, then lower id"."""
    wide = scores.astype(np.float64) + 0.0
    return np.lexsort((ids, wide if metric == "l2" else -wide)).astype(np.int64)


def _first(scores: Float32, ids: Int64, k: int, metric: str) -> tuple[Float32, Int64]:
    """Return the k best of one row of candidates, padded with id -1 and the worst score."""
    worst = np.float32(np.inf if metric == "l2" else -np.inf)
    best_scores = np.full(k, worst, dtype=np.float32)
    best_ids = np.full(k, -1, dtype=np.int64)
    order = _order(scores, ids, metric)[:k]
    best_scores[: len(order)] = scores[order]
    best_ids[: len(order)] = ids[order]
    return best_scores, best_ids


def search(
    queries: npt.ArrayLike,
    gallery: npt.ArrayLike,
    k: int = 10,
    *,
    metric: str = "cosine",
    exclude: Exclude = None,
    threshold: float | None = None,
    nonfinite: str = "raise",
    first_id: int = 0,
) -> tuple[Float32, Int64]:
    """Return the k best gallery rows of every query by sorting all scores.

    Parameters
    ----------
    queries, gallery : array [q, d] and [n, d], floating
    k : int, at least 0
    metric : {"cosine", "dot", "l2"}
    exclude : None, "self" or (query_groups, gallery_groups)
        "self" leaves out gallery row i for query i; label arrays leave out pairs of equal labels.
    threshold : float, optional
        Keep scores of at least this value (``l2``: at most).
    nonfinite : {"raise", "skip"}
        What to do with gallery rows that hold NaN or infinity; such a query always raises.
    first_id : int
        Id of gallery row 0.

    Returns
    -------
    scores : float32 [q, k], best first; where fewer rows remain, -inf (``l2``: +inf)
    ids : int64 [q, k]; -1 there

    Raises
    ------
    ValueError
        Shapes that do not agree, a negative k, or a row that is not finite.
    TypeError
        A dtype other than float16, bfloat16, float32 and float64.
    """
    q, x, keep = _prepare(queries, gallery, nonfinite)
    if k < 0:
        raise ValueError(f"k must be at least 0, not {k}")
    matrix = score_matrix(q, x, metric)
    allowed = _allowed(len(q), keep, exclude)
    if threshold is not None:
        allowed &= reaches(matrix, threshold, metric)
    scores = np.empty((len(q), k), dtype=np.float32)
    ids = np.empty((len(q), k), dtype=np.int64)
    for row in range(len(q)):
        columns = np.flatnonzero(allowed[row]).astype(np.int64)
        scores[row], ids[row] = _first(matrix[row, columns], columns + first_id, k, metric)
    return scores, ids


def merge_topk(
    parts: Sequence[tuple[Float32, Int64]], k: int | None = None, metric: str = "cosine"
) -> tuple[Float32, Int64]:
    """Return the k best of several results with global ids; k is by default the widest part's."""
    if not parts:
        raise ValueError("parts must hold at least one result")
    width = max(part[1].shape[1] for part in parts) if k is None else k
    all_scores = np.concatenate([np.asarray(part[0], np.float32) for part in parts], axis=1)
    all_ids = np.concatenate([np.asarray(part[1], np.int64) for part in parts], axis=1)
    rows = [
        _first(scores[ids >= 0], ids[ids >= 0], width, metric)
        for scores, ids in zip(all_scores, all_ids, strict=True)
    ]
    scores = np.array([row[0] for row in rows], np.float32).reshape(len(rows), width)
    return scores, np.array([row[1] for row in rows], np.int64).reshape(len(rows), width)


def count_above(
    queries: npt.ArrayLike,
    gallery: npt.ArrayLike,
    thresholds: npt.ArrayLike,
    *,
    metric: str = "cosine",
    exclude: Exclude = None,
    nonfinite: str = "raise",
) -> Int64:
    """Return int64 [q, t]: how many gallery rows reach each threshold (``l2``: at most it)."""
    q, x, keep = _prepare(queries, gallery, nonfinite)
    matrix = score_matrix(q, x, metric)
    allowed = _allowed(len(q), keep, exclude)
    limits = np.atleast_1d(np.asarray(thresholds, dtype=np.float64))
    counts = [(reaches(matrix, limit, metric) & allowed).sum(axis=1) for limit in limits]
    return np.array(counts, dtype=np.int64).reshape(len(limits), len(q)).T.copy()


def pairs_above(
    queries: npt.ArrayLike,
    gallery: npt.ArrayLike,
    threshold: float,
    *,
    metric: str = "cosine",
    exclude: Exclude = None,
    nonfinite: str = "raise",
) -> tuple[Int64, Int64, Float32]:
    """Return rows int64, columns int64 and scores float32 of the pairs that reach ``threshold``.

    The pairs are sorted by (row, column).
    """
    q, x, keep = _prepare(queries, gallery, nonfinite)
    matrix = score_matrix(q, x, metric)
    wanted = reaches(matrix, threshold, metric) & _allowed(len(q), keep, exclude)
    rows, columns = np.nonzero(wanted)
    return rows.astype(np.int64), columns.astype(np.int64), matrix[rows, columns]


def pair_scores(
    a: npt.ArrayLike, b: npt.ArrayLike | None, groups: Any = None
) -> Iterator[tuple[Float32, npt.NDArray[np.bool_]]]:
    """Yield, per row of ``a``, the cosines of its pairs and which of them share a label.

    Without ``b`` the pairs are the unordered ones, i < j, and ``groups`` is one label array.
    """
    matrix = score_matrix(a, a if b is None else b)
    if groups is None:
        left = right = None
    elif b is None:
        left = right = np.asarray(groups)
    else:
        left, right = (np.asarray(labels) for labels in groups)
    for row, scores in enumerate(matrix):
        start = row + 1 if b is None else 0
        mated = np.zeros(len(scores), dtype=np.bool_)
        if left is not None and right is not None:
            mated = np.asarray(left[row] == right, dtype=np.bool_)
        yield scores[start:], mated[start:]


def histogram(
    a: npt.ArrayLike,
    b: npt.ArrayLike | None = None,
    *,
    edges: npt.ArrayLike,
    groups: Any = None,
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Return the histogram of all canonical cosines: all pairs, mated pairs, non-mated pairs.

    Parameters
    ----------
    a, b : array [q, d] and [n, d], floating
        Without ``b``: the unordered pairs i < j of ``a``.
    edges : float64 [bins + 1], ascending
        Bin i holds ``edges[i] <= score < edges[i + 1]``; the last bin also holds its upper edge.
    groups : (labels of a, labels of b), or labels of a without ``b``; optional
        Pairs of equal labels are mated. Without labels every pair counts as non-mated.

    Returns
    -------
    counts, mated, non_mated : uint64 [bins]
    """
    limits = np.asarray(edges, dtype=np.float64)
    bins = len(limits) - 1
    mated_counts = np.zeros(bins, dtype=np.uint64)
    other_counts = np.zeros(bins, dtype=np.uint64)
    for scores, mated in pair_scores(a, b, groups):
        place = np.searchsorted(limits, scores.astype(np.float64), side="right") - 1
        place = np.clip(place, 0, bins - 1)
        mated_counts += np.bincount(place[mated], minlength=bins).astype(np.uint64)
        other_counts += np.bincount(place[~mated], minlength=bins).astype(np.uint64)
    return mated_counts + other_counts, mated_counts, other_counts
