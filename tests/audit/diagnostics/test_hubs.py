"""Hubs: how hits spread over a gallery, and scores relative to their rows and columns."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from audit.makers import unit
from idsim.audit.diagnostics.hubs import (
    hub_finding,
    hub_rows,
    hub_statistics,
    k_occurrence,
    rate_without_rows,
    skewness,
)
from idsim.audit.diagnostics.normalisation import (
    ScoreStatistics,
    complete_above,
    cosine_statistics,
    mutual_proximity,
    s_norm,
)


def spread(units, columns, persons, ids=None, weights=None):
    units, columns = np.asarray(units), np.asarray(columns)
    weights = np.ones(len(units)) if weights is None else weights
    ids = np.zeros((1, 1), np.int64) if ids is None else ids
    return hub_statistics(ids, np.ones(len(ids)), units, weights, columns, np.asarray(persons))


def test_occurrence_counts_lists_and_their_weights():
    ids = np.array([[0, 2], [2, 1], [2, -1]])
    np.testing.assert_array_equal(k_occurrence(ids, 4), [1, 1, 3, 0])
    np.testing.assert_array_equal(k_occurrence(ids, 4, np.array([1, 0.5, 0.25])), [1, 0.5, 1.75, 0])


def test_skewness_is_scipys(rng):
    values = rng.gamma(0.5, size=500)
    assert skewness(values) == pytest.approx(stats.skew(values))
    assert skewness(np.full(7, 0.1)) == 0
    assert skewness(np.empty(0)) == 0


def test_a_planted_hub_is_marked_and_a_copied_person_is_not(rng):
    """Forty clusters reach one image; everybody else is reached twice at most."""
    columns = np.concatenate([np.full(40, 7), np.repeat(np.arange(10, 40), 2)])
    units = np.arange(len(columns))
    np.testing.assert_array_equal(np.flatnonzero(hub_rows(units, columns, 100)), [7])
    one_cluster = np.where(columns == 7, 0, units)
    assert not hub_rows(one_cluster, columns, 100).any()


def test_hits_that_are_dense_everywhere_make_no_hub():
    columns = np.tile(np.arange(50), 20)
    assert not hub_rows(np.arange(1000), columns, 50).any()
    assert not hub_rows(np.empty(0, np.int64), np.empty(0, np.int64), 50).any()


def test_chance_seldom_makes_hubs(rng):
    marked = [hub_rows(np.arange(2000), rng.integers(0, 2000, 2000), 2000).sum() for _ in range(50)]
    assert sum(marked) <= 1


def test_shares_and_the_effective_number_of_people():
    statistics = spread(np.arange(40), np.repeat([0, 1, 2, 3], 10), [0, 0, 1, 2])
    assert statistics.top_1_share == 0.25
    assert statistics.top_10_share == 1
    assert statistics.hit_identities == 3
    assert statistics.effective_identities == pytest.approx(1 / (0.5**2 + 0.25**2 + 0.25**2))
    even = spread(np.arange(30), np.arange(30), np.arange(30))
    assert even.effective_identities == pytest.approx(30)
    assert even.top_10_share == pytest.approx(1 / 3)


def test_a_cluster_counts_once():
    statistics = spread(np.zeros(4, int), [0, 0, 0, 0], [0, 1], weights=np.full(4, 0.25))
    assert (statistics.hits, statistics.hit_units) == (1, 1)


def test_without_hits_nothing_is_divided_by_zero():
    statistics = spread(np.empty(0, int), np.empty(0, int), [0, 1])
    assert (statistics.top_1_share, statistics.effective_identities, statistics.hubs) == (0, 0, 0)
    finding = hub_finding("training", statistics)
    assert finding.severity == "info"
    assert "No synthetic image" in finding.sentence


def test_one_image_with_a_third_of_the_hits_is_a_warning():
    columns = np.concatenate([np.full(36, 5), np.arange(10, 74)])
    statistics = spread(np.arange(100), columns, np.arange(1000))
    finding = hub_finding("training", statistics, excess=(0.1, 0.06))
    assert finding.severity == "warning"
    assert "36 %" in finding.sentence
    assert "0.06 instead of 0.1" in finding.sentence
    even = spread(np.arange(100), np.arange(100), np.arange(1000))
    assert hub_finding("training", even).severity == "info"


def test_rates_without_hubs():
    images, columns = np.array([0, 1, 1, 2]), np.array([3, 3, 4, 5])
    weights = np.array([1.0, 0.5, 0.5, 1.0])
    none = np.zeros(6, bool)
    assert rate_without_rows(images, columns, none, weights) == pytest.approx(2 / 3)
    hubs = none.copy()
    hubs[3] = True
    assert rate_without_rows(images, columns, hubs, weights) == pytest.approx(1 / 3 * 1 / 2 + 1 / 3 * 0.5)


# --- normalisation --------------------------------------------------------------------------------


@pytest.fixture
def compared(rng):
    """Two sets with all cosines, whose second one has a hub in row 0."""
    common = np.eye(1, 12)
    first = unit(rng.standard_normal((60, 12)) + 2 * common)
    second = unit(rng.standard_normal((80, 12)))
    second[0] = unit(common + 0.05 * second[:1])[0]
    return first, second, first.astype(np.float64) @ second.T.astype(np.float64)


def test_statistics_are_those_of_all_pairs(compared):
    first, second, scores = compared
    found = cosine_statistics(3 * first, second)
    np.testing.assert_allclose(found.means, scores.mean(axis=1), atol=1e-7)
    np.testing.assert_allclose(found.deviations, scores.std(axis=1), atol=1e-7)
    with pytest.raises(ValueError, match="at least one row"):
        cosine_statistics(first, second[:0])


def tail(compared, level):
    first, second, scores = compared
    rows, columns = np.nonzero(scores >= level)
    of = cosine_statistics(first, second), cosine_statistics(second, first)
    return scores[rows, columns].astype(np.float32), rows, columns, *of


def test_s_norm_is_the_mean_of_two_standard_scores(compared):
    scores, rows, columns, of_rows, of_columns = tail(compared, 0.3)
    every = compared[2]
    expected = (stats.zscore(every, axis=1) + stats.zscore(every, axis=0))[rows, columns] / 2
    np.testing.assert_allclose(s_norm(scores, rows, columns, of_rows, of_columns), expected, atol=1e-5)


def test_mutual_proximity_is_the_joint_probability(compared):
    scores, rows, columns, of_rows, of_columns = tail(compared, 0.3)
    every = compared[2]
    left = stats.norm.cdf(stats.zscore(every, axis=1))[rows, columns]
    right = stats.norm.cdf(stats.zscore(every, axis=0))[rows, columns]
    found = mutual_proximity(scores, rows, columns, of_rows, of_columns)
    np.testing.assert_allclose(found, -np.log10(1 - left * right), rtol=1e-4)


@pytest.mark.parametrize("z", [-50.0, -3.0, 0.0, 8.0, 36.9, 37.1, 60.0])
def test_mutual_proximity_keeps_its_digits_far_out(z):
    """A score z deviations above both means: 1 - MP is 2 q - q^2 with the normal tail q."""
    one = ScoreStatistics(np.zeros(1), np.ones(1))
    index = np.zeros(1, np.int64)
    found = mutual_proximity(np.array([z], np.float32), index, index, one, one)[0]
    tail = stats.norm.logsf(float(np.float32(z)))
    expected = -(tail + np.log(2 - np.exp(tail))) / np.log(10)
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_a_hub_loses_its_rank(compared):
    """Hits of the hub outnumber everybody's in raw scores, and no longer do in normalised ones."""
    scores, rows, columns, of_rows, of_columns = tail(compared, -1.0)
    best = np.argsort(-scores)[:60]
    assert (columns[best] == 0).mean() > 0.15
    for normalise in (s_norm, mutual_proximity):
        best = np.argsort(-normalise(scores, rows, columns, of_rows, of_columns))[:60]
        assert (columns[best] == 0).mean() < 0.05


def test_above_the_stated_bound_no_pair_is_missing(compared):
    scores, rows, columns, of_rows, of_columns = tail(compared, -1.0)
    bound = complete_above(0.4, of_rows, of_columns)
    normalised = s_norm(scores, rows, columns, of_rows, of_columns)
    assert normalised[scores < 0.4].max() <= bound


def test_a_row_without_spread_is_refused():
    one, flat = ScoreStatistics(np.zeros(2), np.ones(2)), ScoreStatistics(np.zeros(2), np.array([1.0, 0.0]))
    index = np.array([0, 1])
    with pytest.raises(ValueError, match="column 1 scores the same"):
        s_norm(np.ones(2, np.float32), index, index, one, flat)
