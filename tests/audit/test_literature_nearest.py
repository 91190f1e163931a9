"""Authenticity, closer share, similarity percentiles and top pairs, against the matrix of all scores."""

from __future__ import annotations

import numpy as np
import pytest

from audit.manifold_makers import curved
from idsim import reference
from idsim.audit.literature import (
    authenticity,
    closer_record_share,
    nearest_others,
    similarity_percentiles,
    top_pairs,
)
from idsim.audit.pairs.compared import Compared
from idsim.audit.plain_values import plain_values
from idsim.results import Pairs
from idsim.tails import pairs_above
from idsim.topk import search


def distances(a, b):
    return reference.l2(a, b).astype(np.float64)


# --- authenticity ---------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_authenticity_is_the_definition(rng, metric):
    synthetic, training = curved(rng, 150), curved(rng, 200)
    synthetic[:40] = training[:40] + 0.05 * curved(rng, 40)
    scores, ids = search(synthetic, training, 1, metric=metric)
    rows = np.unique(ids[:, 0])
    found = authenticity(scores[:, 0], ids[:, 0], rows, nearest_others(training, rows, metric), metric)
    sign = 1.0 if metric == "l2" else -1.0
    between = sign * reference.score_matrix(synthetic, training, metric).astype(np.float64)
    inside = sign * reference.score_matrix(training, training, metric).astype(np.float64)
    np.fill_diagonal(inside, np.inf)
    nearest = between.argmin(axis=1)
    expected = between.min(axis=1) < inside.min(axis=0)[nearest]
    np.testing.assert_array_equal(found.inauthentic, expected)
    assert found.authentic.value == pytest.approx(1 - expected.mean())
    assert expected[:40].mean() > 0.9
    assert found.training_faces == len(np.unique(nearest))


def test_all_copies_and_no_copies(rng):
    training = curved(rng, 100)
    for synthetic, value in ((training, 0.0), (training + np.float32(50), 1.0)):
        scores, ids = search(synthetic, training, 1, metric="l2")
        others = nearest_others(training, np.arange(100), "l2")
        assert authenticity(scores[:, 0], ids[:, 0], np.arange(100), others, "l2").authentic.value == value


def test_others_of_another_person(rng):
    training, persons = curved(rng, 60), np.arange(60) // 2
    found = nearest_others(training, np.array([5, 0]), "l2", persons)
    matrix = distances(training, training)
    matrix[persons[:, None] == persons[None, :]] = np.inf
    np.testing.assert_array_equal(found, matrix.min(axis=1)[[5, 0]].astype(np.float32))


def test_authenticity_needs_the_scores_of_training():
    scores, ids = np.array([0.5, 0.4], np.float32), np.array([3, 9])
    for rows in ([3], [3, 5, 20], [20, 3]):
        with pytest.raises(
            ValueError, match="training face 9 is nearest to a synthetic one and has no score"
        ):
            authenticity(scores, ids, np.array(rows), np.zeros(len(rows), np.float32), "cosine")
    none = authenticity(scores, np.array([-1, -1]), ids, scores, "cosine")
    assert none.authentic.refusal == "the training set has no faces"
    swapped = authenticity(scores, ids, np.array([9, 3]), np.array([0.6, 0.1], np.float32), "cosine")
    assert swapped.inauthentic.tolist() == [True, False]


# --- closer share ---------------------------------------------------------------------------------


def test_closer_share_splits_ties_and_knows_its_null():
    training = np.array([0.9, 0.5, 0.5, 0.1], np.float32)
    holdout = np.array([0.8, 0.5, 0.6, 0.0], np.float32)
    found = closer_record_share(training, holdout, (300, 100), "cosine")
    assert found.strict.value == 0.5
    assert found.split.value == 0.625
    assert (found.assumed, found.expected) == (0.5, 0.75)
    assert found.score == 1.0
    assert found.corrected_score == 1.0
    nearer = closer_record_share(-training, -holdout, (100, 100), "l2")
    assert nearer.strict.value == found.strict.value
    every = closer_record_share(np.ones(9), np.zeros(9), (300, 100), "cosine")
    assert every.score == every.corrected_score == 0.0


def test_without_leakage_only_the_corrected_score_is_1():
    """Three times as many training faces: SDMetrics' score calls that overfitting."""
    rng = np.random.default_rng(3)
    synthetic, training, holdout = curved(rng, 1500), curved(rng, 3000), curved(rng, 1000)
    best = [search(synthetic, real, 1, metric="l2").scores[:, 0] for real in (training, holdout)]
    found = closer_record_share(*best, (3000, 1000), "l2")
    assert found.split.interval.low <= 0.75 <= found.split.interval.high
    assert found.score < 0.6
    assert found.corrected_score > 0.9


def test_closer_share_needs_both_sets():
    found = closer_record_share(np.zeros(3), np.zeros(3), (0, 5), "cosine")
    assert found.split.refusal == "the training set or the holdout is empty"
    with pytest.raises(ValueError, match="one score per face"):
        closer_record_share(np.zeros(3), np.zeros(2), (4, 5), "cosine")


# --- similarity percentiles -----------------------------------------------------------------------


def test_percentiles_are_those_of_numpy(rng):
    synthetic, background = rng.random(400), rng.random(300) * 0.8
    found = similarity_percentiles(synthetic, background, "cosine", clusters=np.arange(400) // 4)
    assert found.mean.value == pytest.approx(synthetic.mean())
    assert found.mean.groups == 100
    assert found.std == pytest.approx(synthetic.std())
    assert found.percentiles["90"] == np.percentile(synthetic, 90)
    assert found.background_percentiles["95"] == np.percentile(background, 95)
    assert found.above.value == (synthetic > 0.5).mean()
    assert found.above_background.value == (synthetic > np.percentile(background, 95)).mean()
    assert plain_values(found)["percentiles"]["75"] == np.percentile(synthetic, 75)


def test_percentiles_are_refused_for_distances_and_for_lonely_faces():
    some = np.full(5, 0.5)
    assert similarity_percentiles(some, some, "l2").refusal == "the matcher gives no cosines"
    alone = similarity_percentiles(some, np.array([-np.inf]), "cosine")
    assert alone.refusal == "there are faces without any other person to compare with"
    empty = similarity_percentiles(some[:0], some, "cosine")
    assert empty.mean.refusal == "there are no synthetic or no training faces"


# --- top pairs ------------------------------------------------------------------------------------


def compared(synthetic, training, k, level, metric="cosine"):
    scores, ids = search(synthetic, training, k, metric=metric)
    return Compared(metric, scores, ids, level, pairs_above(synthetic, training, level, metric=metric))


def stated(synthetic, training, count, metric):
    scores = reference.score_matrix(synthetic, training, metric)
    order = scores.ravel() if metric == "l2" else -scores.ravel()
    best = np.lexsort((np.arange(order.size), order))[:count]
    return best // scores.shape[1], best % scores.shape[1], scores.ravel()[best]


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("from_tail", [True, False])
def test_top_pairs_are_those_of_the_matrix(rng, metric, from_tail):
    synthetic, training = curved(rng, 80), curved(rng, 120)
    synthetic[1] = synthetic[0]  # ties
    loose = {"cosine": 0.3, "l2": 50.0}[metric]
    strict = {"cosine": 2.0, "l2": 0.0}[metric]
    both = compared(synthetic, training, 30, loose if from_tail else strict, metric)
    found = top_pairs(both, np.arange(80), np.arange(120), 25)
    assert found.refusal == ""
    for got, expected in zip(
        (found.rows, found.columns, found.scores), stated(synthetic, training, 25, metric), strict=True
    ):
        np.testing.assert_array_equal(got, expected)
    assert found.row_groups == len(np.unique(found.rows))
    assert plain_values(found)["least"] == found.scores[-1]
    assert "rows" not in plain_values(found)


def test_top_pairs_say_when_matches_were_cut(rng):
    synthetic, training = curved(rng, 30), curved(rng, 50)
    synthetic[4] = training[7] * 2  # one odd face takes many of the best pairs
    training[:20] = training[7] + 0.01 * curved(rng, 20)
    found = top_pairs(compared(synthetic, training, 3, 2.0), np.arange(30), np.arange(50), 15)
    assert "may have more of the best pairs than the 3 matches listed for each" in found.refusal
    whole = top_pairs(compared(synthetic, training, 50, 2.0), np.arange(30), np.arange(50), 15)
    assert whole.refusal == ""
    assert whole.effective_rows < 5


def test_top_pairs_of_nothing():
    nothing = Compared(
        "cosine",
        np.full((4, 2), -np.inf, np.float32),
        np.full((4, 2), -1),
        0.5,
        Pairs(*np.empty((3, 0), np.int64)),
    )
    found = top_pairs(nothing, np.arange(4), np.arange(4))
    assert found.refusal == "there are no pairs"
    assert (found.least, found.effective_columns) == (None, 0.0)
