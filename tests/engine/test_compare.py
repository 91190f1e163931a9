"""One pass for the best rows and all pairs above a threshold: the bytes of `search` and `pairs_above`."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import idsim
from idsim import _core, reference
from idsim.engines import CpuEngine
from idsim.gallery import Gallery
from support.compare import assert_same
from support.data import ADVERSARIAL, grid_rows, normal, sampled_rows

METRICS = ["cosine", "dot", "l2"]
# Shares of all pairs that reach the threshold: none, few, as many as there are best rows, and most.
SHARES = [0.0, 0.001, 0.02, 0.6]


def threshold_for(queries, gallery, metric, share):
    """Return the score that a share of all pairs reaches; equal scores may make it more."""
    scores = np.sort(reference.score_matrix(queries, gallery, metric).ravel().astype(np.float64))
    if metric != "l2":
        scores = scores[::-1]
    at = int(share * (len(scores) - 1))
    outward = -np.inf if metric == "l2" else np.inf
    return float(scores[at] if share else np.nextafter(np.float32(scores[0]), np.float32(outward)))


def assert_compared(found, top, pairs, context=""):
    assert found._fields == ("scores", "ids", "pairs")
    assert_same(found[:2], top, context)
    assert_same(found.pairs, pairs, context)


def check(queries, gallery, k, threshold, **options):
    """Assert that the answers of two passes and of one are the same bytes, and return how many pairs there are."""
    top = idsim.search(queries, gallery, k, **options)
    pairs = idsim.pairs_above(queries, gallery, threshold, **options)
    found = idsim.compare(queries, gallery, k, threshold=threshold, **options)
    assert_compared(found, top, pairs, f"k={k} threshold={threshold} {options}")
    return len(pairs.rows)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("name", ADVERSARIAL)
def test_adversarial_data(engine, name, metric):
    queries, gallery = ADVERSARIAL[name](np.random.default_rng(6), 21, 620, 70)
    for share, k in zip(SHARES, (1, 5, 30, 700), strict=True):
        threshold = threshold_for(queries, gallery, metric, share)
        count = check(queries, gallery, k, threshold, metric=metric, threads=2)
        assert count >= int(share * 21 * 620)
        if k > 5:
            check(queries[:4], gallery, k, threshold, metric=metric, threads=1)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("q", [1, 2, 8, 9, 70])
def test_every_way_to_scan(engine, rng, q, metric):
    """Rows as they are, few and many queries, and prepared rows; k from which on candidates are looked at twice."""
    queries, gallery = grid_rows(rng, q, 3000, 96)
    index = idsim.Index(gallery, metric=metric)
    for share, k, threads in ((0.0005, 5, 1), (0.05, 5, 2), (0.3, 300, 5)):
        threshold = threshold_for(queries, gallery, metric, share)
        assert check(queries, gallery, k, threshold, metric=metric, threads=threads) > 0
        check(queries, index, k, threshold, threads=threads)


@pytest.mark.parametrize("q", [3, 20])
def test_exclusion_between_two_sets(engine, rng, q):
    queries, gallery = grid_rows(rng, q, 900, 30)
    names = np.array(["a", "b", "c"])
    labels = names[rng.integers(0, 3, q)], names[rng.integers(0, 3, 900)]
    for exclude in ("self", labels):
        for share in (0.001, 0.1):
            check(queries, gallery, 4, threshold_for(queries, gallery, "cosine", share), exclude=exclude)


def joined(parts):
    """Put the comparisons of ranges of queries one behind the other."""
    pairs = [np.concatenate(column) for column in zip(*(part.pairs for part in parts), strict=True)]
    return [np.concatenate([part[i] for part in parts]) for i in (0, 1)], pairs


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("with_groups", [False, True])
def test_one_set_whole_and_in_ranges(engine, rng, with_groups, metric):
    rows, _ = grid_rows(rng, 500, 1, 24)
    rows[5::40] = rows[2]
    rows[6::90] = rows[6] + np.float32(1e-4) * rows[6::90]
    groups = rng.integers(0, 60, 500) if with_groups else None
    exclude = (groups, groups) if with_groups else "self"
    for share, k in ((0.0, 1), (0.003, 3), (0.1, 600)):
        threshold = threshold_for(rows[:100], rows[100:], metric, share)
        top = idsim.search(rows, rows, k, metric=metric, exclude=exclude)
        pairs = idsim.pairs_above(rows, threshold=threshold, metric=metric, exclude=exclude)
        asked = {"k": k, "threshold": threshold, "metric": metric}
        given = {"exclude": exclude} if with_groups else {}
        assert_compared(idsim.compare(rows, **asked, **given), top, pairs)
        assert (pairs.rows < pairs.columns).all()

        def part(start, stop, asked=asked):
            own = {"exclude": (groups[start:stop], groups)} if with_groups else {}
            return idsim.compare(rows[start:stop], rows, first=start, **asked, **own)

        for cuts in ((0, 500), (0, 1, 9, 200, 201, 450, 500)):
            parts = [part(start, stop) for start, stop in itertools.pairwise(cuts)]
            in_ranges, their_pairs = joined(parts)
            assert_same(in_ranges, top)
            assert_same(their_pairs, pairs)


def test_no_row_is_matched_with_itself_whatever_the_labels(rng):
    rows = normal(rng, 40, 8)
    found = idsim.compare(rows, threshold=-2.0, exclude=(np.arange(40), np.arange(40) + 100))
    assert_same(found[:2], idsim.search(rows, rows, 1, exclude="self"))
    assert len(found.pairs.rows) == 40 * 39 // 2


@pytest.mark.parametrize("metric", METRICS)
def test_index_and_gallery_on_both_sides(isa, rng, tmp_path, metric):
    queries, gallery = grid_rows(rng, 90, 1300, 40)
    Gallery.from_arrays(tmp_path / "rows", gallery, shard_rows=333)
    Gallery.from_arrays(tmp_path / "codes", gallery, shard_rows=333).prepare()
    threshold = threshold_for(queries, gallery, metric, 0.004)
    top = idsim.search(queries, gallery, 5, metric=metric)
    pairs = idsim.pairs_above(queries, gallery, threshold, metric=metric)
    of_itself = idsim.compare(gallery, k=5, threshold=threshold, metric=metric)
    chunks = {"memory_budget": 32 * (13 * 40 + 256 + 200), "threads": 2}
    sources = [idsim.Index(gallery, metric=metric), *(Gallery.open(tmp_path / n) for n in ("rows", "codes"))]
    for source in sources:
        for more in ({}, chunks):
            asked = {"k": 5, "threshold": threshold, "metric": metric, **more}
            assert_compared(idsim.compare(queries, source, **asked), top, pairs)
            alone = idsim.compare(source, **asked)
            assert_compared(alone, of_itself[:2], of_itself.pairs)
            first, rest = (
                idsim.compare(source.vectors(a, b), source, first=a, **asked)
                for a, b in ((0, 500), (500, 1300))
            )
            in_ranges, their_pairs = joined([first, rest])
            assert_same(in_ranges, of_itself[:2])
            assert_same(their_pairs, of_itself.pairs)


@pytest.mark.parametrize("q", [3, 40])
def test_rows_with_nan(engine, rng, q):
    queries, gallery = grid_rows(rng, q, 900, 30)
    gallery[[17, 40]] = np.nan
    with pytest.raises(ValueError, match="gallery row 17 holds NaN or Inf"):
        idsim.compare(queries, gallery, threshold=0.5)
    for share in (0.001, 0.1):
        finite = np.delete(gallery, [17, 40], axis=0)
        check(queries, gallery, 4, threshold_for(queries, finite, "cosine", share), nonfinite="skip")
    with pytest.raises(ValueError, match="queries row 40 holds NaN or Inf"):
        idsim.compare(gallery[38:50], gallery, threshold=0.5, first=38, nonfinite="skip")


@pytest.mark.parametrize("q", [5, 60])
def test_pairs_are_limited_by_name(engine, rng, q):
    queries, gallery = grid_rows(rng, q, 900, 16)
    pairs = idsim.pairs_above(queries, gallery, 0.2)
    count = len(pairs.rows)
    for chunk in (None,) if engine == "cuda" else (None, 32 * (13 * 16 + 256 + 200)):
        options = {"threshold": 0.2, "memory_budget": chunk}
        assert_same(idsim.compare(queries, gallery, max_pairs=count, **options).pairs, pairs)
        with pytest.raises(ValueError, match=f"more than max_pairs = {count - 1} pairs"):
            idsim.compare(queries, gallery, max_pairs=count - 1, **options)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("q", [1, 3, 20])
@pytest.mark.parametrize("prepared", [False, True])
def test_what_is_scanned_again_is_listed_once(isa, metric, q, prepared, rng):
    """Where the sampled rows are the best ones, fewer than k rows reach what the sample promises."""
    n, k = 4000, 50
    axis = np.eye(1, 48, dtype=np.float32)
    queries = axis + np.float32(0.01) * normal(rng, q, 48)
    gallery = np.float32(0.05) * normal(rng, n, 48) - np.float32(0.5) * axis
    best = sampled_rows(n, n // 8)
    gallery[best[: 4 * k]] = axis + np.float32(0.01) * normal(rng, 4 * k, 48)
    more = gallery[::-1][:600].copy()
    whole = np.concatenate([gallery, more])
    for share in (0.003, 0.2):
        worst = np.float32(threshold_for(queries, whole, metric, share))
        # A triangle whose diagonal runs through the gallery.
        scan = CpuEngine().topk_and_pairs(queries, metric, k, worst, 1 << 30, 0, True, True, 2000, None)
        if prepared:
            scan.feed_prepared(idsim.Index(gallery, metric=metric).prepared, 0, None, 2, None)
        else:
            scan.feed(gallery, 0, None, 2, False, None)
        assert scan.certificate()["scanned_again"] > 0
        scan.feed(more, n, None, 2, False, None)
        found = np.empty((q, k), np.float32), np.empty((q, k), np.int64)
        scan.finish(*found)
        groups = np.arange(2000, 2000 + q), np.arange(len(whole))  # each query's own row
        assert_same(found, reference.search(queries, whole, k, metric=metric, exclude=groups))
        rows, columns, scores = reference.pairs_above(queries, whole, float(worst), metric=metric)
        upper = columns > rows + 2000
        assert_same(scan.finish_pairs(), (rows[upper], columns[upper], scores[upper]))


@pytest.mark.parametrize("q", [3, 40])
def test_the_certificate_tells_of_the_best_rows(isa, rng, q):
    queries, gallery = grid_rows(rng, q, 3000, 64)
    top = idsim.search(queries, gallery, 6, certificate=True)
    pairs = idsim.pairs_above(queries, gallery, 0.1)
    scan = CpuEngine().topk_and_pairs(queries, "cosine", 6, 0.1, 1 << 30, 0, False, False, 0, None)
    scan.feed(gallery, 0, None, 2, False, None)
    certificate = scan.certificate()
    assert_same((certificate["reach"],), (top.certificate.reach,))
    assert certificate["pairs"] == top.certificate.pairs == q * 3000
    assert certificate["candidates"] >= certificate["rescored"] >= len(pairs.rows)


def test_shapes_of_empty_answers():
    none, some = np.zeros((0, 4), np.float32), np.ones((3, 4), np.float32)
    for found in (
        idsim.compare(none, some, 2, threshold=0.5),
        idsim.compare(none, k=2, threshold=0.5),
        idsim.compare(none, some, 2, threshold=0.5, first=3),
    ):
        assert found.scores.shape == found.ids.shape == (0, 2)
        assert [(part.dtype, len(part)) for part in found.pairs] == [
            (np.int64, 0), (np.int64, 0), (np.float32, 0)
        ]  # fmt: skip
    found = idsim.compare(some, none, 2, threshold=0.5)
    assert (found.ids == -1).all()
    assert (found.scores == -np.inf).all()
    assert len(found.pairs.rows) == 0
    found = idsim.compare(some[:1], threshold=0.5)
    assert found.ids.tolist() == [[-1]]


def test_progress_and_cancelling(engine, rng):
    queries, gallery = grid_rows(rng, 90, 4000, 40)
    seen = []
    budget = 32 * (13 * 40 + 256 + 200)
    options = {"threshold": 0.9} if engine == "cuda" else {"threshold": 0.9, "memory_budget": budget}
    idsim.compare(queries, gallery, progress=lambda *done: seen.append(done), **options)
    assert {total for _, total in seen} == {4000}
    assert sorted(seen) == seen
    assert seen[-1][0] == 4000
    with pytest.raises(KeyboardInterrupt):
        idsim.compare(queries, gallery, progress=lambda *_: False, **options)


def test_errors(rng):
    queries, gallery = grid_rows(rng, 5, 20, 4)
    for bad, error in (
        (0, "k must be 1 or more"),
        (-1, "k must be 0 or more"),
        (1.5, "k must be an integer"),
    ):
        with pytest.raises((ValueError, TypeError), match=error):
            idsim.compare(queries, gallery, bad, threshold=0.5)
    with pytest.raises(TypeError, match="threshold"):
        idsim.compare(queries, gallery)
    with pytest.raises(ValueError, match="threshold"):
        idsim.compare(queries, gallery, threshold=np.nan)
    for bad in (-1, 16, 1000):
        with pytest.raises(ValueError, match=rf"room for 5 queries among 20 gallery rows, not {bad}"):
            idsim.compare(queries, gallery, threshold=0.5, first=bad)
    with pytest.raises(ValueError, match="room for 5 queries among 5 gallery rows, not 1"):
        idsim.compare(queries, threshold=0.5, first=1)
    with pytest.raises(TypeError, match="first must be an integer, not str"):
        idsim.compare(queries, gallery, threshold=0.5, first="0")
    with pytest.raises(ValueError, match="gallery must have 4 columns like queries, not 3"):
        idsim.compare(queries, gallery[:, :3], threshold=0.5)
    with pytest.raises(ValueError, match=r"gallery labels must have shape \(20,\)"):
        idsim.compare(queries, gallery, threshold=0.5, exclude=(np.arange(5), np.arange(5)))
    with pytest.raises(ValueError, match="the index was prepared for metric='dot'"):
        idsim.compare(queries, idsim.Index(gallery, metric="dot"), threshold=0.5, metric="l2")


def test_a_scan_without_a_list_has_no_pairs(rng):
    queries, gallery = grid_rows(rng, 5, 20, 4)
    scan = _core.TopKScan(queries, "cosine", 2, -np.inf, False, 0, None)
    scan.feed(gallery, 0, None, 1, False, None)
    assert [len(part) for part in scan.finish_pairs()] == [0, 0, 0]
