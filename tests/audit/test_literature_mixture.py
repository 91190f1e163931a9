"""The likelihood gap against a plain optimum over the matrix of all distances."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.spatial.distance import cdist
from scipy.special import logsumexp

from audit.manifold_makers import curved
from idsim.audit.literature import likelihood_gap
from idsim.audit.plain_values import plain_values


def stated(synthetic, training, holdout):
    """The objective of the reference code over all pairs, minimised by L-BFGS from its starting point."""
    mean, deviation = holdout.mean(axis=0), holdout.std(axis=0, ddof=1)
    made, known, unknown = (
        (points.astype(np.float64) - mean) / deviation for points in (synthetic, training, holdout)
    )
    dim, count = made.shape[1], len(made)
    squared = cdist(known, made, "sqeuclidean")
    origin = 0.81 * ((known - known.mean(axis=0)) ** 2).sum(axis=1)

    def density(at, log_variance):
        return -0.5 * (dim * (log_variance + math.log(2 * math.pi)) + at * np.exp(-log_variance))

    def objective(values):
        logs = np.column_stack([density(squared, values[:-1]) - math.log(count), density(origin, values[-1])])
        sums = logsumexp(logs, axis=1)
        shares = np.exp(logs - sums[:, None])
        pulls = np.column_stack([squared, origin]) * np.exp(-values) - dim
        return -sums.mean() / dim, -(shares * 0.5 * pulls).mean(axis=0) / dim

    start = np.r_[np.log((squared.min(axis=0) + 1e-3) / dim), 0.0]
    found = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 3000, "ftol": 1e-13})

    def nll(points):
        logs = density(cdist(points, made, "sqeuclidean"), found.x[:-1]) - math.log(count)
        return -logsumexp(logs, axis=1).mean() / dim

    scores = density(squared.min(axis=0), found.x[:-1]) / dim
    return nll(known), nll(unknown), scores


@pytest.fixture(scope="module")
def sets():
    rng = np.random.default_rng(17)
    return tuple(curved(rng, n, dim=8, inner=4, noise=0.3) for n in (60, 150, 120))


def test_with_all_components_it_is_the_optimum_of_the_reference(sets):
    found = likelihood_gap(*sets, centres=60)
    known, unknown, scores = stated(*sets)
    assert found.nll_training == pytest.approx(known, abs=2e-3)
    assert found.nll_holdout == pytest.approx(unknown, abs=5e-3)
    assert found.gap.value == pytest.approx(100 * (known - unknown), abs=0.5)
    assert found.memorization["50"] == pytest.approx(np.percentile(scores, 50), abs=2e-2)
    assert found.converged
    assert found.bounds == pytest.approx((found.gap.value, found.gap.value))
    assert (found.training_faces, found.holdout_faces, found.centres) == (150, 120, 60)


def test_the_bounds_hold_what_the_other_components_add(sets, monkeypatch):
    from idsim.audit.literature import mixture

    fitted = []
    fit = mixture._fit
    monkeypatch.setattr(mixture, "_fit", lambda *given: fitted.append(fit(*given)) or fitted[-1])
    found = likelihood_gap(*sets, centres=6)
    mean, deviation = sets[2].mean(axis=0), sets[2].std(axis=0, ddof=1)
    made, known, unknown = ((points.astype(np.float64) - mean) / deviation for points in sets)
    widths = fitted[0][0]

    def nll(points):
        squared = cdist(points, made, "sqeuclidean")
        logs = -0.5 * (8 * (widths + math.log(2 * math.pi)) + squared * np.exp(-widths)) - math.log(len(made))
        return -logsumexp(logs, axis=1).mean() / 8

    low, high = found.bounds
    assert low - 1e-4 <= 100 * (nll(known) - nll(unknown)) <= high + 1e-4
    assert low < found.gap.value < high
    assert found.nll_training >= nll(known) - 1e-6


def test_copies_make_the_gap_negative_and_are_named(sets):
    synthetic, training, holdout = sets
    copies = np.concatenate([synthetic[:40], training[:20] + np.float32(1e-3)])
    found = likelihood_gap(copies, training, holdout)
    honest = likelihood_gap(synthetic, training, holdout)
    assert found.gap.value < honest.gap.value - 10
    assert found.memorization_scores[40:].min() > found.memorization_scores[:40].max()
    assert found.memorization["100"] == found.memorization_scores.max()
    assert "memorization_scores" not in plain_values(found)


def test_widths_fit_training_even_without_copies():
    """The gap is below 0 without leakage; with the real sets exchanged it is as much below."""
    rng = np.random.default_rng(19)
    gaps = []
    for _ in range(4):
        synthetic, training, holdout = (curved(rng, 400, dim=8, inner=4, noise=0.3) for _ in range(3))
        gaps.append(
            [
                likelihood_gap(synthetic, *pair).gap.value
                for pair in ((training, holdout), (holdout, training))
            ]
        )
    means = np.mean(gaps, axis=0)
    assert means.max() < 0
    assert abs(means[0] - means[1]) < 0.5 * abs(means.mean())


def test_a_sample_is_drawn_and_stated(sets):
    found = likelihood_gap(*sets, sample=50, rng=np.random.default_rng(1))
    assert (found.training_faces, found.holdout_faces) == (50, 50)
    again = likelihood_gap(*sets, sample=50, rng=np.random.default_rng(1))
    assert again.gap == found.gap
    with pytest.raises(ValueError, match="a sample needs an rng"):
        likelihood_gap(*sets, sample=50)
    with pytest.raises(ValueError, match="centres must be 1 or more, not 0"):
        likelihood_gap(*sets, centres=0)


def test_blocks_do_not_show(sets, monkeypatch):
    whole = likelihood_gap(*sets)
    monkeypatch.setattr("idsim.audit.literature.mixture.BLOCK_ROWS", 37)
    cut = likelihood_gap(*sets)
    assert cut.gap.value == pytest.approx(whole.gap.value, abs=1e-4)
    assert cut.bounds == pytest.approx(whole.bounds, abs=1e-4)
    assert cut.memorization_scores == pytest.approx(whole.memorization_scores, abs=1e-5)


def test_persons_widen_the_interval(sets):
    synthetic, training, holdout = sets
    alone = likelihood_gap(synthetic, np.repeat(training, 3, axis=0), holdout)
    grouped = likelihood_gap(
        synthetic, np.repeat(training, 3, axis=0), holdout, training_persons=np.repeat(np.arange(150), 3)
    )
    assert grouped.gap.value == alone.gap.value
    assert grouped.gap.groups == 150 + 120
    width = [found.gap.interval.high - found.gap.interval.low for found in (alone, grouped)]
    assert width[1] > width[0]


def test_what_cannot_be_said_is_refused(sets):
    synthetic, training, holdout = sets
    assert (
        likelihood_gap(synthetic[:5], training, holdout).gap.refusal
        == "fewer than 30 faces in a set: (5, 150, 120)"
    )
    same = likelihood_gap(synthetic, training, np.ones((50, 8), np.float32))
    assert same.gap.refusal == "all faces of the holdout are equal"
    constant = [np.column_stack([points, np.ones(len(points), np.float32)]) for points in sets]
    assert likelihood_gap(*constant).gap.value == pytest.approx(likelihood_gap(*sets).gap.value)
