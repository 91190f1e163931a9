"""Measures of pairs against their definitions, and intervals against what they must cover."""

from __future__ import annotations

import numpy as np
import pytest

from idsim.matchers.pair_statistics import (
    Pair,
    PairScores,
    auc,
    equal_error_rate,
    groups_of_people,
    separation,
    student_quantile,
)


def test_measures_by_their_definitions():
    rng = np.random.default_rng(0)
    same, different = rng.integers(0, 9, 40) + 2.0, rng.integers(0, 9, 60) * 1.0
    wins = (same[:, None] > different).mean() + (same[:, None] == different).mean() / 2
    assert auc(same, different) == pytest.approx(wins)
    rates = [((same < cut).mean(), (different >= cut).mean()) for cut in range(12)]
    nearest = min(rates, key=lambda pair: abs(pair[0] - pair[1]))
    assert equal_error_rate(same, different) == pytest.approx(sum(nearest) / 2)
    spread = np.sqrt((same.var() + different.var()) / 2)
    assert separation(same, different) == pytest.approx((same.mean() - different.mean()) / spread)
    assert equal_error_rate(np.array([2.0, 3.0]), np.array([0.0, 1.0])) == 0
    assert equal_error_rate(np.array([0.0, 1.0]), np.array([2.0, 3.0])) == 1


def test_people_are_joined_by_same_pairs():
    pairs = [Pair(0, 1, True), Pair(2, 3, False), Pair(1, 4, True), Pair(3, 4, False), Pair(5, 2, True)]
    assert groups_of_people(pairs).tolist() == [[0, 0], [1, 2], [0, 0], [2, 0], [1, 1]]


def test_quantiles_of_student():
    table = {(0.975, 5): 2.5706, (0.975, 10): 2.2281, (0.975, 49): 2.0096, (0.995, 9): 3.2498}
    for (probability, freedom), value in table.items():
        assert student_quantile(probability, freedom) == pytest.approx(value, rel=0.002)


def one_set(rng, people=12):
    """Return scores of pairs of four pictures a person, all of which a person's own deviation moves."""
    who = np.repeat(np.arange(people), 4)
    own = rng.normal(size=people)
    pairs = [Pair(a, b, bool(who[a] == who[b])) for a in range(len(who)) for b in range(a)]
    scores = np.array([own[who[a]] + own[who[b]] for a, b, _ in pairs]) + rng.normal(size=len(pairs)) * 0.3
    return PairScores(scores, pairs)


def test_intervals_know_that_pairs_share_people():
    rng = np.random.default_rng(1)
    sets = [one_set(rng).estimate(lambda _, different: float(different.mean())) for _ in range(120)]
    covered = np.mean([entry.low <= 0 <= entry.high for entry in sets])
    assert 0.88 <= covered <= 1
    widths = np.array([entry.high - entry.low for entry in sets])
    assert 0.7 < np.median(widths) / (2 * 2.2 * np.std([entry.value for entry in sets])) < 1.4


def test_too_few_people_have_no_interval():
    rng = np.random.default_rng(2)
    for people in (2, 3):
        estimate = one_set(rng, people).estimate(separation)
        assert np.isnan([estimate.low, estimate.high]).all()
        assert estimate.plain()["low"] is None
    assert np.isfinite(one_set(rng, 4).estimate(separation).low)


def test_differences_are_of_the_same_pairs():
    rng = np.random.default_rng(3)
    stated = one_set(rng)
    better = PairScores(stated._scores + stated._same, [Pair(0, 0, bool(same)) for same in stated._same])
    found = stated.estimate(lambda same, different: float(same.mean() - different.mean()), better)
    assert (found.value, found.low, found.high) == pytest.approx((1, 1, 1))
