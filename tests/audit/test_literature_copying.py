"""The data-copying statistic and its cells, against SciPy and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import mannwhitneyu
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score, roc_auc_score
from sklearn.neighbors import NearestNeighbors

from audit.manifold_makers import curved
from idsim.audit.literature import Partition, copying_cells, data_copying, k_means, partition, principal_axes
from idsim.audit.plain_values import plain_values


def stated(synthetic, holdout, synthetic_cells, holdout_cells):
    """``C_T`` cell by cell, with SciPy's U."""
    total = weights = 0.0
    for cell in np.unique(holdout_cells):
        one, other = synthetic[synthetic_cells == cell], holdout[holdout_cells == cell]
        m, n = len(one), len(other)
        if m <= 20:
            continue
        u = mannwhitneyu(one, other, alternative="less").statistic
        z = (u - (m * n / 2 - 0.5)) / np.sqrt(m * n * (m + n + 1) / 12)
        total, weights = total + n / len(holdout) * z, weights + n / len(holdout)
    return total / weights


def test_the_statistic_is_that_of_the_paper(rng):
    synthetic, holdout = rng.integers(0, 60, 400).astype(float), rng.integers(5, 70, 300).astype(float)
    cells = [np.sort(rng.integers(0, 4, n)) for n in (400, 300)]
    cells[0][cells[0] == 3] = 0
    cells[0][:15] = 3  # too few synthetic faces
    found = data_copying(synthetic, holdout, synthetic_cells=cells[0], holdout_cells=cells[1])
    assert found.statistic.value == pytest.approx(stated(synthetic, holdout, *cells))
    assert [cell.synthetic for cell in found.cells][3] == 15
    assert found.cells[3].z is None
    one = data_copying(synthetic, holdout)
    labels = np.repeat([1, 0], [400, 300])
    assert one.farther.value == pytest.approx(roc_auc_score(labels, np.r_[synthetic, holdout]))
    assert plain_values(one)["cells"][0]["holdout"] == 300


def test_intervals_cover_without_copying_and_with_groups():
    rng = np.random.default_rng(12)
    covered = [0, 0]
    for _ in range(300):
        level = rng.normal(0, 1, 60)
        synthetic = np.repeat(level, 5) + rng.normal(0, 0.5, 300)
        holdout = rng.normal(0, np.sqrt(1.25), 200)
        found = data_copying(synthetic, holdout, clusters=np.arange(300) // 5)
        for which, (part, truth) in enumerate(((found.farther, 0.5), (found.statistic, 0.0))):
            covered[which] += part.interval.low <= truth <= part.interval.high
    assert min(covered) >= 272
    assert max(covered) <= 298


def test_copies_are_seen_and_far_faces_too(rng):
    training, holdout = curved(rng, 600), curved(rng, 300)
    copies = training[:300] + 0.02 * curved(rng, 300)
    copied = copying_cells(copies, training, holdout, rng)
    assert copied.statistic.interval.high < 0
    assert copied.farther.value < 0.1
    plain = copying_cells(curved(rng, 300), training, holdout, rng)
    assert plain.farther.interval.low < 0.5 < plain.farther.interval.high
    far = copying_cells(1.5 * curved(rng, 300) + np.float32(2), training, holdout, rng)
    assert far.statistic.interval.low > 0


def test_cells_and_distances_are_those_of_sklearn():
    """Well separated people, so that k-means has one answer."""
    rng = np.random.default_rng(14)
    centres = 12 * rng.standard_normal((3, 30))
    synthetic, training, holdout = (
        (centres[rng.integers(0, 3, n)] + rng.standard_normal((n, 30))).astype(np.float32)
        for n in (200, 500, 250)
    )
    pca = PCA(n_components=8, svd_solver="full").fit(training)
    projected = [pca.transform(points) for points in (synthetic, training, holdout)]
    model = KMeans(3, n_init=10, random_state=0).fit(projected[1])
    cells = [model.predict(points) for points in projected]
    near = []
    for points, place in ((projected[0], cells[0]), (projected[2], cells[2])):
        result = np.empty(len(points))
        for cell in range(3):
            tree = NearestNeighbors(n_neighbors=1).fit(projected[1][cells[1] == cell])
            result[place == cell] = tree.kneighbors(points[place == cell])[0][:, 0]
        near.append(result)
    found = copying_cells(synthetic, training, holdout, rng, components=8)
    assert found.statistic.value == pytest.approx(stated(*near, cells[0], cells[2]), abs=0.02)


@pytest.mark.parametrize("rows", [400, 50])
def test_k_means_is_that_of_sklearn(rng, monkeypatch, rows):
    monkeypatch.setattr(partition, "RESTART_ROWS", rows)
    monkeypatch.setattr(partition, "BLOCK_ROWS", 64)
    centres = 6 * rng.standard_normal((4, 5))
    points = (centres[rng.integers(0, 4, 300)] + rng.standard_normal((300, 5))).astype(np.float32)
    found = k_means(points, 4, np.random.default_rng(1))
    np.testing.assert_array_equal(found, k_means(points, 4, np.random.default_rng(1)))
    model = KMeans(4, n_init=10, random_state=0).fit(points)
    cells = Partition(np.zeros(5), np.eye(5), found).cells(points)
    assert adjusted_rand_score(cells, model.labels_) == pytest.approx(1.0)


def test_principal_axes_are_those_of_sklearn(rng, monkeypatch):
    monkeypatch.setattr(partition, "BLOCK_ROWS", 37)
    points = curved(rng, 200, noise=0.1)
    mean, axes = principal_axes(points, 4)
    model = PCA(n_components=4, svd_solver="full").fit(points.astype(np.float64))
    np.testing.assert_allclose(mean, model.mean_, atol=1e-5)
    np.testing.assert_allclose(np.abs(axes.T @ model.components_.T), np.eye(4), atol=1e-5)


def test_fewer_different_points_than_cells(rng):
    points = np.repeat(curved(rng, 2), 10, axis=0)
    assert k_means(points, 3, rng).shape == (3, 24)
    with pytest.raises(ValueError, match="cells must be from 1 to the number of points, 20, not 21"):
        k_means(points, 21, rng)


def test_what_cannot_be_said_is_refused():
    few = data_copying(np.ones(20), np.ones(50))
    assert few.statistic.refusal == "no cell has more than 20 synthetic faces and a face of the holdout"
    alone = data_copying(np.full(50, np.inf), np.ones(50))
    assert alone.farther.value is None
    assert data_copying(np.ones(0), np.ones(0)).statistic.value is None
    tied = data_copying(np.ones(30), np.ones(50))
    assert tied.farther.value == 0.5
    with pytest.raises(ValueError, match=r"synthetic distances \(3,\) and cells \(2,\)"):
        data_copying(np.ones(3), np.ones(2), synthetic_cells=np.zeros(2, np.int64))
    with pytest.raises(ValueError, match="cells of holdout faces must be numbers from 0"):
        data_copying(np.ones(2), np.ones(2), holdout_cells=np.array([-1, 0]))
