"""Conformal p-values: ranks by hand, exact validity, false discoveries that are counted, and what has no power."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from audit.compared_makers import compared_of
from idsim.audit.significance.conformal import (
    ImageValues,
    conformal_entry,
    conformal_test,
    disjoint_galleries,
    real_probe_values,
    same_probe_values,
)
from idsim.audit.significance.nearest import Searches


def each(count):
    return Searches(np.arange(count), np.arange(count))


# --- galleries of the holdout ---------------------------------------------------------------------


def test_galleries_are_disjoint_and_alike(rng):
    training = np.repeat(np.arange(10), rng.integers(1, 5, 10))
    holdout = np.repeat(np.arange(47), rng.integers(1, 5, 47))
    used, numbers = disjoint_galleries(training, holdout, 10, rng)
    images = np.sort(np.bincount(training[used]))
    for number in range(4):
        inside = holdout[numbers == number]
        counts = np.sort(np.unique(inside, return_counts=True)[1])
        assert counts.tolist() == images.tolist()
    owners = [set(holdout[numbers == number].tolist()) for number in range(4)]
    assert len(set.union(*owners)) == 40
    assert numbers.max() == 3


def test_galleries_that_cannot_be_filled(rng):
    with pytest.raises(
        ValueError, match="galleries of 9 persons cannot be made of 10 in training and 8 in holdout"
    ):
        disjoint_galleries(np.arange(10), np.arange(8), 9, rng)
    with pytest.raises(ValueError, match="galleries of 0 persons"):
        disjoint_galleries(np.arange(10), np.arange(8), 0, rng)


# --- calibration by the same probe ----------------------------------------------------------------


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("kept", [3, 60])
def test_rank_among_holdout_galleries(metric, kept):
    """The p-values are the ranks; where too little was kept to tell them they are 1."""
    rng = np.random.default_rng(8)
    training = rng.random((80, 12)).astype(np.float32)
    holdout = rng.random((80, 60)).astype(np.float32)
    level = 0.05 if metric == "l2" else 0.95
    both = (
        compared_of(training, kept, level, metric),
        compared_of(holdout, kept, level, metric),
    )
    codes = np.arange(12), np.arange(60)
    found = same_probe_values(*both, codes, each(80), np.random.default_rng(1))
    _, numbers = disjoint_galleries(*codes, 12, np.random.default_rng(1))
    sign = -1 if metric == "l2" else 1
    best = (sign * training).max(axis=1)
    rivals = np.stack([(sign * holdout[:, numbers == k]).max(axis=1) for k in range(5)], axis=1)
    expected = (1 + (rivals >= best[:, None]).sum(axis=1)) / 6
    assert (found.size, found.persons, found.least) == (5, 12, 1 / 6)
    told = found.p_values < 1
    np.testing.assert_allclose(found.p_values[told], expected[told])
    third = np.sort(sign * holdout, axis=1)[:, -3]
    surely = (best > third) | (best >= sign * level)
    assert told[surely & (expected < 1)].all()
    if kept == 60:
        np.testing.assert_allclose(found.p_values, expected)


def test_a_match_that_equals_the_last_one_kept_tells_no_rank():
    """Other galleries may hold as good a match that was not kept."""
    holdout = np.array([[0.9, 0.5, 0.5, 0.5]])
    training = np.array([[0.5]])
    codes = np.zeros(1, int), np.arange(4)
    found = same_probe_values(
        compared_of(training, 1), compared_of(holdout, 2), codes, each(1), np.random.default_rng(0)
    )
    assert found.p_values.tolist() == [1.0]
    found = same_probe_values(
        compared_of(training, 1), compared_of(holdout, 2, level=0.5), codes, each(1), np.random.default_rng(0)
    )
    assert found.p_values.tolist() == [1.0]  # (1 + 4) / 5, now from the tail
    better = same_probe_values(
        compared_of(training + 0.1, 1), compared_of(holdout, 2), codes, each(1), np.random.default_rng(0)
    )
    assert better.p_values.tolist() == [2 / 5]


def test_smaller_galleries_give_finer_ranks(rng):
    training, holdout = rng.random((20, 50)), rng.random((20, 50))
    both = compared_of(training, 50), compared_of(holdout, 50)
    codes = np.arange(50), np.arange(50)
    whole = same_probe_values(*both, codes, each(20), rng)
    assert (whole.size, whole.persons) == (1, 50)
    small = same_probe_values(*both, codes, each(20), rng, gallery_persons=2)
    assert (small.size, small.persons) == (25, 2)


def test_same_probe_values_are_valid(rng):
    """Synthetic images that resemble nobody, or everybody, are their own control; persons attract unequally."""
    values = []
    for _ in range(300):
        attraction = rng.gamma(0.5, size=200) * 0.2
        scores = rng.random((4, 200)) + attraction + rng.random((4, 1)) * 5
        order = rng.permutation(200)
        both = [compared_of(scores[:, part], 50) for part in np.split(order, [20])]
        codes = np.arange(20), np.arange(180)
        values.append(same_probe_values(*both, codes, each(4), rng).p_values)
    values = np.stack(values)
    for number in range(1, 10):
        share = (values[:, 0] <= number / 10 + 1e-9).mean()
        assert abs(share - number / 10) <= 4 * np.sqrt(number / 10 * (1 - number / 10) / 300)


# --- calibration by real probes -------------------------------------------------------------------


def probed(rng, synthetic_scores, probe_scores, probe_persons=None, metric="cosine"):
    persons = np.arange(len(probe_scores)) if probe_persons is None else probe_persons
    return real_probe_values(
        compared_of(synthetic_scores, 1, metric=metric),
        compared_of(probe_scores, 1, metric=metric),
        persons,
        each(len(synthetic_scores)),
        np.arange(np.shape(synthetic_scores)[1]),
        rng,
    )


def test_rank_among_probes(rng):
    found = probed(
        rng, [[0.1, 0.9], [0.5, 0.2], [0.0, 0.0]], [[0.4, 0.1], [0.5, 0.3], [0.7, 0.6], [0.2, 0.1]]
    )
    np.testing.assert_allclose(found.p_values, [1 / 5, 3 / 5, 1])
    assert (found.size, found.least) == (4, 0.2)


def test_rank_among_probes_by_distance(rng):
    found = probed(rng, [[0.3, 0.9]], [[0.4, 0.8], [0.3, 0.9], [0.1, 0.5]], metric="l2")
    np.testing.assert_allclose(found.p_values, [3 / 4])


def test_every_probe_person_counts_once(rng):
    probes = np.array([[0.1], [0.9], [0.1], [0.1]])
    persons = np.array([0, 0, 0, 1])
    seen = {float(probed(rng, [[0.5]], probes, persons).p_values[0]) for _ in range(60)}
    assert seen == {1 / 3, 2 / 3}


def test_items_without_a_face_have_p_1(rng):
    found = real_probe_values(
        compared_of([[0.9]], 1),
        compared_of([[0.1], [0.2]], 1),
        np.arange(2),
        Searches(np.arange(3), np.array([1])),
        np.zeros(1, int),
        rng,
    )
    assert found.p_values.tolist() == [1.0, 1 / 3, 1.0]
    assert found.images.tolist() == [0, 1, 0]


def test_no_probe_is_a_refusal(rng):
    found = real_probe_values(
        compared_of([[0.9]], 1),
        compared_of(np.empty((0, 1)), 1),
        np.empty(0, int),
        each(1),
        np.zeros(1, int),
        rng,
    )
    assert found.refusal == "there is no real face among the probes"
    test = conformal_test(found, np.zeros(1, int))
    assert test.sentence == "No identity was tested: there is no real face among the probes."
    json.dumps(conformal_entry(test), allow_nan=False)


def test_real_probe_values_are_uniform(rng):
    values = [probed(rng, rng.random((1, 5)), rng.random((19, 5))).p_values[0] for _ in range(400)]
    counts = np.bincount(np.round(np.array(values) * 20).astype(int), minlength=21)[1:]
    assert stats.chisquare(counts).pvalue > 1e-4


def test_bad_input(rng):
    with pytest.raises(ValueError, match="2 probes were compared, and 3 have a person"):
        probed(rng, [[0.5]], [[0.1], [0.2]], np.arange(3))
    with pytest.raises(ValueError, match="1 rows were compared, and 2 items have a face"):
        real_probe_values(
            compared_of([[0.9]], 1), compared_of([[0.1]], 1), np.arange(1), each(2), np.zeros(1, int), rng
        )


# --- clusters -------------------------------------------------------------------------------------


def given(p_values, size=999, images=None):
    p_values = np.asarray(p_values, float)
    images = np.ones(len(p_values), int) if images is None else np.asarray(images)
    return ImageValues(p_values, images, "probes", size, 50)


def test_a_cluster_has_its_smallest_p_times_its_images():
    clusters = np.array([0, 0, 0, 1, 2, 2])
    found = conformal_test(given([0.01, 0.5, 0.2, 0.03, 0.9, 1.0], images=[1, 1, 1, 1, 1, 0]), clusters)
    np.testing.assert_allclose(found.p_clusters, [0.03, 0.03, 0.9])
    np.testing.assert_allclose(found.corrected.adjusted, stats.false_discovery_control([0.03, 0.03, 0.9]))
    assert found.corrected.rejections == 2
    assert found.least == 0.001


def test_what_has_no_power_is_said():
    """1 / (n + 1) against level / tests: one leak alone, several at once, or none at all."""
    clusters = np.arange(100)
    single = conformal_test(given(np.ones(100), size=1999), clusters)
    assert single.needed == 1
    assert single.sentence.endswith("A single leak can be flagged.")
    several = conformal_test(given(np.ones(100), size=199), clusters)
    assert several.needed == 10  # 0.005 <= r 0.05 / 100
    assert "unless 10 identities have such a p-value at once" in several.sentence
    none = conformal_test(given(np.ones(100), size=9), clusters)
    assert none.needed is None
    assert none.sentence.endswith("nothing could have been flagged, whatever the scores.")
    strict = conformal_test(given(np.ones(100), size=199), clusters, method="benjamini-yekutieli")
    assert strict.needed == int(np.ceil(0.005 * 100 / 0.05 * (1 / np.arange(1, 101)).sum()))


@pytest.mark.parametrize("method", ["benjamini-hochberg", "benjamini-yekutieli"])
def test_what_is_needed_is_just_enough(method):
    clusters = np.repeat(np.arange(30), np.arange(30) % 3 + 1)
    size = 499
    values = np.ones(len(clusters))
    needed = conformal_test(given(values, size), clusters, method=method).needed
    smallest = np.argsort(np.bincount(clusters), kind="stable")
    for count, flagged in ((needed - 1, 0), (needed, needed)):
        values = np.where(np.isin(clusters, smallest[:count]), 1 / (size + 1), 1.0)
        assert conformal_test(given(values, size), clusters, method=method).corrected.rejections == flagged


def test_planted_identities_are_flagged_and_few_others(rng):
    share, found = [], []
    clusters = np.repeat(np.arange(60), 2)
    for _ in range(60):
        scores = rng.standard_normal((120, 1))
        scores[: 2 * 12] += 6.0
        values = real_probe_values(
            compared_of(scores, 1),
            compared_of(rng.standard_normal((2000, 1)), 1),
            np.arange(2000),
            Searches(clusters, np.arange(120)),
            np.zeros(1, int),
            rng,
        )
        rejected = conformal_test(values, clusters, 0.1).corrected.rejected
        found.append(rejected[:12].mean())
        share.append(rejected[12:].sum() / max(1, rejected.sum()))
    assert np.mean(found) > 0.99
    assert np.mean(share) <= 0.1


def test_a_method_without_false_discoveries():
    with pytest.raises(ValueError, match="benjamini-hochberg, benjamini-yekutieli, not 'holm'"):
        conformal_test(given([0.5]), np.zeros(1, int), method="holm")


def test_entry_is_plain():
    entry = conformal_entry(conformal_test(given([0.001, 0.9]), np.arange(2)))
    assert json.loads(json.dumps(entry, allow_nan=False))["rejections"] == 1
    assert entry["calibration_size"] == 999
