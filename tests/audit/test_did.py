"""Difference in differences: arithmetic, a biased matcher, coverage, and too few events."""

from __future__ import annotations

import json

import numpy as np
import pytest

from audit.compared_makers import compared_of
from idsim.audit.rates.excess import Gallery, Resampling
from idsim.audit.significance.did import NO_PROBES, did_entry, gallery_at, measure_did
from idsim.audit.significance.nearest import Searches

QUICK = Resampling(bootstrap=1000, permutations=199, draws=20)
PERSONS = np.arange(200)


def hits(images, persons, codes=PERSONS):
    return Gallery(codes, np.asarray(images, np.int64), np.asarray(persons, np.int64))


def scattered(rng, count, images):
    """Hits on different images and persons."""
    return hits(rng.permutation(images)[:count], rng.permutation(200)[:count])


def test_the_difference_of_two_excesses(rng):
    synthetic = scattered(rng, 60, 300), scattered(rng, 15, 300)
    probes = scattered(rng, 20, 100), scattered(rng, 10, 100)
    found = measure_did(synthetic, np.arange(300), probes, np.arange(100), QUICK)
    assert found.synthetic.rate == pytest.approx(0.15)
    assert found.probes.rate == pytest.approx(0.1)
    assert found.rate == pytest.approx(0.05)
    # Independent hits: the variance of four independent shares.
    variance = sum(r * (1 - r) / n for r, n in ((0.2, 300), (0.05, 300), (0.2, 100), (0.1, 100)))
    assert found.interval.high - found.interval.low == pytest.approx(2 * 1.96 * np.sqrt(variance), rel=0.2)
    assert found.interval.method.startswith("percentiles")


def test_a_biased_matcher_is_no_leak(rng):
    """Everybody reaches training twice as often as holdout: an excess in both sets, no difference of them."""
    synthetic = scattered(rng, 90, 300), scattered(rng, 45, 300)
    probes = scattered(rng, 60, 200), scattered(rng, 30, 200)
    found = measure_did(synthetic, np.arange(300), probes, np.arange(200), QUICK)
    assert found.synthetic.interval.low > 0
    assert found.probes.interval.low > 0
    assert found.rate == pytest.approx(0.0)
    assert found.interval.low < 0 < found.interval.high
    assert found.sentence.endswith(
        "does not show that the synthetic set exceeds what the matcher does with anybody."
    )


def test_a_leak_beyond_the_bias_is_one(rng):
    synthetic = scattered(rng, 150, 300), scattered(rng, 20, 300)
    probes = scattered(rng, 20, 200), scattered(rng, 12, 200)
    found = measure_did(synthetic, np.arange(300), probes, np.arange(200), QUICK)
    assert found.interval.low > 0
    assert "not explained by a matcher" in found.sentence


def test_a_person_shared_by_both_sets_cancels(rng):
    """One hub of training takes all hits of both sets: drawing it more often changes neither difference."""
    images = np.arange(100)
    hub = hits(images, np.full(100, 7))
    synthetic = hub, hits([], [])
    same = measure_did(synthetic, np.arange(200), synthetic, np.arange(200), QUICK)
    other = hits(images, np.full(100, 8)), hits([], [])
    apart = measure_did(synthetic, np.arange(200), other, np.arange(200), QUICK)
    assert same.rate == apart.rate == 0
    width = [found.interval.high - found.interval.low for found in (same, apart)]
    assert width[0] < 0.3 * width[1]


def test_few_events_square_and_add(rng):
    synthetic = scattered(rng, 40, 300), scattered(rng, 5, 300)
    probes = scattered(rng, 2, 50), hits([], [])
    found = measure_did(synthetic, np.arange(300), probes, np.arange(50), QUICK)
    assert found.interval.method.startswith("limits of both excesses")
    one, other = found.synthetic, found.probes
    low = found.rate - np.hypot(one.rate - one.interval.low, other.interval.high - other.rate)
    assert found.interval.low == pytest.approx(low)
    silent = measure_did(synthetic, np.arange(300), (hits([], []), hits([], [])), np.arange(50), QUICK)
    assert silent.rate == silent.synthetic.rate
    assert silent.interval.low < silent.synthetic.interval.low  # 50 silent probes leave room for a bias


def test_galleries_of_different_size_are_matched(rng):
    codes = np.arange(400), np.arange(200)
    galleries = [
        (hits(rng.integers(0, 300, 120), rng.integers(0, 400, 120), codes[0]),
         hits(rng.integers(0, 300, 60), rng.integers(0, 200, 60), codes[1]))
        for _ in range(2)
    ]  # fmt: skip
    found = measure_did(galleries[0], np.arange(300), galleries[1], np.arange(300), QUICK)
    assert (found.synthetic.draws, found.synthetic.persons) == (20, 200)
    assert found.interval.low < 0 < found.interval.high


def test_the_interval_holds_the_truth(rng):
    """Bias 5 % in both sets, a leak of 10 % in one, persons who attract both."""
    covered = 0
    quick = Resampling(bootstrap=200, permutations=9)
    for _ in range(80):
        attraction = rng.gamma(1.0, size=(2, 200))
        attraction /= attraction.sum(axis=1, keepdims=True)

        def drawn(rate, images, side):
            hit = np.flatnonzero(rng.random(images) < rate)
            return hits(hit, rng.choice(200, len(hit), p=attraction[side]))

        found = measure_did(
            (drawn(0.25, 200, 0), drawn(0.1, 200, 1)),
            np.arange(200),
            (drawn(0.15, 200, 0), drawn(0.1, 200, 1)),
            np.arange(200),
            quick,
        )
        covered += found.interval.low <= 0.1 <= found.interval.high
    assert covered >= 70  # 95 % of 80 is 76, less three standard errors


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_hits_from_a_comparison(metric):
    scores = np.array([[0.9, 0.1], [0.5, 0.6]], np.float32)
    given = 1 - scores if metric == "l2" else scores
    compared = compared_of(given, 1, 0.5, metric)
    gallery = gallery_at(
        compared, 0.42 if metric == "l2" else 0.58, Searches(np.arange(4), np.array([1, 3])), np.arange(2)
    )
    assert gallery.hits().images.tolist() == [1, 3]
    assert gallery.hits().persons.tolist() == [0, 1]


def test_no_probe_set():
    assert did_entry(None) == {"rate": None, "sentence": NO_PROBES}


def test_entry_is_plain(rng):
    synthetic = scattered(rng, 60, 300), scattered(rng, 15, 300)
    entry = did_entry(measure_did(synthetic, np.arange(300), synthetic, np.arange(300), QUICK))
    json.dumps(entry, allow_nan=False)
    assert entry["excess_probes"]["rate"] == pytest.approx(0.15)


def test_other_galleries_are_refused(rng):
    synthetic = scattered(rng, 60, 300), scattered(rng, 15, 300)
    probes = synthetic[0], hits([], [], np.arange(150))
    with pytest.raises(ValueError, match="were not compared with the same holdout"):
        measure_did(synthetic, np.arange(300), probes, np.arange(300), QUICK)
