"""Thresholds against a plain sort of all scores."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from audit.makers import unit
from idsim import reference
from idsim.audit.pairs import comparing
from idsim.audit.pairs.comparing import VectorImpostors
from idsim.audit.rates.dependence import (
    false_match_interval,
    grouped_interval,
    mass_interval,
    pairs_of,
    search_interval,
)
from idsim.audit.rates.edges import connected_components as edge_components
from idsim.audit.thresholds.calibration import Calibrator, Target, strictest


def impostors(vectors, persons, metric):
    """All scores of different persons as a matrix with NaN elsewhere, as the definition says."""
    scores = reference.score_matrix(vectors, vectors, metric).astype(np.float64)
    scores[persons[:, None] == persons[None, :]] = np.nan
    return scores


def population(rng, persons=80, images=2, dim=16):
    labels = np.repeat(np.arange(persons), images)
    vectors = rng.standard_normal((persons, dim))[labels] + 0.7 * rng.standard_normal((len(labels), dim))
    return vectors.astype(np.float32), labels.astype(np.int64)


def reaches(scores, threshold, metric):
    return scores <= threshold if metric == "l2" else scores >= threshold


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("target", [0.001, 0.01, 0.2])
def test_fmr_threshold_is_the_loosest_that_keeps_the_target(rng, metric, target):
    vectors, persons = population(rng)
    scores = impostors(vectors, persons, metric)[np.triu_indices(len(vectors), 1)]
    scores = scores[~np.isnan(scores)]
    point = Calibrator(VectorImpostors(vectors, persons, metric)).point(Target("fmr", target))
    assert point.refusal == ""
    accepted = int(reaches(scores, point.threshold, metric).sum())
    assert accepted == point.fmr.errors
    assert point.fmr.trials == len(scores) == pairs_of(np.full(80, 2))
    assert accepted <= target * len(scores)
    ordered = np.sort(scores) if metric == "l2" else -np.sort(-scores)
    looser = reaches(scores, ordered[accepted], metric).sum()
    assert looser > target * len(scores)


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_fpir_threshold_is_the_loosest_that_keeps_the_target(rng, metric):
    vectors, persons = population(rng)
    scores = impostors(vectors, persons, metric)
    best = np.nanmin(scores, axis=1) if metric == "l2" else np.nanmax(scores, axis=1)
    point = Calibrator(VectorImpostors(vectors, persons, metric)).point(Target("fpir", 0.1))
    accepted = int(reaches(best, point.threshold, metric).sum())
    assert accepted == point.fpir.errors <= 0.1 * len(best)
    ordered = np.sort(best) if metric == "l2" else -np.sort(-best)
    assert reaches(best, ordered[accepted], metric).sum() > 0.1 * len(best)
    assert point.gallery_persons == 79


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_large_sets_take_another_way_to_the_same_threshold(rng, metric, monkeypatch):
    vectors, persons = population(rng, persons=150)
    target = Target("fmr", 0.001)
    plain = Calibrator(VectorImpostors(vectors, persons, metric)).point(target)
    monkeypatch.setattr(comparing, "ALL_PAIRS", 0)
    monkeypatch.setattr(comparing, "SAMPLED_ROWS", 20)
    assert Calibrator(VectorImpostors(vectors, persons, metric)).point(target) == plain


def test_ties_are_never_split():
    scores = np.array([0.9, 0.5, 0.5, 0.5, 0.1], np.float32)
    for allowed, expected in [(0, 0), (1, 1), (2, 1), (3, 1), (4, 4)]:
        threshold = strictest(scores, allowed, "cosine")
        assert (scores.astype(np.float64) >= threshold).sum() == expected
        threshold = strictest(-scores, allowed, "l2")
        assert (-scores.astype(np.float64) <= threshold).sum() == expected


def test_targets_below_the_rule_of_three_are_refused(rng):
    vectors, persons = population(rng, persons=40)
    calibrator = Calibrator(VectorImpostors(vectors, persons, "cosine"))
    assert "rule of 3" in calibrator.point(Target("fmr", 1e-3)).refusal  # 780 pairs of persons: 3.8e-3
    assert calibrator.point(Target("fmr", 4e-3)).refusal == ""
    assert "rule of 3" in calibrator.point(Target("fpir", 0.07)).refusal  # 40 persons: 0.075
    assert calibrator.point(Target("fpir", 0.076)).refusal == ""


def test_one_person_supports_nothing_but_a_fixed_threshold(rng):
    calibrator = Calibrator(
        VectorImpostors(unit(rng.standard_normal((3, 8))), np.zeros(3, np.int64), "cosine")
    )
    assert calibrator.point(Target("fmr", 0.1)).refusal
    fixed = calibrator.point(Target("threshold", 0.4))
    assert fixed.threshold == 0.4
    assert fixed.fmr is None
    assert fixed.fpir is None


def test_searches_can_go_through_another_gallery(rng):
    vectors, persons = population(rng, persons=50)
    others, labels = population(rng, persons=60)
    impostors = VectorImpostors(vectors, persons, "cosine", (others, labels + 1000))
    point = Calibrator(impostors).point(Target("fpir", 0.1))
    best = reference.score_matrix(vectors, others, "cosine").max(axis=1).astype(np.float64)
    assert point.gallery_persons == 60
    assert point.fpir.errors == (best >= point.threshold).sum() == 10


def test_flags_of_few_errors(rng):
    vectors, persons = population(rng)
    calibrator = Calibrator(VectorImpostors(vectors, persons, "cosine"))
    assert calibrator.point(Target("threshold", 0.99)).fmr.flags == ["fewer than 3 errors"]
    assert calibrator.point(Target("fpir", 0.1)).fpir.flags == ["fewer than 30 errors"]
    assert calibrator.point(Target("fmr", 0.1)).fmr.flags == []


def test_share_at_counts_searches_that_are_as_good(rng):
    vectors, persons = population(rng)
    calibrator = Calibrator(VectorImpostors(vectors, persons, "l2"))
    best = calibrator.best_scores()
    assert calibrator.share_at(best[[0, 7]]).tolist() == [
        1 / 160 * (best <= best[0]).sum(),
        (best <= best[7]).mean(),
    ]
    assert calibrator.share_at(np.array([np.nextafter(best[0], np.float32(0))])).tolist() == [0.0]


def test_errors_of_one_person_widen_the_interval():
    images = np.ones(100, np.int64)
    first = np.zeros(20, np.int64)
    hub = false_match_interval(first, np.arange(1, 21), images, 0.95)
    spread = false_match_interval(np.arange(0, 40, 2), np.arange(1, 41, 2), images, 0.95)
    assert hub.high - hub.low > 2 * (spread.high - spread.low)


def test_equal_masses_are_errors(rng):
    images = rng.integers(1, 4, 80)
    first, second = rng.integers(0, 40, 60), rng.integers(40, 80, 60)
    rate = 60 / pairs_of(images)
    expected = false_match_interval(first, second, images, 0.9)
    for mass in (1.0, 7.0):
        found = mass_interval(first, second, np.full(60, mass), images, rate, 0.9)
        assert found[:2] == pytest.approx(expected[:2])
    uneven = np.where(np.arange(60) < 5, 20.0, 1.0)
    wide = mass_interval(first, second, uneven, images, rate, 0.9)
    assert wide.high - wide.low > expected.high - expected.low


def test_trials_of_one_group_count_as_one(rng):
    wrong = rng.random(60) < 0.3
    apart = grouped_interval(wrong, np.arange(60), 0.95, "")
    copies = grouped_interval(np.repeat(wrong, 5), np.repeat(np.arange(60), 5), 0.95, "")
    assert copies[:2] == pytest.approx(apart[:2])
    shuffled = grouped_interval(np.repeat(wrong, 5), np.arange(300), 0.95, "")
    assert shuffled.high - shuffled.low < 0.5 * (apart.high - apart.low)


def test_linked_errors_count_as_one():
    persons = np.arange(100)
    wrong = np.zeros(100, np.bool_)
    wrong[:10] = True
    mutual = search_interval(persons, wrong, np.array([1, 0, 3, 2, 5, 4, 7, 6, 9, 8]), 0.95)
    apart = search_interval(persons, wrong, np.arange(50, 60), 0.95)
    assert mutual.high - mutual.low > apart.high - apart.low


def test_connected_components_are_named_by_their_smallest_member(rng):
    assert edge_components(np.array([1, 2, 8]), np.array([2, 3, 9]), 10).tolist() == [
        0,
        1,
        1,
        1,
        4,
        5,
        6,
        7,
        8,
        8,
    ]
    first, second = rng.integers(0, 5000, (2, 3500))
    edges = coo_matrix((np.ones(3500), (first, second)), shape=(5000, 5000))
    expected = connected_components(edges, directed=False)[1]
    found = edge_components(first, second, 5000)
    smallest = np.full(expected.max() + 1, 5000)
    np.minimum.at(smallest, expected, np.arange(5000))
    assert np.array_equal(found, smallest[expected])
    chain = np.arange(999)
    assert not edge_components(chain, chain + 1, 1000).any()


@pytest.mark.slow
def test_false_match_interval_covers_the_truth_with_wolves(rng):
    """Persons differ in how often they falsely match: the true rate is known, the interval must hold it."""
    covered = trials = 0
    truth = (0.5 * (0.2 + 0.02)) ** 2
    for _ in range(400):
        easiness = np.where(rng.random(120) < 0.5, 0.2, 0.02)
        hits = np.triu(rng.random((120, 120)) < np.outer(easiness, easiness), 1)
        first, second = np.nonzero(hits)
        interval = false_match_interval(first, second, np.ones(120, np.int64), 0.95)
        trials += 1
        covered += interval.low <= truth <= interval.high
    assert 0.92 <= covered / trials <= 0.985
