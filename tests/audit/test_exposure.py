"""Exposure of persons against enumeration, SciPy, and sets whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from audit.person_makers import is_plain, pairs, population
from idsim.audit.persons.exposure import Reached, exposure_entry, gini, measure_exposure
from idsim.audit.persons.person_table import person_table, top_persons
from idsim.audit.rates.clustered import find_cells, reweighting_variance, two_way_variance
from idsim.audit.rates.strata import image_strata
from idsim.tails import pairs_above
from idsim.topk import search


def exposure(training, holdout, clusters, rng, permutations=999):
    return measure_exposure(training, holdout, clusters, int(clusters.max()) + 1, permutations, rng)


# --- cells and strata -----------------------------------------------------------------------------


def test_pairs_of_one_cluster_and_person_are_one_cell():
    cells = find_cells(pairs([(0, 0), (0, 1), (1, 1), (2, 3)]), np.array([5, 5, 1]), np.array([2, 2, 0, 0]))
    assert cells.clusters.tolist() == [1, 5]
    assert cells.persons.tolist() == [0, 2]
    assert cells.pairs.tolist() == [1, 3]


def test_the_variance_is_that_of_many_bootstraps(rng):
    units, mass = rng.integers(0, 30, 80), rng.random(80)
    sums = np.bincount(units, weights=mass, minlength=50)
    redrawn = rng.multinomial(50, np.full(50, 1 / 50), size=40_000) @ sums
    assert reweighting_variance(units, mass, 50) == pytest.approx(redrawn.var(), rel=0.03)
    assert reweighting_variance(units[:0], mass[:0], 50) == 0.0
    assert two_way_variance(3.0, 2.0, 1.5) == 3.5
    assert two_way_variance(3.0, 2.0, 4.0) == 3.0


def test_strata_have_enough_persons_of_both_sets(rng):
    training, holdout = rng.geometric(0.2, 2000), rng.geometric(0.3, 700)
    strata = image_strata(training, holdout, 30)
    assert strata.number > 5
    assert min(map(min, strata.sizes)) >= 30
    for stratum, later in zip(range(strata.number), range(1, strata.number), strict=False):
        assert training[strata.training == stratum].max() < training[strata.training == later].min()
    weights = strata.weights()
    assert weights[0].sum() == pytest.approx(1)
    for stratum in range(strata.number):
        shares = [
            side[codes == stratum].sum()
            for side, codes in zip(weights, (strata.training, strata.holdout), strict=True)
        ]
        assert shares[0] == pytest.approx(shares[1])


def test_small_sets_are_one_stratum():
    strata = image_strata(np.array([1, 2, 2]), np.array([4]))
    assert strata.number == 1
    assert "1.67 images in training and 4 in the holdout" in strata.caution
    with pytest.raises(ValueError, match="persons in both sets, not 0 and 1"):
        image_strata(np.empty(0, np.int64), np.array([4]))
    with pytest.raises(ValueError, match="at least 1 person"):
        image_strata(np.array([1]), np.array([1]), 0)


# --- concentration --------------------------------------------------------------------------------


@pytest.mark.parametrize("counts", [[3, 0, 1, 1, 7], [2, 2, 2], [0, 0, 0, 5]])
def test_gini_is_the_mean_difference(counts):
    values = np.array(counts)
    expected = np.abs(values[:, None] - values).mean() / (2 * values.mean())
    assert gini(values) == pytest.approx(expected, abs=1e-12)


def test_gini_needs_something_to_share():
    with pytest.raises(ValueError, match="one of them positive"):
        gini(np.zeros(3, np.int64))


def test_counts_are_of_clusters(rng):
    clusters = np.array([0, 0, 1, 2])
    training = Reached(np.array([0, 0, 1, 2]), pairs([(0, 0), (1, 1), (2, 0), (3, 2)]))
    found = exposure(training, Reached(np.arange(3), pairs([])), clusters, rng)
    assert found.counts[0].tolist() == [2, 1, 0]
    assert found.counts[1].tolist() == [0, 0, 0]
    assert found.training.exposed == 2
    assert found.training.share == pytest.approx(2 / 3)
    assert found.training.clusters == 3
    assert found.training.effective_exposed == pytest.approx(9 / 5)
    assert found.training.top_share == pytest.approx(2 / 3)
    assert found.holdout.gini is None
    assert found.holdout.effective_exposed == found.holdout.top_share == 0.0
    assert found.excess == pytest.approx(2 / 3)
    assert found.excess_interval.low < 2 / 3 < found.excess_interval.high


def test_no_person_is_refused(rng):
    nobody = Reached(np.empty(0, np.int64), pairs([]))
    found = measure_exposure(nobody, Reached(np.arange(3), pairs([])), np.arange(2), 2, 9, rng)
    assert "needs a person with a face" in found
    assert exposure_entry(found) == {"refused": found}


def test_the_interval_knows_clusters_that_reach_many(rng):
    """Twenty persons exposed by twenty clusters, or all by one."""
    apart = Reached(np.arange(200), pairs([(i, i) for i in range(20)]))
    together = Reached(np.arange(200), pairs([(0, i) for i in range(20)]))
    nothing = Reached(np.arange(200), pairs([]))
    clusters = np.arange(100)
    wide = exposure(together, nothing, clusters, rng)
    narrow = exposure(apart, nothing, clusters, rng)
    assert wide.training.share == narrow.training.share == pytest.approx(0.1)
    assert narrow.training.effective_persons == pytest.approx(200, rel=0.15)
    assert wide.training.effective_persons < 15
    assert wide.excess_interval.low < 0.03
    assert narrow.excess_interval.low > 0.04


# --- tests ----------------------------------------------------------------------------------------


def test_the_p_value_is_that_of_fishers_exact_test(rng):
    training = Reached(np.arange(60), pairs([(0, i) for i in range(14)]))
    holdout = Reached(np.arange(50), pairs([(0, i) for i in range(5)]))
    found = exposure(training, holdout, np.arange(30), rng, 100_000)
    expected = stats.fisher_exact([[14, 46], [5, 45]], alternative="greater").pvalue
    assert found.p_value == pytest.approx(expected, abs=0.006)


def test_q_values_are_those_of_scipy_and_ranks_are_conservative(rng):
    counts = [rng.poisson(mean, 120) for mean in (1.0, 0.7)]
    sides = [
        Reached(np.arange(120), pairs([(c, k) for k, n in enumerate(count) for c in range(n)]))
        for count in counts
    ]
    found = exposure(*sides, np.arange(20), rng)
    np.testing.assert_array_equal(found.counts[0], counts[0])
    expected = np.array([(1 + (counts[1] >= count).sum()) / 121 for count in counts[0]])
    np.testing.assert_allclose(found.individuals.p, expected, atol=1e-12)
    np.testing.assert_allclose(found.individuals.q, stats.false_discovery_control(expected), atol=1e-12)
    assert (found.individuals.p[counts[0] == 0] == 1).all()


def test_the_resolution_says_when_nobody_can_be_named(rng):
    """19 persons at the smallest p do not suffice among 400 and 400, 20 do."""
    clusters = np.arange(50)
    nothing = Reached(np.arange(400), pairs([]))
    few, enough = (
        exposure(Reached(np.arange(400), pairs([(0, i) for i in range(n)])), nothing, clusters, rng)
        for n in (19, 20)
    )
    assert few.individuals.resolution == pytest.approx(1 / 401)
    assert few.individuals.needed == enough.individuals.needed == 20
    assert few.individuals.exposed == 0
    assert enough.individuals.exposed == 20


def test_persons_are_ranked_among_those_with_as_many_images(rng):
    """Holdout persons with many images are exposed by chance; one with few images then stands out."""
    images = np.repeat([1, 6], [100, 100])
    persons = np.repeat(np.arange(200), images)
    first = np.searchsorted(persons, np.arange(200))
    by_chance = pairs([(0, first[k]) for k in range(100, 200)])
    training = Reached(persons, pairs([(0, first[3]), (0, first[150])]))
    found = exposure(training, Reached(persons, by_chance), np.arange(10), rng)
    assert found.strata == 2
    assert found.individuals.p[3] == pytest.approx(1 / 101)
    assert found.individuals.p[150] == 1.0


def test_without_a_leak_p_is_uniform_and_intervals_cover(rng):
    """Hubs among clusters and persons, membership at random; conservative ranks keep p above its level."""
    trials, total = 300, 200
    values, covered, named, smallest = [], 0, 0, []
    for _ in range(trials):
        attraction = rng.gamma(0.5, size=total)
        people = rng.choice(total, size=120, p=attraction / attraction.sum())
        rows = rng.integers(0, 60, 120) ** 2 // 60
        order = rng.permutation(total)
        sides = []
        for chosen in (order[:100], order[100:]):
            place = np.full(total, -1)
            place[chosen] = np.arange(100)
            kept = place[people] >= 0
            listed = sorted(set(zip(rows[kept].tolist(), place[people[kept]].tolist(), strict=True)))
            sides.append(Reached(np.arange(100), pairs(listed)))
        found = exposure(*sides, np.arange(60), rng, 199)
        values.append(found.p_value)
        smallest.append(found.individuals.p[0])
        covered += found.excess_interval.low <= 0 <= found.excess_interval.high
        named += found.individuals.exposed > 0
    for level in (0.1, 0.3, 0.6):
        error = 4 * np.sqrt(level * (1 - level) / trials)
        assert np.mean(np.array(values) <= level) == pytest.approx(level, abs=0.05 + error)
        assert np.mean(np.array(smallest) <= level) <= level + error
    assert covered / trials >= 0.93
    assert named / trials <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / trials)


def test_planted_victims_are_found_and_tabled(rng):
    vectors, labels, leaked = population(persons=500, clusters=400, leaks=40, dim=128)
    threshold = 0.42
    sides = [
        Reached(labels[name], pairs_above(vectors["synthetic"], vectors[name], threshold))
        for name in ("training", "holdout")
    ]
    found = exposure(*sides, labels["synthetic"], rng)
    assert found.p_value == 0.001
    assert 0.06 < found.excess < 0.09
    assert found.excess_interval.low > 0.04
    assert found.individuals.exposed >= 35
    assert is_plain(exposure_entry(found))

    best = [
        tuple(np.asarray(part)[:, 0] for part in search(vectors[name], vectors["synthetic"], 1))
        for name in ("training", "holdout")
    ]
    persons = labels["training"], labels["holdout"]
    table = person_table(found, persons, tuple(best), "cosine")
    assert {len(column) for column in table.values()} == {500}
    assert (table["images"] == 2).all()
    exposed = table["clusters"] > 0
    assert (table["best_score"][exposed] >= threshold).all()
    assert (table["best_score"][~exposed] < threshold).all()
    assert np.isin(labels["synthetic"][table["best_synthetic"][exposed]], leaked).mean() > 0.9
    assert (persons[0][table["best_image"]] == table["person"]).all()
    limit = best[1][0].max()
    np.testing.assert_allclose(table["margin"], table["best_score"] - np.float64(limit), atol=1e-12)
    assert (table["q"][~exposed] > 0.05).all()

    top = top_persons(table, "cosine", 5)
    assert is_plain(top)
    assert [entry["clusters"] for entry in top] == sorted((entry["clusters"] for entry in top), reverse=True)
    assert len(top_persons(table, "cosine", 10_000)) == exposed.sum()


def test_a_table_of_distances(rng):
    """Two persons with two images; nearest is best, and a missing match is marked."""
    nothing = Reached(np.array([0, 0, 1, 1]), pairs([]))
    found = exposure(nothing, nothing, np.arange(3), rng)
    persons = (nothing.persons, nothing.persons)
    best = (
        (np.array([0.4, 0.3, np.inf, np.inf], np.float32), np.array([2, 1, -1, -1])),
        (np.array([0.5, 0.9, 0.8, 0.7], np.float32), np.array([0, 0, 0, 0])),
    )
    table = person_table(found, persons, best, "l2")
    assert table["best_synthetic"].tolist() == [1, -1]
    assert table["best_image"].tolist() == [1, -1]
    assert table["margin"][0] == pytest.approx(0.2)
    assert np.isnan(table["margin"][1])
    assert top_persons(table, "l2", 5) == []
    with pytest.raises(ValueError, match="have shapes"):
        person_table(found, persons, ((best[0][0][:2], best[0][1]), best[1]), "l2")
