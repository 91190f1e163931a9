"""The tail as impostor comparisons: the same thresholds as from all scores, also without some persons."""

from __future__ import annotations

import numpy as np
import pytest

from audit.tail_makers import compare_self
from idsim.audit.pairs.comparing import VectorImpostors
from idsim.audit.pairs.tails import UnsupportedError
from idsim.audit.thresholds.calibration import Calibrator, Target
from idsim.audit.thresholds.tail_impostors import TailImpostors, person_pairs
from idsim.results import Pairs


@pytest.fixture
def population(rng):
    persons = np.repeat(np.arange(60), rng.integers(1, 4, 60))
    vectors = rng.standard_normal((60, 12))[persons] + 0.8 * rng.standard_normal((len(persons), 12))
    return vectors.astype(np.float32), persons


def loose(metric):
    return 4.0 if metric == "l2" else 0.2


TARGETS = [Target("fmr", 0.01), Target("fpir", 0.2), Target("threshold", 3.0), Target("fmr", 1e-5)]


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("level", [None, "tail"])
def test_the_calibrator_gives_the_same_points(population, metric, level):
    vectors, persons = population
    compared = compare_self(vectors, persons, metric, None if level is None else loose(metric))
    targets = TARGETS if metric == "l2" else [*TARGETS[:2], Target("threshold", 0.5)]
    expected = Calibrator(VectorImpostors(vectors, persons, metric))
    found = Calibrator(TailImpostors(compared, persons))
    assert [found.point(target) for target in targets] == [expected.point(target) for target in targets]


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("k", [1, 3])
def test_without_persons_it_is_the_smaller_set(population, metric, k):
    vectors, persons = population
    keep = ~np.isin(persons, np.arange(0, 60, 3))
    compared = compare_self(vectors, persons, metric, k=k)
    smaller = VectorImpostors(vectors[keep], persons[keep], metric)
    found = TailImpostors(compared, persons, keep)
    for ours, theirs in zip(found.best(), smaller.best(), strict=True):
        assert np.array_equal(ours, theirs)
    target = Target("fpir", 0.2)
    assert Calibrator(found).point(target) == Calibrator(smaller).point(target)


def test_what_is_not_listed_is_refused(population):
    vectors, persons = population
    compared = compare_self(vectors, persons, level=0.6)
    impostors = TailImpostors(compared, persons)
    with pytest.raises(UnsupportedError, match="pairs are listed from 0.6 on"):
        impostors.pairs(0.5)
    with pytest.raises(UnsupportedError, match="th best is needed"):
        impostors.tail(len(compared.tail.rows) + 1)
    assert "is needed" in Calibrator(impostors).point(Target("fmr", 0.5)).refusal
    assert "pairs are listed" in Calibrator(impostors).point(Target("fpir", 0.99)).refusal
    assert impostors.known(np.float32([0.61, 0.59])).tolist() == [True, False]


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_pairs_of_persons_are_those_of_a_loop(population, metric):
    vectors, persons = population
    tail = compare_self(vectors, persons, metric, loose(metric)).tail
    expected = {}
    for row, column, score in zip(*tail, strict=True):
        key = tuple(sorted((int(persons[row]), int(persons[column]))))
        expected.setdefault(key, []).append(float(-score if metric == "l2" else score))
    pairs = person_pairs(tail, persons, metric)
    assert list(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)) == sorted(expected)
    assert pairs.best.tolist() == [max(expected[key]) for key in sorted(expected)]
    assert pairs.hits.tolist() == [len(expected[key]) for key in sorted(expected)]


def test_an_empty_tail_has_no_pairs_of_persons():
    none = np.empty(0, np.int64)
    pairs = person_pairs(Pairs(none, none, np.empty(0, np.float32)), np.arange(5), "cosine")
    assert [len(column) for column in pairs] == [0, 0, 0, 0]
