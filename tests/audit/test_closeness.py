"""Share and margin of being closer to training: exact nulls, planted truth, intervals that hold it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from audit.compared_makers import compared_of
from idsim.audit.rates.excess import Resampling
from idsim.audit.significance.closeness import closeness_entry, measure_closeness
from idsim.audit.significance.nearest import Searches

QUICK = Resampling(bootstrap=400, permutations=199, draws=20)


def each(count, without_face=0):
    return Searches(np.arange(count + without_face), np.arange(count))


def measured(training, holdout, synthetic=None, kept=2, resampling=QUICK, codes=None, metric="cosine"):
    codes = codes or (np.arange(training.shape[1]), np.arange(holdout.shape[1]))
    synthetic = synthetic or each(len(training))
    both = compared_of(training, kept, metric=metric), compared_of(holdout, kept, metric=metric)
    return measure_closeness(*both, codes, synthetic, resampling)


def test_share_and_margin_are_what_they_say(rng):
    training, holdout = rng.random((60, 30)), rng.random((60, 30))
    training, holdout = training.astype(np.float32), holdout.astype(np.float32)
    clusters = np.repeat(np.arange(20), 3)
    found = measured(training, holdout, Searches(clusters, np.arange(60)))
    margin = training.max(axis=1).astype(float) - holdout.max(axis=1)
    assert found.share.share == pytest.approx((margin > 0).mean())
    assert found.share.expected == 0.5
    assert found.margin.mean == pytest.approx(margin.mean())
    per_cluster = margin.reshape(20, 3).mean(axis=1)
    assert found.margin.signed_rank.p_value == pytest.approx(
        stats.wilcoxon(per_cluster, alternative="greater").pvalue
    )
    assert found.margin.sign.p_value == pytest.approx(
        stats.binomtest(int((per_cluster > 0).sum()), 20, alternative="greater").pvalue
    )
    naive = stats.binomtest(int((margin > 0).sum()), 60, 0.5, alternative="greater").pvalue
    assert found.share.naive_p == pytest.approx(naive)
    assert (found.share.images, found.share.clusters, found.margin.draws) == (60, 20, 1)


def test_clusters_have_equal_weight(rng):
    training = np.array([[0.9, 0], [0.9, 0], [0.9, 0], [0.1, 0]])
    found = measured(training, np.full((4, 2), 0.5), Searches(np.array([0, 0, 0, 1]), np.arange(4)))
    assert found.share.share == 0.5
    assert found.margin.mean == pytest.approx((0.4 - 0.4) / 2, abs=1e-7)


def test_ties_are_split():
    training = np.array([[0.5, 0.1], [0.5, 0.5], [0.9, 0.0]])
    holdout = np.array([[0.5, 0.0], [0.5, 0.1], [0.2, 0.2]])
    found = measured(training, holdout)
    # Half of the first image, two of three nearest persons of the second, all of the third.
    assert found.share.share == pytest.approx((1 / 2 + 2 / 3 + 1) / 3)
    assert found.share.naive_p == 0.5  # one image that is no tie


def test_the_null_is_exact_in_persons_and_depends_on_their_numbers(rng):
    scores = rng.random((300, 40))
    found = measured(scores[:, :30], scores[:, 30:])
    assert found.share.expected == 0.75
    assert found.share.test.null_mean == pytest.approx(0.75, abs=0.01)
    assert found.share.persons == (30, 10)


def test_distances_are_turned_round(rng):
    training, holdout = rng.random((40, 10)), rng.random((40, 10)) + 0.02
    one = measured(1 - training, 1 - holdout)
    other = measured(training, holdout, metric="l2")
    assert other.share.share == one.share.share
    assert other.margin.mean == pytest.approx(one.margin.mean, abs=1e-6)
    assert other.margin.mean > 0


def test_images_without_a_face_are_counted_beside(rng):
    training, holdout = rng.random((40, 10)), rng.random((40, 10))
    with_gaps = measured(training, holdout, each(40, without_face=7))
    assert with_gaps.share.without_face == 7
    assert with_gaps.share.share == measured(training, holdout).share.share


def test_planted_leaks_are_found(rng):
    training, holdout = rng.random((200, 80)) * 0.5, rng.random((200, 80)) * 0.5
    training[np.arange(60), np.arange(60)] = 0.9
    found = measured(training, holdout)
    assert found.share.share == pytest.approx(0.3 + 0.7 / 2, abs=0.1)
    assert found.share.interval.low > 0.5
    assert found.share.test.p_value == 1 / 200
    assert found.margin.interval.low > 0
    assert found.margin.signed_rank.p_value < 1e-4
    assert found.margin.sign.p_value < 1e-3


def test_a_hub_fools_the_naive_test_only(rng):
    """One person of training resembles everybody: 200 images, one fact."""
    training, holdout = rng.random((200, 50)) * 0.5, rng.random((200, 50)) * 0.5
    training[:, 7] = 0.6
    found = measured(training, holdout)
    assert found.share.share == pytest.approx(1)
    assert found.share.interval.low < 0.5
    assert found.share.naive_p < 1e-50
    assert found.share.test.p_value == pytest.approx(0.5, abs=0.12)
    assert found.share.design_effect > 100


def test_galleries_of_different_size_are_matched(rng):
    scores = rng.random((150, 60))
    found = measured(scores[:, :40], scores[:, 40:], kept=40)
    assert (found.margin.draws, found.margin.persons) == (20, 20)
    assert found.margin.interval.low < 0 < found.margin.interval.high
    whole = scores[:, :40].max(axis=1) - scores[:, 40:].max(axis=1)
    assert abs(found.margin.mean) < 0.5 * whole.mean()
    assert not found.margin.sign.exact


def test_a_margin_that_is_not_known_is_refused(rng):
    scores = rng.random((150, 60))
    found = measured(scores[:, :40], scores[:, 40:], kept=3)
    assert found.margin.mean is None
    assert "of the 3 best matches kept is in a gallery of 20 persons" in found.margin.refusal
    entry = closeness_entry(found)
    assert entry["margin"]["mean"] is None
    assert entry["margin"]["refused"] == found.margin.refusal
    assert entry["share"]["share"] == found.share.share
    json.dumps(entry, allow_nan=False)


def test_one_person_a_side(rng):
    found = measured(np.full((5, 1), 0.9), np.full((5, 1), 0.1), kept=3)
    assert found.share.share == 1
    assert found.share.test.p_value == 0.5
    assert found.margin.refusal == "two best matches and two persons are needed, not 3 and 1"
    json.dumps(closeness_entry(found), allow_nan=False)


def test_all_ties(rng):
    found = measured(np.full((6, 4), 0.5), np.full((6, 4), 0.5), kept=4)
    assert found.share.share == pytest.approx(0.5)
    assert found.share.naive_p == 1
    assert found.margin.mean == 0
    assert found.margin.signed_rank.p_value == 1


def test_no_face_at_all():
    with pytest.raises(ValueError, match="no synthetic image has a face"):
        measured(np.ones((0, 3)), np.ones((0, 3)), Searches(np.arange(4), np.arange(0)))


def test_intervals_and_p_hold_without_a_leak(rng):
    """Clusters of four and persons who attract: the naive test errs, the others do not."""
    share, margin, p_values, naive = [], [], [], []
    quick = Resampling(bootstrap=200, permutations=99)
    clusters = np.repeat(np.arange(30), 4)
    for _ in range(150):
        attraction = rng.gamma(1.0, size=80) * 0.05
        scores = rng.standard_normal((30, 80)).repeat(4, axis=0) * 0.1 + attraction
        scores += 0.02 * rng.standard_normal(scores.shape)
        found = measured(scores[:, :40], scores[:, 40:], Searches(clusters, np.arange(120)), resampling=quick)
        share.append(found.share.interval.low <= 0.5 <= found.share.interval.high)
        margin.append(found.margin.interval.low <= 0 <= found.margin.interval.high)
        p_values.append(found.share.test.p_value)
        naive.append(found.share.naive_p)
    assert np.mean(share) >= 0.88
    assert np.mean(margin) >= 0.88
    for level in (0.05, 0.1, 0.5):
        assert np.mean(np.array(p_values) <= level) <= level + 4 * np.sqrt(level * (1 - level) / 150)
    assert np.mean(np.array(naive) <= 0.05) > 0.15


@pytest.mark.slow
@pytest.mark.parametrize(
    ("hubs", "clusters", "images", "persons"),
    [(0.0, 120, 1, 100), (0.0, 40, 5, 100), (0.02, 100, 1, 100), (0.05, 30, 4, 40)],
)
def test_coverage_without_a_leak(rng, record_property, hubs, clusters, images, persons):
    """The table of docs/significance.md; `pytest --junit-xml` writes it."""
    quick = Resampling(bootstrap=400, permutations=19)
    synthetic = Searches(np.repeat(np.arange(clusters), images), np.arange(clusters * images))
    held = []
    for _ in range(300):
        scores = 0.1 * rng.standard_normal((clusters, 2 * persons)).repeat(images, axis=0)
        scores += hubs * rng.gamma(1.0, size=2 * persons) + 0.02 * rng.standard_normal(scores.shape)
        found = measured(scores[:, :persons], scores[:, persons:], synthetic, 3, quick)
        share, margin = found.share.interval, found.margin.interval
        held.append((share.low <= 0.5 <= share.high, margin.low <= 0 <= margin.high))
    record_property("share and margin held", np.mean(held, axis=0).tolist())
    assert (np.mean(held, axis=0) >= 0.88).all()
