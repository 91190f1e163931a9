"""Row numbers, ids and byte offsets beyond 32 bits, without the memory: rows of stride 0 and id offsets."""

from __future__ import annotations

import numpy as np
import pytest

import idsim
from idsim import reference
from idsim.topk import TopKScan
from support.compare import assert_same
from support.data import grid_rows, normal


@pytest.mark.parametrize("first", [2**31 - 7, 2**32 - 7, 2**33 + 1, 2**40, 2**62])
@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_ids_far_from_zero(isa, rng, first, metric):
    queries, gallery = grid_rows(rng, 6, 700, 20)
    expected = reference.search(queries, gallery, 9, metric=metric, first_id=first)
    scan = TopKScan(queries, 9, metric=metric)
    scan.feed(gallery[350:], first + 350)
    scan.feed(gallery[:350], first)
    assert_same(scan.finish(), expected)


@pytest.mark.parametrize("first", [-1, 2**63 - 100])
def test_ids_that_do_not_fit(rng, first):
    queries, gallery = grid_rows(rng, 6, 700, 20)
    scan = TopKScan(queries, 9)
    with pytest.raises((ValueError, OverflowError), match=r"id|int"):
        scan.feed(gallery, first)


def repeated(row, n):
    return np.lib.stride_tricks.as_strided(row, (n, row.shape[1]), (0, row.strides[1]))


def test_two_gibibytes_of_offset(isa, rng):
    """The last rows of a view lie more than 2^31 bytes behind the first ones."""
    queries = normal(rng, 2, 8)
    rows = np.zeros((9, 2**26 + 16), np.float32)
    rows[:, :8] = normal(rng, 9, 8)
    expected = reference.search(queries, rows[:, :8], 9)
    assert_same(idsim.search(queries, rows[:, :8], 9), expected)
    assert_same(idsim.search(queries, rows[::-1, :8][::-1], 9), expected)


@pytest.mark.slow
def test_more_rows_than_32_bits_count(rng):
    """2^32 + 5 rows that are all one row: every id is a tie, so the lowest ids are the answer."""
    row, queries = normal(rng, 1, 2), normal(rng, 1, 2)
    found = idsim.search(queries, repeated(row, 2**32 + 5), 3)
    assert found.ids.tolist() == [[0, 1, 2]]
    assert (found.scores == reference.cosine(queries, row)).all()


@pytest.mark.slow
def test_counts_above_two_to_the_31(rng):
    n = 2**31 + 5
    row, queries = normal(rng, 1, 2), normal(rng, 1, 2)
    assert idsim.count_above(queries, repeated(row, n), [-1.0, 1.5]).tolist() == [[n, 0]]


@pytest.mark.slow
def test_the_last_of_many_rows_is_found(rng):
    """A file with holes: all rows are zero but the last ones, which lie behind 2^31 rows."""
    n = 2**31 + 1000
    gallery = np.zeros((n, 1), np.float16)
    gallery[-3:] = [[1], [2], [3]]
    found = idsim.search(np.ones((1, 1), np.float32), gallery, 4, metric="dot")
    assert found.ids.tolist() == [[n - 1, n - 2, n - 3, 0]]
    assert found.scores.tolist() == [[3, 2, 1, 0]]


@pytest.mark.slow
def test_k_of_a_million(rng):
    queries, gallery = grid_rows(rng, 2, 1_000_003, 4)
    for k in (1_000_000, 1_000_003):
        assert_same(idsim.search(queries, gallery, k), reference.search(queries, gallery, k))
