"""Every instruction set gives the bytes of the definition, for all shapes, metrics, dtypes and data."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import idsim
from idsim import reference
from support.compare import assert_same
from support.data import ADVERSARIAL, grid_rows, normal

METRICS = ["cosine", "dot", "l2"]
DIMS = [1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 512, 513]
ROWS = [0, 1, 2, 9, 10, 11, 23, 47, 48, 49, 503, 504, 505, 3 * 504 + 5]
QUERIES = [1, 2, 3, 4, 5, 8, 15, 16, 17, 31, 33, 64, 65, 100, 257]


def head(result, k):
    """Return the first k columns: the definition's top-k is a prefix of its longer list."""
    return tuple(np.ascontiguousarray(part[:, :k]) for part in result)


@functools.cache
def grid_case(d, n, metric):
    queries, gallery = grid_rows(np.random.default_rng(1000 * d + n), 3, n, d)
    return queries, gallery, reference.search(queries, gallery, n + 13, metric=metric)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("d", DIMS)
def test_shapes(engine, d, metric):
    for n in ROWS:
        queries, gallery, expected = grid_case(d, n, metric)
        index = idsim.Index(gallery, metric=metric)
        for k in sorted({0, 1, 10, n - 1, n, n + 1, n + 13} - {-1}):
            context = f"n={n} k={k}"
            assert_same(idsim.search(queries, gallery, k, metric=metric), head(expected, k), context)
            assert_same(index.search(queries, k), head(expected, k), context + " prepared")


@functools.cache
def query_case(metric):
    queries, gallery = grid_rows(np.random.default_rng(7), max(QUERIES), 1100, 80)
    return queries, gallery, reference.search(queries, gallery, 12, metric=metric)


@pytest.mark.parametrize("metric", METRICS)
def test_query_counts(engine, metric):
    queries, gallery, expected = query_case(metric)
    index = idsim.Index(gallery, metric=metric)
    for q in [0, *QUERIES]:
        wanted = tuple(part[:q] for part in expected)
        assert_same(idsim.search(queries[:q], gallery, 12, metric=metric), wanted, f"q={q}")
        assert_same(index.search(queries[:q], 12), wanted, f"q={q} prepared")


@functools.cache
def adversarial_case(name, metric, q, n, d, k):
    queries, gallery = ADVERSARIAL[name](np.random.default_rng(11), q, n, d)
    return queries, gallery, reference.search(queries, gallery, k, metric=metric)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("name", ADVERSARIAL)
def test_adversarial_data(engine, name, metric):
    for q, n, d, k in [(17, 1300, 100, 25), (3, 700, 512, 10), (40, 90, 5, 90)]:
        queries, gallery, expected = adversarial_case(name, metric, q, n, d, k)
        context = f"q={q} n={n} d={d} k={k}"
        assert_same(idsim.search(queries, gallery, k, metric=metric), expected, context)
        prepared = idsim.Index(gallery, metric=metric)
        assert_same(prepared.search(queries, k), expected, context + " prepared")


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float64"])
@pytest.mark.parametrize("metric", METRICS)
def test_dtypes(engine, name, metric, rng):
    dtype = np.dtype(getattr(pytest.importorskip("ml_dtypes"), name, name))
    queries, gallery = (rows.astype(dtype) for rows in grid_rows(rng, 9, 700, 70))
    expected = reference.search(queries, gallery, 8, metric=metric)
    assert_same(idsim.search(queries, gallery, 8, metric=metric), expected)
    assert_same(idsim.Index(gallery, metric=metric).search(queries, 8), expected)
    single = queries.astype(np.float32)
    assert_same(idsim.search(single, gallery, 8, metric=metric), expected, "float32 queries")


@pytest.mark.parametrize("k", [100, 1000, 1024, 1025, 4999, 5000, 7000])
def test_large_k(engine, k, rng):
    queries, gallery = grid_rows(rng, 2, 5000, 16)
    expected = reference.search(queries, gallery, k)
    assert_same(idsim.search(queries, gallery, k), expected)
    assert_same(idsim.Index(gallery).search(queries, k), expected)


def test_longest_rows(engine, rng):
    """At the largest dimension the integer products come close to the limit of int32."""
    d = 2**17
    queries = np.concatenate([np.ones((2, d), np.float32), normal(rng, 2, d)])
    queries[1] = -1
    gallery = np.concatenate([queries, -np.ones((2, d), np.float32), normal(rng, 40, d)])
    for metric in METRICS:
        expected = reference.search(queries, gallery, 7, metric=metric)
        assert_same(idsim.search(queries, gallery, 7, metric=metric), expected, metric)
        assert_same(idsim.Index(gallery, metric=metric).search(queries, 7), expected, metric)
    longer = np.ones((1, d + 1), np.float32)
    with pytest.raises(ValueError, match=str(d)):
        idsim.search(longer, longer, 1)


def test_normalize(engine, rng):
    for name, maker in ADVERSARIAL.items():
        for d in (1, 31, 64, 513):
            _, rows = maker(rng, 1, 90, d)
            assert_same((idsim.normalize(rows),), (reference.normalize(rows),), f"{name} d={d}")
    assert idsim.normalize(np.zeros((0, 3), np.float32)).shape == (0, 3)


def test_scores_are_those_of_normalized_rows_only_when_asked(rng):
    """The score is defined on the stored rows: normalising first may move the last bit."""
    queries, gallery = normal(rng, 20, 64), normal(rng, 500, 64)
    direct = idsim.search(queries, gallery, 5)
    unit = idsim.search(idsim.normalize(queries), idsim.normalize(gallery), 5)
    assert np.abs(direct.scores - unit.scores).max() < 1e-6
    assert_same(direct, reference.search(queries, gallery, 5))
