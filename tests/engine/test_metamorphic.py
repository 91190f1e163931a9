"""Relations between answers that need no oracle and hold at any size; all compared as bytes."""

from __future__ import annotations

import numpy as np
import pytest

import idsim
from support.compare import assert_same
from support.data import grid_rows, normal

Q, N, D, K = 23, 30_000, 128, 20


@pytest.fixture(scope="module")
def data():
    return grid_rows(np.random.default_rng(99), Q, N, D)


@pytest.fixture(scope="module")
def whole(data):
    return {metric: idsim.search(*data, K, metric=metric) for metric in ("cosine", "dot", "l2")}


def by_score_then_id(scores, ids, metric):
    sign = 1 if metric == "l2" else -1
    order = np.lexsort((ids, sign * (scores.astype(np.float64) + 0.0)), axis=1)
    return np.take_along_axis(scores, order, 1), np.take_along_axis(ids, order, 1)


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_permuted_gallery(isa, data, whole, metric):
    queries, gallery = data
    order = np.random.default_rng(1).permutation(N)
    # A tie at the border of the top-k may resolve to another id, so the whole tie is asked for.
    wide = idsim.search(queries, gallery, N // 8, metric=metric)
    mixed = idsim.search(queries, gallery[order], N // 8, metric=metric)
    mapped = by_score_then_id(mixed.scores, order[mixed.ids], metric)
    for row in range(Q):
        clear = wide.scores[row] != wide.scores[row, -1]
        assert_same(
            (mapped[0][row, clear], mapped[1][row, clear]),
            (wide.scores[row, clear], wide.ids[row, clear]),
        )
    assert_same(tuple(part[:, :K] for part in wide), tuple(whole[metric]))


def test_permuted_queries(isa, data, whole):
    queries, gallery = data
    order = np.random.default_rng(2).permutation(Q)
    assert_same(idsim.search(queries[order], gallery, K), [part[order] for part in whole["cosine"]])


def test_rows_that_cannot_enter_change_nothing(isa, data, whole):
    queries, gallery = data
    for metric, extra in [("cosine", -queries), ("dot", -queries), ("l2", queries + 1e6)]:
        longer = np.concatenate([gallery, np.tile(extra[:1], (700, 1))])
        assert_same(idsim.search(queries[:1], longer, K, metric=metric), head(whole[metric]))


def head(result, rows=1):
    return tuple(part[:rows] for part in result)


def test_a_duplicate_enters_directly_behind_its_original(isa, data, whole):
    queries, gallery = data
    best = whole["cosine"].ids[0, 0]
    found = idsim.search(queries[:1], np.concatenate([gallery, gallery[[best]]]), K)
    ties = whole["cosine"].scores[0] == whole["cosine"].scores[0, 0]
    place = int(ties.sum())
    assert found.ids[0, place] == N
    assert found.scores[0, place] == found.scores[0, 0]
    assert np.delete(found.ids[0], place).tolist() == whole["cosine"].ids[0, : K - 1].tolist()


def test_shorter_answers_are_prefixes(isa, data, whole):
    queries, gallery = data
    for metric, result in whole.items():
        for k in (1, 2, 7, K - 1):
            prefix = tuple(part[:, :k] for part in result)
            assert_same(idsim.search(queries, gallery, k, metric=metric), prefix, f"{metric} {k}")


@pytest.mark.parametrize("power", [-90, -20, -1, 1, 20, 90])
def test_cosine_ignores_powers_of_two(isa, data, whole, power):
    queries, gallery = data
    factor = np.float32(2.0**power)
    assert_same(idsim.search(queries * factor, gallery, K), whole["cosine"])
    assert_same(idsim.search(queries, gallery * factor, K), whole["cosine"])


def test_dot_and_l2_scale_with_powers_of_two(isa, data, whole):
    queries, gallery = data
    scores, ids = idsim.search(queries * np.float32(8), gallery, K, metric="dot")
    assert_same((scores, ids), (whole["dot"].scores * np.float32(8), whole["dot"].ids))
    both = idsim.search(queries * np.float32(8), gallery * np.float32(8), K, metric="l2")
    assert_same(both, (whole["l2"].scores * np.float32(8), whole["l2"].ids))


def test_negated_queries_and_gallery(isa, data, whole):
    queries, gallery = data
    for metric in ("cosine", "dot", "l2"):
        assert_same(idsim.search(-queries, -gallery, K, metric=metric), whole[metric], metric)


def test_negated_queries_turn_the_order_round(isa, rng):
    queries, gallery = normal(rng, 5, 40), normal(rng, 600, 40)
    front = idsim.search(queries, gallery, 600)
    back = idsim.search(-queries, gallery, 600)
    reversed_scores, ids = -front.scores[:, ::-1], front.ids[:, ::-1]
    assert_same(back, by_score_then_id(reversed_scores, ids, "cosine"))


def test_zero_columns_between_change_only_the_lanes(isa, rng):
    """With whole blocks of 32 zero columns appended every sum is the same."""
    queries, gallery = normal(rng, 5, 96), normal(rng, 2000, 96)
    padded = [np.pad(rows, ((0, 0), (0, 64))) for rows in (queries, gallery)]
    for metric in ("cosine", "dot", "l2"):
        assert_same(
            idsim.search(*padded, K, metric=metric),
            idsim.search(queries, gallery, K, metric=metric),
            metric,
        )


def test_cosine_is_symmetric(isa, rng):
    rows = normal(rng, 200, 33)
    scores, ids = idsim.search(rows, rows, 200)
    matrix = np.empty((200, 200), np.float32)
    np.put_along_axis(matrix, ids, scores, axis=1)
    assert_same((matrix,), (np.ascontiguousarray(matrix.T),))
    assert (np.diag(matrix) == 1).all()


def test_widened_float16_gives_the_same_bytes(isa, data):
    queries, gallery = (rows.astype(np.float16) for rows in data)
    wide = queries.astype(np.float32), gallery.astype(np.float32)
    for metric in ("cosine", "dot", "l2"):
        assert_same(
            idsim.search(queries, gallery, K, metric=metric),
            idsim.search(*wide, K, metric=metric),
            metric,
        )
