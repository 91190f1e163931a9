"""Matched galleries, bootstrap and permutation against enumeration and known variances."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from idsim.audit.rates.resampling import (
    Hits,
    bootstrap_rates,
    expected_share,
    image_counts,
    leak_rate,
    matched_draws,
    permutation_p,
    unique_hits,
)


def hits(pairs):
    rows = np.array(pairs, np.int64).reshape(-1, 2)
    return unique_hits(rows[:, 0], rows[:, 1])


def test_a_pair_counts_once():
    found = hits([(3, 1), (0, 2), (3, 1), (3, 0)])
    assert found.images.tolist() == [0, 3, 3]
    assert found.persons.tolist() == [2, 0, 1]


def test_clusters_have_equal_weight():
    weights = np.array([0.5, 0.5, 1.0])  # two images of one cluster, one of another
    assert leak_rate(hits([(0, 5)]), weights) == 0.25
    assert leak_rate(hits([(2, 5), (2, 6)]), weights) == 0.5
    assert leak_rate(hits([]), weights) == 0.0


# --- matched galleries ----------------------------------------------------------------------------


def test_galleries_that_agree_come_back_whole(rng):
    (draw,) = matched_draws(np.array([0, 0, 1]), np.array([1, 0, 1]), 100, rng)
    assert draw.training.all()
    assert draw.holdout.all()


def test_draws_have_equal_persons_and_images(rng):
    training = np.repeat(np.arange(30), rng.integers(1, 6, 30))
    holdout = np.repeat(np.arange(12), rng.integers(1, 4, 12))
    draws = matched_draws(training, holdout, 50, rng)
    assert len(draws) == 50
    for draw in draws:
        kept = [
            np.sort(np.unique(codes[keep], return_counts=True)[1])
            for codes, keep in ((training, draw.training), (holdout, draw.holdout))
        ]
        assert len(kept[0]) == 12
        assert kept[0].tolist() == kept[1].tolist()
    used = np.mean([image_counts(training[draw.training]).size > 0 for draw in draws])
    assert used == 1
    assert len({draw.training.tobytes() for draw in draws}) > 1


def test_every_person_of_the_larger_gallery_gets_a_turn(rng):
    draws = matched_draws(np.arange(10), np.arange(5), 400, rng)
    share = np.mean([draw.training for draw in draws], axis=0)
    assert np.all(np.abs(share - 0.5) < 0.12)
    assert all(draw.holdout.all() for draw in draws)


# --- bootstrap ------------------------------------------------------------------------------------


def deviations(pairs, images, persons, rng, clusters=None):
    clusters = np.arange(images) if clusters is None else clusters
    weights = 1 / np.bincount(clusters)[clusters]
    return bootstrap_rates([hits(pairs), hits([])], persons, weights, clusters, 20_000, rng)


def test_independent_hits_have_the_variance_of_a_count(rng):
    alone = deviations([(i, i) for i in range(20)], 1000, 500, rng)[0]
    assert alone.variance == pytest.approx(20 / 1000**2, rel=0.1)
    assert alone.combined().var() == pytest.approx(alone.variance, rel=0.05)
    assert abs(alone.combined().mean()) < 1e-4


def test_a_hub_has_the_variance_of_one_person(rng):
    hub = deviations([(i, 7) for i in range(20)], 1000, 500, rng)[0]
    assert hub.variance == pytest.approx(400 / 1000**2, rel=0.1)


def test_a_cluster_has_the_variance_of_one_cluster(rng):
    clusters = np.repeat(np.arange(100), 10)
    group = deviations([(i, i) for i in range(10)], 1000, 500, rng, clusters)[0]
    assert group.variance == pytest.approx(1 / 100**2, rel=0.1)


def test_an_image_with_several_hits_is_shared(rng):
    several = deviations([(i, j) for i in range(20) for j in range(5)], 1000, 500, rng)[0]
    assert several.cells == pytest.approx(100 * (1 / 5 / 1000) ** 2)


def test_no_hits_have_no_deviations(rng):
    none = deviations([], 10, 5, rng)[0]
    assert none.variance == 0
    assert not none.combined().any()


def test_both_rates_see_the_same_clusters(rng):
    same = [(i, i) for i in range(30)]
    weights = np.ones(200)
    pair = bootstrap_rates([hits(same), hits(same)], 100, weights, np.arange(200), 500, rng)
    np.testing.assert_array_equal(pair[0].clusters, pair[1].clusters)
    assert not pair[0].minus(pair[1]).clusters.any()


# --- permutation ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("persons", "size"), [(6, 2), (5, 5), (7, 6)])
def test_expected_share_by_enumeration(persons, size):
    subsets = list(combinations(range(persons), size))
    expected = [np.mean([min(subset) < h for subset in subsets]) for h in range(persons + 1)]
    np.testing.assert_allclose(expected_share(persons, size), expected, atol=1e-12)


def test_permutation_p_by_enumeration(rng):
    found = hits([(0, 0), (1, 1), (2, 0), (2, 3), (3, 4), (4, 2)])
    member = np.array([True, True, True, False, False, False])
    weights = np.array([1.0, 1.0, 0.5, 0.5, 1.0])

    def excess(members):
        labels = np.isin(np.arange(6), members)
        rates = [
            leak_rate(Hits(found.images[side], found.persons[side]), weights)
            for side in (labels[found.persons], ~labels[found.persons])
        ]
        return rates[0] - rates[1]

    observed = excess([0, 1, 2])
    exact = np.mean([excess(list(members)) >= observed - 1e-12 for members in combinations(range(6), 3)])
    p = permutation_p(found, member, np.ones(6, np.int64), weights, 20_000, rng)
    assert p == pytest.approx(exact, abs=0.015)


def test_membership_moves_inside_strata_only(rng):
    # All persons with two images are members, all with one are not: there is nothing to exchange.
    found = hits([(i, i) for i in range(5)])
    member = np.arange(10) < 5
    strata = np.where(member, 2, 1)
    assert permutation_p(found, member, strata, np.ones(20), 99, rng) == 1.0


def test_no_hits_give_no_evidence(rng):
    member = np.arange(10) < 5
    assert permutation_p(hits([]), member, np.ones(10, np.int64), np.ones(3), 99, rng) == 1.0


def test_p_is_small_for_a_leak_and_never_zero(rng):
    found = hits([(i, i) for i in range(20)])
    member = np.arange(200) < 100
    p = permutation_p(found, member, np.ones(200, np.int64), np.ones(50), 999, rng)
    assert p == 0.001


@pytest.mark.parametrize("sizes", [(60, 60), (90, 40)])
def test_p_is_uniform_without_a_leak(rng, sizes):
    """Hits fall on persons at random, hubs included; membership is random: the p-values must be uniform."""
    total = sum(sizes)
    values = []
    for _ in range(400):
        attraction = rng.gamma(0.3, size=total)
        persons = rng.choice(total, size=60, p=attraction / attraction.sum())
        found = unique_hits(rng.integers(0, 200, 60), persons)
        member = np.zeros(total, np.bool_)
        member[rng.permutation(total)[: sizes[0]]] = True
        values.append(permutation_p(found, member, np.ones(total, np.int64), np.ones(200), 199, rng))
    for level in (0.05, 0.1, 0.25, 0.5, 0.75):
        share = np.mean(np.array(values) <= level)
        # Discrete statistics make p larger, never smaller; four standard errors of 400 trials.
        assert share <= level + 4 * np.sqrt(level * (1 - level) / 400)
        assert share >= level - 0.05 - 4 * np.sqrt(level * (1 - level) / 400)
