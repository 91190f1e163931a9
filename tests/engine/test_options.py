"""exclude, threshold, out, nonfinite, k: each against the definition, and each with its errors."""

from __future__ import annotations

import numpy as np
import pytest

import idsim
from idsim import reference
from idsim.topk import TopKScan
from support.compare import assert_same
from support.data import grid_rows, normal

METRICS = ["cosine", "dot", "l2"]


@pytest.fixture
def data(rng):
    return grid_rows(rng, 30, 1400, 48)


def both(queries, gallery, k, metric="cosine", **options):
    """Return the one-shot and the prepared answer, which must be one."""
    direct = idsim.search(queries, gallery, k, metric=metric, **options)
    assert_same(idsim.Index(gallery, metric=metric).search(queries, k, **options), direct)
    return direct


@pytest.mark.parametrize("metric", METRICS)
def test_exclude_self(isa, data, metric):
    _, gallery = data
    rows = gallery[:600]
    found = both(rows, rows, 5, metric, exclude="self")
    assert_same(found, reference.search(rows, rows, 5, metric=metric, exclude="self"))
    assert not (found.ids == np.arange(600)[:, None]).any()
    more = np.concatenate([gallery[:20]] * 2)
    assert_same(
        both(more, gallery[:20], 30, metric, exclude="self"),
        reference.search(more, gallery[:20], 30, metric=metric, exclude="self"),
    )


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", ["int64", "int32", "str", "one label"])
def test_exclude_groups(isa, data, rng, metric, kind):
    queries, gallery = data
    labels = [rng.integers(0, 5, len(rows)) for rows in (queries, gallery)]
    if kind == "str":
        labels = [np.array([f"person {i}" for i in part]) for part in labels]
    elif kind == "one label":
        labels = [np.zeros(len(rows), np.int64) for rows in (queries, gallery)]
    else:
        labels = [part.astype(kind) for part in labels]
    exclude = tuple(labels)
    expected = reference.search(queries, gallery, 9, metric=metric, exclude=exclude)
    assert_same(both(queries, gallery, 9, metric, exclude=exclude), expected)
    if kind == "one label":
        assert (expected[1] == -1).all()


@pytest.mark.parametrize(
    ("exclude", "error"),
    [
        ("others", ValueError),
        ((np.zeros(3), np.zeros(1400)), (TypeError, ValueError)),
        ((np.zeros(30, int), np.zeros(1399, int)), ValueError),
        ((np.zeros((30, 1), int), np.zeros(1400, int)), ValueError),
        ((np.zeros(30, int),), (TypeError, ValueError)),
        (3, (TypeError, ValueError)),
    ],
)
def test_exclude_errors(data, exclude, error):
    with pytest.raises(error, match="exclude"):
        idsim.search(*data, 3, exclude=exclude)


@pytest.mark.parametrize("metric", METRICS)
def test_threshold(isa, data, metric):
    queries, gallery = data
    scores = reference.score_matrix(queries, gallery, metric)
    exact = float(np.sort(scores.ravel())[len(scores.ravel()) // 3])
    limits = [exact, np.nextafter(exact, 9), np.nextafter(exact, -9), 0.0, -0.0, 0.7, 50.0, -50.0]
    for threshold in [*limits, np.inf, -np.inf]:
        expected = reference.search(queries, gallery, 40, metric=metric, threshold=threshold)
        context = f"threshold {threshold!r}"
        assert_same(both(queries, gallery, 40, metric, threshold=threshold), expected, context)
    with pytest.raises(ValueError, match="threshold"):
        idsim.search(queries, gallery, 1, threshold=float("nan"))


@pytest.mark.parametrize("metric", METRICS)
def test_all_options_together(isa, data, rng, metric):
    queries, gallery = data
    gallery[17, 3] = np.nan
    groups = rng.integers(0, 5, 30), rng.integers(0, 5, 1400)
    options = {"exclude": groups, "threshold": 0.1, "nonfinite": "skip"}
    expected = reference.search(queries, gallery, 700, metric=metric, **options)
    assert_same(idsim.search(queries, gallery, 700, metric=metric, **options), expected)
    index = idsim.Index(gallery, metric=metric, nonfinite="skip")
    found = index.search(queries, 700, exclude=groups, threshold=0.1)
    assert_same(found, expected)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [(0, 0), (1399, 47), (503, 31), (504, 32), (700, 17)])
def test_the_first_bad_row_is_named(isa, data, bad, place):
    queries, gallery = data
    row, column = place
    gallery[row, column] = bad
    gallery[row:][-1, 5] = bad
    for call in (
        lambda: idsim.search(queries, gallery, 3),
        lambda: idsim.Index(gallery),
        lambda: idsim.count_above(queries, gallery, 0.5),
        lambda: idsim.pairs_above(queries, gallery, 0.5),
        lambda: idsim.compare(queries, gallery, threshold=0.5),
        lambda: idsim.score_distribution(queries, gallery),
    ):
        with pytest.raises(ValueError, match=rf"\b{row}\b"):
            call()
    for nonfinite in ("raise", "skip"):
        with pytest.raises(ValueError, match=rf"queries.*\b{row}\b"):
            idsim.search(gallery, queries, 3, nonfinite=nonfinite)


@pytest.mark.parametrize("metric", METRICS)
def test_bad_rows_are_skipped(isa, data, rng, metric):
    queries, gallery = data
    for row in rng.integers(0, 1400, 60):
        gallery[row, rng.integers(0, 48)] = rng.choice([np.nan, np.inf, -np.inf])
    options = {"metric": metric, "nonfinite": "skip"}
    for k in (5, 1400):
        expected = reference.search(queries, gallery, k, **options)
        assert_same(idsim.search(queries, gallery, k, **options), expected)
        assert_same(idsim.Index(gallery, **options).search(queries, k), expected)
        scan = TopKScan(queries, k, **options)
        scan.feed(gallery[700:], 700)
        scan.feed(gallery[:700], 0)
        assert_same(scan.finish(), expected)
    gallery[:] = np.nan
    assert (idsim.search(queries, gallery, 2, **options).ids == -1).all()


def test_double_that_overflows_float32_is_not_finite(rng):
    queries, gallery = normal(rng, 2, 4), normal(rng, 9, 4).astype(np.float64)
    gallery[6, 1] = 1e39
    with pytest.raises(ValueError, match=r"\b6\b"):
        idsim.search(queries, gallery, 1)
    expected = reference.search(queries, gallery, 9, nonfinite="skip")
    assert_same(idsim.search(queries, gallery, 9, nonfinite="skip"), expected)


def test_out(isa, data):
    queries, gallery = data
    expected = reference.search(queries, gallery, 6)
    out = (np.full((30, 6), 7, np.float32), np.full((30, 6), 7, np.int64))
    result = idsim.search(queries, gallery, 6, out=out)
    assert result.scores is out[0]
    assert result.ids is out[1]
    assert_same(out, expected)
    again = idsim.TopK(np.empty((30, 6), np.float32), np.empty((30, 6), np.int64))
    assert_same(idsim.Index(gallery).search(queries, 6, out=again), expected)


def frozen(array):
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    ("scores", "ids"),
    [
        (np.zeros((30, 5), np.float32), np.zeros((30, 6), np.int64)),
        (np.zeros((30, 6), np.float64), np.zeros((30, 6), np.int64)),
        (np.zeros((30, 6), np.float32), np.zeros((30, 6), np.int32)),
        (np.zeros((29, 6), np.float32), np.zeros((29, 6), np.int64)),
        (np.zeros((30, 12), np.float32)[:, ::2], np.zeros((30, 6), np.int64)),
        (frozen(np.zeros((30, 6), np.float32)), np.zeros((30, 6), np.int64)),
    ],
)
def test_out_errors(data, scores, ids):
    before = scores.tobytes(), ids.tobytes()
    with pytest.raises((TypeError, ValueError), match="out"):
        idsim.search(*data, 6, out=(scores, ids))
    assert (scores.tobytes(), ids.tobytes()) == before


def test_k_errors(data):
    for k in (-1, -(2**40)):
        with pytest.raises(ValueError, match="k"):
            idsim.search(*data, k)
    for k in (1.5, "3", None):
        with pytest.raises(TypeError):
            idsim.search(*data, k)
    assert_same(idsim.search(*data, np.int32(3)), reference.search(*data, 3))


def test_option_errors(data):
    queries, gallery = data
    with pytest.raises(ValueError, match="metric"):
        idsim.search(queries, gallery, 3, metric="angular")
    with pytest.raises(ValueError, match="nonfinite"):
        idsim.search(queries, gallery, 3, nonfinite="ignore")
    with pytest.raises(ValueError, match=r"48.*47|47.*48"):
        idsim.search(queries, gallery[:, :47], 3)
    with pytest.raises(ValueError, match="threads"):
        idsim.search(queries, gallery, 3, threads=0)
    with pytest.raises(ValueError, match="threads"):
        idsim.search(queries, gallery, 3, threads=-2)
    with pytest.raises(ValueError, match="metric"):
        idsim.search(queries, idsim.Index(gallery, metric="l2"), 3, metric="dot")


def test_k_that_cannot_be_held(data):
    """No k ends in a crash; what fits neither memory nor the budget is refused."""
    for k in (10**12, 2**31 + 5, 2**62, 2**63 - 1, 2**63, 2**70):
        with pytest.raises((MemoryError, ValueError, OverflowError, TypeError)):
            idsim.search(*data, k)
        with pytest.raises((MemoryError, ValueError, OverflowError, TypeError)):
            TopKScan(data[0], k)


@pytest.mark.parametrize(
    "ask",
    [
        lambda x, **options: idsim.search(x, x, 2, **options),
        lambda x, **options: idsim.TopKScan(x, 2, **options),
        lambda x, **options: idsim.count_above(x, x, [0.5], **options),
        lambda x, **options: idsim.pairs_above(x, threshold=0.5, **options),
        lambda x, **options: idsim.compare(x, threshold=0.5, **options),
        idsim.Index,
    ],
)
def test_precision_that_the_cpu_does_not_have(ask):
    x = np.eye(4, dtype=np.float32)
    ask(x, precision="auto", device="cpu")
    with pytest.raises(ValueError, match="the CPU engine has precision 'auto' alone, not 'float16'"):
        ask(x, precision="float16", device="cpu")
    with pytest.raises(ValueError, match="precision must be one of 'auto', .*, not 'fp8'"):
        ask(x, precision="fp8")
