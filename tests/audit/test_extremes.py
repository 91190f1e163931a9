"""Tails beyond the data: known distributions come back, and nothing is followed too far."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy import stats

from audit.tail_makers import compared_of, symmetric
from idsim.audit.thresholds.extremes import Pareto, extrapolate, fit_pareto, fit_tail, tail_entry
from idsim.audit.thresholds.gumbel import fit_gumbel, growth_entry
from idsim.results import Pairs


def impostors(rng, persons, shape, level=0.9):
    """Pairs of persons whose scores have a generalised Pareto tail from 0 on, and the best of them."""
    pairs = persons * (persons - 1) // 2
    scores = stats.genpareto.rvs(shape, scale=0.1, size=pairs, random_state=rng).astype(np.float32)
    rows, columns = np.triu_indices(persons, 1)
    keep = scores >= np.quantile(scores, level)
    return Pairs(rows[keep], columns[keep], scores[keep]), pairs


@pytest.mark.parametrize("shape", [-0.4, -0.1, 0.0, 0.2])
def test_a_known_distribution_comes_back(rng, shape):
    excesses = np.sort(stats.genpareto.rvs(shape, scale=0.3, size=50_000, random_state=rng))
    fit = fit_pareto(excesses)
    assert fit.shape == pytest.approx(shape, abs=0.03)
    assert fit.scale == pytest.approx(0.3, rel=0.03)


@pytest.mark.parametrize("shape", [-0.3, 0.0, 0.25])
def test_the_distribution_is_that_of_scipy(shape):
    pareto, excesses = Pareto(shape, 0.2), np.linspace(0, 1, 50)
    assert pareto.survival(excesses) == pytest.approx(stats.genpareto.sf(excesses, shape, scale=0.2))
    for share in (0.5, 1e-3, 1e-6):
        assert pareto.excess(share) == pytest.approx(stats.genpareto.isf(share, shape, scale=0.2))
    assert pareto.end == (0.2 / 0.3 if shape < 0 else math.inf)


def test_weights_are_copies(rng):
    excesses = np.sort(rng.random(200))
    weights = rng.integers(0, 4, 200)
    repeated = fit_pareto(np.repeat(excesses, weights))
    assert fit_pareto(excesses, weights.astype(float)) == pytest.approx(repeated)


def test_moments_are_close_to_maximum_likelihood(rng):
    excesses = np.sort(stats.genpareto.rvs(-0.2, scale=0.1, size=5000, random_state=rng))
    shape, _, scale = stats.genpareto.fit(excesses, floc=0)
    fit = fit_pareto(excesses)
    assert fit.shape == pytest.approx(shape, abs=0.03)
    assert fit.scale == pytest.approx(scale, rel=0.04)


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_thresholds_beyond_the_data_are_those_of_the_true_tail(rng, metric):
    tail, pairs = impostors(rng, 900, -0.2)
    truth = {rate: stats.genpareto.isf(rate, -0.2, scale=0.1) for rate in (1e-6, 1e-7)}
    if metric == "l2":
        tail = tail._replace(scores=1 - tail.scores)
        truth = {rate: 1 - score for rate, score in truth.items()}
    fit = fit_tail(tail, np.arange(900), metric, pairs, rng, replicates=400)
    assert fit.exceedances == 1000
    assert fit.rate == pytest.approx(1000 / pairs)
    assert fit.shape_interval.low < -0.2 < fit.shape_interval.high
    for point in extrapolate(fit, list(truth)):
        assert point.refusal == ""
        assert 0 < point.decades <= 2
        assert point.interval.low < truth[point.target] < point.interval.high
        assert point.interval.low < point.threshold < point.interval.high
        assert fit.false_match_rate(point.threshold) == pytest.approx(point.target)
    assert fit.distance < 0.05
    with pytest.raises(ValueError, match="the fit begins at"):
        fit.false_match_rate((fit.start - 0.01) * (-1 if metric == "l2" else 1))


def test_targets_that_are_supported_or_too_far_are_refused(rng):
    tail, pairs = impostors(rng, 400, -0.2)
    fit = fit_tail(tail, np.arange(400), "cosine", pairs, rng, replicates=50)
    least = 3 / pairs
    supported, near, far, none = extrapolate(fit, [least * 1.01, least / 99, least / 101, 0.0])
    assert "supported by the comparisons themselves" in supported.refusal
    assert near.threshold is not None
    assert "2.0 decades below" in far.refusal
    assert none.threshold is None
    entry = json.loads(json.dumps(tail_entry(fit, [supported, near, far, none])))
    assert entry["extrapolated"] is True
    assert [one["extrapolated"] for one in entry["thresholds"]] == [False, True, False, False]
    assert entry["thresholds"][3]["decades_beyond"] is None


def test_pairs_of_images_of_two_persons_are_one_event(rng):
    tail, pairs = impostors(rng, 300, -0.2)
    plain = fit_tail(tail, np.arange(300), "cosine", pairs, np.random.default_rng(1), replicates=50)
    # Every person gets a second image, and every pair a lower copy.
    persons = np.concatenate([np.arange(300), np.arange(300)])
    twice = Pairs(
        np.concatenate([tail.rows, tail.rows]),
        np.concatenate([tail.columns, tail.columns + 300]),
        np.concatenate([tail.scores, tail.scores - np.float32(0.001)]),
    )
    both = fit_tail(twice, persons, "cosine", 4 * pairs, np.random.default_rng(1), replicates=50)
    assert both.pareto == plain.pareto
    assert both.exceedances == plain.exceedances
    assert both.rate < plain.rate / 2 + 1e-9


def test_tables_show_how_the_fit_depends_on_its_start(rng):
    tail, pairs = impostors(rng, 500, -0.25)
    fit = fit_tail(tail, np.arange(500), "cosine", pairs, rng, replicates=50)
    assert [count for _, count, _, _ in fit.stability] == [1000, 700, 500, 350, 250, 150, 100]
    scores = np.sort(tail.scores.astype(np.float64))
    for start, count, mean, error in fit.mean_excess:
        assert start == scores[-count]
        assert mean == pytest.approx((scores[-count:] - start).mean())
        assert error == pytest.approx((scores[-count:] - start).std() / math.sqrt(count))
    # For a Pareto tail the mean excess is a straight line of slope shape / (1 - shape).
    starts, _, means, _ = np.array(fit.mean_excess).T
    assert np.polyfit(starts, means, 1)[0] < 0


def test_what_cannot_be_fitted_says_why(rng):
    tail, pairs = impostors(rng, 60, -0.2, level=0.97)
    assert "at least 100" in fit_tail(tail, np.arange(60), "cosine", pairs, rng)
    flat = Pairs(*np.triu_indices(60, 1), np.full(1770, 0.5, np.float32))
    assert "all equal" in fit_tail(flat, np.arange(60), "cosine", pairs, rng)
    assert tail_entry("why") == {"refused": "why"}


def test_a_heavy_tail_is_flagged(rng):
    tail, pairs = impostors(rng, 400, 0.3)
    fit = fit_tail(tail, np.arange(400), "cosine", pairs, rng, replicates=100)
    assert any("positive" in flag for flag in fit.flags)
    contaminated = tail._replace(scores=tail.scores.copy())
    contaminated.scores[:3] = tail.scores.max() + 5
    worse = fit_tail(contaminated, np.arange(400), "cosine", pairs, rng, replicates=100)
    assert worse.pareto.shape > 0.3
    assert "beyond the best score there is" in extrapolate(worse, [1e-6])[0].refusal
    distances = fit_tail(contaminated._replace(scores=-contaminated.scores), np.arange(400), "l2", pairs, rng)
    assert "beyond the best score there is" in extrapolate(distances, [1e-6])[0].refusal


@pytest.mark.slow
def test_the_interval_of_a_threshold_holds_the_truth(rng):
    truth = stats.genpareto.isf(1e-6, -0.2, scale=0.1)
    covered = 0
    for _ in range(200):
        tail, pairs = impostors(rng, 500, -0.2, 0.99)
        fit = fit_tail(tail, np.arange(500), "cosine", pairs, rng, replicates=300)
        point = extrapolate(fit, [1e-6])[0]
        covered += point.interval.low <= truth <= point.interval.high
    assert covered / 200 >= 0.93


# --- best matches ---------------------------------------------------------------------------------


def best_matches(rng, persons, scale=0.03):
    scores = symmetric(rng, persons, lambda count: rng.exponential(scale, count))
    compared = compared_of(scores, np.arange(persons), k=1)
    return compared.scores[:, 0], compared.ids[:, 0]


def test_the_growth_of_an_exponential_tail_is_found(rng):
    scores, matches = best_matches(rng, 1200)
    fit = fit_gumbel(scores, matches, np.arange(1200), "cosine")
    assert fit.scale_interval.low < 0.03 < fit.scale_interval.high
    assert fit.location_interval.low < 0.03 * math.log(1199) < fit.location_interval.high
    value, interval = fit.growth(10.0)
    assert value == pytest.approx(fit.scale * math.log(10))
    assert interval.low < 0.03 * math.log(10) < interval.high
    assert fit.groups < fit.persons == 1200
    entry = json.loads(json.dumps(growth_entry(fit)))
    assert entry["standard"] is False
    assert entry["per_tenfold"]["value"] == value
    assert entry["per_doubling"]["value"] == pytest.approx(fit.scale * math.log(2))


def test_moments_agree_with_scipy(rng):
    scores = stats.gumbel_r.rvs(0.4, 0.05, size=4000, random_state=rng).astype(np.float32)
    fit = fit_gumbel(scores, np.roll(np.arange(4000), 1), np.arange(4000), "cosine")
    location, scale = stats.gumbel_r.fit(scores.astype(np.float64))
    assert fit.location == pytest.approx(location, abs=0.003)
    assert fit.scale == pytest.approx(scale, rel=0.03)
    frozen = stats.gumbel_r(fit.location, fit.scale)
    assert fit.scale * np.pi / np.sqrt(6) == pytest.approx(frozen.std())
    assert fit.distance == pytest.approx(stats.kstest(scores, frozen.cdf).statistic, abs=1 / 4000)


def test_distances_are_mirrored_scores(rng):
    scores, matches = best_matches(rng, 300)
    high = fit_gumbel(scores, matches, np.arange(300), "cosine")
    low = fit_gumbel(-scores, matches, np.arange(300), "l2")
    assert low.location == -high.location
    assert low.scale == high.scale
    assert low.location_interval[:2] == pytest.approx(
        (-high.location_interval.high, -high.location_interval.low)
    )


def test_images_of_one_person_are_one_unit(rng):
    scores, matches = best_matches(rng, 200)
    persons = np.arange(200)
    single = fit_gumbel(scores, matches, persons, "cosine")
    twice = fit_gumbel(np.tile(scores, 2), np.tile(matches, 2), np.tile(persons, 2), "cosine")
    assert twice.scale == pytest.approx(single.scale)
    assert twice.scale_interval[:2] == pytest.approx(single.scale_interval[:2], rel=0.02)


def test_best_matches_that_are_unknown_or_few_are_refused(rng):
    scores, matches = best_matches(rng, 40)
    assert "at least 30" in fit_gumbel(scores[:20], matches[:20] % 20, np.arange(20), "cosine")
    unknown = np.where(np.arange(40) < 2, -1, matches)
    assert "of 2 faces is not known" in fit_gumbel(scores, unknown, np.arange(40), "cosine")
    assert "all equal" in fit_gumbel(np.full(40, 0.5, np.float32), matches, np.arange(40), "cosine")
    assert growth_entry("why") == {"refused": "why"}
