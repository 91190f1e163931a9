"""Growth with the size of the gallery against enumeration, drawn galleries, and extreme values."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from audit.person_makers import compared, is_plain, pairs, population
from idsim.audit.pairs.compared import Compared
from idsim.audit.persons.gallery_size import (
    gallery_sizes,
    growth_entry,
    rates_by_size,
    score_growth,
    score_growth_entry,
)
from idsim.audit.rates.resampling import bootstrap_rates, leak_rate, unique_hits
from idsim.tails import pairs_above


def test_sizes_are_halved_down_to_the_fewest():
    assert gallery_sizes(100) == [12, 25, 50, 100]
    assert gallery_sizes(3) == [3]


# --- leak rates -----------------------------------------------------------------------------------


def test_rates_are_means_over_all_sub_galleries():
    listed = pairs([(0, 0), (0, 1), (1, 2), (2, 5), (2, 6), (2, 4), (4, 0)])
    persons = np.array([0, 0, 1, 2, 3, 4, 5])
    clusters = np.array([0, 0, 1, 2, 2, 3])  # image 5 has no face, image 3 no match
    items = np.array([0, 1, 2, 3, 4])
    weights = 1 / np.bincount(clusters)[clusters]
    found = rates_by_size(listed, persons, items, clusters, [1, 2, 4, 6])
    for point in found.rates:
        every = []
        for chosen in combinations(range(6), point.persons):
            kept = np.isin(persons[listed.columns], chosen)
            hits = unique_hits(items[listed.rows[kept]], persons[listed.columns[kept]])
            every.append(leak_rate(hits, weights))
        assert point.rate == pytest.approx(np.mean(every), abs=1e-12)
        assert point.interval.low <= point.rate <= point.interval.high


def test_the_whole_gallery_has_the_variance_of_the_two_way_bootstrap(rng):
    listed = pairs(sorted({(i, j) for i, j in rng.integers(0, [150, 40], (90, 2)).tolist()}))
    persons, clusters = np.arange(40), np.repeat(np.arange(75), 2)
    (point,) = rates_by_size(listed, persons, np.arange(150), clusters, [40]).rates
    hits = unique_hits(listed.rows, listed.columns)
    (other,) = bootstrap_rates([hits], 40, np.full(150, 0.5), clusters, 20_000, rng)
    assert point.rate == pytest.approx(leak_rate(hits, np.full(150, 0.5)))
    expected = point.rate * (1 - point.rate) / other.variance
    assert point.effective_clusters == pytest.approx(min(75, expected), rel=0.05)


def test_copies_inside_a_cluster_say_nothing_new(rng):
    once = sorted({(i, j) for i, j in rng.integers(0, [75, 40], (30, 2)).tolist()})
    twice = sorted((2 * i + copy, j) for i, j in once for copy in (0, 1))
    persons = np.arange(40)
    (single,) = rates_by_size(pairs(once), persons, np.arange(75), np.arange(75), [40]).rates
    (double,) = rates_by_size(pairs(twice), persons, np.arange(150), np.repeat(np.arange(75), 2), [40]).rates
    assert double.rate == pytest.approx(single.rate)
    assert double.effective_clusters == pytest.approx(single.effective_clusters)


def test_independent_hits_have_exponent_one_and_a_hub_image_less(rng):
    persons, clusters = np.arange(1000), np.arange(500)
    sizes = gallery_sizes(1000)
    apart = pairs([(i, i) for i in range(40)])
    found = rates_by_size(apart, persons, clusters, clusters, sizes)
    assert found.exponent == pytest.approx(1, abs=0.02)
    assert found.per_doubling == pytest.approx(2, abs=0.03)
    hub = pairs([(i, j) for i in range(2) for j in range(400)])
    assert rates_by_size(hub, persons, clusters, clusters, sizes).exponent < 0.1


def test_no_hits_have_no_growth():
    found = rates_by_size(pairs([]), np.arange(20), np.arange(9), np.arange(9), [10, 20])
    assert [point.rate for point in found.rates] == [0.0, 0.0]
    assert found.exponent is None
    assert found.per_doubling is None
    assert is_plain(growth_entry(found))
    with pytest.raises(ValueError, match="a gallery of 21 persons cannot be drawn from 20"):
        rates_by_size(pairs([]), np.arange(20), np.arange(9), np.arange(9), [21])


def test_millions_of_persons_take_no_time():
    found = rates_by_size(
        pairs([(0, 5), (1, 7)]), np.arange(1_000_000), np.arange(4), np.arange(4), gallery_sizes(1_000_000)
    )
    assert found.rates[-2].rate == pytest.approx(0.25)
    assert len(found.rates) == 17


# --- best scores ----------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_best_scores_are_means_over_sub_galleries(rng, metric):
    synthetic = rng.standard_normal((30, 6)).astype(np.float32)
    real = rng.standard_normal((14, 6)).astype(np.float32)
    persons = np.repeat(np.arange(7), 2)
    clusters = np.repeat(np.arange(10), 3)
    whole = compared(synthetic, real, 14, 0.9 if metric == "cosine" else 0.1, metric)
    found = score_growth(whole, persons, clusters, [2, 4, 7])
    for point in found.scores:
        every = []
        for chosen in combinations(range(7), point.persons):
            kept = real[np.isin(persons, chosen)]
            best = compared(synthetic, kept, 1, 0.9 if metric == "cosine" else 0.1, metric).scores[:, 0]
            every.append(best.mean() * (-1 if metric == "l2" else 1))
        assert point.mean == pytest.approx(np.mean(every), abs=1e-6)
        assert point.unresolved == 0.0


def test_sizes_beyond_the_listed_matches_are_not_resolved(rng):
    synthetic, real = (rng.standard_normal((n, 16)).astype(np.float32) for n in (50, 400))
    found = score_growth(compared(synthetic, real, 7, 0.9), np.arange(400), np.arange(50), [100, 200, 400])
    assert [point.mean is None for point in found.scores] == [True, False, False]
    assert found.scores[1].unresolved == pytest.approx(2**-7, rel=0.1)
    assert found.per_doubling == pytest.approx(found.scores[2].mean - found.scores[1].mean)
    entry = score_growth_entry(found)
    assert is_plain(entry)
    assert entry["best_scores"][0]["mean"] is None


def test_an_exponential_tail_grows_as_gumbel_says(rng):
    """Scores with exponential tails of scale 0.03: both estimates of the growth are 0.03 log 2."""
    scores = -np.sort(-rng.exponential(0.03, (2000, 1000)), axis=1)[:, :12].astype(np.float32)
    ids = np.argsort(rng.random((2000, 1000)), axis=1)[:, :12]
    strangers = Compared("cosine", scores, ids, 1.0, pairs([]))
    found = score_growth(strangers, np.arange(1000), np.arange(2000), gallery_sizes(1000))
    expected = 0.03 * np.log(2)
    assert found.gumbel_per_doubling == pytest.approx(expected, rel=0.03)
    assert found.per_doubling == pytest.approx(expected, rel=0.06)
    assert found.moment_per_doubling == pytest.approx(expected, rel=0.06)


def test_leaks_stand_out_of_the_growth_of_strangers():
    vectors, labels, _ = population(persons=500, clusters=300, leaks=150, dim=64)
    sides = {
        name: score_growth(
            compared(vectors["synthetic"], vectors[name], 20, 0.9),
            labels[name],
            labels["synthetic"],
            gallery_sizes(500),
        )
        for name in ("training", "holdout")
    }
    clean, leaky = sides["holdout"], sides["training"]
    assert 0.8 * clean.gumbel_per_doubling < clean.per_doubling < 1.1 * clean.gumbel_per_doubling
    assert leaky.gumbel_per_doubling == pytest.approx(clean.gumbel_per_doubling, rel=0.1)
    assert leaky.per_doubling > 1.3 * leaky.gumbel_per_doubling
    tail = [
        rates_by_size(
            pairs_above(vectors["synthetic"], vectors[name], 0.45),
            labels[name],
            np.arange(600),
            labels["synthetic"],
            [250, 500],
        ).rates
        for name in ("training", "holdout")
    ]
    assert tail[0][1].interval.low > 4 * tail[1][1].rate
    assert tail[0][0].rate == pytest.approx(tail[0][1].rate / 2, rel=0.1)


def test_matches_that_are_missing_are_named(rng):
    one = np.zeros((2, 1), np.float32)
    nothing = Compared("cosine", one, np.array([[0], [-1]]), 1.0, pairs([]))
    assert score_growth(nothing, np.arange(3), np.arange(2), [3]) == "synthetic embedding 1 has no match"
    single = Compared("cosine", one, np.array([[0], [1]]), 1.0, pairs([]))
    found = score_growth(single, np.arange(3), np.arange(2), [3])
    assert found.gumbel_per_doubling is None
    assert found.per_doubling is None
    empty = Compared("cosine", one[:0], np.empty((0, 1), np.int64), 1.0, pairs([]))
    assert score_growth_entry(score_growth(empty, np.arange(3), np.arange(0), [3])) == {
        "refused": "the growth of best scores needs embeddings in both sets"
    }
