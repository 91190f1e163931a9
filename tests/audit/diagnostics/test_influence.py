"""Leaving out each identity in turn, against doing it one by one."""

from __future__ import annotations

import numpy as np
import pytest

from idsim.audit.diagnostics.influence import (
    excess_without_persons,
    expected_excess,
    influence,
    influence_finding,
    share_with_any,
)
from idsim.audit.rates.intervals import Interval
from idsim.audit.rates.resampling import Hits, expected_share, leak_rate, unique_hits


def random_hits(rng, images, persons, count):
    return unique_hits(rng.integers(0, images, count), rng.integers(0, persons, count))


def without_person(hits, code):
    keep = hits.persons != code
    return Hits(hits.images[keep], hits.persons[keep])


@pytest.mark.parametrize(("persons", "size"), [(10, 10), (10, 3), (40, 39), (1, 1)])
def test_shares_are_those_of_the_permutation_test(persons, size):
    np.testing.assert_allclose(
        share_with_any(persons, size, persons), expected_share(persons, size), atol=1e-12
    )
    assert share_with_any(persons, 0, 0).tolist() == [0]
    with pytest.raises(ValueError, match="must be from 0 to"):
        share_with_any(persons, persons + 1, 1)


def test_equal_galleries_give_the_plain_difference(rng):
    training, holdout = random_hits(rng, 50, 20, 60), random_hits(rng, 50, 20, 15)
    weights = np.ones(50)
    plain = leak_rate(training, weights) - leak_rate(holdout, weights)
    assert expected_excess(training, holdout, (20, 20), weights) == pytest.approx(plain)


def test_unequal_galleries_give_the_mean_over_subsets(rng):
    training, holdout = random_hits(rng, 30, 24, 80), random_hits(rng, 30, 8, 10)
    weights = np.ones(30)
    means = []
    for _ in range(4000):
        kept = np.isin(training.persons, rng.permutation(24)[:8])
        means.append(len(np.unique(training.images[kept])) / 30)
    expected = np.mean(means) - leak_rate(holdout, weights)
    assert expected_excess(training, holdout, (24, 8), weights) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("persons", [(12, 12), (30, 9), (9, 30)])
def test_all_at_once_is_one_by_one(rng, persons):
    clusters = np.sort(rng.integers(0, 15, 40))
    clusters = np.unique(clusters, return_inverse=True)[1]
    weights = 1.0 / np.bincount(clusters)[clusters]
    training, holdout = random_hits(rng, 40, persons[0], 45), random_hits(rng, 40, persons[1], 25)
    found = influence(training, holdout, persons, weights, clusters)
    slow = {}
    for code in np.unique(training.persons).tolist():
        left = (persons[0] - 1, persons[1])
        slow["training person", code] = expected_excess(
            without_person(training, code), holdout, left, weights
        )
    for code in np.unique(holdout.persons).tolist():
        left = (persons[0], persons[1] - 1)
        slow["holdout person", code] = expected_excess(training, without_person(holdout, code), left, weights)
    for code in range(clusters.max() + 1):
        kept = clusters != code
        parts = [Hits(h.images[kept[h.images]], h.persons[kept[h.images]]) for h in (training, holdout)]
        scale = weights.sum() / weights[kept].sum()
        slow["synthetic cluster", code] = scale * expected_excess(*parts, persons, weights)
    assert found.excess == pytest.approx(expected_excess(training, holdout, persons, weights))
    largest = max(abs(value - found.excess) for value in slow.values())
    assert abs(found.change) == pytest.approx(largest)
    assert found.without == pytest.approx(slow[found.kind, found.code])
    hit = np.unique(clusters[np.concatenate([training.images, holdout.images])])
    known = [value for (kind, code), value in slow.items() if kind != "synthetic cluster" or code in hit]
    assert found.lowest == pytest.approx(min([*known, found.excess]))
    assert found.highest == pytest.approx(max([*known, found.excess]))


def test_an_image_that_hits_everybody(rng):
    everybody = Hits(np.zeros(4, np.int64), np.arange(4))
    nobody = Hits(np.empty(0, np.int64), np.empty(0, np.int64))
    found = influence(everybody, nobody, (4, 4), np.ones(10), np.arange(10))
    assert found.excess == pytest.approx(0.1)
    assert (found.kind, found.code) == ("synthetic cluster", 0)
    assert found.without == pytest.approx(0)


def test_one_person_behind_all_hits_changes_the_verdict():
    training = Hits(np.arange(20), np.full(20, 3))
    holdout = Hits(np.empty(0, np.int64), np.empty(0, np.int64))
    found = influence(training, holdout, (50, 50), np.ones(100), np.arange(100))
    assert (found.kind, found.code, found.without) == ("training person", 3, pytest.approx(0))
    finding = influence_finding(found, Interval(0.1, 0.3, "x"), "T-1a2b")
    assert finding.severity == "warning"
    assert finding.numbers["verdict_changes"] is True
    assert "training person T-1a2b" in finding.sentence


def test_hits_that_are_spread_hang_on_nobody():
    training = Hits(np.arange(20), np.arange(20))
    holdout = Hits(np.array([0]), np.array([0]))
    found = influence(training, holdout, (50, 50), np.ones(100), np.arange(100))
    assert abs(found.change) == pytest.approx(0.01, rel=0.05)
    assert influence_finding(found, Interval(0.1, 0.3, "x")).severity == "info"
    half = influence_finding(
        influence(training, holdout, (50, 50), np.ones(100), np.arange(100)), Interval(-0.01, 0.3, "x")
    )
    assert half.numbers["verdict_changes"] is False


def test_no_hit_at_all():
    nothing = Hits(np.empty(0, np.int64), np.empty(0, np.int64))
    found = influence(nothing, nothing, (5, 5), np.ones(10), np.arange(10))
    assert (found.kind, found.change) == ("", 0)
    assert influence_finding(found, Interval(-0.1, 0.1, "x")).severity == "info"


def test_dropping_overlapping_people_raises_the_excess(rng):
    training = Hits(np.arange(10), np.arange(10))
    holdout = Hits(np.arange(6), np.arange(6))
    weights = np.ones(100)
    assert expected_excess(training, holdout, (20, 20), weights) == pytest.approx(0.04)
    after = excess_without_persons(training, holdout, (20, 20), weights, np.arange(6))
    assert after == pytest.approx(0.1 * 14 / 20)
