"""What could have been found: formula, counting and simulation agree; exact bounds agree with SciPy."""

from __future__ import annotations

import json
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
from scipy import stats

from idsim.audit.rates.excess import Gallery, Resampling, measure_excess
from idsim.audit.rates.resampling import permutation_p, unique_hits
from idsim.audit.significance.power import (
    binomial_limit,
    detection_power,
    excess_power,
    fewest_persons,
    power_entry,
    smallest_detectable,
)


def test_power_by_enumeration():
    """Every pair of numbers of hits, and the conditional binomial test of each."""
    n, rate, excess = 12, 0.2, 0.35
    total = 0.0
    for x in range(n + 1):
        for y in range(n + 1):
            significant = x > 0 and stats.binomtest(x, x + y, 0.5, alternative="greater").pvalue <= 0.05
            total += significant * stats.binom.pmf(x, n, rate + excess) * stats.binom.pmf(y, n, rate)
    assert detection_power(n, rate, excess, 0.05) == pytest.approx(total, abs=1e-8)


@pytest.mark.parametrize(("clusters", "rate"), [(100, 0.0), (1000, 0.01), (1500, 0.1), (5000, 0.3)])
def test_smallest_detectable_has_the_power_in_simulation(rng, clusters, rate):
    excess = smallest_detectable(clusters, rate, 0.025, 0.8)
    x = rng.binomial(clusters, rate + excess, 20_000)
    y = rng.binomial(clusters, rate, 20_000)
    found = (stats.binom.sf(x - 1, x + y, 0.5) <= 0.025).mean()
    assert found == pytest.approx(0.8, abs=0.02)


def test_the_approximation_solves_its_equation():
    n, p = 40_000, 0.05
    x = smallest_detectable(n, p, 0.025, 0.9)
    z = [NormalDist().inv_cdf(q) for q in (0.975, 0.9)]
    right = z[0] * np.sqrt((2 * p + x) / n) + z[1] * np.sqrt((p * (1 - p) + (p + x) * (1 - p - x)) / n)
    assert x == pytest.approx(right, rel=1e-5)


def test_power_is_that_of_the_permutation_test(rng):
    """Hits on persons at random, p by exchange of membership among 2,000: found as often as foreseen."""
    n, rate, excess, found = 150, 0.05, 0.1, 0
    member = np.arange(2000) < 1000
    for _ in range(300):
        hit = [np.flatnonzero(rng.random(n) < chance) for chance in (rate + excess, rate)]
        persons = [
            rng.choice(1000, len(images), replace=False) + 1000 * side for side, images in enumerate(hit)
        ]
        hits = unique_hits(np.concatenate(hit), np.concatenate(persons))
        found += permutation_p(hits, member, np.ones(2000, np.int64), np.ones(n), 199, rng) <= 0.05
    expected = detection_power(n, rate, excess, 0.05)
    assert 0.6 < expected < 0.95
    assert found / 300 == pytest.approx(expected, abs=0.1)


def test_counting_and_the_approximation_meet():
    """400 expected chance hits lie between them."""
    counted = smallest_detectable(1999, 0.1, 0.025, 0.8)
    approximate = smallest_detectable(2000, 0.1, 0.025, 0.8)
    assert approximate == pytest.approx(counted, rel=0.05)


def test_more_clusters_find_less():
    sizes = [smallest_detectable(n, 0.02) for n in (50, 200, 1000, 5000, 50_000, 1_000_000)]
    assert sizes == sorted(sizes, reverse=True)
    assert smallest_detectable(1000, 0.02, 0.01) > smallest_detectable(1000, 0.02, 0.05)
    assert smallest_detectable(1000, 0.02, power=0.95) > smallest_detectable(1000, 0.02, power=0.8)
    assert smallest_detectable(1000, 0.0, least=30) > smallest_detectable(1000, 0.0, least=5)


def test_too_few_clusters_find_nothing():
    assert smallest_detectable(4, 0.0) is None  # 2^-4 is not below 5 %
    assert smallest_detectable(5, 0.0, power=0.8) == pytest.approx(0.8 ** (1 / 5), rel=1e-5)
    assert smallest_detectable(300, 0.0, least=301) is None
    assert smallest_detectable(3000, 0.999, 0.05, 0.8) is None


def test_fewest_persons_by_permutation(rng):
    for sizes in ((6, 6), (10, 4), (100, 100)):
        least = fewest_persons(*sizes)
        total = sum(sizes)
        for hit in (least - 1, least):
            chance = stats.hypergeom.sf(hit - 1, total, sizes[0], hit)
            assert (chance <= 0.05) == (hit == least)
    # The test of the scan comes to the same end.
    member = np.arange(200) < 100
    for hit in (4, 5):
        hits = unique_hits(np.arange(hit), np.arange(hit))
        p = permutation_p(hits, member, np.ones(200, np.int64), np.ones(50), 9999, rng)
        assert (p <= 0.05) == (hit == fewest_persons(100, 100))


def test_no_number_of_persons_is_enough():
    assert fewest_persons(1, 1) is None
    assert fewest_persons(50, 0) is None
    assert fewest_persons(1, 30) == 1


@pytest.mark.parametrize(("events", "n"), [(0, 10), (1, 10), (3, 500), (99, 100), (100, 100)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_exact_bound_of_scipy(events, n, confidence):
    # The one-sided bound is the upper limit of a two-sided interval that leaves out twice as much.
    interval = stats.binomtest(events, n).proportion_ci(2 * confidence - 1, "exact")
    assert binomial_limit(events, n, confidence) == pytest.approx(interval.high, rel=1e-7)


def excess_of(training, holdout, clusters=300, persons=200):
    galleries = [
        Gallery(np.arange(persons), np.arange(count), np.arange(count) % persons)
        for count in (training, holdout)
    ]
    return measure_excess(galleries, np.arange(clusters), Resampling(bootstrap=400, permutations=199))


def test_report_when_nothing_is_found():
    found = excess_power(excess_of(0, 0), (200, 200), 9999)
    assert found.exact_upper
    assert found.upper == pytest.approx(1 - 0.05 ** (1 / 300))
    assert (found.effective_clusters, found.design_effect) == (300, 1)
    assert found.fewest_persons == fewest_persons(200, 200, 0.025) == 6
    assert found.detectable == pytest.approx(smallest_detectable(300, 0.0, 0.025, 0.8, 6))
    # Six of 300 with 80 % power.
    assert stats.binom.sf(5, 300, found.detectable) == pytest.approx(0.8, abs=1e-3)
    assert found.detectable_upper > found.detectable
    assert "at most 0.994 %" in found.sentence
    json.dumps(power_entry(found), allow_nan=False)


def test_report_beside_chance_hits():
    excess = excess_of(20, 10)
    found = excess_power(excess, (200, 200), 9999)
    assert not found.exact_upper
    assert found.rate_holdout == pytest.approx(10 / 300)
    assert found.detectable == pytest.approx(
        smallest_detectable(round(excess.holdout.effective_clusters), 10 / 300, 0.025, 0.8, 6)
    )
    dependent = replace(excess, holdout=replace(excess.holdout, effective_clusters=30.0))
    assert excess_power(dependent, (200, 200), 9999).design_effect == 10
    assert excess_power(dependent, (200, 200), 9999).detectable > found.detectable


def test_report_of_a_test_that_cannot_find():
    few = excess_power(excess_of(0, 0), (200, 200), 19)
    assert few.fewest_persons is None
    assert few.detectable is None
    assert "no excess would be found" in few.sentence
    assert excess_power(excess_of(0, 0, persons=2), (2, 2), 9999).detectable is None
    json.dumps(power_entry(few), allow_nan=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 0.1), "clusters must be at least 1, not 0"),
        ((10, 1.0), "rate must be from 0 to below 1, not 1"),
        ((10, 0.1, 0.0), "alpha must be between 0 and 1, not 0"),
        ((10, 0.1, 0.05, 1.0), "power must be between 0 and 1, not 1"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        smallest_detectable(*arguments)


def test_other_bad_input():
    with pytest.raises(ValueError, match="the excess must be from 0 to 0.9, not 0.95"):
        detection_power(10, 0.1, 0.95)
    with pytest.raises(ValueError, match="not 5 of 4"):
        binomial_limit(5, 4)
