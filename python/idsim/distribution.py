"""The distribution of cosine over all pairs, in one pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from idsim import _core
from idsim.arrays import as_matrix
from idsim.options import as_groups, float32_thresholds, resolve_threads, skips
from idsim.results import ScoreDistribution

if TYPE_CHECKING:
    from idsim.options import Nonfinite, Progress

__all__ = ["score_distribution"]

_MAX_BINS = 1 << 16


def score_distribution(
    a: Any,
    b: Any = None,
    *,
    groups: Any = None,
    bins: int = 4096,
    tail: float | None = None,
    exclude: str | None = None,
    nonfinite: Nonfinite = "raise",
    threads: int | None = None,
    progress: Progress | None = None,
) -> ScoreDistribution:
    """Count the cosines of all pairs of rows in fixed bins on [-1, 1].

    Parameters
    ----------
    a : array
        [m, d].
    b : array, optional
        [n, d]. Default: all unordered pairs of different rows of ``a``.
    groups : array_like or (array_like, array_like), optional
        Labels of the rows of a (and of b): pairs of equal labels are counted as mated, the rest as
        non-mated.
    bins : int
        A power of two up to 65536.
    tail : float, optional
        Every bin at or above it is exact. Pairs that may reach it cost a canonical score each.
    exclude : None or "self"
        "self": leave out row i of a against row i of b.
    nonfinite, threads, progress
        As in `search`.

    Returns
    -------
    ScoreDistribution

    Raises
    ------
    ValueError, TypeError
        As in `search`; bins is no power of two.
    """
    if not 1 <= bins <= _MAX_BINS or bins & (bins - 1):
        msg = f"bins must be a power of two from 1 to {_MAX_BINS}, not {bins}"
        raise ValueError(msg)
    if exclude not in {None, "self"}:
        msg = f"exclude must be None or 'self', not {exclude!r}"
        raise ValueError(msg)
    rows_a = as_matrix(a, "a")
    rows_b = rows_a if b is None else as_matrix(b, "b")
    groups_a, groups_b = _resolve_groups(groups, b is None)
    scan = _core.DistributionScan(
        rows_a,
        bins,
        np.inf if tail is None else float(float32_thresholds(tail, "cosine")[0]),
        exclude == "self",
        b is None,
        0,
        groups_a,
    )
    scan.feed(rows_b, 0, groups_b, resolve_threads(threads), skips(nonfinite), progress)
    non_mated, mated = np.empty(bins, np.uint64), np.empty(bins, np.uint64)
    max_error = scan.finish(non_mated, mated)
    return ScoreDistribution(
        edges=np.linspace(-1.0, 1.0, bins + 1),
        counts=non_mated + mated,
        mated=None if groups is None else mated,
        non_mated=None if groups is None else non_mated,
        tail=float("inf") if tail is None else float(tail),
        max_error=max_error,
    )


def _resolve_groups(groups: Any, symmetric: bool) -> tuple[Any, Any]:
    if groups is None:
        return None, None
    if symmetric:
        labels, _ = as_groups(groups, groups)
        return labels, labels
    if not isinstance(groups, tuple):
        msg = "groups must be a pair (labels of a, labels of b) where b is given"
        raise TypeError(msg)
    return as_groups(*groups)
