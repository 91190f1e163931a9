"""Large k: guessed thresholds, second digits and append lists change no byte, right guesses or wrong ones."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest

import idsim
from idsim import reference
from idsim.topk import TopKScan
from support.compare import assert_same
from support.data import ADVERSARIAL, normal, sampled_rows

METRICS = ["cosine", "dot", "l2"]
N = 33_000  # rows from which k = 1000 has a sample to guess by
D = 24
QUERIES = 20


def sorted_rows(rng, best_first):
    """Return rows in the order of their score against the first query; the other queries are near it."""
    queries = normal(rng, 1, D) + np.float32(0.1) * normal(rng, QUERIES, D)
    gallery = normal(rng, N, D)
    order = np.argsort(gallery @ queries[0])
    return queries, gallery[order[::-1] if best_first else order]


MAKERS = {
    "random": lambda rng: ADVERSARIAL["random"](rng, QUERIES, N, D),
    "clustered": lambda rng: ADVERSARIAL["noise_1e-2"](rng, QUERIES, N, D),
    "duplicated": lambda rng: ADVERSARIAL["tie_groups"](rng, QUERIES, N, D),
    "best first": lambda rng: sorted_rows(rng, best_first=True),
    "best last": lambda rng: sorted_rows(rng, best_first=False),
    "constant": lambda rng: ADVERSARIAL["all_equal"](rng, QUERIES, N, D),
    "extreme scales": lambda rng: ADVERSARIAL["wide_scales"](rng, QUERIES, N, D),
}


@functools.cache
def case(kind, metric):
    queries, gallery = MAKERS[kind](np.random.default_rng(5))
    scores, ids = reference.search(queries, gallery, 1000, metric=metric)
    return queries, gallery, (scores, ids)


def head(expected, k):
    return tuple(np.ascontiguousarray(part[:, :k]) for part in expected)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", MAKERS)
def test_against_the_definition(engine, kind, metric):
    queries, gallery, expected = case(kind, metric)
    index = idsim.Index(gallery, metric=metric)
    for k, threads in [(100, 2), (1000, 1), (1000, 2), (1000, 8)]:
        found = index.search(queries, k, threads=threads, certificate=True)
        assert_same(found[:2], head(expected, k), f"k={k} threads={threads}")
        assert (found.certificate.reach == found.scores[:, -1]).all()
    assert_same(idsim.search(queries, gallery, 1000, metric=metric), expected, "one-shot")
    for few in (1, 3):
        wanted = tuple(part[:few] for part in expected)
        assert_same(index.search(queries[:few], 1000), wanted, f"{few} queries")
        assert_same(idsim.search(queries[:few], gallery, 1000, metric=metric), wanted, f"{few} raw")


@pytest.mark.parametrize("metric", METRICS)
def test_parts(engine, metric):
    queries, gallery, expected = case("random", metric)
    for cuts in ([0, 32_500, N], [0, 40, N], [0, 900, 20_000, N]):
        for threads in (1, 8):
            scan = TopKScan(queries, 1000, metric=metric, threads=threads)
            for low, high in list(itertools.pairwise(cuts))[::-1]:
                scan.feed(gallery[low:high], low)
            assert_same(scan.finish(), expected, f"{cuts} threads={threads}")


@pytest.mark.parametrize("metric", METRICS)
def test_options(engine, metric, rng):
    gallery = normal(rng, N, D)
    gallery[::7] = gallery[3]
    rows = gallery[:QUERIES]
    labels = rng.integers(0, 3, N)
    spoilt = gallery.copy()
    spoilt[5::9, 2] = np.nan
    middle = float(np.median(reference.score_matrix(rows[:1], gallery[:1000], metric)))
    for options in (
        {"exclude": "self"},
        {"exclude": (labels[:QUERIES], labels)},
        {"threshold": middle},
        {"threshold": middle, "exclude": "self"},
    ):
        expected = reference.search(rows, gallery, 1000, metric=metric, **options)
        assert_same(idsim.search(rows, gallery, 1000, metric=metric, **options), expected, str(options))
        index = idsim.Index(gallery, metric=metric)
        assert_same(index.search(rows, 1000, **options), expected, f"prepared {options}")
    expected = reference.search(rows, spoilt, 1000, metric=metric, nonfinite="skip")
    found = idsim.search(rows, spoilt, 1000, metric=metric, nonfinite="skip", certificate=True)
    assert_same(found[:2], expected)
    assert found.certificate.skipped_rows == len(range(5, N, 9))


def test_barely_enough_rows(engine, rng):
    queries = normal(rng, QUERIES, D)
    for n in (1000, 1001, 1010, 3200):
        gallery = normal(rng, n, D)
        expected = reference.search(queries, gallery, 1000)
        assert_same(idsim.search(queries, gallery, 1000), expected, f"n={n}")
        assert_same(idsim.Index(gallery).search(queries, 1000), expected, f"n={n} prepared")


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("q", [1, 3, 20, 65])
@pytest.mark.parametrize("prepared", [False, True])
@pytest.mark.parametrize("options", [{}, {"exclude_self": True}, {"threshold": 0.0}])
def test_a_guess_too_high_is_scanned_again(isa, metric, q, prepared, options, rng):
    """Where the sampled rows are the best ones, fewer than k rows reach what the sample promises."""
    n, k = 8000, 100
    axis = np.eye(1, D, dtype=np.float32)
    queries = axis + np.float32(0.01) * normal(rng, q, D)
    gallery = np.float32(0.05) * normal(rng, n, D) - np.float32(0.5) * axis
    best = sampled_rows(n, n // 8)
    gallery[best[: 4 * k]] = axis + np.float32(0.01) * normal(rng, 4 * k, D)
    if metric == "l2" and "threshold" in options:
        options = {"threshold": 10.0}
    scan = TopKScan(queries, k, metric=metric, threads=2, **options)
    if prepared:
        scan.feed_prepared(idsim.Index(gallery, metric=metric)._prepared)
    else:
        scan.feed(gallery)
    exclude = "self" if options.get("exclude_self") else None
    threshold = options.get("threshold")
    expected = reference.search(queries, gallery, k, metric=metric, exclude=exclude, threshold=threshold)
    assert_same(scan.finish(), expected)
    assert scan._scan.certificate()["scanned_again"] == q
