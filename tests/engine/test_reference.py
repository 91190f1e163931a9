"""The definition itself, against plain loops, exact sums and values worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from idsim import reference
from support.compare import same_bytes
from support.data import ADVERSARIAL, normal

DIMS = [1, 2, 31, 32, 33, 63, 64, 65, 127, 512, 513]


def plain_dot(a, b):
    lanes = [0.0] * 32
    for i, (x, y) in enumerate(zip(a, b, strict=True)):
        lanes[i % 32] += float(x) * float(y)
    for half in (16, 8, 4, 2, 1):
        for lane in range(half):
            lanes[lane] += lanes[lane + half]
    return lanes[0]


@pytest.mark.parametrize("d", DIMS)
def test_dot_is_the_loop_of_32_lanes(rng, d):
    q, x = normal(rng, 6, d), normal(rng, 530, d)
    dots = reference.dot_products(q, x)
    for row in range(6):
        for column in (0, 1, 2, 3, 511, 512, 513, 529):
            assert dots[row, column] == plain_dot(q[row], x[column])
    assert same_bytes(reference.paired_dot(q, x[:6]), np.diag(dots[:, :6]))


@pytest.mark.parametrize("d", DIMS)
def test_dot_is_within_the_stated_error_of_the_exact_sum(rng, d):
    q, x = normal(rng, 4, d), normal(rng, 4, d)
    dots = reference.dot_products(q, x)
    for row in range(4):
        for column in range(4):
            products = [float(a) * float(b) for a, b in zip(q[row], x[column], strict=True)]
            size = math.sqrt(math.fsum(float(a) ** 2 for a in q[row]))
            size *= math.sqrt(math.fsum(float(b) ** 2 for b in x[column]))
            assert abs(dots[row, column] - math.fsum(products)) <= (d / 8 + 4) * 2.0**-53 * size


def test_values_worked_by_hand():
    q = np.float32([[3, 4], [0, 0], [1, 0]])
    x = np.float32([[4, 3], [0, 0], [-6, -8], [0, 1]])
    cosine = np.float32([[0.96, 0, -1, 0.8], [0, 0, 0, 0], [0.8, 0, -0.6, 0]])
    assert same_bytes(reference.cosine(q, x), cosine)
    assert same_bytes(reference.dot(q, x)[0], np.float32([24, 0, -50, 4]))
    assert same_bytes(reference.l2(q, x)[2], np.float32([math.sqrt(18), 1, math.sqrt(113), 2**0.5]))
    assert same_bytes(reference.normalize(q), np.float32([[0.6, 0.8], [0, 0], [1, 0]]))


def test_order_is_score_then_lower_id_and_padding_is_last():
    q = np.float32([[1, 0]])
    x = np.float32([[0, 1], [2, 0], [0, 0], [1, 0], [-1, 0], [0, -3]])
    scores, ids = reference.search(q, x, 8)
    assert ids.tolist() == [[1, 3, 0, 2, 5, 4, -1, -1]]
    assert scores.tolist() == [[1, 1, 0, 0, 0, -1, -math.inf, -math.inf]]
    scores, ids = reference.search(q, x, 7, metric="l2")
    assert ids.tolist() == [[3, 1, 2, 0, 4, 5, -1]]
    assert scores[0, -1] == math.inf


def test_zero_signs_tie_by_id():
    q = np.float32([[1.5e-30, 0]])
    x = np.float32([[-1e-30, 1], [1e-30, 1], [0, 1]])
    scores, ids = reference.search(q, x, 3, metric="dot")
    assert ids.tolist() == [[0, 1, 2]]
    assert np.signbit(scores).tolist() == [[True, False, False]]


def test_exclude_threshold_and_first_id():
    x = np.float32([[1, 0], [1, 0], [1, 1]])
    assert reference.search(x, x, 2, exclude="self")[1].tolist() == [[1, 2], [0, 2], [0, 1]]
    groups = (np.array([7, 7, 8]), np.array([7, 8, 8]))
    assert reference.search(x, x, 2, exclude=groups)[1].tolist() == [[1, 2], [1, 2], [0, -1]]
    kept = reference.search(x, x, 3, threshold=0.8, first_id=2**33)[1]
    assert kept[0].tolist() == [2**33, 2**33 + 1, -1]
    assert reference.search(x, x, 3, metric="l2", threshold=0.0)[1][2].tolist() == [2, -1, -1]


def test_rows_that_are_not_finite():
    x = np.float32([[1, 0], [np.nan, 0], [0, np.inf], [2, 0]])
    with pytest.raises(ValueError, match="gallery row 1 "):
        reference.search(x[:1], x, 1)
    with pytest.raises(ValueError, match="queries row 1 "):
        reference.search(x, x[:1], 1, nonfinite="skip")
    assert reference.search(x[:1], x, 4, nonfinite="skip")[1].tolist() == [[0, 3, -1, -1]]
    assert reference.count_above(x[:1], x, [-1, 2], nonfinite="skip").tolist() == [[2, 0]]


def test_counts_pairs_and_histogram_agree(rng):
    a, b = ADVERSARIAL["few_values"](rng, 9, 40, 5)
    edges = np.linspace(-1, 1, 65)
    labels = (rng.integers(0, 3, 9), rng.integers(0, 3, 40))
    counts, mated, non_mated = reference.histogram(a, b, edges=edges, groups=labels)
    assert counts.sum() == 9 * 40
    assert (mated + non_mated == counts).all()
    assert mated.sum() == (labels[0][:, None] == labels[1][None, :]).sum()
    tails = reference.count_above(a, b, edges[:-1]).sum(axis=0)
    assert tails.tolist() == counts[::-1].cumsum()[::-1].tolist()
    rows, columns, scores = reference.pairs_above(a, b, 0.5)
    assert len(rows) == reference.count_above(a, b, 0.5).sum()
    assert same_bytes(scores, reference.cosine(a, b)[rows, columns])
    assert (np.diff(rows * 40 + columns) > 0).all()
    half = reference.histogram(a, edges=edges)[0]
    assert half.sum() == 9 * 8 // 2


def test_merge_of_parts_is_the_whole(rng):
    q, x = ADVERSARIAL["tie_groups"](rng, 3, 20, 4)
    parts = [reference.search(q, x[i : i + 7], 6, first_id=i) for i in (14, 0, 7)]
    merged, whole = reference.merge_topk(parts), reference.search(q, x, 6)
    assert same_bytes(merged[0], whole[0])
    assert same_bytes(merged[1], whole[1])


def test_narrow_floats_widen_and_wide_ones_round_once():
    import ml_dtypes

    value = np.array([[1 + 2**-30, 3.0]])
    assert same_bytes(reference.as_float32(value), np.float32([[1, 3]]))
    for dtype in (np.float16, ml_dtypes.bfloat16):
        narrow = np.array([[0.1, 60000.0, 6e-8]]).astype(dtype)
        assert same_bytes(reference.as_float32(narrow), narrow.astype(np.float32))
    for bad in (np.int64, np.bool_, np.complex64):
        with pytest.raises(TypeError, match="must be float16"):
            reference.search(np.zeros((1, 2), bad), np.zeros((1, 2), np.float32), 1)
    with pytest.raises(ValueError, match="gallery must have 2 columns"):
        reference.search(np.zeros((1, 2), np.float32), np.zeros((1, 3), np.float32), 1)
