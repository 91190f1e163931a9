"""The bootstrap over persons: unbiased, reproducible, and honest about what it counts more than once."""

from __future__ import annotations

import json

import numpy as np
import pytest

from idsim.audit.rates.dependence import pairs_of
from idsim.audit.thresholds.vertex_bootstrap import VertexWeights, bootstrap_entry, bootstrap_false_match_rate

SCHEMES = ["double-or-nothing", "multinomial"]


def edges(rng, persons, chance):
    return np.nonzero(np.triu(rng.random((persons, persons)) < chance, 1))


def dense_replicates(first, second, images, weights):
    """FMR* as the definition says, from a matrix of all pairs of persons."""
    errors = np.zeros((len(images), len(images)))
    np.add.at(errors, (np.minimum(first, second), np.maximum(first, second)), 1)
    sizes = np.triu(np.outer(images, images), 1)
    return [w @ errors @ w / (w @ sizes @ w) for w in weights]


def replicates_as(first, second, images, weights, monkeypatch):
    def given(self, count, rng):
        touched = np.unique(np.concatenate([first, second]))
        total = weights @ images
        return weights[:, touched], (total**2 - (weights**2) @ images**2) / 2

    monkeypatch.setattr(VertexWeights, "_draw", given)


def test_replicates_are_the_definition(rng, monkeypatch):
    images = rng.integers(1, 4, 40)
    first, second = edges(rng, 40, 0.05)
    first, second = np.repeat(first, 2)[1:], np.repeat(second, 2)[1:]
    weights = rng.integers(0, 3, (300, 40)).astype(float)
    expected = dense_replicates(first, second, images, weights)
    replicates_as(first, second, images, weights, monkeypatch)
    found = bootstrap_false_match_rate(second, first, images, rng, replicates=300)
    assert found.standard_error == pytest.approx(np.std(expected, ddof=1))
    assert found.interval[:2] == pytest.approx(np.quantile(expected, [0.025, 0.975]))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_untouched_persons_enter_as_sums(rng, scheme):
    """Weighted comparisons with most persons as sums are distributed as with every person drawn."""
    images = rng.integers(1, 4, 60)
    _, few = next(VertexWeights(images, np.arange(5), scheme).slices(40_000, 1, rng))
    _, every = next(VertexWeights(images, np.arange(60), scheme).slices(40_000, 1, rng))
    assert few.mean() == pytest.approx(every.mean(), rel=0.01)
    assert few.std() == pytest.approx(every.std(), rel=0.03)
    expected = 1.0 if scheme == "double-or-nothing" else 1 - 1 / 60
    assert every.mean() / pairs_of(images) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_mean_is_the_estimate_and_the_seed_decides(rng, scheme):
    images = np.ones(200, np.int64)
    first, second = edges(rng, 200, 0.01)
    runs = [
        bootstrap_false_match_rate(first, second, images, np.random.default_rng(seed), scheme=scheme)
        for seed in (1, 1, 2)
    ]
    assert runs[0] == runs[1] != runs[2]
    result = runs[0]
    assert result.rate == len(first) / 19_900
    assert (result.errors, result.units, result.trials) == (len(first), len(first), 19_900)
    assert result.interval.low < result.rate < result.interval.high
    assert result.flags == []


def test_rare_pairs_are_counted_three_times(rng):
    """Independent pairs: the standard error is the square root of 3 too large, as the docstring says."""
    images = np.ones(2000, np.int64)
    people = rng.permutation(2000)[:120]
    result = bootstrap_false_match_rate(people[:60], people[60:], images, rng, replicates=4000)
    independent = np.sqrt(result.rate / result.trials)
    assert result.standard_error / independent == pytest.approx(np.sqrt(3), rel=0.06)
    widths = [end.high - end.low for end in (result.interval, result.scaled, result.closed_form)]
    assert widths[0] > 1.5 * widths[1]
    assert widths[1] == pytest.approx(widths[2], rel=0.1)


def test_with_hubs_both_intervals_agree(rng):
    images = np.ones(400, np.int64)
    hubs = rng.random(400) < 0.1
    first, second = edges(rng, 400, np.where(hubs[:, None] | hubs[None, :], 0.3, 0.001))
    result = bootstrap_false_match_rate(first, second, images, rng, replicates=2000)
    width = result.interval.high - result.interval.low
    assert width == pytest.approx(result.closed_form.high - result.closed_form.low, rel=0.15)


def test_too_few_errors_are_refused(rng):
    images = np.ones(100, np.int64)
    result = bootstrap_false_match_rate(np.array([1, 1]), np.array([2, 2]), images, rng)
    assert result.interval is None
    assert "1 pairs of persons that falsely match, among 100" in result.refusal
    assert bootstrap_entry(result)["high"] is None
    assert bootstrap_entry(result)["closed_form"]["high"] > 0
    none = np.empty(0, np.int64)
    assert bootstrap_false_match_rate(none, none, images, rng).refusal
    assert bootstrap_false_match_rate(none, none, np.ones(1, np.int64), rng).refusal
    few = bootstrap_false_match_rate(np.arange(5), np.arange(5) + 10, images, rng)
    assert few.flags == ["fewer than 30 errors"]
    assert json.loads(json.dumps(bootstrap_entry(few)))["replicates"] == 2000


def test_an_unknown_scheme_is_named(rng):
    with pytest.raises(ValueError, match="double-or-nothing, multinomial, not 'jackknife'"):
        bootstrap_false_match_rate(
            np.arange(5), np.arange(5) + 10, np.ones(50, np.int64), rng, scheme="jackknife"
        )


@pytest.mark.slow
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("wolves", [True, False])
def test_the_intervals_hold_the_truth(rng, scheme, wolves):
    """Persons who differ much, and rare errors of anybody: the true rate is known."""
    covered = np.zeros(3)
    persons, truth = (120, (0.5 * (0.2 + 0.02)) ** 2) if wolves else (800, 1.5e-4)
    for _ in range(300):
        easiness = np.where(rng.random(persons) < 0.5, 0.2, 0.02)
        first, second = edges(rng, persons, np.outer(easiness, easiness) if wolves else truth)
        images = np.ones(persons, np.int64)
        found = bootstrap_false_match_rate(first, second, images, rng, replicates=500, scheme=scheme)
        for number, interval in enumerate((found.interval, found.scaled, found.closed_form)):
            covered[number] += interval.low <= truth <= interval.high
    assert covered[0] / 300 >= 0.95
    assert 0.9 <= covered[1] / 300 <= 0.99
    assert 0.92 <= covered[2] / 300 <= 0.985
