"""`idsim.compat.sklearn` beside scikit-learn itself."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.sparse
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.neighbors import NearestNeighbors
from sklearn.utils.validation import check_is_fitted

from idsim import reference
from idsim.compat.sklearn import ExactNeighbors
from support.compare import assert_same, same_bytes
from support.data import normal, tie_groups

BOTH = [NearestNeighbors, ExactNeighbors]
metrics = pytest.mark.parametrize("metric", ["cosine", "euclidean"])
both = pytest.mark.parametrize("estimator", BOTH)


def fitted(rows, **params):
    return [kind(algorithm="brute", **params).fit(rows) for kind in BOTH]


def assert_near(mine, theirs):
    """Same shapes and dtypes, the same rows, and the same distances but for rounding."""
    assert [part.dtype for part in mine] == [part.dtype for part in theirs]
    assert [part.shape for part in mine] == [part.shape for part in theirs]
    np.testing.assert_array_equal(mine[1], theirs[1])
    np.testing.assert_allclose(mine[0], theirs[0], rtol=1e-6, atol=5e-7)


def assert_lists_near(mine, theirs):
    assert [part.dtype for part in mine] == [part.dtype for part in theirs] == [object, object]
    assert len(mine[0]) == len(theirs[0])
    for pair in zip(zip(*mine, strict=True), zip(*theirs, strict=True), strict=True):
        assert_near(*pair)


@metrics
@pytest.mark.parametrize("fit_dtype", ["float32", "float64"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_kneighbors(dtype, fit_dtype, metric, rng):
    rows, queries = normal(rng, 200, 10).astype(fit_dtype), normal(rng, 30, 10).astype(dtype)
    theirs, mine = fitted(rows, metric=metric, n_neighbors=4)
    for _ in range(2):  # the rows as they are, and prepared
        assert_near(mine.kneighbors(queries), theirs.kneighbors(queries))
    assert_near(mine.kneighbors(n_neighbors=7), theirs.kneighbors(n_neighbors=7))
    assert_near(mine.kneighbors(queries, 200), theirs.kneighbors(queries, 200))
    assert same_bytes(mine.kneighbors(queries, return_distance=False), mine.kneighbors(queries)[1])


@metrics
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_radius_neighbors(dtype, metric, rng):
    rows, queries = normal(rng, 150, 6).astype(dtype), normal(rng, 20, 6).astype(dtype)
    theirs, mine = fitted(rows, metric=metric, radius=0.4 if metric == "cosine" else 2.0)
    for arguments in (
        {"X": queries},
        {},
        {"X": queries, "sort_results": True},
        {"radius": 9.0, "sort_results": True},
    ):
        assert_lists_near(mine.radius_neighbors(**arguments), theirs.radius_neighbors(**arguments))
    found = mine.radius_neighbors(queries, return_distance=False)
    assert all(map(same_bytes, found, theirs.radius_neighbors(queries, return_distance=False)))
    assert [len(part) for part in mine.radius_neighbors(queries, -1.0)[0]] == [0] * 20
    assert len({len(part) for part in found}) > 1


@both
def test_the_border_of_a_radius_is_inside(estimator):
    corners = np.array([[3.0, 4.0], [-4.0, 3.0], [6.0, 8.0], [0.0, 0.0]], np.float32)
    nearest = estimator(metric="euclidean").fit(corners)
    assert nearest.radius_neighbors(corners[:1], 5.0)[1][0].tolist() == [0, 2, 3]
    angles = estimator(metric="cosine").fit(corners)
    assert angles.radius_neighbors(corners[:1], 1.0)[1][0].tolist() == [0, 1, 2, 3]
    assert angles.radius_neighbors(corners[:1], 0.999)[1][0].tolist() == [0, 2]


@metrics
def test_ties_stand_in_the_order_of_rows(metric, rng):
    queries, rows = tie_groups(rng, 9, 120, 8)
    name = "l2" if metric == "euclidean" else metric
    scores = reference.score_matrix(queries, rows, name)
    order = np.argsort(scores if name == "l2" else -scores, axis=1, kind="stable")
    _, mine = fitted(rows, metric=metric, n_neighbors=120)
    assert same_bytes(mine.kneighbors(queries, return_distance=False), order)
    everything = mine.radius_neighbors(queries, 1e9, sort_results=True)[1]
    assert all(map(same_bytes, everything, order))


@metrics
def test_a_row_is_not_its_own_neighbour_but_its_copy_is(metric, rng):
    rows = np.repeat(normal(rng, 10, 8), 3, axis=0)
    theirs, mine = fitted(rows, metric=metric, n_neighbors=2)
    distances, ids = mine.kneighbors()
    copies = [[other for other in range(i - i % 3, i - i % 3 + 3) if other != i] for i in range(30)]
    assert ids.tolist() == copies
    assert distances.max() == 0
    assert np.sort(theirs.kneighbors(return_distance=False), axis=1).tolist() == copies
    found = mine.radius_neighbors(radius=1e-6, return_distance=False)
    assert [part.tolist() for part in found] == copies


@metrics
@pytest.mark.parametrize("mode", ["connectivity", "distance"])
def test_graph(mode, metric, rng):
    rows, queries = normal(rng, 60, 5), normal(rng, 8, 5)
    theirs, mine = fitted(rows, metric=metric, n_neighbors=3)
    for asked in (queries, None):
        graph, wanted = mine.kneighbors_graph(asked, mode=mode), theirs.kneighbors_graph(asked, mode=mode)
        assert isinstance(graph, scipy.sparse.csr_matrix)
        assert (graph.shape, graph.dtype, graph.nnz) == (wanted.shape, wanted.dtype, wanted.nnz)
        np.testing.assert_allclose(graph.toarray(), wanted.toarray(), rtol=1e-6, atol=5e-7)


def test_zero_rows_have_cosine_0(rng):
    rows = normal(rng, 4, 3)
    for nearest in fitted(rows, metric="cosine", n_neighbors=4):
        assert nearest.kneighbors(np.zeros((1, 3), np.float32))[0].tolist() == [[1.0] * 4]


def test_other_kinds_of_input(rng):
    rows, queries = rng.integers(-5, 6, (40, 4)), rng.integers(-5, 6, (6, 4))
    forms = {
        "integers": lambda a: a,
        "lists": lambda a: a.tolist(),
        "objects": lambda a: a.astype(object),
        "tensors": lambda a: torch.from_numpy(a.astype(np.float32)),
        "strided": lambda a: np.asfortranarray(a.astype(np.float64)),
    }
    for name, form in forms.items():
        theirs, mine = fitted(form(rows), metric="euclidean", n_neighbors=40)
        found, wanted = mine.kneighbors(form(queries)), theirs.kneighbors(form(queries))
        assert isinstance(found[0], np.ndarray), name
        assert found[0].dtype == wanted[0].dtype, name
        np.testing.assert_allclose(found[0], wanted[0], rtol=1e-6, atol=1e-6, err_msg=name)
        assert sorted(found[1][0]) == list(range(40)), name


CALLS = {
    "not fitted": (ValueError, lambda n, x: type(n)().kneighbors(x)),
    "not fitted, as an attribute": (AttributeError, lambda n, x: type(n)().kneighbors(x)),
    "more neighbours than rows": (ValueError, lambda n, x: n.kneighbors(x, 7)),
    "as many others as rows": (ValueError, lambda n, x: n.kneighbors(None, 6)),
    "no neighbours": (ValueError, lambda n, x: n.kneighbors(x, 0)),
    "half a neighbour": (TypeError, lambda n, x: n.kneighbors(x, 2.5)),
    "one dimension": (ValueError, lambda n, x: n.kneighbors(x[0])),
    "columns": (ValueError, lambda n, x: n.kneighbors(x[:, :3])),
    "no queries": (ValueError, lambda n, x: n.kneighbors(x[:0])),
    "no rows": (ValueError, lambda n, x: type(n)().fit(x[:0])),
    "NaN": (ValueError, lambda n, x: n.kneighbors(x * np.nan)),
    "words": (ValueError, lambda n, x: n.kneighbors([["a", "b", "c", "d"]])),
    "complex numbers": (ValueError, lambda n, x: n.kneighbors(x + 1j)),
    "metric": (ValueError, lambda n, x: type(n)(metric="nope").fit(x)),
    "neighbours of an estimator": (ValueError, lambda n, x: type(n)(n_neighbors=0).fit(x)),
    "half a neighbour of an estimator": (TypeError, lambda n, x: type(n)(n_neighbors=1.5).fit(x)),
    "mode": (ValueError, lambda n, x: n.kneighbors_graph(x, mode="x")),
    "sorted and not returned": (
        ValueError,
        lambda n, x: n.radius_neighbors(x, 1.0, return_distance=False, sort_results=True),
    ),
    "parameter": (ValueError, lambda n, x: n.set_params(foo=1)),
    "positional parameter": (TypeError, lambda n, x: type(n)(5)),
}


@pytest.mark.parametrize("call", CALLS)
@both
def test_errors_are_of_its_kind(estimator, call, rng):
    rows = normal(rng, 6, 4)
    kind, ask = CALLS[call]
    nearest = estimator(n_neighbors=2, metric="cosine").fit(rows)
    with pytest.raises(kind):
        ask(nearest, rows)


def test_sparse_rows_are_a_type_error(rng):
    with pytest.raises(TypeError, match="sparse"):
        ExactNeighbors().fit(scipy.sparse.csr_matrix(normal(rng, 5, 4)))


@both
def test_estimator_conventions(estimator, rng):
    nearest = estimator(n_neighbors=3, metric="cosine")
    assert nearest.get_params()["n_neighbors"] == 3
    assert nearest.set_params(n_neighbors=2, radius=0.5) is nearest
    with pytest.raises(NotFittedError if estimator is NearestNeighbors else ValueError):
        check_is_fitted(nearest)
    rows = normal(rng, 6, 4)
    assert nearest.fit(rows) is nearest
    check_is_fitted(nearest)
    assert (nearest.n_samples_fit_, nearest.n_features_in_, nearest.effective_metric_) == (6, 4, "cosine")
    assert nearest.kneighbors(rows)[1].shape == (6, 2)
    copy = clone(nearest)
    assert copy.get_params() == nearest.get_params()
    with pytest.raises(ValueError, match="not fitted"):
        copy.kneighbors(rows)


def test_representation():
    assert repr(ExactNeighbors()) == "ExactNeighbors()"
    assert repr(ExactNeighbors(n_neighbors=3, metric="l2")) == "ExactNeighbors(n_neighbors=3, metric='l2')"


def test_pickled_before_and_after_it_was_prepared(rng):
    rows, queries = normal(rng, 50, 8), normal(rng, 4, 8)
    nearest = ExactNeighbors(n_neighbors=3).fit(rows)
    for _ in range(3):
        again = pickle.loads(pickle.dumps(nearest))
        assert_same(again.kneighbors(queries), nearest.kneighbors(queries))


def test_the_metric_counts_when_fitted(rng):
    rows = normal(rng, 20, 5)
    nearest = ExactNeighbors(n_neighbors=3, metric="l2").fit(rows)
    before = nearest.kneighbors()
    assert_same(nearest.set_params(metric="cosine", n_jobs=1).kneighbors(), before)
    assert not same_bytes(nearest.fit(rows).kneighbors()[0], before[0])
