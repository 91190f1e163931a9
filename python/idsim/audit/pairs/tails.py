"""Pairs that reach a threshold, where they are few enough to be listed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.tails import count_above, pairs_above

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from idsim.options import Metric
    from idsim.results import Pairs

__all__ = ["TooLooseError", "UnsupportedError", "reaching_pairs", "refuse_loose"]

MAX_PAIRS = 50_000_000  # 1.2 GB of them
SAMPLED_ROWS = 128


class UnsupportedError(ValueError):
    """What is known does not support a threshold."""


class TooLooseError(UnsupportedError):
    """A threshold lets through so many pairs that it tells nobody from anybody."""


def reaching_pairs(
    queries: NDArray[np.float32],
    gallery: Any,
    threshold: float,
    metric: Metric,
    groups: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None,
) -> Pairs:
    """Return the pairs that reach a threshold, like `idsim.pairs_above`.

    Parameters
    ----------
    queries : ndarray
        float32 ``[q, d]``.
    gallery : ndarray, Index or None
        float32 ``[n, d]``; None: each unordered pair of queries.
    threshold : float
        Score, or distance for ``l2``.
    metric : {"cosine", "l2"}
        How scores are compared.
    groups : tuple of ndarray, optional
        int64 ``[q]`` and ``[n]``: leave out pairs of one person.

    Raises
    ------
    TooLooseError
        A sample of rows says that there are more than 50 million.
    """
    refuse_loose(queries, gallery, threshold, metric)
    return pairs_above(queries, gallery, threshold, metric=metric, exclude=groups)


def refuse_loose(queries: NDArray[np.float32], gallery: Any, threshold: float, metric: Metric) -> None:
    """Raise `TooLooseError` where a sample of rows says that more than 50 million pairs reach a threshold."""
    other = queries if gallery is None else gallery
    rows = np.random.default_rng(0).permutation(len(queries))[:SAMPLED_ROWS]
    sampled = count_above(queries[rows], other, [threshold], metric=metric).mean() if len(rows) else 0.0
    expected = float(sampled) * len(queries) / (2 if gallery is None else 1)
    if expected > MAX_PAIRS:
        raise TooLooseError(
            f"about {expected:.2g} pairs would reach a threshold of {threshold:g}, too many to list"
        )
