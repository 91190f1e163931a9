"""`idsim.compat.faiss` beside FAISS itself."""

from __future__ import annotations

import faiss
import numpy as np
import pytest
import torch

from idsim import placement, reference
from idsim.compat import faiss as ours
from support.compare import assert_same, same_bytes
from support.data import ADVERSARIAL, grid_rows, normal

METRICS = {"ip": (0, "dot"), "l2": (1, "l2")}
metrics = pytest.mark.parametrize("metric", METRICS)
LARGEST = np.finfo(np.float32).max


def whole_numbers(rng, q, n, d, most=3):
    """Rows whose products FAISS computes exactly, and with many ties."""
    return tuple(rng.integers(-most, most + 1, (count, d)).astype(np.float32) for count in (q, n))


def definition(queries, rows, k, metric):
    """What the docstring says, of the definition of the scores."""
    scores, ids = reference.search(queries, rows, k, metric=METRICS[metric][1])
    if metric == "l2":
        with np.errstate(over="ignore"):
            scores = (scores.astype(np.float64) ** 2).astype(np.float32)
    scores[ids < 0] = LARGEST if metric == "l2" else -LARGEST
    return scores, ids


def index_of(library, metric, rows):
    index = (library.IndexFlatIP if metric == "ip" else library.IndexFlatL2)(rows.shape[1])
    index.add(rows)
    return index


def test_the_metrics_have_its_numbers():
    assert (ours.METRIC_INNER_PRODUCT, ours.METRIC_L2) == (faiss.METRIC_INNER_PRODUCT, faiss.METRIC_L2)


@metrics
@pytest.mark.parametrize(("q", "n", "d", "k"), [(1, 50, 8, 3), (40, 600, 24, 7), (3, 5, 4, 9), (2, 1, 1, 1)])
def test_knn(q, n, d, k, metric, rng):
    queries, rows = normal(rng, q, d), normal(rng, n, d)
    theirs, mine = (
        faiss.knn(queries, rows, k, METRICS[metric][0]),
        ours.knn(queries, rows, k, METRICS[metric][0]),
    )
    assert [part.dtype for part in mine] == [part.dtype for part in theirs]
    np.testing.assert_array_equal(mine[1], theirs[1])
    np.testing.assert_allclose(mine[0], theirs[0], rtol=1e-5, atol=1e-4)


def test_the_default_metric_is_its_default(rng):
    queries, rows = normal(rng, 4, 6), normal(rng, 30, 6)
    np.testing.assert_array_equal(ours.knn(queries, rows, 3)[1], faiss.knn(queries, rows, 3)[1])
    assert ours.IndexFlat(6).metric_type == faiss.IndexFlat(6).metric_type


def test_inner_products_of_whole_numbers_are_its_bytes(rng):
    queries, rows = whole_numbers(rng, 30, 400, 6)
    theirs, mine = faiss.knn(queries, rows, 20, 0), ours.knn(queries, rows, 20, 0)
    assert same_bytes(mine[0], theirs[0])
    # Its order of ties is not promised; ours is.
    exact = queries.astype(np.int64) @ rows.T.astype(np.int64)
    np.testing.assert_array_equal(mine[1], np.argsort(-exact, axis=1, kind="stable")[:, :20])


def test_squared_distances_of_whole_numbers(rng):
    queries, rows = whole_numbers(rng, 30, 400, 6, most=50)
    rows[7] = queries[2]
    values, ids = ours.knn(queries, rows, 20)
    exact = ((queries[:, None] - rows[None]).astype(np.int64) ** 2).sum(-1)
    np.testing.assert_array_equal(ids, np.argsort(exact, axis=1, kind="stable")[:, :20])
    np.testing.assert_allclose(values, np.take_along_axis(exact, ids, 1), rtol=1.8e-7)
    assert (ids[2, 0], values[2, 0]) == (7, 0.0)


@metrics
@pytest.mark.parametrize(
    "data", ["tie_groups", "all_equal", "few_values", "negative_zeros", "far_rows_first"]
)
def test_ties_and_scales(data, metric, rng):
    queries, rows = ADVERSARIAL[data](rng, 6, 150, 16)
    index = index_of(ours, metric, rows)
    for k in (1, 7, 150, 160):
        wanted = definition(queries, rows, k, metric)
        assert_same(ours.knn(queries, rows, k, METRICS[metric][0]), wanted, f"k={k}")
        assert_same(index.search(queries, k), wanted, f"k={k} index")


@metrics
def test_what_is_not_there(metric, rng):
    queries, rows = normal(rng, 3, 4), normal(rng, 2, 4)
    for some, k in ((rows, 5), (rows[:0], 2)):
        theirs, mine = (
            index_of(faiss, metric, some).search(queries, k),
            index_of(ours, metric, some).search(queries, k),
        )
        assert_same(mine, definition(queries, some, k, metric))
        np.testing.assert_array_equal(mine[1], theirs[1])
        np.testing.assert_array_equal(mine[0][mine[1] < 0], theirs[0][theirs[1] < 0])
        assert (mine[1] < 0).any()
    number = METRICS[metric][0]
    for q, k in ((queries[:0], 2), (queries, 0)):
        assert_same(ours.knn(q, rows, k, number), faiss.knn(q, rows, k, number))
    assert_same(ours.knn(queries, rows[:0], 2, number), faiss.knn(queries, rows[:0], 2, number))


@metrics
def test_an_index_is_filled_searched_and_emptied(metric, rng):
    queries, rows = grid_rows(rng, 5, 200, 12)
    pair = index_of(faiss, metric, rows[:120]), index_of(ours, metric, rows[:120])
    for index in pair:
        index.train(rows)
        index.add(rows[120:])
        index.add(rows[:0])
        assert (index.ntotal, index.d, index.is_trained, index.metric_type) == (
            200,
            12,
            True,
            METRICS[metric][0],
        )
    theirs, mine = pair
    wanted = definition(queries, rows, 9, metric)
    for _ in range(3):  # the rows as they are, prepared, and prepared before
        assert_same(mine.search(queries, 9), wanted)
    assert same_bytes(mine.reconstruct(130), theirs.reconstruct(130))
    for arguments in ((), (3,), (190, 10), (5, 0)):
        assert same_bytes(mine.reconstruct_n(*arguments), theirs.reconstruct_n(*arguments))
    mine.add(queries)
    assert mine.search(queries, 1)[1].shape == (5, 1)
    assert_same(mine.search(queries, 9), definition(queries, np.concatenate([rows, queries]), 9, metric))
    mine.reset()
    assert (mine.ntotal, mine.search(queries, 1)[1].max()) == (0, -1)


def test_rows_are_copied(rng):
    rows = normal(rng, 10, 4)
    kept = rows.copy()
    index = index_of(ours, "ip", rows)
    rows[:] = 0
    index.reconstruct_n()[:] = 0
    assert_same(index.search(kept, 2), definition(kept, kept, 2, "ip"))


def test_results_are_written_where_asked(rng):
    queries, rows = normal(rng, 3, 4), normal(rng, 20, 4)
    index = index_of(ours, "ip", rows)
    values, ids = np.empty((3, 2), np.float32), np.empty((3, 2), np.int64)
    found = index.search(queries, 2, D=values, I=ids)
    assert found[0] is values
    assert found[1] is ids
    assert_same((values, ids), definition(queries, rows, 2, "ip"))
    assert index.search(queries, 2, I=ids)[1] is ids
    with pytest.raises(AssertionError, match=r"D must have shape \(3, 4\), not \(3, 2\)"):
        index.search(queries, 4, D=values)


@metrics
@pytest.mark.parametrize("threshold", [-1.0, 0.0, 4.0, 9.0, 9.5, 1e9])
def test_range_search(threshold, metric, rng):
    queries, rows = whole_numbers(rng, 20, 150, 4)
    theirs, mine = (
        index_of(library, metric, rows).range_search(queries, threshold) for library in (faiss, ours)
    )
    assert [part.dtype for part in mine] == [part.dtype for part in theirs]
    for place in (0, 2):
        np.testing.assert_array_equal(mine[place], theirs[place])
    np.testing.assert_allclose(mine[1], theirs[1], rtol=0 if metric == "ip" else 1.8e-7)


def test_range_search_leaves_out_the_border_of_any_value(rng):
    queries, rows = normal(rng, 20, 5), normal(rng, 100, 5)
    for metric in METRICS:
        index = index_of(ours, metric, rows)
        values, _ = index.search(queries, 100)
        border = values[4, 10]
        lims, found, _ = index.range_search(queries, float(border))
        inside = values > border if metric == "ip" else values < border
        np.testing.assert_array_equal(np.diff(lims.astype(np.int64)), inside.sum(1))
        assert inside[4].sum() == 10
        np.testing.assert_array_equal(np.sort(found), np.sort(values[inside]))
        # One step further it is inside.
        looser = np.nextafter(border, np.float32(-np.inf if metric == "ip" else np.inf))
        assert index.range_search(queries[4:5], float(looser))[0][1] == 11


def test_range_search_without_queries_or_rows(rng):
    rows = normal(rng, 5, 3)
    for some, queries in ((rows, rows[:0]), (rows[:0], rows)):
        theirs, mine = (index_of(library, "l2", some).range_search(queries, 1.0) for library in (faiss, ours))
        assert_same(mine[:2], theirs[:2])
        assert (mine[2].shape, mine[2].dtype) == ((0,), np.int64)  # its own are float32 where there is none


@pytest.mark.parametrize("dtype", ["float64", "float16", "int64", "uint8", "bool"])
def test_other_dtypes_are_taken_as_it_takes_them(dtype, rng):
    queries, rows = (rng.integers(0, 2, (count, 6)).astype(dtype) for count in (4, 30))
    theirs, mine = (index_of(library, "ip", rows).search(queries, 30) for library in (faiss, ours))
    assert same_bytes(mine[0], theirs[0])
    assert_same(ours.knn(queries.tolist(), rows.tolist(), 30, 0), mine)


@metrics
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int32])
def test_tensors_in_tensors_out(dtype, metric, rng):
    queries, rows = (torch.from_numpy(part).to(dtype) for part in whole_numbers(rng, 4, 30, 6))
    as_arrays = [part.float().numpy() for part in (queries, rows)]
    wanted = definition(*as_arrays, 33, metric)
    index = index_of(ours, metric, rows)
    for found in (ours.knn(queries, rows, 33, METRICS[metric][0]), index.search(queries, 33)):
        assert [part.dtype for part in found] == [torch.float32, torch.int64]
        assert_same([part.numpy() for part in found], wanted)
    ranged = index.range_search(queries, 2.0)
    assert [part.dtype for part in ranged] == [torch.int64, torch.float32, torch.int64]
    arrays = index.range_search(as_arrays[0], 2.0)
    assert_same([part.numpy() for part in ranged[1:]], arrays[1:])


def test_normalize(rng):
    rows = normal(rng, 50, 7)
    rows[3] = 0
    theirs, mine, tensor = rows.copy(), rows.copy(), torch.from_numpy(rows.copy())
    faiss.normalize_L2(theirs)
    assert ours.normalize_L2(mine) is None
    ours.normalize_L2(tensor)
    np.testing.assert_allclose(mine, theirs, rtol=3e-7)
    assert same_bytes(mine, reference.normalize(rows))
    assert same_bytes(tensor.numpy(), mine)


CALLS = {
    "columns of an index": (AssertionError, lambda f, i, x: i.search(x[:, :3], 1)),
    "columns of added rows": (AssertionError, lambda f, i, x: i.add(x[:, :3])),
    "columns of knn": (AssertionError, lambda f, i, x: f.knn(x, x[:, :3], 1)),
    "columns of a range": (AssertionError, lambda f, i, x: i.range_search(x[:, :3], 1.0)),
    "one dimension": (ValueError, lambda f, i, x: i.search(x[0], 1)),
    "no neighbour": (AssertionError, lambda f, i, x: i.search(x, 0)),
    "a row that is not there": (RuntimeError, lambda f, i, x: i.reconstruct(5)),
    "rows that are not there": (RuntimeError, lambda f, i, x: i.reconstruct_n(3, 5)),
    "an unknown metric": (RuntimeError, lambda f, i, x: f.knn(x, x, 1, 99)),
    "normalize float64": (TypeError, lambda f, i, x: f.normalize_L2(x.astype(np.float64))),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("library", [faiss, ours], ids=["faiss", "ours"])
def test_errors_are_of_its_kind(library, call, rng):
    rows = normal(rng, 5, 4)
    kind, ask = CALLS[call]
    with pytest.raises(kind):
        ask(library, index_of(library, "ip", rows), rows)


def test_errors_say_what_is_wrong(rng):
    rows = normal(rng, 5, 4)
    index = index_of(ours, "ip", rows)
    with pytest.raises(ValueError, match="x must have 4 columns, not 3"):
        index.search(rows[:, :3], 1)
    with pytest.raises(RuntimeError, match="rows 5 to 6 are asked for, and there are 5"):
        index.reconstruct(5)
    with pytest.raises(TypeError, match="k must be an integer"):
        index.search(rows, 1.5)
    with pytest.raises(TypeError, match="complex64"):
        index.search(rows.astype(np.complex64), 1)
    index.add(np.full((1, 4), np.nan, np.float32))
    with pytest.raises(ValueError, match="row 5 holds NaN"):
        index.search(rows, 1)


@pytest.mark.gpu
@metrics
def test_on_a_device(metric, monkeypatch, rng):
    monkeypatch.setattr(placement, "default_device", "cuda")
    queries, rows = grid_rows(rng, 5, 200, 12)
    index = index_of(ours, metric, rows)
    for _ in range(2):
        assert_same(index.search(queries, 9), definition(queries, rows, 9, metric))
