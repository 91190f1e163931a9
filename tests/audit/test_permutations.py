"""Exchange of membership against enumeration, direct recomputation, and uniform p-values."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from audit.compared_makers import compared_of, person_scores
from idsim.audit.rates.resampling import unique_hits
from idsim.audit.significance.nearest import Searches, best_among, pooled_nearest
from idsim.audit.significance.permutations import (
    Pool,
    exposure_difference,
    largest_excess,
    mean_best_difference,
    permutation_entry,
    permutation_test,
    permutation_tests,
    sum_of_members,
)


def galleries(rng, images=12, training=(0, 0, 1, 2), holdout=(0, 1, 1, 2), kept=8, **options):
    """Scores against two small galleries, and what is kept of them."""
    codes = np.array(training), np.array(holdout)
    scores = rng.random((images, len(training) + len(holdout))).astype(np.float32)
    both = (
        compared_of(scores[:, : len(training)], kept, **options),
        compared_of(scores[:, len(training) :], kept, **options),
    )
    people = np.concatenate([codes[0], codes[1] + codes[0].max() + 1])
    return scores, both, codes, people


def best_of(scores, people, members):
    """Best match of every row among members and among the others, from the whole matrix."""
    per_person = person_scores(scores.astype(np.float64), people)
    inside = np.isin(np.arange(per_person.shape[1]), members)
    return per_person[:, inside].max(axis=1), per_person[:, ~inside].max(axis=1)


def all_members(strata, member):
    """Every set of members that keeps their number in each stratum."""
    persons = range(len(member))
    for chosen in combinations(persons, int(member.sum())):
        inside = np.isin(persons, chosen)
        if all(inside[strata == s].sum() == member[strata == s].sum() for s in np.unique(strata)):
            yield list(chosen)


# --- statistics -----------------------------------------------------------------------------------


def test_statistics_are_those_of_the_whole_matrix(rng):
    scores, both, codes, people = galleries(rng)
    share = rng.random(12)
    share /= share.sum()
    nearest = pooled_nearest(*both, codes)
    for members in combinations(range(6), 3):
        first, second = best_of(scores, people, members)
        labels = np.isin(np.arange(6), members)
        mean = mean_best_difference(nearest, share)
        assert mean.values(labels[mean.people][None])[0] == pytest.approx((share * (first - second)).sum())
        distance = largest_excess(nearest, share)
        levels = np.concatenate([first, second, [np.inf]])
        excess = [(share * (first >= level)).sum() - (share * (second >= level)).sum() for level in levels]
        assert distance.values(labels[distance.people][None])[0] == pytest.approx(max(excess))


def test_largest_excess_is_the_distance_of_kolmogorov_and_smirnov(rng):
    scores, both, codes, people = galleries(rng, images=200)
    first, second = best_of(scores, people, [0, 1, 2])
    statistic = largest_excess(pooled_nearest(*both, codes), np.full(200, 1 / 200))
    # "less": the distribution function of the first lies below, that is, its values are larger.
    expected = stats.ks_2samp(first, second, alternative="less").statistic
    labels = np.arange(6) < 3
    assert statistic.values(labels[statistic.people][None])[0] == pytest.approx(expected)


def test_matches_that_were_not_kept_count_with_the_last_one(rng):
    scores, both, codes, people = galleries(rng, images=60, kept=2)
    nearest = pooled_nearest(*both, codes)
    last = np.sort(scores, axis=1)[:, -2].astype(np.float64)
    np.testing.assert_array_equal(nearest.scores[:, 1], last)
    first, second = best_of(scores, people, [0, 2, 5])
    clipped = np.maximum(first, last) - np.maximum(second, last)
    statistic = mean_best_difference(nearest, np.full(60, 1 / 60))
    labels = np.isin(np.arange(6), [0, 2, 5])[statistic.people]
    assert statistic.values(labels[None])[0] == pytest.approx(clipped.mean())


def test_distances_count_from_below(rng):
    scores, _, codes, people = galleries(rng)
    both = [compared_of(part, 8, metric="l2") for part in (scores[:, :4], scores[:, 4:])]
    first, second = best_of(-scores, people, [0, 1, 2])
    statistic = mean_best_difference(pooled_nearest(*both, codes), np.full(12, 1 / 12))
    labels = np.arange(6) < 3
    assert statistic.values(labels[statistic.people][None])[0] == pytest.approx((first - second).mean())


def test_galleries_smaller_than_what_is_kept(rng):
    scores, both, codes, people = galleries(rng, training=(0,), holdout=(0, 1), kept=5)
    nearest = pooled_nearest(*both, codes)
    assert nearest.sure == 5
    assert (nearest.persons[:, 3:] == -1).all()
    first, second = best_of(scores, people, [1])
    statistic = mean_best_difference(nearest, np.full(12, 1 / 12))
    assert statistic.people.tolist() == [0, 1, 2]
    labels = np.array([[False, True, False]])
    assert statistic.values(labels)[0] == pytest.approx((first - second).mean())


def test_best_among_some_images(rng):
    scores = rng.random((50, 9)).astype(np.float32)
    keep, persons = np.arange(9) % 2 == 0, np.array([0, 0, 0, 1, 1, 2, 2, 3, 3])
    best = best_among(compared_of(scores, 9), keep, persons)
    np.testing.assert_allclose(best.scores, scores[:, keep].max(axis=1))
    np.testing.assert_array_equal(best.ids, np.flatnonzero(keep)[scores[:, keep].argmax(axis=1)])
    ranked = np.sort(person_scores(scores[:, keep].astype(np.float64), persons[keep]), axis=1)
    np.testing.assert_allclose(best.leads, ranked[:, -1] - ranked[:, -2])
    best = best_among(compared_of(scores, 2), keep, persons)
    ranked = np.argsort(-scores, axis=1)[:, :2]
    np.testing.assert_array_equal(best.ids == -1, (ranked % 2 == 1).all(axis=1))
    assert np.isneginf(best.scores[best.ids == -1]).all()
    assert (best.leads >= 0).all()


# --- p-values -------------------------------------------------------------------------------------


def test_small_pools_are_enumerated(rng):
    scores, both, codes, people = galleries(rng)
    pool = Pool.of(*codes)
    nearest = pooled_nearest(*both, codes)
    found = permutation_test(mean_best_difference(nearest, np.full(12, 1 / 12)), pool, 999, rng)
    differences = [
        np.subtract(*best_of(scores, people, members)).mean()
        for members in all_members(pool.strata, pool.member)
    ]
    assert len(differences) == 2 * 6  # one of two persons with two images, two of four with one
    assert found.enumerated
    assert found.exchanges == len(differences)
    assert found.p_value == pytest.approx(np.mean(np.array(differences) >= found.observed - 1e-12))
    assert found.null_mean == pytest.approx(np.mean(differences))
    assert found.null_deviation == pytest.approx(np.std(differences))


def test_random_exchanges_agree_with_all_of_them(rng):
    contributions = np.array([0.5, 0.0, 1.0, 2.0, 0.0, 1.5, 0.25, 0.0, 3.0, 0.75])
    pool = Pool(np.arange(10) < 5, np.array([1, 2] * 5))
    statistic = sum_of_members("sum", contributions)
    exact = permutation_test(statistic, pool, 1000, rng)
    assert exact.enumerated
    assert exact.exchanges == 10 * 10
    rough = permutation_test(statistic, Pool(np.arange(10) < 5, pool.strata), 98, rng)
    assert not rough.enumerated
    many = np.mean([permutation_test(statistic, pool, 98, rng).p_value for _ in range(300)])
    # (1 + reached) / (b + 1) is larger than the true p by (1 - p) / (b + 1) on average.
    assert many == pytest.approx(exact.p_value + (1 - exact.p_value) / 99, abs=0.01)


def test_exposure_is_the_exact_test_of_fisher(rng):
    """Persons of one stratum are exposed or not: the exchange is the hypergeometric distribution."""
    codes = np.arange(14), np.arange(10)
    training = unique_hits(np.arange(9), np.array([0, 1, 2, 3, 4, 5, 6, 6, 6]))
    holdout = unique_hits(np.array([1, 2]), np.array([3, 4]))
    pool = Pool.of(*codes)
    statistic = exposure_difference(training, holdout, pool)
    found = permutation_test(statistic, pool, 20_000, rng)
    assert found.observed == pytest.approx(7 / 14 - 2 / 10)
    expected = stats.fisher_exact([[7, 7], [2, 8]], alternative="greater").pvalue
    assert found.p_value == pytest.approx(expected, abs=0.015)


def test_demographic_cells_are_strata():
    codes = np.array([0, 0, 1]), np.array([0, 0, 1])  # persons with two images and with one, on both sides
    assert Pool.of(*codes).exchangeable() == 4
    assert Pool.of(*codes, np.array([5, 6, 5, 6])).exchangeable() == 4
    apart = Pool.of(*codes, np.array([5, 5, 6, 6]))
    assert apart.exchangeable() == 0
    assert len(np.unique(apart.strata)) == 4


def test_planted_leaks_are_found(rng):
    training, holdout = rng.random((80, 100)) * 0.5, rng.random((80, 100)) * 0.5
    training[np.arange(16), np.arange(16)] = 0.9
    both = compared_of(training, 5), compared_of(holdout, 5)
    codes = np.arange(100), np.arange(100)
    synthetic = Searches(np.arange(90), np.arange(80))  # ten images without a face
    hits = unique_hits(np.arange(16), np.arange(16)), unique_hits(np.empty(0, int), np.empty(0, int))
    tests = permutation_tests(*both, codes, synthetic, hits, 499, rng)
    assert tests[0].p_value == 0.002
    assert tests[1].p_value < 0.05  # scores of the bulk differ by chance, which the largest of them all hides
    assert tests[2].p_value < 0.01
    assert tests[1].observed >= 16 / 90 - 1e-9
    assert tests[2].observed == pytest.approx(0.16)
    entry = permutation_entry(tests[0])
    assert entry["p"] == 0.002
    assert entry["persons_exchangeable"] == 200
    assert not entry["all_exchanges"]


@pytest.mark.parametrize("sizes", [(30, 30), (45, 20)])
def test_p_is_uniform_without_a_leak(rng, sizes):
    """Hubs, clusters and galleries of different size included."""
    values = []
    for _ in range(250):
        attraction = rng.gamma(0.5, size=sum(sizes)) * 0.3
        scores = rng.random((10, sum(sizes))).repeat(4, axis=0) + attraction
        order = rng.permutation(sum(sizes))
        both = [compared_of(scores[:, part], 4) for part in np.split(order, [sizes[0]])]
        codes = np.arange(sizes[0]), np.arange(sizes[1])
        synthetic = Searches(np.arange(10).repeat(4), np.arange(40))
        tests = permutation_tests(*both, codes, synthetic, None, 99, rng)
        values.append([test.p_value for test in tests])
    for level in (0.05, 0.1, 0.25, 0.5, 0.75):
        share = (np.array(values) <= level).mean(axis=0)
        slack = 4 * np.sqrt(level * (1 - level) / 250)
        assert (share <= level + slack).all()
        assert share[0] >= level - slack


def test_nothing_to_exchange(rng):
    pool = Pool(np.array([True, True, False]), np.array([1, 1, 2]))
    found = permutation_test(sum_of_members("sum", np.array([1.0, 2.0, 0.0])), pool, 99, rng)
    assert (found.p_value, found.exchanges, found.persons) == (1.0, 1, 0)


def test_the_same_seed_gives_the_same_numbers():
    _, both, codes, _ = galleries(
        np.random.default_rng(3), training=tuple(range(20)), holdout=tuple(range(20))
    )
    synthetic = Searches(np.arange(12), np.arange(12))
    runs = [permutation_tests(*both, codes, synthetic, None, 50, np.random.default_rng(1)) for _ in range(2)]
    assert runs[0] == runs[1]


def test_bad_input(rng):
    _, both, codes, _ = galleries(rng)
    with pytest.raises(ValueError, match="11 rows are compared with training and 12 with holdout"):
        pooled_nearest(compared_of(rng.random((11, 4))), both[1], codes)
    with pytest.raises(ValueError, match="training is compared by l2 and holdout by cosine"):
        pooled_nearest(compared_of(rng.random((12, 4)), metric="l2"), both[1], codes)
    with pytest.raises(ValueError, match="holdout has no embedding"):
        pooled_nearest(*both, (codes[0], np.empty(0, np.int64)))
    with pytest.raises(ValueError, match="6 persons and 2 cells"):
        Pool.of(*codes, np.zeros(2))


def test_pools_of_more_arrangements_than_a_float_holds_are_drawn_from():
    persons = np.arange(2000)
    pool = Pool.of(persons, persons)
    contributions = np.linspace(0.0, 1.0, 4000)
    test = permutation_test(sum_of_members("sum", contributions), pool, 9999, np.random.default_rng(0))
    assert not test.enumerated
    assert test.exchanges == 9999
