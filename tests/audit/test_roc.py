"""Separation of mated from impostor scores, beside SciPy and scikit-learn."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score, roc_curve

from idsim.audit.thresholds.roc import (
    ImpostorScores,
    fmr_grid,
    impostor_quantiles,
    separate,
    separation_entry,
)


@pytest.fixture
def scores(rng):
    genuine = rng.normal(0.6, 0.15, 300).astype(np.float32)
    impostor = rng.normal(0.1, 0.12, 20_000).astype(np.float32)
    return np.clip(genuine, -1, 1), np.clip(impostor, -1, 1)


def counted(impostor, metric="cosine", level=0.35, bins=512, slack=0.0):
    counts, edges = np.histogram(impostor, bins, (-1, 1) if metric == "cosine" else (0, 2))
    reach = impostor <= level if metric == "l2" else impostor >= level
    return ImpostorScores(edges, counts, impostor[reach], level, metric, slack)


def exact(impostor, metric="cosine"):
    """All scores in the tail: nothing is left open."""
    return counted(impostor, metric, 10.0 if metric == "l2" else -10.0)


def grid(values):
    """Scores that stand on bin edges and tie a lot."""
    return (np.round(values * 64) / 64).astype(np.float32)


def truth(genuine, impostor):
    labels = np.repeat([1, 0], [len(genuine), len(impostor)])
    both = np.concatenate([genuine, impostor])
    fpr, tpr, _ = roc_curve(labels, both, drop_intermediate=False)
    crossing = np.interp(0.0, fpr - (1 - tpr), fpr)
    return roc_auc_score(labels, both), crossing, stats.ks_2samp(genuine, impostor).statistic


@pytest.mark.parametrize("change", [lambda values: values, grid])
def test_exact_scores_give_the_numbers_of_scikit_learn(scores, change):
    genuine, impostor = map(change, scores)
    auc, eer, ks = truth(genuine, impostor)
    found = separate(genuine, np.arange(300), exact(impostor), [])
    assert found.auc == pytest.approx((auc, auc, auc))
    assert found.ks == pytest.approx((ks, ks, ks))
    assert found.eer.low <= eer <= found.eer.high
    # All that is left between the limits is one step of either curve.
    if change is not grid:
        assert found.eer.high - found.eer.low <= 1 / 300 + 1e-9


@pytest.mark.parametrize("change", [lambda values: values, grid])
@pytest.mark.parametrize("slack", [0.0, 0.01])
@pytest.mark.parametrize("bins", [16, 512])
def test_brackets_of_bins_hold_the_exact_numbers(rng, scores, change, slack, bins):
    genuine, impostor = map(change, scores)
    binned = impostor + np.where(impostor < 0.35, rng.uniform(-slack, slack, len(impostor)), 0)
    counts, edges = np.histogram(binned, bins, (-1.1, 1.1))
    given = ImpostorScores(edges, counts, impostor[impostor >= 0.35], 0.35, slack=slack)
    auc, eer, ks = truth(genuine, impostor)
    found = separate(genuine, np.arange(300), given, [])
    for bracket, value in ((found.auc, auc), (found.eer, eer), (found.ks, ks)):
        assert bracket.low <= value + 1e-12
        assert value <= bracket.high + 1e-12
        assert bracket.low <= bracket.value <= bracket.high
    if bins == 512 and not slack:
        assert found.auc.high - found.auc.low < 2e-3


def test_d_prime_is_the_formula(scores):
    genuine, impostor = scores
    expected = (genuine.mean() - impostor.mean()) / math.sqrt((genuine.var() + impostor.var()) / 2)
    found = separate(genuine, np.arange(300), counted(impostor, bins=4096), [])
    assert found.d_prime == pytest.approx(expected, rel=1e-3)


def test_points_are_the_error_trade_off(scores):
    genuine, impostor = scores
    rates = fmr_grid(1e-3, 2)
    assert rates == pytest.approx([1, 0.316228, 0.1, 0.0316228, 0.01, 0.00316228, 0.001])
    found = separate(genuine, np.arange(300), counted(impostor), rates)
    for point in found.points:
        true_fmr = (impostor.astype(np.float64) >= point.threshold).mean()
        assert point.fmr.low <= true_fmr <= point.fmr.high <= point.target
        assert point.fnmr == (genuine.astype(np.float64) < point.threshold).mean()
        assert point.interval.low <= point.fnmr <= point.interval.high
    tail = [point for point in found.points if point.threshold >= 0.35]
    assert len(tail) >= 2
    for point in tail:  # the loosest float32 number that keeps the target
        assert point.fmr.low == point.fmr.high
        looser = np.nextafter(np.float32(point.threshold), np.float32(-1))
        assert (impostor >= looser).mean() > point.target


def test_distances_are_mirrored_scores(scores):
    genuine, impostor = (grid(1 - values) for values in scores)
    assert 0 <= impostor.min() < impostor.max() <= 2
    distances = separate(genuine, np.arange(300), counted(impostor, "l2", 0.65), [0.1, 0.001])
    mirrored = separate(1 - genuine, np.arange(300), counted(grid(1 - impostor)), [0.1, 0.001])
    auc, eer, ks = truth(-genuine, -impostor)
    for bracket, value in ((distances.auc, auc), (distances.eer, eer), (distances.ks, ks)):
        assert bracket.low - 1e-12 <= value <= bracket.high + 1e-12
    assert distances.d_prime == pytest.approx(mirrored.d_prime, rel=0.05)
    for ours, theirs in zip(distances.points, mirrored.points, strict=True):
        assert (impostor.astype(np.float64) <= ours.threshold).mean() <= ours.target
        assert ours.fnmr == pytest.approx(theirs.fnmr, abs=0.02)
    assert distances.points[1].threshold < distances.points[0].threshold


def test_persons_with_many_comparisons_widen_the_intervals(scores):
    genuine, impostor = scores
    genuine = np.sort(genuine)
    apart = separate(genuine, np.arange(300), exact(impostor), [0.001])
    few = separate(genuine, np.arange(300) // 30, exact(impostor), [0.001])
    assert few.persons == 10
    for ours, theirs in (
        (few.auc_interval, apart.auc_interval),
        (few.points[0].interval, apart.points[0].interval),
    ):
        assert ours.high - ours.low > 2 * (theirs.high - theirs.low)


def test_perfect_and_blind_matchers():
    low, high = np.linspace(-0.5, 0.0, 50, dtype=np.float32), np.linspace(0.5, 0.9, 50, dtype=np.float32)
    perfect = separate(high, np.arange(50), exact(low), [0.1])
    assert perfect.auc == (1.0, 1.0, 1.0)
    assert perfect.eer == (0.0, 0.0, 0.0)
    assert perfect.ks == (1.0, 1.0, 1.0)
    assert perfect.points[0].fnmr == 0
    assert perfect.points[0].interval.high == pytest.approx(0.058, abs=0.001)
    same = np.full(50, 0.25, np.float32)
    blind = separate(same, np.arange(50), exact(same), [])
    assert blind.auc.value == 0.5
    assert blind.ks.value == 0
    assert blind.eer.high == 1  # nothing between accepting all and none: the curve has no point there
    assert separate(same[:1], np.zeros(1, np.int64), exact(low), []).auc_interval[:2] == (0.0, 1.0)


def test_constant_scores_have_no_d_prime():
    point = ImpostorScores([0.0, 0.5], [9])
    found = separate(np.full(5, 0.25, np.float32), np.arange(5), point, [])
    assert math.isnan(found.d_prime)
    assert separation_entry(found)["d_prime"] is None


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_quantiles_are_brackets(scores, metric):
    impostor = scores[1] + (1 if metric == "l2" else 0)
    given = counted(impostor, metric, 0.8 if metric == "l2" else 0.35)
    shares = [0.01, 0.5, 0.9, 0.999, 1.0]
    for share, bracket in zip(shares, impostor_quantiles(given, shares), strict=True):
        ascending = -np.sort(-impostor) if metric == "l2" else np.sort(impostor)
        value = float(ascending[math.ceil(share * len(impostor) - 1e-9) - 1])
        assert bracket.low <= value <= bracket.high
        if share >= 0.999:
            assert bracket == (value, value, value)


def test_without_mated_comparisons_nothing_is_said(scores):
    found = separate(np.empty(0, np.float32), np.empty(0, np.int64), exact(scores[1]), [])
    assert found == "no person has two images"
    assert separation_entry(found) == {"refused": "no person has two images"}


def test_the_entry_is_plain_json(scores):
    genuine, impostor = scores
    found = separate(genuine, np.arange(300), counted(impostor), fmr_grid(1e-4))
    entry = json.loads(json.dumps(separation_entry(found)))
    assert entry["auc"]["low"] <= entry["auc"]["value"]
    assert len(entry["det"]) == len(found.points) == 17


def test_bad_histograms_are_refused():
    with pytest.raises(ValueError, match="3 bins need 4 ascending edges"):
        ImpostorScores([0, 1, 2], [1, 1, 1])
    with pytest.raises(ValueError, match="2 bins need 3 ascending edges"):
        ImpostorScores([0, 1, 1], [1, 1])
    with pytest.raises(ValueError, match="no impostor comparison"):
        ImpostorScores([0, 1], [0])
