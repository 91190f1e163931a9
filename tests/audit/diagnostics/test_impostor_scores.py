"""Exact moments of impostor scores, and what they give away."""

from __future__ import annotations

import numpy as np
import pytest

from audit.makers import unit
from idsim.audit.diagnostics import impostors
from idsim.audit.diagnostics.impostors import (
    cross_mean,
    impostor_findings,
    impostor_scores,
    sampled_quantiles,
)


def all_scores(vectors, persons, metric):
    if metric == "cosine":
        rows = vectors.astype(np.float64) / np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
        scores = rows @ rows.T
    else:
        scores = ((vectors[:, None].astype(np.float64) - vectors[None].astype(np.float64)) ** 2).sum(axis=2)
    left, right = np.triu_indices(len(vectors), 1)
    apart = persons[left] != persons[right]
    return scores[left, right][apart]


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("room", [1 << 22, 64])
def test_moments_are_those_of_all_pairs(rng, metric, room, monkeypatch):
    """Persons with 1 to 9 images in 6 dimensions: both ways of taking out the pairs of one person are used."""
    monkeypatch.setattr(impostors, "SLICE_ELEMENTS", room)
    persons = rng.permutation(np.repeat(np.arange(12), [1, 1, 2, 2, 3, 4, 5, 6, 7, 8, 9, 9]))
    vectors = (rng.standard_normal((len(persons), 6)) + 0.5).astype(np.float32)
    scores = all_scores(vectors, persons, metric)
    found = impostor_scores(vectors, persons, metric)
    assert (found.persons, found.pairs) == (12, len(scores))
    assert found.mean == pytest.approx(scores.mean(), rel=1e-9)
    assert found.deviation == pytest.approx(scores.std(), rel=1e-9)
    assert found.low < found.mean < found.high


def test_scale_and_order_do_not_matter(rng):
    vectors, persons = rng.standard_normal((40, 8)).astype(np.float32), np.repeat(np.arange(20), 2)
    order = rng.permutation(40)
    scaled = (vectors * rng.uniform(1, 5, (40, 1))).astype(np.float32)[order]
    first, second = impostor_scores(vectors, persons), impostor_scores(scaled, persons[order])
    assert first.mean == pytest.approx(second.mean, abs=1e-7)
    assert first.deviation == pytest.approx(second.deviation, abs=1e-7)


@pytest.mark.parametrize("hubs", [0.0, 0.6])
def test_the_interval_covers_the_mean(hubs):
    """Rows share a direction to different degrees, so that pairs depend on their persons."""
    rng = np.random.default_rng(8)
    covered, spreads = 0, []
    truth = hubs**2 / 4  # the mean of s_i s_j for independent s, uniform on 0 .. hubs
    for _ in range(200):
        share = rng.uniform(0, hubs, 80)
        rest = unit(rng.standard_normal((80, 63))) * np.sqrt(1 - share**2)[:, None]
        found = impostor_scores(np.column_stack([share, rest]).astype(np.float32), np.arange(80))
        covered += found.low <= truth <= found.high
        spreads.append(found.high - found.low)
    assert 0.90 <= covered / 200 <= 1.0
    assert max(spreads) < 0.15


def test_nobody_to_compare():
    assert impostor_scores(np.ones((3, 4), np.float32), np.zeros(3, int)).mean is None
    assert impostor_scores(np.empty((0, 4), np.float32), np.empty(0, int)).pairs == 0
    few = impostor_scores(np.eye(4, dtype=np.float32), np.arange(4))
    assert (few.mean, few.low) == (0, None)


def test_bad_input():
    with pytest.raises(ValueError, match="one person each"):
        impostor_scores(np.ones((3, 4), np.float32), np.arange(2))
    with pytest.raises(ValueError, match="metric must be cosine or l2"):
        impostor_scores(np.ones((3, 4), np.float32), np.arange(3), "dot")


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_the_mean_between_sets(rng, metric):
    first, second = unit(rng.standard_normal((30, 5))), unit(rng.standard_normal((50, 5)))
    cosines = (first.astype(np.float64) @ second.T).mean()
    expected = cosines if metric == "cosine" else 2 - 2 * cosines
    assert cross_mean(first, second, metric) == pytest.approx(expected, abs=1e-7)
    assert cross_mean(first, second[:0], metric) is None


def test_sampled_quantiles_are_near_those_of_all_pairs(rng):
    vectors, persons = unit(rng.standard_normal((200, 16))), np.repeat(np.arange(100), 2)
    found = sampled_quantiles(vectors, persons, "cosine", np.random.default_rng(1), 20_000)
    every = all_scores(vectors, persons, "cosine")
    for level, value in found.items():
        assert value == pytest.approx(np.quantile(every, float(level)), abs=0.03)
    assert found == sampled_quantiles(vectors, persons, "cosine", np.random.default_rng(1), 20_000)
    assert sampled_quantiles(vectors[:1], persons[:1], "cosine", rng) == {}
    assert sampled_quantiles(vectors[:2], persons[:2], "cosine", rng) == {}


def with_mean(rng, mean, count=200, dim=64):
    common = np.zeros(dim)
    common[0] = np.sqrt(mean)
    rest = rng.standard_normal((count, dim))
    rest[:, 0] = 0
    return (common + np.sqrt(1 - mean) * unit(rest)).astype(np.float32)


def test_a_set_that_was_not_aligned_is_an_error(rng):
    means = {"synthetic": 0.62, "training": 0.02, "holdout": 0.03}
    sets = {name: impostor_scores(with_mean(rng, mean), np.arange(200)) for name, mean in means.items()}
    assert sets["synthetic"].mean == pytest.approx(0.62, abs=0.01)
    found = impostor_findings(sets, "cosine", {"synthetic": {"0.5": 0.6}})
    assert [f.severity for f in found] == ["error", "info", "info", "warning"]
    assert "not aligned" in found[0].sentence
    assert found[0].numbers["sampled_quantiles"] == {"0.5": 0.6}
    assert found[3].numbers["sets"] == ["synthetic", "holdout"]


def test_real_sets_of_different_sources_are_a_warning(rng):
    sets = {
        "training": impostor_scores(with_mean(rng, 0.02), np.arange(200)),
        "holdout": impostor_scores(with_mean(rng, 0.17), np.arange(200)),
    }
    found = impostor_findings(sets, "cosine")
    assert [(f.check, f.severity) for f in found] == [
        ("impostor scores", "info"),
        ("impostor scores", "warning"),
        ("impostor scores differ", "warning"),
    ]


def test_distances_are_only_reported(rng):
    found = impostor_findings({"holdout": impostor_scores(with_mean(rng, 0.6), np.arange(200), "l2")}, "l2")
    assert [f.severity for f in found] == ["info"]
    assert "squared distance" in found[0].sentence
