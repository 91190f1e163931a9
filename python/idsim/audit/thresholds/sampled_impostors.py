"""All impostor scores of a set in bins, without comparing all pairs: the tail counted, the rest from a sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from idsim import reference
from idsim.audit.pairs.compared import reaches
from idsim.audit.pairs.comparing import MAX_MATED_PAIRS, mated_pairs
from idsim.audit.thresholds.roc import ImpostorScores

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from idsim.audit.faces import FaceSet
    from idsim.audit.pairs.compared import Compared
    from idsim.options import Metric

__all__ = ["BINS", "binned_with_sample", "estimated_below", "mated_scores", "sample_impostors"]

BINS = 1 << 14
SAMPLED_PAIRS = 1 << 18
SAMPLE_BLOCK = 1 << 14


def mated_scores(faces: FaceSet, metric: Metric) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the scores of up to 100,000 pairs of images of one person, and whose they are."""
    left, right, _ = mated_pairs(faces, MAX_MATED_PAIRS)
    if not len(left):
        return np.empty(0, np.float32), np.empty(0, np.int64)
    return reference.paired_scores(faces.vectors[left], faces.vectors[right], metric), faces.codes()[0][left]


def sample_impostors(
    vectors: NDArray[np.float32], persons: NDArray[np.int64], metric: Metric
) -> NDArray[np.float32]:
    """Return the scores of some 260,000 pairs of different persons, drawn at random; always the same ones.

    Sets that have no more pairs give all of them, once.
    """
    if len(vectors) * (len(vectors) - 1) // 2 <= SAMPLED_PAIRS:
        left, right = np.triu_indices(len(vectors), 1)
        apart = persons[left] != persons[right]
        return reference.paired_scores(vectors[left[apart]], vectors[right[apart]], metric)
    rng = np.random.default_rng(0)
    parts = []
    for _ in range(SAMPLED_PAIRS // SAMPLE_BLOCK):
        left, right = rng.integers(0, len(vectors), (2, SAMPLE_BLOCK))
        apart = persons[left] != persons[right]
        parts.append(reference.paired_scores(vectors[left[apart]], vectors[right[apart]], metric))
    return np.concatenate(parts)


def binned_with_sample(
    compared: Compared, sample: NDArray[np.float32], comparisons: int
) -> tuple[ImpostorScores, int]:
    """Return all impostor scores in bins, and by how many pairs those below the tail are estimated.

    Parameters
    ----------
    compared : Compared
        The set with itself.
    sample : ndarray
        float32: scores of random pairs of different persons.
    comparisons : int
        Pairs of images of different persons in the set.
    """
    listed = compared.tail.scores
    span = (-1.0, 1.0)
    if compared.metric == "l2":
        span = 0.0, float(max(sample.max(initial=0), listed.max(initial=0))) or 1.0
    counts, edges = np.histogram(listed, BINS, span)
    more, sampled = estimated_below(compared, sample, comparisons, edges)
    return ImpostorScores(edges, counts + more, listed, compared.level, compared.metric), sampled


def estimated_below(
    compared: Compared, sample: NDArray[np.float32], comparisons: int, edges: NDArray[np.float64]
) -> tuple[NDArray[np.int64], int]:
    """Return the comparisons below the tail in every bin, and by how many pairs they are estimated.

    Parameters
    ----------
    compared : Compared
        The set with itself.
    sample : ndarray
        float32: scores of random pairs of different persons.
    comparisons : int
        Pairs of images of different persons in the set.
    edges : ndarray
        float64 ``[b + 1]``, ascending.

    Returns
    -------
    ndarray, int
        int64 ``[b]``, zeros where nothing is missing or nothing was sampled; and the size of the sample.
    """
    rest = sample[~reaches(sample, compared.level, compared.metric)]
    missing = comparisons - len(compared.tail.scores)
    if not len(rest) or not missing:
        return np.zeros(len(edges) - 1, np.int64), len(rest)
    # Cumulated shares, rounded once, so that the bins sum to the comparisons exactly.
    shares = np.cumsum(np.histogram(rest, edges)[0]) / len(rest)
    return np.diff(np.round(shares * missing), prepend=0.0).astype(np.int64), len(rest)
