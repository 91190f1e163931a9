"""Merging partial results is the same as one search over everything."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import idsim
from idsim import reference
from support.compare import assert_same
from support.data import ADVERSARIAL

METRICS = ["cosine", "dot", "l2"]


def parts_of(queries, gallery, borders, k, metric):
    edges = [0, *borders, len(gallery)]
    return [
        idsim.TopK(*reference.search(queries, gallery[low:high], k, metric=metric, first_id=low))
        for low, high in itertools.pairwise(edges)
    ]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("name", ["tie_groups", "few_values", "all_equal", "negative_zeros", "mixed"])
def test_parts_in_any_order(name, metric, rng):
    queries, gallery = ADVERSARIAL[name](rng, 12, 300, 9)
    expected = reference.search(queries, gallery, 15, metric=metric)
    for borders in ([], [150], [7, 7, 8, 290], list(range(10, 300, 10))):
        parts = parts_of(queries, gallery, borders, 15, metric)
        for order in (parts, parts[::-1], [parts[i] for i in rng.permutation(len(parts))]):
            assert_same(idsim.merge_topk(order, metric=metric), expected)
        tree = idsim.merge_topk(parts[:1], metric=metric)
        for part in parts[1:]:
            tree = idsim.merge_topk([tree, part], metric=metric)
        assert_same(tree, expected)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("k", [0, 1, 6, 40])
def test_other_k(k, metric, rng):
    queries, gallery = ADVERSARIAL["tie_groups"](rng, 5, 30, 9)
    parts = parts_of(queries, gallery, [3, 20], 8, metric)
    assert_same(idsim.merge_topk(parts, k, metric=metric), reference.merge_topk(parts, k, metric))


def test_parts_of_unequal_width(rng):
    queries, gallery = ADVERSARIAL["tie_groups"](rng, 5, 30, 9)
    parts = [
        idsim.TopK(*reference.search(queries, gallery[:10], 3)),
        idsim.TopK(*reference.search(queries, gallery[10:], 7, first_id=10)),
    ]
    assert_same(idsim.merge_topk(parts), reference.merge_topk(parts))


def test_merge_errors():
    part = idsim.TopK(np.zeros((2, 3), np.float32), np.zeros((2, 3), np.int64))
    other = idsim.TopK(np.zeros((1, 3), np.float32), np.zeros((1, 3), np.int64))
    with pytest.raises(ValueError, match="part"):
        idsim.merge_topk([])
    with pytest.raises(ValueError, match="part"):
        idsim.merge_topk([part, other])
    with pytest.raises(ValueError, match="k"):
        idsim.merge_topk([part], -1)
    with pytest.raises(ValueError, match="metric"):
        idsim.merge_topk([part], metric="hamming")
