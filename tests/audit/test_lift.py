"""Tail lift against counting, known variances, and sets whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from audit.person_makers import compared, compared_within, is_plain, pairs, population
from idsim.audit.pairs.compared import Compared
from idsim.audit.persons.lift import LiftAt, TailSide, impostor_thresholds, lift_curve, lift_entry, tail_lift
from idsim.audit.rates.dependence import pairs_of


def side(listed, scores, persons, level=0.0, metric="cosine"):
    nothing = np.empty((0, 1))
    tail = pairs(listed, scores)
    found = Compared(metric, nothing.astype(np.float32), nothing.astype(np.int64), level, tail)
    return TailSide(found, np.asarray(persons))


def at(*thresholds):
    return [LiftAt(threshold, None) for threshold in thresholds]


def drawn(rng, count, rows=100, columns=80):
    """`count` different pairs, each of its own cluster as far as chance allows."""
    places = rng.permutation(rows * columns)[:count]
    listed = np.stack([places // columns, places % columns], axis=1)
    return side(listed, rng.uniform(0, 1, count), np.arange(columns))


# --- thresholds -----------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_thresholds_keep_the_false_match_rate(rng, metric):
    vectors = rng.standard_normal((300, 12)).astype(np.float32)
    persons = np.repeat(np.arange(150), 2)
    level = 0.6 if metric == "cosine" else 3.0
    holdout = compared_within(vectors, persons, 1, level, metric)
    comparisons = pairs_of(np.full(150, 2))
    found = impostor_thresholds(holdout, comparisons, 150, [1e-2, 1e-3, 1e-5, 0.5])
    assert found[2].threshold is None
    assert "not supported by 150 persons: at least 0.00027 is (rule of 3)" in found[2].refusal
    assert "pairs of the holdout are listed" in found[3].refusal
    for point in found[:2]:
        reached = len(holdout.reaching(point.threshold).rows)
        assert reached == int(point.fmr * comparisons)


def test_a_curve_starts_at_ten_pairs_and_ends_with_all(rng):
    holdout = drawn(rng, 500)
    curve = lift_curve(holdout)
    reached = [len(holdout.compared.reaching(point.threshold).rows) for point in curve]
    assert reached[0] == 10
    assert reached[-1] == 500
    assert reached == sorted(reached)
    assert 15 < len(curve) <= 24
    assert lift_curve(drawn(rng, 9)) == []


# --- the ratio ------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_the_lift_is_the_ratio_of_shares(rng, metric):
    synthetic, training, holdout = (rng.standard_normal((n, 8)).astype(np.float32) for n in (120, 90, 140))
    level = 0.3 if metric == "cosine" else 3.2
    thresholds = [0.5, 0.3, 0.7] if metric == "cosine" else [2.5, 3.2, 2.9]
    sides = [
        TailSide(compared(synthetic, real, 1, level, metric), np.arange(len(real)))
        for real in (training, holdout)
    ]
    found = tail_lift(*sides, np.arange(120), at(*thresholds), 200, rng)
    for lift, threshold in zip(found, thresholds, strict=True):
        counts = [len(one.compared.reaching(threshold).rows) for one in sides]
        assert lift.pairs == tuple(counts)
        assert lift.compared == (120 * 90, 120 * 140)
        assert lift.lift == pytest.approx(counts[0] / (120 * 90) / (counts[1] / (120 * 140)))
        assert lift.interval.low < lift.lift < lift.interval.high
        found_rows = sides[0].compared.reaching(threshold)
        assert lift.clusters[0] == len(np.unique(found_rows.rows))
        assert lift.persons[0] == len(np.unique(found_rows.columns))


def test_independent_pairs_have_the_spread_of_counts(rng):
    """log of a ratio of two Poisson counts: variance 1/a + 1/b."""
    training, holdout = drawn(rng, 60, 600, 500), drawn(rng, 30, 600, 500)
    (found,) = tail_lift(training, holdout, np.arange(600), at(0.0), 6000, rng)
    spread = np.log(found.interval.high / found.interval.low) / (2 * 1.96)
    assert found.lift == pytest.approx(2)
    assert spread == pytest.approx(np.sqrt(1 / 60 + 1 / 30), rel=0.1)


def test_a_hub_widens_the_interval(rng):
    clusters, spread = np.arange(600), []
    holdout = drawn(rng, 60, 600, 500)
    for people in (np.arange(60), np.zeros(60, np.int64)):
        training = side(np.stack([np.arange(60), people], axis=1), np.ones(60), np.arange(500))
        (found,) = tail_lift(training, holdout, clusters, at(0.0), 2000, rng)
        spread.append(np.log(found.interval.high / found.interval.low))
        assert bool(found.flags) == (people[1] == 0)
    assert spread[1] > 3 * spread[0]


def test_groups_of_units_keep_the_spread(rng, monkeypatch):
    training, holdout = drawn(rng, 300, 600, 500), drawn(rng, 200, 600, 500)
    spread = []
    for groups in (4096, 150):
        monkeypatch.setattr("idsim.audit.persons.lift.MOST_GROUPS", groups)
        (found,) = tail_lift(training, holdout, np.arange(600), at(0.2), 3000, rng)
        spread.append(np.log(found.interval.high / found.interval.low))
    assert spread[1] == pytest.approx(spread[0], rel=0.15)


# --- refusals -------------------------------------------------------------------------------------


def test_what_cannot_be_said_is_refused(rng):
    training, holdout = drawn(rng, 200), drawn(rng, 150)
    few = float(np.sort(holdout.compared.tail.scores)[-8])
    wanted = [LiftAt(None, 1e-8, "too strict"), *at(-0.5, few, 0.5)]
    found = tail_lift(training, holdout, np.arange(100), wanted, 100, rng)
    assert [lift.lift is None for lift in found] == [True, True, True, False]
    assert found[0].refusal == "too strict"
    assert found[1].refusal == "not all pairs that reach -0.5 are listed"
    assert "8 with the holdout reach the threshold; 10 are needed" in found[2].refusal
    entry = lift_entry(found)
    assert is_plain(entry)
    assert entry[0]["fmr"] == 1e-8
    assert entry[2]["low"] is None


def test_no_pairs_at_all_are_no_error(rng):
    nothing = side([], [], np.arange(5))
    (found,) = tail_lift(nothing, nothing, np.arange(4), at(0.5), 50, rng)
    assert found.pairs == (0, 0)
    assert found.refusal
    with pytest.raises(ValueError, match="an embedding in each"):
        tail_lift(side([], [], []), nothing, np.arange(4), at(0.5), 50, rng)


# --- behaviour ------------------------------------------------------------------------------------


def test_planted_leaks_lift_the_tail_and_a_clean_set_does_not(rng):
    lifts = {}
    for leaks in (0, 60):
        vectors, labels, _ = population(persons=600, clusters=500, leaks=leaks, dim=48)
        sides = [
            TailSide(compared(vectors["synthetic"], vectors[name], 1, 0.3), labels[name])
            for name in ("training", "holdout")
        ]
        within = compared_within(vectors["holdout"], labels["holdout"], 1, 0.3)
        wanted = impostor_thresholds(within, pairs_of(np.full(600, 2)), 600, [1e-3, 1e-4])
        lifts[leaks] = tail_lift(*sides, labels["synthetic"], [*wanted, *lift_curve(sides[1])], 400, rng)
    loose, strict = lifts[60][:2]
    assert strict.lift > loose.lift > 1
    assert strict.interval.low > 1.5
    assert all(lift.interval.low < 1 < lift.interval.high for lift in lifts[0][:2])
    assert lifts[0][-1].lift == pytest.approx(1, abs=0.1)


def test_the_interval_covers_one_without_a_leak(rng):
    """Hubs among clusters and persons, the same for both sets."""
    trials, covered = 200, 0
    for _ in range(trials):
        wild, meek = rng.gamma(1.0, size=80), rng.gamma(1.0, size=200)
        mean = np.outer(wild, meek) * 400 / (80 * 200)
        counts = rng.random((80, 200)) < 1 - np.exp(-mean)
        order = rng.permutation(200)
        sides = []
        for chosen in (order[:100], order[100:]):
            listed = np.argwhere(counts[:, chosen])
            sides.append(side(listed, np.ones(len(listed)), np.arange(100)))
        (found,) = tail_lift(*sides, np.arange(80), at(0.5), 200, rng)
        covered += found.interval.low <= 1 <= found.interval.high
    assert covered / trials >= 0.9
