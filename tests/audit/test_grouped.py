"""Means and shares over groups, against closed forms and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from idsim.audit.plain_values import plain_values
from idsim.audit.rates.grouped import grouped_mean, grouped_share, grouped_variance, student_quantile
from idsim.audit.rates.intervals import wilson


@pytest.mark.parametrize("freedom", [10, 19, 39, 1000])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_student_quantile(freedom, confidence):
    assert student_quantile(confidence, freedom) == pytest.approx(
        stats.t.ppf(0.5 + confidence / 2, freedom), abs=2e-3
    )


def test_without_groups_the_mean_has_the_plain_interval(rng):
    values = rng.normal(3.0, 2.0, 200)
    found = grouped_mean(values, None, 0.95)
    expected = stats.t.interval(0.95, 199, values.mean(), values.std(ddof=1) / math.sqrt(200))
    assert found.value == pytest.approx(values.mean())
    assert found.interval[:2] == pytest.approx(expected, rel=1e-6)
    assert (found.n, found.groups) == (200, 200)


def test_copies_inside_a_group_add_no_information(rng):
    values = rng.random(50)
    once, groups = grouped_variance(values, None)
    often, same = grouped_variance(np.repeat(values, 7), np.repeat(np.arange(50), 7))
    assert often == pytest.approx(once)
    assert groups == same == 50
    flags = values > 0.6
    single = grouped_share(flags, None, 0.95)
    copied = grouped_share(np.repeat(flags, 7), np.repeat(np.arange(50), 7), 0.95)
    assert copied.interval[:2] == pytest.approx(single.interval[:2])
    assert single.interval[:2] == pytest.approx(wilson(flags.mean(), 49), rel=1e-9)


def test_shares_of_nothing_and_of_all():
    none = grouped_share(np.zeros(30, bool), np.arange(30) // 3, 0.95)
    assert none.interval.low == none.value == 0.0
    assert none.interval.high == pytest.approx(1 - 0.05 ** (1 / 10))
    every = grouped_share(np.ones(30, bool), np.arange(30) // 3, 0.95)
    assert every.interval.low == pytest.approx(0.05 ** (1 / 10))
    one = grouped_share(np.array([True, False]), np.zeros(2, np.int64), 0.95)
    assert one.interval.high - one.interval.low > 0.8  # a single group says next to nothing
    empty = grouped_share(np.zeros(0, bool), None, 0.95)
    assert empty.value is None
    assert empty.refusal == "there are no samples"


def test_interval_of_a_share_covers_with_groups():
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(300):
        level = rng.beta(0.5, 1.5, 60)  # groups that differ much
        flags = rng.random((60, 8)) < level[:, None]
        found = grouped_share(flags.ravel(), np.repeat(np.arange(60), 8), 0.95)
        covered += found.interval.low <= 0.25 <= found.interval.high
    assert 275 <= covered <= 297


def test_wrong_groups_are_named():
    with pytest.raises(ValueError, match=r"groups must have shape \(3,\), not \(2,\)"):
        grouped_mean(np.zeros(3), np.zeros(2, np.int64), 0.95)


def test_plain_values_are_json():
    found = plain_values(
        {
            "a": grouped_share(np.array([True, False]), None, 0.95),
            "b": [np.float32(1.5), np.int64(2), math.inf],
        }
    )
    assert found["a"]["interval"]["method"] == "Wilson with effective n over groups"
    assert found["a"]["n"] == 2
    assert found["b"] == [1.5, 2, None]
    assert plain_values(np.array([[True, False]])) == [[True, False]]
    assert isinstance(plain_values(np.array([True]))[0], bool)


def test_groups_that_all_agree_count_as_one_observation_each():
    """The variance is 0 then, of ties for instance: the groups are the independent observations."""
    found = grouped_share(np.full(12, 0.5), np.repeat(np.arange(3), 4), 0.95)
    assert found.value == 0.5
    assert found.interval[:2] == pytest.approx(wilson(0.5, 3.0, 0.95))
