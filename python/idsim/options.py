"""Arguments that several functions share, checked once."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from idsim import _core

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Exclude",
    "Exclusion",
    "Metric",
    "Nonfinite",
    "Precision",
    "Progress",
    "as_groups",
    "checked_k",
    "checked_precision",
    "float32_thresholds",
    "resolve_exclude",
    "resolve_threads",
    "skips",
    "worst_score",
]

Metric = Literal["cosine", "dot", "l2"]
Nonfinite = Literal["raise", "skip"]
Precision = Literal["auto", "int8", "float16", "float32"]
if TYPE_CHECKING:
    #: Called with (rows done, rows in all); returning False cancels the call.
    Progress = Callable[[int, int], bool | None]
    Exclude = Literal["self"] | tuple[Any, Any] | None
else:
    Progress = Exclude = Any


def resolve_threads(threads: int | None) -> int:
    """Return the number of threads to use; None means one per core that the process may run on."""
    if threads is None:
        return _core.default_threads()
    if threads < 1:
        msg = f"threads must be at least 1, not {threads}"
        raise ValueError(msg)
    return int(threads)


def skips(nonfinite: str) -> bool:
    """Tell whether gallery rows with NaN or Inf are to be left out."""
    if nonfinite not in {"raise", "skip"}:
        msg = f"nonfinite must be 'raise' or 'skip', not {nonfinite!r}"
        raise ValueError(msg)
    return nonfinite == "skip"


def checked_precision(precision: str, *, on_device: bool) -> str:
    """Return how closely the filter is to look at pairs, for an engine of CUDA devices or of the CPU.

    Raises
    ------
    ValueError
        The engine does not have it. The CPU's chooses among 4-bit, 8-bit and float32 by itself.
    """
    known = get_args(Precision)
    if precision not in known:
        msg = f"precision must be one of {', '.join(map(repr, known))}, not {precision!r}"
        raise ValueError(msg)
    if not on_device and precision != "auto":
        msg = f"the CPU engine has precision 'auto' alone, not {precision!r}; CUDA devices have it"
        raise ValueError(msg)
    return precision


@dataclass(frozen=True)
class Exclusion:
    """Pairs to leave out, resolved.

    Attributes
    ----------
    self_pairs : bool
        Leave out query i against gallery row i.
    query_groups, gallery_groups : ndarray or None
        int64 labels; leave out pairs of equal labels.
    """

    self_pairs: bool = False
    query_groups: NDArray[np.int64] | None = None
    gallery_groups: NDArray[np.int64] | None = None


def resolve_exclude(exclude: Exclude, queries: int, gallery: int) -> Exclusion:
    """Check ``exclude`` and turn any labels into integers.

    Parameters
    ----------
    exclude : None, "self" or (query_groups, gallery_groups)
        Labels are integers or strings, one per row.
    queries, gallery : int
        Numbers of rows.

    Raises
    ------
    ValueError
        An unknown value, or labels whose number is not that of the rows.
    """
    if exclude is None:
        return Exclusion()
    if isinstance(exclude, str):
        if exclude != "self":
            msg = f"exclude must be None, 'self' or a pair of label arrays, not {exclude!r}"
            raise ValueError(msg)
        return Exclusion(self_pairs=True)
    if not isinstance(exclude, (tuple, list)) or len(exclude) != 2:
        msg = f"exclude must be None, 'self' or a pair of label arrays, not {exclude!r}"
        raise ValueError(msg)
    try:
        query_groups, gallery_groups = as_groups(*exclude)
    except TypeError as error:
        msg = f"exclude: {error}"
        raise TypeError(msg) from None
    for name, groups, rows in (
        ("exclude: query labels", query_groups, queries),
        ("exclude: gallery labels", gallery_groups, gallery),
    ):
        if groups.shape != (rows,):
            msg = f"{name} must have shape ({rows},), not {groups.shape}"
            raise ValueError(msg)
    return Exclusion(query_groups=query_groups, gallery_groups=gallery_groups)


def as_groups(a: Any, b: Any) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Turn two arrays of labels into int64 arrays in which equal labels are equal."""
    first, second = np.asarray(a), np.asarray(b)
    if first.dtype.kind in "iub" and second.dtype.kind in "iub":
        return (
            np.ascontiguousarray(first, dtype=np.int64),
            np.ascontiguousarray(second, dtype=np.int64),
        )
    if first.dtype.kind not in "US" or first.dtype.kind != second.dtype.kind:
        msg = f"labels must be integers or strings in both arrays, not {first.dtype} and {second.dtype}"
        raise TypeError(msg)
    _, codes = np.unique(np.concatenate([first.ravel(), second.ravel()]), return_inverse=True)
    codes = codes.astype(np.int64, copy=False)
    return (
        np.ascontiguousarray(codes[: first.size].reshape(first.shape)),
        np.ascontiguousarray(codes[first.size :].reshape(second.shape)),
    )


def checked_k(k: Any) -> int:
    """Return k as an int of 0 or more."""
    try:
        count = operator.index(k)
    except TypeError:
        msg = f"k must be an integer, not {type(k).__name__}"
        raise TypeError(msg) from None
    if count < 0:
        msg = f"k must be 0 or more, not {count}"
        raise ValueError(msg)
    return count


def worst_score(metric: str, threshold: float | None) -> float:
    """Return the float32 score that results must reach: the threshold, or the worst there is."""
    if threshold is None:
        return float("inf") if metric == "l2" else float("-inf")
    return float(float32_thresholds(threshold, metric)[0])


def float32_thresholds(thresholds: ArrayLike, metric: str) -> NDArray[np.float32]:
    """Return float32 thresholds that keep the very float32 scores that the given float64 ones keep.

    Raises
    ------
    ValueError
        NaN, or more than one dimension.
    """
    exact = np.atleast_1d(np.asarray(thresholds, dtype=np.float64))
    if exact.ndim != 1 or np.isnan(exact).any():
        msg = "a threshold must be a number, not NaN, and several a one-dimensional array"
        raise ValueError(msg)
    with np.errstate(over="ignore"):
        rounded = exact.astype(np.float32)
    if metric == "l2":
        return np.where(rounded > exact, np.nextafter(rounded, np.float32(-np.inf)), rounded)
    return np.where(rounded < exact, np.nextafter(rounded, np.float32(np.inf)), rounded)
