"""Distances, spread and intrinsic dimension, against plain NumPy and sets of known shape."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import t
from sklearn.neighbors import NearestNeighbors

from audit.makers import unit
from audit.manifold_makers import curved, on_sphere
from idsim.audit.manifold import (
    Neighbours,
    cosine_to_distance,
    distance_to_cosine,
    embedded,
    levina_bickel,
    neighbours,
    spread,
    two_nn,
)
from idsim.audit.plain_values import plain_values
from idsim.topk import search

# --- distances ------------------------------------------------------------------------------------


def test_distance_and_cosine_say_the_same(rng):
    vectors = rng.standard_normal((40, 16)).astype(np.float32)
    points = embedded(vectors, "cosine")
    cosines, ids = search(vectors, vectors, 39, metric="cosine", exclude="self")
    distances, same = search(points, points, 39, metric="l2", exclude="self")
    np.testing.assert_allclose(cosine_to_distance(cosines), distances, atol=1e-6)
    np.testing.assert_allclose(distance_to_cosine(distances), cosines, atol=1e-6)
    assert (ids == same).mean() > 0.99  # float32 scores may tie in one and not in the other
    assert embedded(vectors, "l2") is vectors


def test_neighbours_are_those_of_sklearn(rng):
    points = curved(rng, 300)
    expected = NearestNeighbors(n_neighbors=5).fit(points).kneighbors()[0]
    found = neighbours(points, 5)
    np.testing.assert_allclose(found.distances, expected, rtol=1e-5)
    rows = np.array([7, 250, 3])
    some = neighbours(points, 5, rows=rows)
    np.testing.assert_array_equal(some.rows, rows)
    np.testing.assert_array_equal(some.distances, found.distances[rows])
    np.testing.assert_array_equal(some.ids, found.ids[rows])


def test_neighbours_of_other_persons(rng):
    points, persons = curved(rng, 60), np.arange(60) // 3
    matrix = cdist(points, points)
    matrix[persons[:, None] == persons[None, :]] = np.inf
    expected = np.sort(matrix, axis=1)[:, :4]
    np.testing.assert_allclose(neighbours(points, 4, persons=persons).distances, expected, rtol=1e-5)
    assert np.isinf(neighbours(points[:4], 4, persons=persons[:4]).distances[:, 3]).all()


def test_bad_vectors_are_named():
    with pytest.raises(ValueError, match="vectors row 1 is zero and has no direction"):
        embedded(np.array([[1, 0], [0, 0]], np.float32), "cosine")
    with pytest.raises(ValueError, match="metric must be 'cosine' or 'l2', not 'dot'"):
        embedded(np.ones((2, 2)), "dot")
    with pytest.raises(ValueError, match="vectors must be a matrix"):
        embedded(np.ones(3), "cosine")
    with pytest.raises(ValueError, match=r"persons must have shape \(2,\)"):
        neighbours(np.ones((2, 2), np.float32), 1, persons=np.zeros(3, np.int64))
    with pytest.raises(ValueError, match="rows must be numbers from 0 to 1"):
        neighbours(np.ones((2, 2), np.float32), 1, rows=np.array([2]))


# --- spread ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [7, 16_384])
def test_spread_is_that_of_all_pairs(rng, monkeypatch, block):
    monkeypatch.setattr("idsim.audit.manifold.moments.BLOCK_ROWS", block)
    vectors = curved(rng, 90, noise=0.3) + 1.0
    persons = rng.integers(0, 30, 90)
    found = spread(vectors, "cosine", rng, persons=persons)
    points = unit(vectors.astype(np.float64)).astype(np.float64)
    cosines = points @ points.T
    assert found.mean_cosine.value == pytest.approx(
        cosines[persons[:, None] != persons[None, :]].mean(), abs=1e-6
    )
    assert found.resultant_length.value == pytest.approx(np.linalg.norm(points.mean(axis=0)), abs=1e-6)
    pairs = cdist(points, points)[np.triu_indices(90, 1)]
    assert found.rms_distance.value == pytest.approx(np.sqrt((pairs**2).mean()), rel=1e-6)
    values = np.linalg.eigvalsh(np.cov(points.T))
    values = np.maximum(values, 0)
    shares = values[values > 0] / values.sum()
    assert found.participation_ratio.value == pytest.approx(values.sum() ** 2 / (values**2).sum(), rel=1e-5)
    assert found.effective_rank.value == pytest.approx(np.exp(-(shares * np.log(shares)).sum()), rel=1e-5)
    assert found.participation_ratio.groups == len(np.unique(persons))
    assert "below those of the population" in found.note  # 90 rows, 24 dimensions


def test_spread_of_a_uniform_sphere(rng):
    found = spread(on_sphere(rng, 4000, 16), "cosine", rng)
    assert found.mean_cosine.interval.low < 0 < found.mean_cosine.interval.high
    assert abs(found.mean_cosine.value) < 1e-3
    assert found.participation_ratio.value == pytest.approx(16, rel=0.02)
    assert found.rms_distance.value == pytest.approx(np.sqrt(2), rel=1e-3)
    assert found.note == ""


def test_intervals_of_spread_cover():
    rng = np.random.default_rng(5)
    covered = np.zeros(2)
    for _ in range(100):
        # Persons of unequal spread: the images of one are no independent rows.
        people = rng.standard_normal((80, 6)) * [3, 2, 1, 1, 1, 1] + [2, 0, 0, 0, 0, 0]
        rows = np.repeat(people, 4, axis=0) + 0.5 * rng.standard_normal((320, 6))
        found = spread(rows.astype(np.float32), "l2", rng, persons=np.repeat(np.arange(80), 4))
        values = np.array([9, 4, 1, 1, 1, 1]) + 0.25
        low, high, _ = found.rms_distance.interval
        # The mean over all pairs holds 3 of 319 with the same person.
        truth = np.sqrt(2 * (values.sum() * 316 / 319 + 6 * 0.25 * 3 / 319))
        covered[0] += low <= truth <= high
        low, high, _ = found.participation_ratio.interval
        covered[1] += low <= values.sum() ** 2 / (values**2).sum() <= high
    assert covered[0] >= 85
    assert covered[1] >= 80


def test_spread_refuses_what_it_cannot_say(rng):
    euclidean = spread(curved(rng, 100), "l2", rng)
    assert euclidean.mean_cosine.value is None
    assert euclidean.mean_cosine.refusal == "the matcher does not compare by cosine"
    assert euclidean.participation_ratio.value == pytest.approx(
        spread(curved(np.random.default_rng(20210105), 100), "l2", rng).participation_ratio.value
    )
    few = spread(curved(rng, 100), "cosine", rng, persons=np.arange(100) // 20)
    assert few.effective_rank.refusal == "fewer than 10 persons or clusters: 5"
    assert plain_values(few)["effective_rank"]["value"] is None


# --- intrinsic dimension --------------------------------------------------------------------------


@pytest.mark.parametrize("inner", [2, 3])
def test_dimension_of_a_flat_piece(inner):
    """Constant density and no edges in reach: both estimators hold the truth."""
    rng = np.random.default_rng(inner)
    cube = rng.random((6000, inner))
    axes = np.linalg.qr(rng.standard_normal((9, inner)))[0]
    inside = np.flatnonzero(((cube > 0.15) & (cube < 0.85)).all(axis=1))
    near = neighbours((cube @ axes.T).astype(np.float32), 5, rows=inside)
    found = two_nn(near)
    assert found.dimension.interval.low < inner < found.dimension.interval.high
    assert found.neighbours == 2
    wider = levina_bickel(near)
    assert wider.dimension.value == pytest.approx(inner, rel=0.06)
    width = [f.dimension.interval.high - f.dimension.interval.low for f in (found, wider)]
    assert width[1] < width[0]
    assert wider.scale == pytest.approx(float(np.median(near.distances[:, 4])))


def apart(distances):
    """Neighbours that no two faces share."""
    rows, k = np.shape(distances)
    return Neighbours(np.arange(rows), np.asarray(distances), rows + np.arange(rows * k).reshape(rows, k))


def test_dimension_is_the_formula(rng):
    distances = np.sort(rng.random((50, 4)), axis=1) + 0.1
    logs = np.array([sum(np.log(row[3] / row[j]) for j in range(3)) for row in distances])
    found = levina_bickel(apart(distances)).dimension
    assert found.value == pytest.approx((50 * 3 - 1) / logs.sum())
    relative = t.ppf(0.975, 49) * logs.std(ddof=1) / np.sqrt(50) / logs.mean()
    assert found.interval.high / found.value == pytest.approx(np.exp(relative), rel=1e-6)
    expected = 49 / np.log(distances[:, 1] / distances[:, 0]).sum()
    assert two_nn(apart(distances)).dimension.value == pytest.approx(expected)


@pytest.mark.parametrize(("inner", "k"), [(2, 2), (3, 5), (6, 10)])
def test_intervals_of_the_dimension_cover_its_mean(inner, k):
    """Rows that share neighbours are not independent: without that, 80 % of the intervals would."""
    found = []
    for seed in range(80):
        points = np.random.default_rng(seed).random((500, inner)).astype(np.float32)
        found.append(levina_bickel(neighbours(points, k)).dimension)
    mean = np.mean([one.value for one in found])
    assert sum(one.interval.low <= mean <= one.interval.high for one in found) >= 70


def test_dimension_does_not_change_with_scale(rng):
    points = curved(rng, 400)
    small, large = (two_nn(neighbours(points * np.float32(s), 2)) for s in (1, 8))
    assert small.dimension.value == pytest.approx(large.dimension.value, rel=1e-6)


def test_copies_and_lonely_faces_are_left_out(rng):
    points = curved(rng, 200)
    points[1] = points[0]
    near = neighbours(points, 3)
    near.distances[5, 2] = np.inf
    found = levina_bickel(near)
    assert found.left_out == 3
    assert found.dimension.n == 197


def test_dimension_refuses_what_it_cannot_say():
    few = two_nn(apart(np.ones((10, 2))))
    assert few.dimension.refusal == "fewer than 30 faces with 2 neighbours at a distance: 10"
    assert two_nn(apart(np.ones((40, 2)))).dimension.refusal == "all neighbours are equally far"
    assert two_nn(apart(np.zeros((40, 2)))).left_out == 40
    with pytest.raises(ValueError, match="at least 2 neighbours per face"):
        two_nn(apart(np.ones((40, 1))))
    with pytest.raises(ValueError, match="must ascend"):
        levina_bickel(apart(np.tile([2.0, 1.0], (40, 1))))
