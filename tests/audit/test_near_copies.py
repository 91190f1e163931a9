"""Near copies apart from persons: counts, calibration, mirrored pictures."""

from __future__ import annotations

import numpy as np
import pytest

from audit.makers import unit
from audit.person_makers import compared, compared_within, is_plain, pairs
from audit.test_perceptual import picture
from idsim.audit.pairs.compared import Compared, reaches
from idsim.audit.persons.mirrored_pairs import with_mirrored
from idsim.audit.persons.near_copies import (
    Gallery,
    copies_entry,
    copy_threshold,
    joint_entry,
    joint_table,
    measure_copies,
)
from idsim.audit.persons.perceptual import mirrored_thumbnails, thumbnail

# --- mirrored pictures ----------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_a_pair_has_the_better_score_of_both_and_counts_once(rng, metric):
    plain, mirrored = (unit(rng.standard_normal((40, 6))) for _ in range(2))
    mirrored[:10] = plain[:10]
    gallery = unit(rng.standard_normal((30, 6)))
    level = 0.4 if metric == "cosine" else 1.1
    both = with_mirrored(*(compared(rows, gallery, 5, level, metric) for rows in (plain, mirrored)))
    every = [compared(rows, gallery, 30, level, metric) for rows in (plain, mirrored)]
    dense = np.empty((2, 40, 30), np.float32)
    for table, found in zip(dense, every, strict=True):
        np.put_along_axis(table, found.ids, found.scores, axis=1)
    best = dense.min(axis=0) if metric == "l2" else dense.max(axis=0)
    order = np.argsort(best if metric == "l2" else -best, axis=1, kind="stable")[:, :5]
    np.testing.assert_array_equal(both.ids, order)
    np.testing.assert_array_equal(both.scores, np.take_along_axis(best, order, axis=1))
    rows, columns = np.nonzero(reaches(best, level, metric))
    np.testing.assert_array_equal(both.tail.rows, rows)
    np.testing.assert_array_equal(both.tail.columns, columns)
    np.testing.assert_array_equal(both.tail.scores, best[rows, columns])


def test_beyond_the_last_match_there_is_none(rng):
    ids = np.array([[1, 0, -1]])
    scores = np.array([[0.5, 0.2, -np.inf]], np.float32)
    one = Compared("cosine", scores, ids, 0.1, pairs([]))
    other = Compared("cosine", scores[:, [0, 1, 2]] + np.float32(0.1), ids, 0.3, pairs([]))
    both = with_mirrored(one, other)
    assert both.ids.tolist() == [[1, 0, -1]]
    assert both.scores[0, 2] == -np.inf
    assert both.level == 0.3
    with pytest.raises(ValueError, match="in the same way"):
        with_mirrored(one, Compared("l2", scores, ids, 0.1, pairs([])))


# --- threshold ------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_the_threshold_keeps_the_share(rng, metric):
    vectors, persons = unit(rng.standard_normal((400, 10))), np.repeat(np.arange(200), 2)
    holdout = compared_within(vectors, persons, 1, 0.8 if metric == "cosine" else 0.5, metric)
    found = copy_threshold(holdout, persons, 0.02)
    wrong = reaches(holdout.scores[:, 0], found.threshold, metric)
    assert found.errors == wrong.sum()
    # Two pictures that look like each other err together.
    assert 7 <= found.errors <= 8
    assert found.achieved == found.errors / 400
    refused = copy_threshold(holdout, persons, 0.001)
    assert refused.threshold is None
    assert "not supported by 200 persons: at least 0.015" in refused.refusal
    assert "every picture" in copy_threshold(holdout, persons, 1.0).refusal
    assert copies_entry(refused, None)["refused"] == refused.refusal


# --- counts ---------------------------------------------------------------------------------------


def test_copies_are_counted_by_image_cluster_original_and_person(rng):
    training = Gallery(np.repeat(np.arange(10), 2), pairs([(0, 0), (0, 1), (1, 1), (4, 6)]))
    holdout = Gallery(np.repeat(np.arange(10), 2), pairs([]))
    clusters = np.array([0, 0, 1, 1, 2, 3])
    found = measure_copies(training, holdout, clusters, 999, rng)
    side = found.training
    assert (side.images, side.clusters, side.originals, side.persons, side.pairs) == (3, 2, 3, 2, 4)
    assert side.rate.rate == found.excess == pytest.approx(0.5)
    assert found.excess_interval.low < 0.5 < found.excess_interval.high
    assert found.p_value == pytest.approx(0.25, abs=0.06)
    assert found.holdout.rate.rate == 0
    assert measure_copies(training, Gallery(np.empty(0, np.int64), pairs([])), clusters, 9, rng) == (
        "near copies need pictures in each of the three sets"
    )


def test_a_larger_set_counts_with_its_expected_rate(rng):
    training = Gallery(np.arange(40), pairs([(i, i) for i in range(20)]))
    holdout = Gallery(np.arange(20), pairs([(i, i) for i in range(10)]))
    found = measure_copies(training, holdout, np.arange(100), 199, rng)
    assert found.training.images == 20
    assert found.training.rate.persons == 20
    assert (found.training.rate.rate, found.holdout.rate.rate) == pytest.approx((0.1, 0.1))
    assert found.excess == pytest.approx(0)


def test_the_joint_table_is_that_of_sets():
    persons = pairs([(0, 0), (1, 1), (1, 2), (2, 3), (4, 0), (4, 0)])
    photos = pairs([(0, 0), (2, 4), (3, 3), (4, 0), (4, 1)])
    found = joint_table(persons, photos, 7, 5)
    assert found.same_person_same_photo == 2  # 0, 4
    assert found.same_person == 1  # 1
    assert found.same_photo == 1  # 3
    assert found.different_pictures == 1  # 2
    assert found.neither == 2  # 5, 6
    assert (found.pairs_both, found.pairs_person, found.pairs_photo) == (2, 3, 3)
    assert is_plain(joint_entry(found))
    nothing = joint_table(pairs([]), pairs([]), 3, 0)
    assert nothing.neither == 3
    for rows in ([(7, 0)], [(-1, 0)]):
        with pytest.raises(ValueError, match="rows must be from 0 to 6"):
            joint_table(pairs(rows), photos, 7, 5)
    with pytest.raises(ValueError, match="columns must be from 0 to 4"):
        joint_table(persons, pairs([(0, 5)]), 7, 5)


# --- pictures -------------------------------------------------------------------------------------


def test_planted_copies_are_found_mirrored_ones_once(rng):
    """12 of 80 pictures copy a training picture, half of them mirrored."""
    training, holdout, fresh = ([picture(rng, 48, 48) for _ in range(n)] for n in (150, 150, 68))
    copies = []
    for number in range(12):
        copied = training[number][:, ::-1] if number % 2 else training[number]
        noisy = copied + rng.normal(0, 6, copied.shape)
        copies.append(np.clip(noisy, 0, 255).astype(np.uint8))
    synthetic, t, h = (
        np.stack([thumbnail(each) for each in part]) for part in (copies + fresh, training, holdout)
    )
    everyone = np.arange(150)
    within = with_mirrored_itself(h, everyone)
    threshold = copy_threshold(within, everyone, 0.03)
    sides = [
        Gallery(
            everyone,
            with_mirrored(
                compared(synthetic, real, 3, 0.6), compared(mirrored_thumbnails(synthetic), real, 3, 0.6)
            ).reaching(threshold.threshold),
        )
        for real in (t, h)
    ]
    found = measure_copies(*sides, np.arange(80), 999, rng)
    assert 12 <= found.training.images <= 17  # at 3 % of chance copies among 68 others
    assert set(range(12)) <= set(sides[0].pairs.rows.tolist())
    assert found.holdout.images <= 5
    assert found.p_value < 0.05
    assert found.excess_interval.low > 0
    entry = copies_entry(threshold, found)
    assert is_plain(entry)
    assert entry["training"]["matched_pictures"] == 150


def with_mirrored_itself(vectors, persons):
    plain = compared_within(vectors, persons, 3, 0.6)
    mirrored = compared(mirrored_thumbnails(vectors), vectors, 4, 0.6)
    own = mirrored.ids == persons[:, None]
    ids = np.take_along_axis(mirrored.ids, np.argsort(own, axis=1, kind="stable"), axis=1)[:, :3]
    scores = np.take_along_axis(mirrored.scores, np.argsort(own, axis=1, kind="stable"), axis=1)[:, :3]
    once = mirrored.tail.rows < mirrored.tail.columns
    tail = type(mirrored.tail)(*(column[once] for column in mirrored.tail))
    return with_mirrored(plain, Compared("cosine", scores, ids, 0.6, tail))
