"""Counts, pairs and distributions: exact where they say so, and true bounds elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

import idsim
from idsim import reference
from support.compare import assert_same, digest
from support.data import ADVERSARIAL, grid_rows

METRICS = ["cosine", "dot", "l2"]
THREADS = [1, 2, 3]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("name", ADVERSARIAL)
def test_counts_and_pairs(engine, name, metric):
    queries, gallery = ADVERSARIAL[name](np.random.default_rng(2), 21, 620, 70)
    scores = np.sort(reference.score_matrix(queries, gallery, metric).ravel())
    picked = scores[np.array([0, 1, 2, 3, 5, 8, 12, 13, -1]) * len(scores) // 13 - 1].astype(float)
    limits = np.concatenate([picked, np.nextafter(picked, 9), [0.0, -0.0, 0.5, -np.inf, np.inf]])
    expected = reference.count_above(queries, gallery, limits, metric=metric)
    for threads in THREADS:
        found = idsim.count_above(queries, gallery, limits, metric=metric, threads=threads)
        assert_same((found,), (expected,))
    for threshold in (picked[3], picked[6], picked[7]):
        wanted = reference.pairs_above(queries, gallery, threshold, metric=metric)
        for threads in THREADS:
            options = {"metric": metric, "threads": threads}
            assert_same(idsim.pairs_above(queries, gallery, threshold, **options), wanted)


def test_shapes_of_empty_answers():
    none, some = np.zeros((0, 4), np.float32), np.ones((3, 4), np.float32)
    assert idsim.count_above(none, some, [0.1, 0.2]).shape == (0, 2)
    assert idsim.count_above(some, none, [0.1, 0.2]).tolist() == [[0, 0]] * 3
    assert idsim.count_above(some, some, []).shape == (3, 0)
    assert idsim.count_above(some, some, 0.5).shape == (3, 1)
    for pairs in (idsim.pairs_above(none, some, 0.5), idsim.pairs_above(some, some, 2.0)):
        assert [part.dtype for part in pairs] == [np.int64, np.int64, np.float32]
        assert [len(part) for part in pairs] == [0, 0, 0]
    assert idsim.score_distribution(none, some).total == 0
    assert idsim.score_distribution(some[:1]).total == 0


def test_pairs_within_one_set(engine, rng):
    rows, _ = grid_rows(rng, 700, 1, 20)
    for metric, threshold in (("cosine", 0.3), ("l2", 4.0), ("dot", 3.0)):
        every = reference.pairs_above(rows, rows, threshold, metric=metric)
        upper = every[0] < every[1]
        found = idsim.pairs_above(rows, threshold=threshold, metric=metric)
        assert_same(found, tuple(part[upper] for part in every))


def test_tiny_negative_scores_lie_below_zero(engine):
    """Adding 1 to -1e-30 gives 1: such a score must still not be counted at the edge 0."""
    a = np.float32([[1, 0], [1, 1e-30], [1, -1e-30]])
    b = np.float32([[-1e-30, 1], [1e-30, 1], [0, 1], [-1e-20, 1]])
    for tail in (-1.0, -0.5, 0.0):
        check_distribution(idsim.score_distribution(a, b, tail=tail), a, b, None)


def test_pairs_are_limited_by_name(rng):
    queries, gallery = grid_rows(rng, 20, 900, 16)
    expected = reference.pairs_above(queries, gallery, 0.2)
    count = len(expected[0])
    assert_same(idsim.pairs_above(queries, gallery, 0.2, max_pairs=count), expected)
    with pytest.raises(ValueError, match=f"{count - 1}"):
        idsim.pairs_above(queries, gallery, 0.2, max_pairs=count - 1)


def test_pairs_and_counts_leave_out_what_is_excluded(engine, rng):
    rows, _ = grid_rows(rng, 400, 1, 12)
    groups = rng.integers(0, 40, 400)
    for exclude in ("self", (groups, groups)):
        for metric, threshold in (("cosine", 0.3), ("l2", 4.0), ("dot", 3.0)):
            options = {"metric": metric, "exclude": exclude}
            assert_same(
                idsim.pairs_above(rows, rows, threshold, **options),
                reference.pairs_above(rows, rows, threshold, **options),
            )
            found = idsim.count_above(rows, rows, [threshold, 0.0], **options)
            assert_same((found,), (reference.count_above(rows, rows, [threshold, 0.0], **options),))


def test_threshold_errors(rng):
    queries, gallery = grid_rows(rng, 2, 9, 4)
    for bad in (np.nan, [0.1, np.nan]):
        with pytest.raises(ValueError, match="threshold"):
            idsim.count_above(queries, gallery, bad)
    with pytest.raises(ValueError, match="threshold"):
        idsim.pairs_above(queries, gallery, np.nan)
    with pytest.raises(ValueError, match="threshold"):
        idsim.count_above(queries, gallery, [[0.1, 0.2]])


def tails(counts):
    return counts[::-1].cumsum()[::-1]


def check_distribution(found, a, b, groups):
    """Assert everything that a distribution claims about the pairs of a and b."""
    counts, mated, non_mated = reference.histogram(a, b, edges=found.edges, groups=groups)
    total = len(a) * len(b) if b is not None else len(a) * (len(a) - 1) // 2
    assert found.total == total
    assert found.counts.dtype == np.uint64
    assert int(found.counts.sum()) == total
    parts = [(found.counts, counts)]
    if groups is not None:
        assert (found.mated + found.non_mated == found.counts).all()
        parts += [(found.mated, mated), (found.non_mated, non_mated)]
    exact = found.edges[:-1] >= found.tail
    for got, wanted in parts:
        assert int(got.sum()) == int(wanted.sum())
        assert_same((got[exact],), (wanted[exact],), "bins of the exact tail")
    scores = np.concatenate([row for row, _ in reference.pair_scores(a, b)] or [np.zeros(0)])
    limits = [*found.edges[:: max(1, len(found.edges) // 60)], -2.0, 2.0, 0.1234567, found.tail, 1.0, -1.0]
    for limit in limits:
        truth = int((scores.astype(np.float64) >= limit).sum())
        low, high = found.bracket(float(limit))
        assert low <= truth <= high, f"bracket at {limit}: {low} <= {truth} <= {high}"
        if limit >= found.tail and limit in found.edges[:-1]:
            assert low == high
    return scores


def check_errors(found, scores):
    """Assert that no score was counted further from its bin than ``max_error``."""
    place = np.searchsorted(found.edges, scores.astype(np.float64), side="right") - 1
    true = np.bincount(np.clip(place, 0, len(found.counts) - 1), minlength=len(found.counts))
    width = found.edges[1] - found.edges[0]
    reach = int(np.ceil(found.max_error / width))
    above, below = tails(found.counts.astype(np.int64)), tails(true)
    for i in range(len(true)):
        assert above[i] <= below[max(0, i - reach)]
        assert above[i] >= below[min(len(true) - 1, i + reach)] - true[-1] * (i + reach >= len(true))


@pytest.mark.parametrize("bins", [1, 64, 4096, 65536])
@pytest.mark.parametrize("tail", [None, -1.0, 0.3, 2.0])
def test_distribution_of_two_sets(engine, rng, bins, tail):
    a, b = grid_rows(rng, 40, 700, 48)
    groups = rng.integers(0, 9, 40), rng.integers(0, 9, 700)
    for labels in (None, groups):
        found = idsim.score_distribution(a, b, groups=labels, bins=bins, tail=tail)
        scores = check_distribution(found, a, b, labels)
        check_errors(found, scores)
        assert len(found.edges) == bins + 1
        assert (found.edges[0], found.edges[-1]) == (-1, 1)
        if tail is not None:
            assert found.tail <= max(tail, -1)


@pytest.mark.parametrize("tail", [None, -1.0, 0.5])
@pytest.mark.parametrize("n", [2, 3, 47, 48, 49, 503, 505, 1100])
def test_distribution_within_one_set(engine, rng, n, tail):
    rows, _ = grid_rows(rng, n, 1, 31)
    rows[1::9] = rows[0]
    groups = rng.integers(0, max(2, n // 5), n)
    found = idsim.score_distribution(rows, groups=groups, tail=tail)
    check_distribution(found, rows, None, groups)


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_distribution_of_adversarial_data(engine, name):
    a, b = ADVERSARIAL[name](np.random.default_rng(3), 25, 500, 40)
    for tail in (None, -1.0, 0.9):
        check_distribution(idsim.score_distribution(a, b, tail=tail), a, b, None)
        check_distribution(idsim.score_distribution(b, tail=tail), b, None, None)


def test_distribution_does_not_depend_on_threads_or_layout(rng):
    rows, _ = grid_rows(rng, 900, 1, 48)
    groups = rng.integers(0, 200, 900)
    whole = idsim.score_distribution(rows, groups=groups)
    parts = (whole.edges, whole.counts, whole.mated, whole.non_mated)
    for threads in (1, 2, 3, 8):
        found = idsim.score_distribution(np.asfortranarray(rows), groups=groups, threads=threads)
        assert digest(found.edges, found.counts, found.mated, found.non_mated) == digest(*parts)


def test_distribution_errors(rng):
    a, b = grid_rows(rng, 5, 9, 4)
    for bins in (0, -1, 1000, 2**17):
        with pytest.raises(ValueError, match="bins"):
            idsim.score_distribution(a, b, bins=bins)
    with pytest.raises(ValueError, match="groups"):
        idsim.score_distribution(a, b, groups=(np.zeros(5, int), np.zeros(8, int)))
    with pytest.raises((TypeError, ValueError), match="groups"):
        idsim.score_distribution(a, b, groups=np.zeros(5, int))
    with pytest.raises(ValueError, match=r"4.*3|3.*4"):
        idsim.score_distribution(a, b[:, :3])
