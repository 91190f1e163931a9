"""FPIR at another gallery size: the mean over all galleries, beside galleries that are really drawn."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest

from audit.tail_makers import compare_self
from idsim.audit.thresholds.calibration import Calibrator, Target
from idsim.audit.thresholds.sized_searches import sized_entry, sized_points
from idsim.audit.thresholds.tail_impostors import TailImpostors


def impostors(rng, persons=40, images=2, metric="cosine", level=None):
    labels = np.repeat(np.arange(persons), images)
    vectors = rng.standard_normal((persons, 10))[labels] + 0.7 * rng.standard_normal((len(labels), 10))
    compared = compare_self(vectors.astype(np.float32), labels, metric, level)
    return TailImpostors(compared, labels)


def hits(found, threshold, persons):
    """Whether every face reaches every person."""
    matrix = np.zeros((len(found.persons), persons), bool)
    rows, columns, _ = found.pairs(threshold)
    matrix[rows, found.persons[columns]] = matrix[columns, found.persons[rows]] = True
    return matrix


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_the_rate_is_the_mean_over_all_galleries(rng, metric):
    found = impostors(rng, persons=9, images=2, metric=metric)
    point = sized_points(found, [0.4], 3)[0]
    matrix = hits(found, point.threshold, 9)
    rates = []
    for face, person in enumerate(found.persons):
        others = [other for other in range(9) if other != person]
        rates += [matrix[face, list(gallery)].any() for gallery in itertools.combinations(others, 3)]
    assert point.rate == pytest.approx(np.mean(rates))
    assert point.rate <= 0.4
    assert point.searches == 18


def test_the_threshold_is_the_loosest(rng):
    found = impostors(rng)
    point = sized_points(found, [0.2], 12)[0]
    scores = np.unique(found.listed.scores)
    below = float(scores[scores < point.threshold].max())
    matrix = hits(found, below, 40)
    none = [math.comb(39 - int(row.sum()), 12) / math.comb(39, 12) for row in matrix]
    assert 1 - np.mean(none) > 0.2 >= point.rate


def test_the_whole_gallery_is_the_plain_calibration(rng):
    found = impostors(rng)
    point = sized_points(found, [0.2], 39)[0]
    plain = Calibrator(found).point(Target("fpir", 0.2))
    assert point.threshold == plain.threshold
    assert point.rate == plain.fpir.rate
    assert point.units == plain.fpir.units


def test_smaller_galleries_take_looser_thresholds(rng):
    found = impostors(rng)
    thresholds = [sized_points(found, [0.2], size)[0].threshold for size in (5, 10, 20, 39)]
    assert thresholds == sorted(thresholds)
    assert thresholds[0] < thresholds[-1]


def test_intervals_hold_the_rate(rng):
    for target in (0.1, 0.3):
        point = sized_points(impostors(rng, persons=60), [target], 20)[0]
        assert point.interval.low < point.rate < point.interval.high
        assert json.loads(json.dumps(sized_entry(point)))["high"] == point.interval.high


def test_larger_galleries_are_refused(rng):
    found = impostors(rng, persons=20)
    points = sized_points(found, [0.2, 0.3], 20)
    assert all("a gallery of 20 persons is larger than the 19 others" in point.refusal for point in points)
    assert sized_entry(points[0])["threshold"] is None
    with pytest.raises(ValueError, match="at least 1 person, not 0"):
        sized_points(found, [0.2], 0)


def test_unsupported_targets_are_refused(rng):
    found = impostors(rng)
    assert "rule of 3" in sized_points(found, [0.01], 10)[0].refusal
    assert "have to return a match" in sized_points(found, [1.0], 10)[0].refusal
    short = impostors(rng, level=0.9)
    assert "pairs are listed from 0.9 on" in sized_points(short, [0.5], 10)[0].refusal


@pytest.mark.slow
def test_the_interval_holds_the_truth():
    """Random persons: the rate of a threshold is known, and the interval at a fixed target must hold it there."""
    covered = trials = 0
    for seed in range(150):
        rng = np.random.default_rng(seed)
        found = impostors(rng, persons=80, images=1)
        point = sized_points(found, [0.2], 20)[0]
        fresh = impostors(np.random.default_rng(10_000 + seed), persons=600, images=1)
        matrix = hits(fresh, point.threshold, 600)
        truth = np.mean([1 - math.comb(599 - int(h), 20) / math.comb(599, 20) for h in matrix.sum(axis=1)])
        covered += point.interval.low <= truth <= point.interval.high
        trials += 1
    assert covered / trials >= 0.9
