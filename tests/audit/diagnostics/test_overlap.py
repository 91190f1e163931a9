"""People in both real sets, and the components that they are part of."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from idsim.audit.diagnostics.overlap import (
    cross_overlap,
    holdout_to_drop,
    overlap_finding,
    person_pairs,
)
from idsim.audit.rates.edges import connected_components as edge_components
from idsim.audit.rates.edges import distinct
from idsim.results import Pairs


def pairs(*triples):
    rows, columns, scores = zip(*triples, strict=True) if triples else ((), (), ())
    return Pairs(np.array(rows, np.int64), np.array(columns, np.int64), np.array(scores, np.float32))


@pytest.mark.parametrize("edges", [0, 40, 150, 2000])
def test_components_are_scipys(rng, edges):
    first, second = rng.integers(0, 200, (2, edges))
    found = edge_components(first, second, 200)
    graph = coo_array((np.ones(edges), (first, second)), shape=(200, 200))
    count, labels = connected_components(graph, directed=False)
    assert len(np.unique(found)) == count
    assert len(np.unique(np.stack([found, labels]), axis=1).T) == count
    np.testing.assert_array_equal(found[found], found)
    assert (found <= np.arange(200)).all()


def test_a_long_path_in_any_order_is_one_component(rng):
    order = rng.permutation(5000)
    assert len(np.unique(edge_components(order[:-1], order[1:], 5000))) == 1


@pytest.mark.parametrize("count", [0, 1, 500])
def test_distinct_values_are_numpys(rng, count):
    values = rng.integers(-50, 50, count)
    np.testing.assert_array_equal(distinct(values), np.unique(values))


def test_edges_to_nowhere_are_refused():
    with pytest.raises(ValueError, match="nodes from 0 to 2"):
        edge_components(np.array([0]), np.array([3]), 3)


def test_persons_behind_images_best_first():
    training, holdout = np.array([0, 0, 1]), np.array([1, 0, 0])
    found = person_pairs(
        pairs((0, 1, 0.5), (0, 2, 0.7), (1, 1, 0.6), (2, 0, 0.9)), training, holdout, "cosine"
    )
    assert [column.tolist() for column in found] == [[1, 0], [1, 0], [1, 3], pytest.approx([0.9, 0.7])]
    nearest = person_pairs(pairs((0, 1, 0.5), (0, 2, 0.7)), training, holdout, "l2")
    assert nearest[3].tolist() == [0.5]


def chance(rng, people, rate):
    """Pairs of images, one per person, that reach a threshold by chance."""
    cross = np.argwhere(rng.random((people, people)) < rate)
    within = np.argwhere(np.triu(rng.random((people, people)) < rate, 1))
    return [Pairs(found[:, 0], found[:, 1], np.ones(len(found), np.float32)) for found in (cross, within)]


def test_what_the_holdout_predicts_is_no_news(rng):
    people = np.arange(300)
    standard = []
    for _ in range(40):
        found = cross_overlap(*chance(rng, 300, 3e-4), people, people, 0.5, "cosine")
        assert found.compared == 90_000
        assert found.within_compared == 300 * 299 // 2
        assert found.expected == pytest.approx(found.within * 90_000 / 44_850)
        standard.append(found.standard_score)
    assert abs(np.mean(standard)) < 0.5
    assert sum(score > 3 for score in standard) <= 1


def test_planted_people_are_found_and_dropped_with_everybody_they_match():
    people = np.arange(300)
    cross = pairs(*((n, 100 + n, 0.9) for n in range(40)))
    within = pairs((139, 200, 0.8), (200, 201, 0.8), (250, 251, 0.8))
    found = cross_overlap(cross, within, people, people, 0.7, "cosine")
    assert found.more_than_chance
    assert (found.training_persons, found.holdout_persons) == (40, 40)
    assert [(pair.training, pair.holdout) for pair in found.persons[:2]] == [(0, 100), (1, 101)]
    dropped = holdout_to_drop(cross, within, people, people)
    assert dropped.tolist() == [*range(100, 140), 200, 201]
    finding = overlap_finding(found, len(dropped), 300, excess=(0.01, 0.04))
    assert finding.severity == "error"
    assert "42 of 300" in finding.sentence
    assert "0.04 instead of 0.01" in finding.sentence
    assert len(finding.numbers["best_pairs"]) == 20
    assert overlap_finding(found, 5, 300).severity == "warning"


def test_several_images_are_one_pair_of_people():
    training, holdout = np.array([0, 0, 1]), np.array([0, 0, 1])
    cross = pairs((0, 0, 0.9), (0, 1, 0.9), (1, 0, 0.9))
    found = cross_overlap(cross, pairs((0, 2, 0.9), (1, 2, 0.9)), training, holdout, 0.8, "cosine")
    assert (found.image_pairs, found.person_pairs, found.within) == (3, 1, 1)
    assert found.persons[0].images == 3


def test_nothing_reaches():
    found = cross_overlap(pairs(), pairs(), np.arange(5), np.arange(5), 0.9, "cosine")
    assert (found.person_pairs, found.expected, found.standard_score) == (0, 0, 0)
    assert not len(holdout_to_drop(pairs(), pairs(), np.arange(5), np.arange(5)))
    assert overlap_finding(found, 0, 5).severity == "info"


def test_only_the_best_pairs_are_kept(rng):
    people = np.arange(1500)
    cross = Pairs(people, people, rng.random(1500).astype(np.float32))
    found = cross_overlap(cross, pairs(), people, people, 0.0, "cosine")
    assert found.person_pairs == 1500
    assert len(found.persons) == 1000
    assert found.persons[0].best == cross.scores.max()
