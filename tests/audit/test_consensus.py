"""Consensus of matchers: counted by hand, planted truth, noise that no two share, permutation by enumeration."""

from __future__ import annotations

import json
from itertools import combinations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from idsim.audit.rates.excess import Resampling
from idsim.audit.rates.resampling import unique_hits
from idsim.audit.significance.agreement import agreement_entry, agreement_of
from idsim.audit.significance.consensus import (
    MatcherHits,
    consensus_entry,
    majority,
    measure_consensus,
)
from idsim.audit.significance.multiple import holm
from idsim.audit.significance.permutations import Pool, permutation_test
from idsim.audit.significance.votes import any_person_difference, any_person_rate, pair_votes, persons_hit

QUICK = Resampling(bootstrap=400, permutations=199, draws=10)


def pairs(*given):
    array = np.array(given, np.int64).reshape(-1, 2)
    return array[:, 0], array[:, 1]


def matcher(name, training=(), holdout=()):
    return MatcherHits(name, pairs(*training), pairs(*holdout))


def measured(matchers, images=20, persons=10, **options):
    codes = np.arange(persons), np.arange(persons)
    return measure_consensus(matchers, np.arange(images), codes, QUICK, **options)


def test_counted_by_hand():
    found = measured(
        [
            matcher("a", [(0, 0), (1, 1), (2, 2), (2, 2)], [(5, 5)]),
            matcher("b", [(0, 0), (1, 3), (4, 2)], [(5, 5), (6, 1)]),
            matcher("c", [(0, 0), (3, 3)], []),
        ]
    )
    assert found.primary == majority(3) == 2
    rates = [level.excess.training.rate for level in found.levels]
    np.testing.assert_allclose(rates, [5 / 20, 1 / 20, 1 / 20])
    np.testing.assert_allclose([level.excess.holdout.rate for level in found.levels], [2 / 20, 1 / 20, 0])
    # Image 1 reaches two different persons.
    np.testing.assert_allclose(
        [level.any_person for level in found.levels], [(5 / 20, 2 / 20), (2 / 20, 1 / 20), (1 / 20, 0)]
    )
    assert [level.persons for level in found.levels] == [(4, 2), (3, 1), (1, 0)]
    assert found.decisive.excess.rate == 0
    p_values = [result.excess.p_value for result in found.matchers]
    assert [result.p_corrected for result in found.matchers] == holm(p_values).tolist()


def test_several_images_of_a_person_and_of_a_cluster():
    """Matchers may see the same person in different photographs of it; images of one cluster share a vote."""
    codes = np.array([0, 0, 1]), np.array([0, 0, 1])
    found = measure_consensus(
        [matcher("a", [(0, 0), (1, 2)]), matcher("b", [(0, 1)])], np.array([0, 0, 1]), codes, QUICK
    )
    assert found.primary == 2
    assert found.decisive.excess.training.rate == 0.25
    assert found.decisive.excess.training.images == 1


def test_matched_galleries_count_votes_in_each_draw():
    """The photographs that two matchers saw must both be enrolled for a vote of both."""
    codes = np.array([0, 0]), np.array([0])
    found = measure_consensus(
        [matcher("a", [(0, 0)]), matcher("b", [(0, 1)])],
        np.arange(4),
        codes,
        Resampling(bootstrap=100, permutations=9, draws=50),
    )
    assert found.decisive.excess.draws == 50
    assert found.decisive.excess.training.rate == 0.0
    assert found.levels[0].excess.training.rate == pytest.approx(0.25)
    assert found.levels[1].any_person == (0.0, 0.0)


def test_planted_leaks_stand_out_of_independent_noise(rng):
    leaks = [(i, i) for i in range(20)]
    matchers = [
        MatcherHits(
            name,
            pairs(*leaks, *rng.integers(0, 200, (40, 2)).tolist()),
            pairs(*rng.integers(0, 200, (40, 2)).tolist()),
        )
        for name in "abc"
    ]
    codes = np.arange(200), np.arange(200)
    found = measure_consensus(matchers, np.arange(200), codes, QUICK)
    alone, agreed = found.matchers[0].excess, found.decisive.excess
    assert agreed.training.rate == pytest.approx(0.1, abs=0.006)
    assert agreed.holdout.rate < 0.006
    assert agreed.p_value == 1 / 200
    assert agreed.interval.low > 0.05
    assert agreed.interval.high - agreed.interval.low < alone.interval.high - alone.interval.low
    assert found.decisive.persons[0] >= 20
    assert found.decisive.any_person_test.p_value == 1 / 200
    assert all(agreement.jaccard > 0.15 for agreement in found.agreements)
    assert all(agreement.by_chance < 0.2 for agreement in found.agreements)
    json.dumps(consensus_entry(found, 0.95), allow_nan=False)
    assert consensus_entry(found, 0.95)["sentence"].startswith(
        "At least 2 of 3 matchers find the same person"
    )


def test_matchers_in_another_order_say_the_same(rng):
    matchers = [
        MatcherHits(name, pairs(*rng.integers(0, 15, (20, 2))), pairs(*rng.integers(0, 15, (20, 2))))
        for name in "abc"
    ]
    one, other = (measured(order, 20, 15) for order in (matchers, matchers[::-1]))
    assert one.levels == other.levels


def test_nothing_found_at_all():
    found = measured([matcher("a"), matcher("b")])
    assert found.decisive.excess.rate == 0
    assert found.decisive.excess.p_value == 1.0
    assert found.decisive.any_person_test.p_value == 1.0
    assert found.decisive.persons == (0, 0)
    (agreement,) = found.agreements
    assert (agreement.jaccard, agreement.kappa, agreement.interval) == (None, None, None)
    json.dumps(consensus_entry(found, 0.95), allow_nan=False)


def test_any_person_by_enumeration(rng):
    sides = [[unique_hits(*pairs(*rng.integers(0, 4, (6, 2)))) for _ in range(3)] for _ in range(2)]
    pool = Pool(np.arange(8) < 4, np.ones(8, np.int64))
    weights = np.array([1.0, 0.5, 0.5, 1.0])
    statistic = any_person_difference(sides, 2, weights, 4)
    found = permutation_test(statistic, pool, 100, rng)
    assert found.exchanges == 70

    def difference(members):
        rates = []
        for side in (set(members), set(range(8)) - set(members)):
            votes = []
            for number in range(3):
                images = [
                    image
                    for turn in (0, 1)
                    for image, person in zip(*sides[turn][number], strict=True)
                    if person + 4 * turn in side
                ]
                votes.append(set(images))
            rates.append(sum(weights[i] for i in range(4) if sum(i in vote for vote in votes) >= 2) / 3)
        return rates[0] - rates[1]

    every = [difference(members) for members in combinations(range(8), 4)]
    assert found.observed == pytest.approx(difference([0, 1, 2, 3]))
    assert found.p_value == pytest.approx(np.mean(np.array(every) >= found.observed - 1e-12))


def test_votes():
    found = [unique_hits(*pairs((0, 1), (2, 2))), unique_hits(*pairs((0, 1), (0, 2)))]
    keys, votes = pair_votes(found, 3)
    assert list(zip(keys.tolist(), votes.tolist(), strict=True)) == [(1, 2), (2, 1), (8, 1)]
    assert (persons_hit(found, 1), persons_hit(found, 2)) == (2, 2)
    assert any_person_rate(found, 2, np.ones(4)) == 0.25


# --- agreement ------------------------------------------------------------------------------------


def test_kappa_and_jaccard_of_all_pairs(rng):
    flagged = rng.random((2, 40, 25)) < 0.1
    flagged[1] |= flagged[0] & (rng.random((40, 25)) < 0.5)
    hits = tuple(unique_hits(*np.nonzero(matrix)) for matrix in flagged)
    found = agreement_of(("a", "b"), hits, np.arange(40), 25, 0.95, 500, rng)
    assert found.both == (flagged[0] & flagged[1]).sum()
    assert found.either == (flagged[0] | flagged[1]).sum()
    assert found.jaccard == found.both / found.either
    assert found.kappa == pytest.approx(cohen_kappa_score(flagged[0].ravel(), flagged[1].ravel()))
    assert found.interval.low < found.jaccard < found.interval.high
    json.dumps(agreement_entry(found), allow_nan=False)


def test_matchers_that_agree_fully_or_by_chance_only(rng):
    one = unique_hits(rng.integers(0, 300, 400), rng.integers(0, 300, 400))
    same = agreement_of(("a", "b"), (one, one), np.arange(300), 300, 0.95, 100, rng)
    assert same.jaccard == same.kappa == 1
    other = unique_hits(rng.integers(0, 300, 400), rng.integers(0, 300, 400))
    apart = agreement_of(("a", "b"), (one, other), np.arange(300), 300, 0.95, 100, rng)
    assert abs(apart.kappa) < 0.02
    assert apart.both == pytest.approx(apart.by_chance, abs=5)


def test_few_clusters_have_a_wide_interval(rng):
    hits = unique_hits(np.arange(40), np.arange(40))
    clusters = np.repeat(np.arange(4), 10)
    found = agreement_of(("a", "b"), (hits, hits), clusters, 40, 0.95, 100, rng)
    assert found.clusters == 4
    assert found.interval.low < 0.6
    assert found.interval.method == "Wilson over clusters: few"


# --- bad input ------------------------------------------------------------------------------------


def test_bad_input():
    with pytest.raises(ValueError, match="several matchers of different names, not \\['a'\\]"):
        measured([matcher("a")])
    with pytest.raises(ValueError, match="not \\['a', 'a'\\]"):
        measured([matcher("a"), matcher("a")])
    with pytest.raises(ValueError, match="primary must be from 1 to 2 matchers, not 3"):
        measured([matcher("a"), matcher("b")], primary=3)
    with pytest.raises(ValueError, match="b has pairs of holdout items beyond the 10"):
        measured([matcher("a"), matcher("b", holdout=[(0, 10)])])
    with pytest.raises(ValueError, match="a has pairs of synthetic items beyond the 20"):
        measured([matcher("a", training=[(20, 0)]), matcher("b")])
