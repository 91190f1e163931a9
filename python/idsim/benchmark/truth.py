"""The right answer for a few queries of a case, and how far a tool's answer is from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from idsim import reference

__all__ = ["Truth", "count_wrong", "expected", "is_identical"]

Float32 = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]

# Two float32 dot products of unit rows that are further apart than this are in their true order for
# every sane order of summation; a float32 tool is not blamed for closer ones.
FLOAT32_ROUNDING = 1e-6


@dataclass(frozen=True)
class Truth:
    """Canonical best rows of some queries.

    Parameters
    ----------
    places : int64 [s]
        Which queries of the case were checked.
    ids, scores : int64 and float32 [s, k]
    """

    places: Ids
    ids: Ids
    scores: Float32


def _candidates(scores: Float32, k: int, margin: float) -> Ids:
    """Return every row that may be among the k best when each score is off by at most ``margin / 2``."""
    if k >= len(scores):
        return np.arange(len(scores), dtype=np.int64)
    floor = np.partition(scores, len(scores) - k)[len(scores) - k]
    return np.flatnonzero(scores >= floor - np.float32(margin)).astype(np.int64)


def expected(queries: Float32, gallery: Float32, k: int, *, sample: int = 16) -> Truth:
    """Return the canonical k best of up to ``sample`` queries, evenly spread; rows must be unit rows.

    A float32 product leaves candidates: its error is at most gamma(d) * |q| * |x| for any order of
    summation, and every row within twice that of the k-th best is scored again by the definition.
    """
    count, dim = queries.shape
    places = np.unique(np.linspace(0, count - 1, min(sample, count)).astype(np.int64))
    unit_roundoff = 2.0**-24
    gamma = dim * unit_roundoff / (1 - dim * unit_roundoff)
    margin = 2.0 * (gamma + 4e-6)  # 4e-6: rows are of unit length to within 1e-6
    products = queries[places] @ gallery.T
    width = min(k, len(gallery))
    ids = np.full((len(places), k), -1, dtype=np.int64)
    scores = np.full((len(places), k), -np.inf, dtype=np.float32)
    for row, place in enumerate(places):
        found = _candidates(products[row], k, margin)
        exact = reference.paired_scores(np.repeat(queries[place][None], len(found), 0), gallery[found])
        order = np.lexsort((found, -exact.astype(np.float64)))[:width]
        ids[row, :width], scores[row, :width] = found[order], exact[order]
    return Truth(places, ids, scores)


def is_identical(truth: Truth, ids: Ids, scores: Float32) -> bool:
    """Return whether ids and the bytes of the scores are the canonical ones, in order."""
    same_ids = np.array_equal(ids[truth.places], truth.ids)
    return bool(same_ids and scores[truth.places].tobytes() == truth.scores.tobytes())


def count_wrong(truth: Truth, ids: Ids, queries: Float32, gallery: Float32) -> tuple[int, int]:
    """Return how many ids are not among the true k best, and how many beyond float32 rounding.

    The second number leaves out rows whose canonical score lies within ``FLOAT32_ROUNDING`` of the
    k-th best. An id that does not exist or appears twice is wrong in both.
    """
    wrong = beyond = 0
    for row, place in enumerate(truth.places):
        right = set(truth.ids[row].tolist()) - {-1}
        found = ids[place].tolist()
        impossible = sum(1 for each in found if not 0 <= each < len(gallery))
        repeated = len(found) - impossible - len({each for each in found if 0 <= each < len(gallery)})
        strays = np.array(sorted({e for e in found if 0 <= e < len(gallery)} - right), dtype=np.int64)
        far = 0
        if strays.size:
            query = np.repeat(queries[place][None], len(strays), 0)
            exact = reference.paired_scores(query, gallery[strays]).astype(np.float64)
            far = int((exact < float(truth.scores[row, -1]) - FLOAT32_ROUNDING).sum())
        wrong += len(strays) + impossible + repeated
        beyond += far + impossible + repeated
    return wrong, beyond
