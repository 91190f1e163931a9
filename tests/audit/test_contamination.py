"""Pairs of one person among the impostors: found where they are planted, and refused without a basis."""

from __future__ import annotations

import json

import numpy as np
import pytest

from audit.makers import unit
from audit.tail_makers import compare_self, compared_of
from idsim.audit.thresholds.calibration import Target
from idsim.audit.thresholds.contamination import (
    Cut,
    choose_cut,
    contamination_entry,
    find_contamination,
    threshold_sensitivity,
)

NONE = np.empty(0, np.float32)


def contaminated(rng, persons=300, twice=12, dim=32):
    """One image of each person; the last `twice` labels are second images of the first ones."""
    centres = unit(rng.standard_normal((persons, dim)))
    owner = np.concatenate([np.arange(persons), np.arange(twice)])
    return unit(centres[owner] + 0.25 / np.sqrt(dim) * rng.standard_normal((len(owner), dim)))


def mated_scores(rng, vectors):
    again = unit(vectors + 0.25 / np.sqrt(vectors.shape[1]) * rng.standard_normal(vectors.shape))
    return (vectors * again).sum(axis=1).astype(np.float32)


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_planted_pairs_are_found_and_one_of_each_stays(rng, metric):
    vectors = contaminated(rng)
    labels = np.arange(312)
    compared = compare_self(vectors, labels, metric, 1.2 if metric == "l2" else 0.2)
    cut = choose_cut(compared, labels, NONE, 0, given=0.6 if metric == "l2" else 0.8)
    found = find_contamination(compared, labels, cut, 0.95)
    assert set(zip(found.links.first.tolist(), found.links.second.tolist(), strict=True)) == {
        (person, 300 + person) for person in range(12)
    }
    assert found.share == 24 / 312
    assert found.floor == 12 / (312 * 311 / 2)
    assert found.sizes.tolist() == [2] * 12
    assert len(found.removed) == 12
    assert found.keep.sum() == 300
    assert set(found.component[found.removed]) == set(range(12))
    assert found.interval.low < found.share < found.interval.high


def test_the_threshold_moves_back_to_that_of_clean_labels(rng):
    vectors = contaminated(rng)
    labels = np.arange(312)
    compared = compare_self(vectors, labels, level=0.2)
    found = find_contamination(compared, labels, Cut(0.8, "given"), 0.95)
    targets = [Target("fmr", 2e-4), Target("fpir", 0.02), Target("fmr", 1e-6)]
    fmr, fpir, refused = threshold_sensitivity(compared, labels, found, targets, 0.95)
    clean = compare_self(vectors[found.keep], labels[:300], level=0.2)
    direct = threshold_sensitivity(
        clean, labels[:300], find_contamination(clean, labels[:300], Cut(0.99, "given"), 0.95), targets, 0.95
    )
    assert fmr.after == direct[0].before
    assert fpir.after == direct[1].before
    assert fmr.before.threshold > 0.8 > fmr.after.threshold
    assert fmr.change == fmr.after.threshold - fmr.before.threshold < 0
    assert fpir.change < 0
    assert refused.change is None
    assert "rule of 3" in refused.before.refusal
    entry = json.loads(json.dumps(contamination_entry(found, found.cut, [fmr, fpir, refused])))
    assert entry["removed_persons"] == 12
    assert entry["sensitivity"][0]["before"]["fmr"]["errors"] == fmr.before.fmr.errors
    assert entry["sensitivity"][2]["after"]["refused"]


def test_a_chain_is_one_component_and_its_middle_stays():
    scores = np.zeros((6, 6))
    for one, other, score in [(0, 1, 0.9), (1, 2, 0.95), (1, 3, 0.85), (4, 5, 0.9)]:
        scores[one, other] = scores[other, one] = score
    persons = np.arange(6)
    found = find_contamination(compared_of(scores, persons), persons, Cut(0.8, "given"), 0.95)
    assert found.component.tolist() == [0, 0, 0, 0, 4, 4]
    assert found.removed.tolist() == [0, 2, 3, 5]
    assert found.mated == 6 + 1
    assert found.sizes.tolist() == [4, 2]


def test_persons_leave_with_all_their_images():
    persons = np.array([0, 0, 1, 1, 1, 2])
    scores = np.zeros((6, 6))
    scores[0, 4] = scores[4, 0] = 0.9
    found = find_contamination(compared_of(scores, persons), persons, Cut(0.8, "given"), 0.95)
    assert found.removed.tolist() == [0]  # the person with more images stays
    assert found.keep.tolist() == [False, False, True, True, True, True]
    assert found.share == 5 / 6
    assert found.mated == 6
    assert found.comparisons == 2 * 3 + 2 + 3


def test_nothing_above_the_cut_removes_nothing(rng):
    vectors = contaminated(rng, twice=0)
    labels = np.arange(300)
    found = find_contamination(compare_self(vectors, labels), labels, Cut(0.99, "given"), 0.95)
    assert found.keep.all()
    assert found.floor == found.share == 0
    assert 0 < found.interval.high <= 3.1 / 300
    assert not len(found.removed)


def test_the_median_of_mated_comparisons_is_the_second_rule(rng):
    vectors = contaminated(rng)
    labels = np.arange(312)
    compared = compare_self(vectors, labels, level=0.2)
    mated = mated_scores(rng, vectors)
    cut = choose_cut(compared, labels, mated, 312)
    assert cut == Cut(float(np.median(mated.astype(np.float64))), "median of mated comparisons")
    found = find_contamination(compared, labels, cut, 0.95, mated)
    assert found.reached == 0.5
    assert found.floor_corrected == 2 * found.floor
    assert find_contamination(compared, labels, cut).floor_corrected is None
    distance = compare_self(vectors, labels, "l2", level=1.2)
    found = choose_cut(distance, labels, np.sqrt(2 - 2 * mated), 312)
    assert found.score == pytest.approx(np.sqrt(2 - 2 * cut.score), abs=1e-3)


def test_a_valley_is_the_first_rule(rng):
    vectors = contaminated(rng, persons=900, twice=40)
    labels = np.arange(940)
    compared = compare_self(vectors, labels, level=0.2)
    cut = choose_cut(compared, labels, mated_scores(rng, vectors), 940)
    assert cut.rule == "valley of the tail"
    impostors = np.sort(compared.tail.scores)[:-40]
    assert impostors.max() < cut.score < np.sort(compared.tail.scores)[-40]


def test_without_a_basis_the_cut_is_refused(rng):
    vectors = contaminated(rng, twice=0)
    labels = np.arange(300)
    compared = compare_self(vectors, labels, level=0.2)
    cut = choose_cut(compared, labels, NONE, 0)
    assert cut.score is None
    assert "0 mated comparisons" in cut.refusal
    assert "do not rise again" in cut.refusal
    with pytest.raises(ValueError, match="no basis for a cut"):
        find_contamination(compared, labels, cut, 0.95)
    assert contamination_entry(None, cut)["refused"] == cut.refusal
    blind = choose_cut(compared, labels, np.full(50, 0.1, np.float32), 50)
    assert "among the impostors" in blind.refusal
    weak = choose_cut(compared, labels, np.full(50, 0.25, np.float32), 50)
    assert "would link" in weak.refusal


def test_a_cut_below_the_listed_pairs_is_an_error(rng):
    vectors = contaminated(rng)
    compared = compare_self(vectors, np.arange(312), level=0.5)
    with pytest.raises(ValueError, match=r"a cut of 0.4 is looser than 0.5"):
        choose_cut(compared, np.arange(312), NONE, 0, given=0.4)


@pytest.mark.parametrize("seed", range(3))
def test_impostors_alone_show_no_valley(seed):
    rng = np.random.default_rng(seed)
    vectors = unit(rng.standard_normal((700, 24)))
    compared = compare_self(vectors, np.arange(700), level=0.3)
    assert choose_cut(compared, np.arange(700), NONE, 0).score is None
