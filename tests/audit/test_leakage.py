"""Leak rates on sets whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from audit.makers import face_set, unit
from idsim.audit.pairs.comparing import VectorComparisons
from idsim.audit.rates.leakage import Resampling, measure

QUICK = Resampling(bootstrap=400, permutations=999, draws=20)


def sets(rng, leaks, persons=200, clusters=150, dim=64, missing=0, holdout_persons=None):
    """Synthetic clusters of one image; the first `leaks` are near a training person each."""
    training = unit(rng.standard_normal((persons, dim)))
    holdout = unit(rng.standard_normal((holdout_persons or persons, dim)))
    synthetic = unit(rng.standard_normal((clusters, dim)))
    synthetic[:leaks] = unit(training[:leaks] + 0.05 * rng.standard_normal((leaks, dim)))
    return (
        face_set("synthetic", synthetic, missing=missing),
        face_set("training", training),
        face_set("holdout", holdout),
    )


def test_planted_leaks_are_found(rng):
    found = measure(*sets(rng, leaks=30), 0.7, VectorComparisons("cosine"), QUICK)
    assert found.training.rate == pytest.approx(30 / 150)
    assert found.training.images == found.training.clusters == 30
    assert found.holdout.rate == 0
    assert found.excess == pytest.approx(0.2)
    assert found.excess_interval.low > 0.1
    assert found.excess_interval.high < 0.3
    assert found.p_value == 0.001
    assert found.exposures[0].exposed == 30
    assert found.exposures[0].effective == pytest.approx(30)
    assert found.residual_risk == pytest.approx(0.2)
    assert found.tail_lift is None


def test_no_leak_is_an_upper_bound(rng):
    found = measure(*sets(rng, leaks=0), 0.7, VectorComparisons("cosine"), QUICK)
    assert found.excess == 0
    assert found.excess_upper == pytest.approx(1 - 0.05 ** (1 / 150))
    assert found.excess_interval.low < 0 < found.excess_interval.high
    assert found.p_value == 1.0


def test_leaks_against_both_galleries_are_no_excess(rng):
    synthetic, training, _ = sets(rng, leaks=30)
    holdout = face_set("holdout", training.vectors)
    found = measure(synthetic, training, holdout, 0.7, VectorComparisons("cosine"), QUICK)
    assert found.training.rate == found.holdout.rate == pytest.approx(0.2)
    assert found.excess == 0
    assert found.excess_interval.low < 0 < found.excess_interval.high
    assert found.tail_lift == 1


def test_failures_stay_in_the_denominator(rng):
    found = measure(*sets(rng, leaks=30, missing=50), 0.7, VectorComparisons("cosine"), QUICK)
    assert found.training.rate == pytest.approx(30 / 200)


def test_distances_count_from_below(rng):
    cosine = measure(*sets(np.random.default_rng(1), leaks=20), 0.7, VectorComparisons("cosine"), QUICK)
    distance = measure(
        *sets(np.random.default_rng(1), leaks=20), np.sqrt(2 - 2 * 0.7), VectorComparisons("l2"), QUICK
    )
    assert distance.training.rate == cosine.training.rate == pytest.approx(20 / 150)
    assert distance.p_value == cosine.p_value


def test_a_cluster_weighs_as_one(rng):
    synthetic, training, holdout = sets(rng, leaks=30)
    labels = ["leak"] * 30 + [str(row) for row in range(120)]
    grouped = face_set("synthetic", synthetic.vectors, labels)
    found = measure(grouped, training, holdout, 0.7, VectorComparisons("cosine"), QUICK)
    assert found.training.rate == pytest.approx(1 / 121)
    assert found.training.clusters == 1


def test_the_names_of_labels_do_not_matter(rng):
    synthetic, training, holdout = sets(rng, leaks=10)
    renamed = face_set("training", training.vectors, [f"z{900 - row}" for row in range(200)])
    first = measure(synthetic, training, holdout, 0.7, VectorComparisons("cosine"), QUICK)
    second = measure(synthetic, renamed, holdout, 0.7, VectorComparisons("cosine"), QUICK)
    assert first.training.rate == second.training.rate
    assert first.exposures == second.exposures


def test_a_larger_training_set_is_no_leak(rng):
    """Ten times the gallery means ten times the chance hits; matched galleries take that out."""
    synthetic, training, holdout = sets(rng, leaks=0, persons=2000, holdout_persons=200, clusters=400, dim=16)
    found = measure(
        synthetic,
        training,
        holdout,
        0.75,
        VectorComparisons("cosine"),
        Resampling(bootstrap=400, permutations=999, draws=100),
    )
    whole = found.training.images / 400
    assert whole > 4 * found.holdout.rate > 0
    assert found.draws == 100
    assert found.persons_compared == 200
    assert found.excess_interval.low < 0 < found.excess_interval.high
    assert abs(found.excess) < 0.06
    assert found.p_value > 0.01


def test_the_same_seed_gives_the_same_numbers(rng):
    given = sets(rng, leaks=12, holdout_persons=150)
    assert measure(*given, 0.6, VectorComparisons("cosine"), QUICK) == measure(
        *given, 0.6, VectorComparisons("cosine"), QUICK
    )


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "hubs"), [(0.02, False), (0.1, False), (0.1, True)])
def test_the_interval_of_the_excess_covers_the_truth(rng, rate, hubs):
    """Clusters leak with a known rate, and chance hits fall on both galleries alike, on hubs if asked."""
    dim, persons, clusters, truth = 400, 100, 150, rate
    covered = 0
    trials = 200
    for _ in range(trials):
        codes = [np.eye(dim, dtype=np.float32)[side * persons : (side + 1) * persons] for side in (0, 1)]
        synthetic = np.zeros((clusters, dim), np.float32)
        synthetic[:, 2 * persons + 1] = 1e-3
        leaking = rng.random(clusters) < rate
        victims = rng.integers(0, persons, clusters)
        synthetic[leaking, victims[leaking]] = 1
        attraction = rng.gamma(0.2 if hubs else 50.0, size=2 * persons)
        chance = ~leaking & (rng.random(clusters) < 0.1)
        drawn = rng.choice(2 * persons, clusters, p=attraction / attraction.sum())
        synthetic[chance, drawn[chance]] = 1
        found = measure(
            face_set("synthetic", synthetic),
            face_set("training", codes[0]),
            face_set("holdout", codes[1]),
            0.5,
            VectorComparisons("cosine"),
            Resampling(bootstrap=500, permutations=99),
        )
        covered += found.excess_interval.low <= truth <= found.excess_interval.high
    assert 0.90 <= covered / trials <= 0.995
