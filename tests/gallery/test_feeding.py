"""Counts, pairs and distributions over an array, an Index and a Gallery are the same bytes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import idsim
from idsim.errors import GalleryError
from idsim.gallery import Gallery
from support.compare import assert_same

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROWS, DIM = 1500, 70
KINDS = ["index", "index of mapped rows", "vectors", "codes", "many shards", "one-row shard"]
# Of 32 queries and their results: many chunks of queries, each of which passes over the whole gallery.
TINY = 32 * (13 * DIM + 256 + 200)
RNG = np.random.default_rng(23)
DISTRIBUTION = ("edges", "counts", "mated", "non_mated", "tail", "max_error")


def make_rows() -> np.ndarray:
    """Random rows with exact copies across shards and blocks, and a zero row."""
    rows = np.random.default_rng(11).standard_normal((ROWS, DIM)).astype(np.float32)
    rows[::97] = rows[3]
    rows[500] = 0
    return rows


QUERIES = np.concatenate([make_rows()[:70], RNG.standard_normal((30, DIM), dtype=np.float32)])
LABELS = (RNG.integers(0, 20, len(QUERIES)), RNG.integers(0, 20, ROWS))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("feeding")
    rows = make_rows()
    np.save(folder / "rows.npy", rows)
    Gallery.from_arrays(folder / "vectors", rows, shard_rows=613)
    Gallery.from_arrays(folder / "codes", rows, shard_rows=613).prepare()
    Gallery.from_arrays(folder / "many shards", rows, shard_rows=40).prepare()
    Gallery.from_arrays(folder / "first", rows[:1])
    Gallery.from_arrays(folder / "rest", rows[1:])
    idsim.gallery.merge([folder / "first", folder / "rest"], folder / "one-row shard")
    return folder


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest, folder: Path) -> Any:
    """Return a function that gives one kind of gallery, for a metric."""
    kind = request.param
    if kind == "index":
        return lambda metric: idsim.Index(make_rows(), metric=metric)
    if kind == "index of mapped rows":
        return lambda metric: idsim.Index(np.load(folder / "rows.npy", mmap_mode="r"), metric=metric)
    return lambda metric: Gallery.open(folder / kind)


def settings() -> Iterator[dict[str, Any]]:
    yield {}
    yield {"memory_budget": TINY, "threads": 2}


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_counts(make: Any, metric: Any) -> None:
    levels = [3.0, 5.0, 10.0] if metric != "cosine" else [0.9, 0.2, 1.0, 0.25]
    gallery = make(metric)
    for count in (0, 1, 2, 7, len(QUERIES)):
        for exclude in (None, "self", (LABELS[0][:count], LABELS[1])):
            options = {"metric": metric, "exclude": exclude}
            expected = idsim.count_above(QUERIES[:count], make_rows(), levels, **options)
            for more in settings():
                assert_same(
                    (idsim.count_above(QUERIES[:count], gallery, levels, **options, **more),), (expected,)
                )


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_pairs(make: Any, metric: Any) -> None:
    threshold = 0.2 if metric == "cosine" else 10.0
    gallery = make(metric)
    for count in (0, 1, 2, 7, len(QUERIES)):
        for exclude in (None, "self", (LABELS[0][:count], LABELS[1])):
            options = {"metric": metric, "exclude": exclude}
            expected = idsim.pairs_above(QUERIES[:count], make_rows(), threshold, **options)
            assert len(expected.rows) or not count
            for more in settings():
                assert_same(
                    idsim.pairs_above(QUERIES[:count], gallery, threshold, **options, **more), expected
                )


@pytest.mark.parametrize("exclude", [None, (LABELS[1], LABELS[1])])
def test_pairs_within_a_gallery(make: Any, exclude: Any) -> None:
    expected = idsim.pairs_above(make_rows(), threshold=0.3, exclude=exclude)
    count = len(expected.rows)
    assert count
    for more in settings():
        gallery = make("cosine")
        for rows in (gallery, make_rows()):
            found = idsim.pairs_above(rows, threshold=0.3, exclude=exclude, max_pairs=count, **more)
            assert_same(found, expected)
        with pytest.raises(ValueError, match=f"more than max_pairs = {count - 1} pairs"):
            idsim.pairs_above(gallery, threshold=0.3, exclude=exclude, max_pairs=count - 1, **more)


def test_queries_from_a_gallery(make: Any) -> None:
    gallery = make("cosine")
    expected = idsim.search(make_rows(), QUERIES, 7, exclude="self")
    counts = idsim.count_above(make_rows(), QUERIES, [0.2, 0.4], exclude=LABELS[::-1])
    for more in settings():
        assert_same(idsim.search(gallery, QUERIES, 7, exclude="self", **more), expected)
        found = idsim.count_above(gallery, QUERIES, [0.2, 0.4], exclude=LABELS[::-1], **more)
        assert_same((found,), (counts,))


def check_distribution(found: Any, expected: Any) -> None:
    for name in DISTRIBUTION:
        a, b = getattr(found, name), getattr(expected, name)
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes(), name


@pytest.mark.parametrize("tail", [None, 0.2])
@pytest.mark.parametrize("grouped", [False, True])
def test_distribution_of_two_sets(make: Any, tail: float | None, grouped: bool) -> None:
    gallery = make("cosine")
    options: dict[str, Any] = {"groups": LABELS if grouped else None, "tail": tail, "bins": 256}
    expected = idsim.score_distribution(QUERIES, make_rows(), **options)
    turned: dict[str, Any] = {**options, "groups": LABELS[::-1] if grouped else None, "exclude": "self"}
    expected_turned = idsim.score_distribution(make_rows(), QUERIES, **turned)
    assert expected.total == len(QUERIES) * ROWS
    for more in settings():
        check_distribution(idsim.score_distribution(QUERIES, gallery, **options, **more), expected)
        check_distribution(idsim.score_distribution(gallery, QUERIES, **turned, **more), expected_turned)


@pytest.mark.parametrize("tail", [None, 0.2])
@pytest.mark.parametrize("grouped", [False, True])
def test_distribution_within_a_gallery(make: Any, tail: float | None, grouped: bool) -> None:
    options: dict[str, Any] = {"groups": LABELS[1] if grouped else None, "tail": tail}
    expected = idsim.score_distribution(make_rows(), **options)
    assert expected.total == ROWS * (ROWS - 1) // 2
    for more in settings():
        for rows in (make("cosine"), make_rows()):
            check_distribution(idsim.score_distribution(rows, **options, **more), expected)


QUESTIONS: dict[str, Any] = {
    "search": lambda gallery, **more: idsim.search(QUERIES, gallery, 3, **more),
    "search within": lambda gallery, **more: idsim.search(gallery, gallery, 3, **more),
    "count_above": lambda gallery, **more: idsim.count_above(QUERIES, gallery, 0.2, **more),
    "pairs_above": lambda gallery, **more: idsim.pairs_above(QUERIES, gallery, 0.2, **more),
    "pairs_above within": lambda gallery, **more: idsim.pairs_above(gallery, threshold=0.3, **more),
    "score_distribution": lambda gallery, **more: idsim.score_distribution(QUERIES, gallery, **more),
    "score_distribution within": idsim.score_distribution,
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_budget_that_is_too_small(make: Any, question: str) -> None:
    with pytest.raises(ValueError, match=r"memory_budget must be at least \d+ bytes.*, not 1000"):
        QUESTIONS[question](make("cosine"), memory_budget=1000)


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_file_cut_short(tmp_path: Path, question: str) -> None:
    for prepared, name in ((False, "vectors"), (True, "vectors"), (True, "codes"), (True, "norm")):
        gallery = Gallery.from_arrays(tmp_path / f"{prepared}-{name}", make_rows(), shard_rows=613)
        if prepared:
            gallery.prepare()
        file = gallery.path / f"{name}-00001.npy"
        os.truncate(file, file.stat().st_size - 300)
        with pytest.raises(GalleryError, match=f"{name}-00001.npy"):
            QUESTIONS[question](gallery, memory_budget=TINY)


@pytest.mark.parametrize("question", QUESTIONS)
def test_progress_and_cancelling(make: Any, question: str) -> None:
    gallery, seen = make("cosine"), []
    QUESTIONS[question](gallery, memory_budget=TINY, progress=lambda *call: seen.append(call))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (ROWS, ROWS)
    with pytest.raises(KeyboardInterrupt):
        QUESTIONS[question](gallery, memory_budget=TINY, progress=lambda done, total: False)


def test_rows_that_are_not_finite(tmp_path: Path) -> None:
    rows = make_rows()
    rows[1200, 3] = np.nan
    gallery = Gallery.from_arrays(tmp_path / "g", rows, shard_rows=613, nonfinite="keep")
    expected = idsim.count_above(QUERIES, rows, 0.2, nonfinite="skip")
    for _ in range(2):
        with pytest.raises(ValueError, match="gallery row 1200 holds NaN or Inf"):
            idsim.count_above(QUERIES, gallery, 0.2)
        assert_same((idsim.count_above(QUERIES, gallery, 0.2, nonfinite="skip"),), (expected,))
        with pytest.raises(ValueError, match="queries row 1200 holds NaN or Inf"):
            idsim.pairs_above(gallery, QUERIES, 0.3, memory_budget=TINY)
        with pytest.raises(ValueError, match="queries row 1200 holds NaN or Inf"):
            idsim.score_distribution(gallery, QUERIES, memory_budget=TINY)
        gallery.prepare()


def test_arguments_that_do_not_fit(make: Any) -> None:
    gallery = make("cosine")
    for question in (idsim.pairs_above, idsim.score_distribution):
        with pytest.raises(ValueError, match=f"gallery must have {DIM - 1} columns like queries, not {DIM}"):
            question(QUERIES[:, 1:], gallery)
    with pytest.raises(ValueError, match=f"gallery must have {DIM - 1} columns like queries, not {DIM}"):
        idsim.count_above(QUERIES[:, 1:], gallery, 0.1)
    for labels in ((LABELS[0], LABELS[1][1:]), (LABELS[0][1:], LABELS[1])):
        with pytest.raises(ValueError, match=r"groups: labels of [ab] must have shape"):
            idsim.score_distribution(QUERIES, gallery, groups=labels)


def test_an_index_answers_for_its_own_metric() -> None:
    index = idsim.Index(make_rows(), metric="l2")
    assert_same(
        (idsim.count_above(QUERIES, index, 10.0),),
        (idsim.count_above(QUERIES, make_rows(), 10.0, metric="l2"),),
    )
    with pytest.raises(ValueError, match="prepared for metric='l2', not 'cosine'"):
        idsim.pairs_above(QUERIES, index, 0.3, metric="cosine")
    with pytest.raises(ValueError, match="prepared for metric='l2', not 'cosine'"):
        idsim.score_distribution(QUERIES, index)
