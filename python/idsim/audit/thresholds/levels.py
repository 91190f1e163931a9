"""From which score on the pairs of a scan are listed: loose enough for its thresholds, strict enough for memory."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from idsim.audit.pairs.compared import better_is_higher
from idsim.topk import search

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from idsim.audit.thresholds.calibration import Target
    from idsim.options import Metric

__all__ = ["WORST", "listing_level"]

WORST = {"l2": np.inf}  # of other metrics -inf: every pair reaches it

# Up to this many pairs, of all comparisons together, are simply all listed: 200 MB.
ALL_PAIRS = 1 << 23
# Of more pairs this share is listed, which is what the calibration of low rates wants (1e-4), or as many pairs as
# make 480 MB.
RATE = 1e-4
LISTED = 20_000_000
SAMPLED_ROWS = 1024
# The level comes from a sample of rows: it is set for more pairs than are needed.
MARGIN = 3.0


def listing_level(
    vectors: NDArray[np.float32],
    persons: NDArray[np.int64],
    targets: Sequence[Target],
    metric: Metric,
    pairs: int,
) -> float:
    """Return the score from which on pairs are listed.

    Parameters
    ----------
    vectors, persons : ndarray
        float32 ``[n, d]`` and int64 ``[n]``: the calibration set.
    targets : sequence of Target
        Operating points; fixed thresholds are listed whole where they do not let too many pairs through.
    metric : {"cosine", "l2"}
        How embeddings are compared.
    pairs : int
        Of the largest comparison.

    Returns
    -------
    float
        The worst score there is where all pairs are listed. The same vectors give the same level.
    """
    worst = float(WORST.get(metric, -np.inf))
    if pairs <= ALL_PAIRS or len(vectors) < 2:
        return worst
    rows = np.sort(np.random.default_rng(0).permutation(len(vectors))[:SAMPLED_ROWS])
    affordable = LISTED / pairs
    rate = min(1.0, max(min(RATE, affordable), MARGIN * _needed(targets, len(np.unique(persons)))))
    sampled = len(rows) * len(vectors)
    wanted = min(len(vectors), 64 + int(8 * max(rate, affordable) * len(vectors)))
    found, _ = search(
        vectors[rows], vectors, wanted, metric=metric, exclude=(persons[rows], persons), nonfinite="raise"
    )
    scores = better_is_higher(found, metric).reshape(-1)
    ordered = np.sort(scores[np.isfinite(scores)])[::-1]
    if not len(ordered):
        return worst
    level = ordered[min(len(ordered) - 1, int(rate * sampled))]
    for target in targets:
        if target.kind == "threshold":
            asked = float(better_is_higher(target.value, metric))
            if (ordered >= asked).sum() <= affordable * sampled:
                level = min(level, asked)
    listed = -level if metric == "l2" else level
    return float(np.float32(listed))


def _needed(targets: Sequence[Target], persons: int) -> float:
    """Return the false match rate of the loosest target, by the rule for independent comparisons."""
    others = max(1, persons - 1)
    rates = [target.value for target in targets if target.kind == "fmr"]
    rates += [-math.log1p(-target.value) / others for target in targets if target.kind == "fpir"]
    return max(rates, default=0.0)
