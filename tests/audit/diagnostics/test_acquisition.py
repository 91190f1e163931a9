"""Failures to acquire: per set, and between sets."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from idsim.audit.diagnostics.acquisition import acquisition, acquisition_findings, compare_acquisition
from idsim.audit.rates.intervals import newcombe, wilson


def failing(failures, items):
    return np.arange(items) < failures


def test_without_clusters_it_is_wilsons_interval():
    found = acquisition(failing(7, 200), np.arange(200))
    assert (found.rate, found.failures, found.units) == (0.035, 7, 200)
    assert found.effective_items == pytest.approx(200)
    assert found.interval[:2] == pytest.approx(wilson(0.035, 200))
    assert found.weighted_rate == found.rate


def test_the_test_is_the_pooled_one_of_two_proportions():
    first, second = (
        acquisition(failing(30, 200), np.arange(200)),
        acquisition(failing(12, 300), np.arange(300)),
    )
    found = compare_acquisition(first, second)
    table = [[30, 170], [12, 288]]
    assert found.p_value == pytest.approx(stats.chi2_contingency(table, correction=False).pvalue)
    assert found.interval[:2] == pytest.approx(newcombe(0.15, 200, 0.04, 300))
    assert found.difference == pytest.approx(0.11)
    assert compare_acquisition(second, first).p_value == pytest.approx(found.p_value)


def test_clusters_that_fail_as_a_whole_count_as_one():
    units = np.repeat(np.arange(40), 10)
    found = acquisition(np.repeat(np.arange(40) < 8, 10), units)
    assert found.rate == 0.2
    assert found.effective_items == pytest.approx(40, rel=0.03)
    low, high = acquisition(failing(80, 400), np.arange(400)).interval[:2]
    assert found.interval.low < low < high < found.interval.high


def test_a_large_cluster_weighs_as_one():
    units = np.concatenate([np.zeros(90, int), np.arange(1, 11)])
    found = acquisition(failing(90, 100), units)
    assert found.rate == 0.9
    assert found.weighted_rate == pytest.approx(1 / 11)


def test_no_failure_is_bounded_by_clusters():
    found = acquisition(np.zeros(100, bool), np.repeat(np.arange(10), 10))
    assert found.interval[:2] == pytest.approx(wilson(0, 10))
    assert compare_acquisition(found, found).p_value == 1


def test_the_clustered_test_keeps_its_level(rng):
    """Both sets fail alike; images of a cluster fail together."""
    rejected = 0
    for _ in range(400):
        sets = []
        for _ in range(2):
            clusters = rng.random(60) < 0.2
            sets.append(acquisition(np.repeat(clusters, 5), np.repeat(np.arange(60), 5)))
        rejected += compare_acquisition(*sets).p_value <= 0.05
    assert 0.02 <= rejected / 400 <= 0.09


def test_findings_grade_the_rate_and_name_the_difference():
    sets = {
        "synthetic": acquisition(failing(60, 200), np.arange(200)),
        "training": acquisition(failing(3, 300), np.arange(300)),
        "holdout": acquisition(failing(18, 300), np.arange(300)),
    }
    found = acquisition_findings(sets)
    assert [(f.check, f.severity) for f in found[:3]] == [
        ("failure to acquire", "error"),
        ("failure to acquire", "info"),
        ("failure to acquire", "warning"),
    ]
    differ = found[3:]
    assert [f.numbers["sets"] for f in differ] == [
        ["synthetic", "training"], ["synthetic", "holdout"], ["training", "holdout"]
    ]  # fmt: skip
    assert "The synthetic set has no face in 30 %" in differ[0].sentence
    assert [f.severity for f in acquisition_findings(sets, error_rate=0.5)[:1]] == ["warning"]


def test_small_or_uncertain_differences_are_no_news():
    many = {
        "training": acquisition(failing(100, 10_000), np.arange(10_000)),
        "holdout": acquisition(failing(200, 10_000), np.arange(10_000)),
    }
    assert len(acquisition_findings(many)) == 2
    few = {name: acquisition(failing(n, 20), np.arange(20)) for name, n in (("training", 1), ("holdout", 4))}
    assert len(acquisition_findings(few)) == 2


@pytest.mark.parametrize(("items", "units"), [(0, 0), (3, 2)])
def test_bad_input(items, units):
    with pytest.raises(ValueError, match="one unit each"):
        acquisition(np.zeros(items, bool), np.arange(units))
