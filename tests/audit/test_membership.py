"""Membership inference against SciPy, scikit-learn, brute force, and sets whose truth is known."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score, roc_curve

from audit.person_makers import compared, is_plain, population
from idsim.audit.persons.membership import PersonScores, infer_membership, membership_entry, person_scores
from idsim.audit.persons.membership_curve import (
    best_within,
    membership_curve,
    membership_curve_entry,
    nested_subsets,
)
from idsim.topk import search


def scored(values, images=1):
    scores = np.asarray(values, np.float64)
    return PersonScores(scores, np.broadcast_to(np.asarray(images, np.int64), scores.shape))


def labelled(members, non_members):
    truth = np.repeat([1, 0], [len(members.scores), len(non_members.scores)])
    return truth, np.concatenate([members.scores, non_members.scores])


@pytest.fixture
def tied(rng):
    """Scores on few values, members a little higher."""
    return scored(rng.integers(2, 14, 150)), scored(rng.integers(0, 12, 230))


# --- scores of persons ----------------------------------------------------------------------------


def test_a_person_has_the_best_score_of_the_images():
    found = person_scores(np.array([0.1, 0.9, 0.3, 0.2], np.float32), np.array([1, 0, 1, 0]), "cosine")
    np.testing.assert_allclose(found.scores, [0.9, 0.3], rtol=1e-6)
    assert found.images.tolist() == [2, 2]
    nearest = person_scores(np.array([0.1, 0.9, 0.3, 0.2], np.float32), np.array([1, 0, 1, 0]), "l2")
    np.testing.assert_allclose(nearest.scores, [-0.2, -0.1], rtol=1e-6)


@pytest.mark.parametrize(
    ("best", "persons", "message"),
    [
        ([0.1, np.nan], [0, 1], "embedding 1 is NaN"),
        ([0.1, 0.2], [0, 2], "person 1 has no embedding"),
        ([0.1, 0.2, 0.3], [0, 1], "shape"),
    ],
)
def test_scores_that_cannot_be_used_are_named(best, persons, message):
    with pytest.raises(ValueError, match=message):
        person_scores(np.array(best), np.array(persons), "cosine")


# --- statistics -----------------------------------------------------------------------------------


def test_the_area_is_that_of_scikit_learn(tied, rng):
    found = infer_membership(*tied, 9, rng)
    assert found.auc == pytest.approx(roc_auc_score(*labelled(*tied)), abs=1e-12)
    assert found.strata == 1


def test_the_interval_is_that_of_delong_by_all_pairs(tied, rng):
    members, non_members = (side.scores for side in tied)
    wins = (members[:, None] > non_members) + 0.5 * (members[:, None] == non_members)
    auc = wins.mean()
    variance = wins.mean(axis=1).var(ddof=1) / len(members) + wins.mean(axis=0).var(ddof=1) / len(non_members)
    half = stats.norm.ppf(0.975) * np.sqrt(variance) / (auc * (1 - auc))
    expected = 1 / (1 + np.exp(-(np.log(auc / (1 - auc)) + np.array([-half, half]))))
    interval = infer_membership(*tied, 9, rng).auc_interval
    np.testing.assert_allclose([interval.low, interval.high], expected, rtol=1e-10)


def test_the_advantage_is_the_one_sided_distance_of_scipy(tied, rng):
    found = infer_membership(*tied, 9, rng)
    other = stats.ks_2samp(tied[0].scores, tied[1].scores, alternative="less")
    assert found.advantage == pytest.approx(other.statistic, abs=1e-12)


def test_the_p_values_are_those_of_all_exchanges(rng):
    members, non_members = scored([5, 3, 3, 1]), scored([4, 3, 2, 0, 0])
    found = infer_membership(members, non_members, 20_000, rng)
    pool = np.concatenate([members.scores, non_members.scores])

    def statistics(chosen):
        flags = np.isin(np.arange(9), chosen)
        test = stats.ks_2samp(pool[flags], pool[~flags], alternative="less")
        return test.statistic, roc_auc_score(flags, pool)

    every = np.array([statistics(chosen) for chosen in combinations(range(9), 4)])
    observed = statistics(range(4))
    advantage_p, auc_p = (every >= np.array(observed) - 1e-12).mean(axis=0)
    assert found.advantage_p == pytest.approx(advantage_p, abs=0.015)
    assert found.auc_p == pytest.approx(auc_p, abs=0.015)


def test_detection_is_a_point_of_the_roc_curve(rng):
    members, non_members = scored(rng.normal(1, 1, 2000)), scored(rng.normal(0, 1, 1500))
    found = infer_membership(members, non_members, 9, rng)
    fpr, tpr, _ = roc_curve(*labelled(members, non_members), drop_intermediate=False)
    for detection in found.detection[:1]:
        inside = fpr <= detection.target + 1e-12
        assert detection.rate == pytest.approx(tpr[inside].max())
        assert detection.achieved == pytest.approx(fpr[inside].max())
    first = found.detection[0]
    assert first.false_alarms == 15
    assert first.flags == ["fewer than 30 errors"]
    assert first.interval.low < first.rate < first.interval.high
    assert first.achieved_interval.low < 0.01 < first.achieved_interval.high


def test_rates_below_the_resolution_are_refused(rng):
    found = infer_membership(scored(rng.normal(size=500)), scored(rng.normal(size=500)), 9, rng)
    assert [detection.rate is None for detection in found.detection] == [False, True, True]
    assert "not supported by 500 persons of the holdout: at least 0.006" in found.detection[1].refusal
    assert found.detection[1].flags == []


def test_ties_at_the_limit_are_no_detection(rng):
    found = infer_membership(scored(np.ones(400)), scored(np.ones(400)), 9, rng)
    assert found.detection[0].rate == found.detection[0].achieved == 0.0
    assert found.auc == 0.5
    assert found.advantage == 0.0
    assert found.auc_p == found.advantage_p == 1.0


def test_sets_that_do_not_overlap_have_an_interval(rng):
    found = infer_membership(scored(np.arange(100) + 50), scored(-np.arange(40)), 99, rng)
    assert found.auc == found.advantage == 1.0
    assert 0.9 < found.auc_interval.low < found.auc_interval.high == 1.0
    assert found.auc_p == found.advantage_p == 0.01


def test_too_few_persons_are_refused(rng):
    found = infer_membership(scored([0.5]), scored([0.1, 0.2]), 9, rng)
    assert found == "membership needs two persons in both sets; there are 1 and 2"
    assert membership_entry(found) == {"refused": found}


def test_persons_without_a_match_come_last(rng):
    members, non_members = scored([0.5, -np.inf, 0.7]), scored([-np.inf, 0.1, -np.inf])
    found = infer_membership(members, non_members, 9, rng)
    assert found.auc == pytest.approx((3 + 1 + 3) / 9)


# --- numbers of images ----------------------------------------------------------------------------


def with_images(rng, counts):
    """The best of as many draws as there are images: more images, higher scores."""
    best = np.array([rng.normal(size=count).max() for count in counts])
    return PersonScores(best, np.asarray(counts, np.int64))


def test_members_with_more_images_are_compared_with_their_like(rng):
    counts = np.repeat([1, 5], [200, 800]), np.repeat([5, 1], [200, 800])
    naive, found = [], []
    for _ in range(16):
        members, non_members = (with_images(rng, count) for count in counts)
        naive.append(roc_auc_score(*labelled(members, non_members)))
        found.append(infer_membership(members, non_members, 49, rng))
    assert np.mean(naive) > 0.7
    assert np.mean([trial.auc for trial in found]) == pytest.approx(0.5, abs=0.02)
    assert np.mean([trial.advantage for trial in found]) < 0.08
    assert np.mean([trial.advantage_p > 0.1 for trial in found]) > 0.6
    assert all(trial.detection[0].achieved <= 0.01 for trial in found)
    assert np.mean([trial.detection[0].rate for trial in found]) < 0.025
    assert (found[-1].strata, found[-1].caution) == (2, "")
    by_hand = []
    for number in (1, 5):
        parts = [side.scores[side.images == number] for side in (members, non_members)]
        by_hand.append(roc_auc_score(*labelled(*map(scored, parts))))
    assert found[-1].auc == pytest.approx(0.2 * by_hand[0] + 0.8 * by_hand[1], abs=1e-12)


def test_strata_that_differ_inside_are_called_out(rng):
    found = infer_membership(with_images(rng, [8] * 20), with_images(rng, [2] * 20), 9, rng)
    assert "8 images in training and 2 in the holdout" in found.caution
    assert membership_entry(found)["caution"] == found.caution


# --- behaviour ------------------------------------------------------------------------------------


def test_p_is_uniform_and_the_interval_covers_without_a_leak(rng):
    """Scores with ties, two numbers of images: under random membership p is uniform, 0.5 covered."""
    trials = 300
    values, covered = [], 0
    for _ in range(trials):
        images = rng.integers(1, 3, 160)
        scores = np.round(rng.normal(images, 1.0), 1)
        member = rng.permutation(160) < 80
        found = infer_membership(
            PersonScores(scores[member], images[member]),
            PersonScores(scores[~member], images[~member]),
            49,
            rng,
        )
        values.append((found.auc_p, found.advantage_p))
        covered += found.auc_interval.low <= 0.5 <= found.auc_interval.high
    for level in (0.1, 0.3, 0.5, 0.8):
        share = (np.array(values) <= level).mean(axis=0)
        assert (np.abs(share - level) <= 0.03 + 4 * np.sqrt(level * (1 - level) / trials)).all()
    assert 0.91 <= covered / trials <= 0.985


def test_planted_members_are_told_from_the_holdout(rng):
    vectors, labels, _ = population(persons=600, clusters=400, leaks=300, dim=64)
    sides = [
        person_scores(
            np.asarray(search(vectors[name], vectors["synthetic"], 1).scores)[:, 0], labels[name], "cosine"
        )
        for name in ("training", "holdout")
    ]
    found = infer_membership(*sides, 199, rng)
    assert found.auc_p == found.advantage_p == 0.005
    assert found.auc_interval.low > 0.6
    assert found.detection[0].rate > 0.3  # half of them are leaked, most leaks stand out
    assert is_plain(membership_entry(found))
    clean = infer_membership(
        sides[1], scored(np.random.default_rng(1).permutation(sides[1].scores), 2), 99, rng
    )
    assert clean.auc == pytest.approx(0.5)


# --- number of synthetic images -------------------------------------------------------------------


def test_subsets_are_nested_and_whole_clusters(rng):
    clusters = rng.permutation(np.repeat(np.arange(40), rng.integers(1, 5, 40)))
    subsets = nested_subsets(clusters, 3, rng)
    assert [subset.clusters for subset in subsets] == [5, 10, 20, 40]
    for smaller, larger in pairwise(subsets):
        assert (larger.keep | ~smaller.keep).all()
    for subset in subsets:
        assert len(np.unique(clusters[subset.keep])) == subset.clusters
        assert not np.isin(clusters[~subset.keep], clusters[subset.keep]).any()
    assert subsets[-1].keep.all()
    assert [subset.clusters for subset in nested_subsets(np.arange(3), 5, rng)] == [1, 3]


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_the_best_match_in_a_part_is_that_of_a_search(rng, metric):
    real = rng.standard_normal((200, 16)).astype(np.float32)
    synthetic = rng.standard_normal((60, 16)).astype(np.float32)
    keep = rng.random(60) < 0.4
    scores, known = best_within(compared(real, synthetic, 4, 0.5, metric), keep)
    expected = np.asarray(search(real, synthetic[keep], 1, metric=metric).scores)[:, 0]
    np.testing.assert_array_equal(scores[known], expected[known])
    assert 0.8 < known.mean() < 1
    assert np.isinf(scores[~known]).all()
    every, known = best_within(compared(real, synthetic, 60, 0.5, metric), keep)
    assert known.all()
    np.testing.assert_array_equal(every, expected)
    nothing, known = best_within(compared(real, synthetic, 60, 0.5, metric), np.zeros(60, np.bool_))
    assert known.all()
    assert np.isinf(nothing).all()


def test_membership_rises_with_the_number_of_synthetic_images(rng):
    vectors, labels, _ = population(persons=400, clusters=400, leaks=400, dim=64, cluster_images=1)

    def best(keep):
        return tuple(
            np.asarray(search(vectors[name], vectors["synthetic"][keep], 1).scores)[:, 0]
            for name in ("training", "holdout")
        )

    subsets = nested_subsets(labels["synthetic"], 3, rng)
    curve = membership_curve(subsets, best, (labels["training"], labels["holdout"]), "cosine", 49, rng)
    areas = [point.membership.auc for point in curve]
    assert areas == sorted(areas)
    assert areas[0] < 0.65
    assert areas[-1] > 0.9
    assert [point.images for point in curve] == [50, 100, 200, 400]
    entry = membership_curve_entry(curve)
    assert is_plain(entry)
    assert entry[0]["clusters"] == 50
