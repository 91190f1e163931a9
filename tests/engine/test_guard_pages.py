"""No kernel reads or writes one byte outside its arrays: unreadable pages lie on both sides."""

from __future__ import annotations

import numpy as np
import pytest

import idsim
from idsim import reference
from idsim.topk import TopKScan
from support.compare import assert_same
from support.data import grid_rows
from support.guard import both_sides, guarded

SHAPES = [(1, 1, 1), (1, 5, 3), (3, 505, 17), (2, 43, 64), (17, 503, 33), (5, 100, 129), (4, 7, 512)]
DTYPES = [np.float32, np.float16, np.float64]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_search(isa, rng, shape, dtype):
    q, n, d = shape
    queries, gallery = (rows.astype(dtype) for rows in grid_rows(rng, q, n, d))
    expected = reference.search(queries, gallery, 5)
    for left in both_sides(queries):
        for right in both_sides(gallery):
            assert_same(idsim.search(left, right, 5), expected)
            assert_same(idsim.Index(right).search(left, 5), expected)
            scan = TopKScan(left, 5)
            scan.feed(right[: n // 2], 0)
            scan.feed(right[n // 2 :], n // 2)
            assert_same(scan.finish(), expected)


@pytest.mark.parametrize("d", [1, 17, 64, 65])
def test_strided_views(isa, rng, d):
    """Views whose first or last element touches the wall, walked in both directions."""
    queries, gallery = grid_rows(rng, 5, 130, d)
    expected = reference.search(queries, gallery, 5)
    wide = np.repeat(gallery, 3, axis=0)
    for region in both_sides(wide):
        assert_same(idsim.search(queries, region[::3], 5), expected)
        assert_same(idsim.search(queries, region[2::3], 5), expected)
    for region in both_sides(gallery[::-1]):
        assert_same(idsim.search(queries, region[::-1], 5), expected)
    for region in both_sides(gallery[:, ::-1]):
        assert_same(idsim.search(queries, region[:, ::-1], 5), expected)
    for region in both_sides(gallery.T):
        assert_same(idsim.search(queries, region.T, 5), expected)
    for region in both_sides(gallery[:1]):
        repeated = np.broadcast_to(region, (400, d))
        assert_same(idsim.search(queries, repeated, 5), reference.search(queries, repeated, 5))


def test_outputs(isa, rng):
    queries, gallery = grid_rows(rng, 7, 600, 40)
    expected = reference.search(queries, gallery, 9)
    for side in ("before", "after"):
        out = (
            guarded(np.zeros((7, 9), np.float32), side),
            guarded(np.zeros((7, 9), np.int64), side),
        )
        idsim.search(queries, gallery, 9, out=out)
        assert_same(out, expected)
        unit = guarded(np.zeros((600, 40), np.float32), side)
        idsim.normalize(guarded(gallery, side), out=unit)
        assert_same((unit,), (reference.normalize(gallery),))


def test_collectors(isa, rng):
    queries, gallery = grid_rows(rng, 6, 521, 33)
    edges = np.array([-0.5, 0.0, 0.3])
    for left in both_sides(queries):
        for right in both_sides(gallery):
            for wall in both_sides(edges):
                counts = idsim.count_above(left, right, wall)
                assert_same((counts,), (reference.count_above(queries, gallery, edges),))
            pairs = idsim.pairs_above(left, right, 0.2)
            assert_same(pairs, reference.pairs_above(queries, gallery, 0.2))
            assert_same(idsim.compare(left, right, threshold=0.2).pairs, pairs)
            assert idsim.score_distribution(left, right).total == 6 * 521
            assert idsim.score_distribution(right).total == 521 * 520 // 2
