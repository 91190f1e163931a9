"""Makers of embeddings: ordinary ones, and the ones on which similarity engines go wrong.

Every maker takes a generator, the counts q and n and the dimension d, and returns float32 queries
[q, d] and gallery [n, d]. Random unit vectors alone are a weak test: at d = 512 all their cosines
lie near 0.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Maker = Callable[[np.random.Generator, int, int, int], tuple[Float32, Float32]]


def normal(rng: np.random.Generator, n: int, d: int) -> Float32:
    return rng.standard_normal((n, d), dtype=np.float32)


def unit(rng: np.random.Generator, n: int, d: int) -> Float32:
    rows = normal(rng, n, d).astype(np.float64)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def sampled_rows(n: int, count: int) -> npt.NDArray[np.int64]:
    """Return the rows that csrc/core/sample_rule.hpp takes into a sample of `count`."""
    stride = n // count
    with np.errstate(over="ignore"):
        h = np.arange(count, dtype=np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        h = h ^ (h >> np.uint64(31))
    return np.arange(count) * stride + (h % np.uint64(stride)).astype(np.int64)


def random_pairs(rng: np.random.Generator, q: int, n: int, d: int) -> tuple[Float32, Float32]:
    return normal(rng, q, d), normal(rng, n, d)


def grid_rows(rng: np.random.Generator, q: int, n: int, d: int) -> tuple[Float32, Float32]:
    """Random rows with near copies of the queries, exact duplicates and a zero row among them."""
    queries, gallery = normal(rng, q, d), normal(rng, n, d)
    for row in range(0, n, 5):
        gallery[row] = queries[row % q] * np.float32(0.3) + np.float32(1e-3) * normal(rng, 1, d)
    gallery[3::11] = gallery[:1]
    gallery[7::400] = 0
    return queries, gallery


def near_duplicates(noise: float) -> Maker:
    """Return a maker of noisy copies of a few bases, as a memorising generator draws them."""

    def make(rng: np.random.Generator, q: int, n: int, d: int) -> tuple[Float32, Float32]:
        bases = unit(rng, max(1, n // 64), d)

        def copies(count: int) -> Float32:
            picked = bases[rng.integers(0, len(bases), count)]
            return picked + np.float32(noise / np.sqrt(d)) * normal(rng, count, d)

        return copies(q), copies(n)

    return make


def all_equal(rng: np.random.Generator, q: int, n: int, d: int) -> tuple[Float32, Float32]:
    """Every score of a query is the same: only the ids decide."""
    return normal(rng, q, d), np.repeat(normal(rng, 1, d), n, axis=0)


def tie_groups(rng: np.random.Generator, q: int, n: int, d: int) -> tuple[Float32, Float32]:
    """Few distinct rows at random places: exact ties cross every block and thread border."""
    distinct = normal(rng, 7, d)
    return distinct[rng.integers(0, 7, q)], distinct[rng.integers(0, 7, n)]


def one_hot(rng: np.random.Generator, q: int, n: int, d: int) -> tuple[Float32, Float32]:
    """Rows with one or two entries: most scores are exactly 0, the rest 0.5, 0.7071 or 1."""

    def rows(count: int) -> Float32:
        result = np.zeros((count, d), np.float32)
        result[np.arange(count), rng.integers(0, d, count)] = 1
        twos = np.flatnonzero(rng.random(count) < 0.5)
        result[twos, rng.integers(0, d, len(twos))] = 1
        return result

    return rows(q), rows(n)


def code_midpoints(rng: np.random.Generator, q: int, n: int, d: int) -> tuple[Float32, Float32]:
    """Every value lies half way between two 8-bit codes: the residuals are as large as they get."""

    def rows(count: int) -> Float32:
        result = (rng.integers(-127, 127, (count, d)) + np.float32(0.5)).astype(np.float32)
        result[np.arange(count), rng.integers(0, d, count)] = 127
        return result / np.float32(127)

    return rows(q), rows(n)


def outlier_dimension(rng: np.random.Generator, q: int, n: int, d: int) -> tuple[Float32, Float32]:
    """One entry is 1,000 times the others: the code of all others is 0."""
    queries, gallery = normal(rng, q, d), normal(rng, n, d)
    queries[np.arange(q), rng.integers(0, d, q)] = 1000
    gallery[np.arange(n), rng.integers(0, d, n)] = 1000
    return queries, gallery


def subnormals(rng: np.random.Generator, q: int, n: int, d: int) -> tuple[Float32, Float32]:
    """Entries below 1.2e-38; under flush-to-zero they would all become 0."""
    tiny = np.float32(np.finfo(np.float32).smallest_subnormal)

    def rows(count: int) -> Float32:
        return (rng.integers(-1000, 1000, (count, d)).astype(np.float64) * tiny).astype(np.float32)

    return rows(q), rows(n)


def scaled(low: float, high: float) -> Maker:
    """Return a maker of rows with scales between low and high, even in the exponent."""

    def make(rng: np.random.Generator, q: int, n: int, d: int) -> tuple[Float32, Float32]:
        def rows(count: int) -> Float32:
            exponents = rng.uniform(np.log10(low), np.log10(high), (count, 1))
            return (normal(rng, count, d).astype(np.float64) * 10.0**exponents).astype(np.float32)

        return rows(q), rows(n)

    return make


def far_rows_first(rng: np.random.Generator, q: int, n: int, d: int) -> tuple[Float32, Float32]:
    """Tiny queries, rows of 1e25 first, then rows of 1e11 that are nearer by 14 orders of magnitude."""
    scales = np.where(np.arange(n) < n // 3, 1e25, 10.0 ** rng.uniform(11, 11.5, n))[:, None]
    queries = normal(rng, q, d).astype(np.float64) * 10.0 ** rng.uniform(-12, -10, (q, 1))
    return queries.astype(np.float32), (normal(rng, n, d) * scales).astype(np.float32)


def negative_zeros(rng: np.random.Generator, q: int, n: int, d: int) -> tuple[Float32, Float32]:
    """Many zero rows, of either sign of zero, between ordinary ones."""
    queries, gallery = normal(rng, q, d), normal(rng, n, d)
    for rows in (queries, gallery):
        rows[rng.random(len(rows)) < 0.4] = 0.0
        rows[rng.random(len(rows)) < 0.3] = -0.0
    return queries, gallery


def self_gallery(rng: np.random.Generator, q: int, n: int, d: int) -> tuple[Float32, Float32]:
    """The queries are the first gallery rows."""
    gallery = normal(rng, n, d)
    return np.resize(gallery, (q, d)).astype(np.float32), gallery


def few_values(rng: np.random.Generator, q: int, n: int, d: int) -> tuple[Float32, Float32]:
    """Entries from {-1, 0, 1}: many exact ties between rows that differ."""
    queries, gallery = (rng.integers(-1, 2, (count, d)).astype(np.float32) for count in (q, n))
    return queries, gallery


def mixed(rng: np.random.Generator, q: int, n: int, d: int) -> tuple[Float32, Float32]:
    """Rows of every kind above in random order."""
    makers = [maker for name, maker in ADVERSARIAL.items() if name not in ("mixed", "all_equal")]
    parts = [maker(rng, max(1, q), max(1, n), d) for maker in makers]
    queries = np.concatenate([part[0] for part in parts])
    gallery = np.concatenate([part[1] for part in parts])
    return rng.permutation(queries)[:q], rng.permutation(gallery)[:n]


ADVERSARIAL: dict[str, Maker] = {
    "random": random_pairs,
    "noise_1e-4": near_duplicates(1e-4),
    "noise_1e-3": near_duplicates(1e-3),
    "noise_1e-2": near_duplicates(1e-2),
    "all_equal": all_equal,
    "tie_groups": tie_groups,
    "one_hot": one_hot,
    "code_midpoints": code_midpoints,
    "outlier_dimension": outlier_dimension,
    "subnormals": subnormals,
    "huge": scaled(1e28, 1e32),
    "tiny": scaled(1e-32, 1e-28),
    "wide_scales": scaled(1e-25, 1e25),
    "code_range_border": scaled(1e11, 1e13),
    "far_rows_first": far_rows_first,
    "negative_zeros": negative_zeros,
    "self_gallery": self_gallery,
    "few_values": few_values,
    "mixed": mixed,
}
