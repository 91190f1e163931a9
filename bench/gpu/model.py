"""How many rows the device's filter should let through, from scores drawn at random: a prediction to hold a count to.

Scores of random unit rows are normal with variance 1/d. The scan takes its first threshold from what the best of a
sample certainly reach, then cuts the gallery into slabs and raises the threshold after each (csrc/core/slabs.hpp).
"""

from __future__ import annotations

import numpy as np

from idsim.benchmark.cases import make_rows

# As csrc/core/device_plan.cpp and slabs.hpp have them.
SAMPLE_ROWS, SAMPLE_PER_RESULT = 16_384, 32
LEAST_CAPACITY, CAPACITY_PER_RESULT = 4096, 32
# As csrc/core/tile_plan.hpp has it: up to this many queries are coded as two digits.
MOST_TWO_DIGITS = 32
# Rows that pass per wanted row, as slabs are cut: with exact thresholds, and with those of a sample.
MARGINS = {"int8": (8, 32), "float16": (2, 4)}


def digits_of(queries: int) -> int:
    """Return how many 8-bit digits a query is coded as, where that many are searched for together."""
    return 2 if queries <= MOST_TWO_DIGITS else 1


def bound(dim: int, precision: str = "int8", digits: int = 1) -> float:
    """Return the mean bound on the error of a product of codes, for random unit rows and queries of so many digits."""
    rows, _ = make_rows("random", 1, dim, 1000)
    if precision == "float16":
        coded, sums = (rows * 256).astype(np.float16).astype(np.float64) / 256, (dim + 16) * 2.0**-22
    else:
        scale = np.abs(rows).max(axis=1, keepdims=True) / 127
        coded, sums = np.round(rows / scale) * scale, 0.0
    residual = float(np.linalg.norm(rows - coded, axis=1).mean())
    of_query = residual if digits == 1 else residual / 256
    return residual * (1 + of_query) + of_query + sums


def survivors(
    rows: int,
    dim: int,
    k: int,
    *,
    precision: str = "int8",
    digits: int = 1,
    queries: int = 4,
    seed: int = 0,
) -> float:
    """Return the expected number of rows per query whose upper bound reaches the threshold of the time.

    The mean of ``queries`` drawn at random; ``digits`` is what each of them is coded as.
    """
    rng = np.random.default_rng(seed)
    margin = bound(dim, precision, digits)
    return float(np.mean([_one_query(rng, rows, dim, k, precision, margin) for _ in range(queries)]))


def _one_query(rng: np.random.Generator, rows: int, dim: int, k: int, precision: str, margin: float) -> int:
    exact_margin, sample_margin = MARGINS[precision]
    scores = rng.standard_normal(rows, dtype=np.float32) / np.float32(np.sqrt(dim))
    sampled = min(max(SAMPLE_ROWS, SAMPLE_PER_RESULT * k), rows // 8)
    sampled = 0 if sampled < 4 * k else sampled
    threshold = -np.inf
    if sampled:
        every = scores[:: rows // sampled][:sampled]
        threshold = float(np.partition(every, sampled - k)[sampled - k]) - margin
    capacity = max(LEAST_CAPACITY, CAPACITY_PER_RESULT * k)
    begin, found = 0, 0
    best = np.empty(0, np.float32)
    while begin < rows:
        ahead = exact_margin if begin > sampled else sample_margin
        end = min(rows, begin + int(max(max(begin, sampled) * capacity / (2 * k * ahead), capacity, 128)))
        slab = scores[begin:end]
        found += int(np.count_nonzero(slab + margin >= threshold))
        best = np.concatenate([best, slab])
        if len(best) > k:
            best = np.partition(best, len(best) - k)[len(best) - k :]
            threshold = max(threshold, float(best.min()))
        begin = end
    return found
