"""Which images are left out, decided on arrays: votes, clusters, repetitions, and the rates that are left."""

from __future__ import annotations

import numpy as np
import pytest

from idsim.audit.rates.excess import Gallery, Resampling, measure_excess
from idsim.audit.remedies.filtering import REASONS, Rule, View, decide
from idsim.audit.remedies.filtering_rates import measure_kept

NOBODY = np.empty(0, np.int64)
QUICK = Resampling(bootstrap=50, permutations=50, draws=2)


def gallery(images, persons=6):
    images = np.asarray(images, np.int64)
    return Gallery(np.arange(persons), images, images % persons)


def view(reached, count=8, closeness=None, repeats=(), holdout=(), name="one"):
    """A matcher that finds a training person in the items `reached`; NaN in `closeness`: no face."""
    close = np.linspace(0, 1, count) if closeness is None else np.asarray(closeness, float)
    pairs = np.asarray(repeats, np.int64).reshape(-1, 2)
    return View(
        name, 0.5, gallery(reached), gallery(holdout), close, close, np.zeros(count, np.int64), ["a"],
        (pairs[:, 0], pairs[:, 1]),
    )  # fmt: skip


PAIRS_OF_TWO = np.repeat(np.arange(4), 2)


def words(decision):
    return [REASONS[code] for code in decision.reasons]


def test_a_cluster_goes_with_its_image_and_says_for_which():
    decision = decide([view([3])], PAIRS_OF_TWO, Rule())
    assert words(decision)[2:4] == ["another image of its cluster does", "reaches a training person"]
    assert decision.kept.tolist() == [True, True, False, False, True, True, True, True]
    assert decision.because.tolist() == [-1, -1, 3, -1, -1, -1, -1, -1]


def test_an_image_goes_alone():
    decision = decide([view([3])], PAIRS_OF_TWO, Rule(unit="image"))
    assert np.flatnonzero(~decision.kept).tolist() == [3]


@pytest.mark.parametrize(("matchers", "gone"), [("any", [0, 2, 4]), ("2", [2, 4]), ("all", [4]), ("3", [4])])
def test_matchers_vote(matchers, gone):
    views = [view([0, 2, 4, 4]), view([4, 2]), view([4])]
    decision = decide(views, np.arange(8), Rule(matchers=matchers))
    assert np.flatnonzero(~decision.kept).tolist() == gone


def test_the_farthest_image_of_a_cluster_may_stay():
    closeness = [0.9, 0.2, 0.8, 0.1, 0.5, 0.6, 0.3, 0.4]
    clusters = np.array([0, 0, 0, 0, 1, 1, 2, 2])
    decision = decide([view([0, 2, 4, 5], closeness=closeness)], clusters, Rule(keep="farthest"))
    assert np.flatnonzero(decision.kept).tolist() == [3, 6, 7]


def test_an_image_without_a_face_is_no_farthest_one():
    decision = decide([view([0], 4, [0.9, np.nan, 0.4, 0.5])], np.zeros(4, np.int64), Rule(keep="farthest"))
    assert np.flatnonzero(decision.kept).tolist() == [2]


def test_the_closest_rank_of_several_matchers_decides_which_image_is_farthest():
    # The scales differ: only ranks can be compared. Item 1 is far for one and closest for the other.
    one = view([0], 4, [0.9, 0.1, 0.5, 0.6])
    two = view([0], 4, [10, 90, 20, 80])
    decision = decide([one, two], np.zeros(4, np.int64), Rule(keep="farthest"))
    assert np.flatnonzero(decision.kept).tolist() == [2]


def test_images_without_a_face_stay_unless_they_are_asked_to_go():
    blind = view([], 3, [0.1, np.nan, 0.2])
    assert decide([blind], np.arange(3), Rule()).kept.all()
    decision = decide([blind], np.arange(3), Rule(drop_no_face=True))
    assert words(decision) == ["kept", "no face", "kept"]


def test_of_linked_clusters_the_first_one_stays():
    # Codes of clusters are in the order of their names; "first" is meant in the order of the items.
    clusters = np.array([3, 3, 1, 1, 0, 0, 2, 2])
    linked = view([], repeats=[(1, 2), (5, 3), (3, 5)])
    decision = decide([linked], clusters, Rule(distinct=True))
    assert np.flatnonzero(decision.kept).tolist() == [0, 1, 6, 7]
    assert decision.because.tolist() == [-1, -1, 0, 0, 0, 0, -1, -1]
    assert words(decision)[2] == "repeats another cluster"


def test_a_dropped_cluster_links_nobody():
    chain = view([2], repeats=[(1, 2), (3, 4)])
    decision = decide([chain], PAIRS_OF_TWO, Rule(distinct=True))
    assert np.flatnonzero(decision.kept).tolist() == [0, 1, 4, 5, 6, 7]


def test_repetitions_need_as_many_matchers():
    views = [view([], repeats=[(0, 2), (4, 6)]), view([], repeats=[(6, 4)])]
    decision = decide(views, PAIRS_OF_TWO, Rule(distinct=True, matchers="all"))
    assert np.flatnonzero(~decision.kept).tolist() == [6, 7]


def test_repetitions_that_nobody_looked_for_are_refused():
    blind = View("m", 0.5, gallery([]), gallery([]), *[np.zeros(2)] * 2, np.zeros(2, np.int64), ["a"])
    with pytest.raises(ValueError, match="m: the synthetic set was not compared with itself"):
        decide([blind], np.arange(2), Rule(distinct=True))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"unit": "person"}, "unit must be 'cluster' or 'image', not 'person'"),
        ({"keep": "all"}, "keep must be 'none' or 'farthest'"),
        ({"unit": "image", "keep": "farthest"}, "needs the unit 'cluster'"),
        ({"matchers": "0"}, "a number from 1 on, not '0'"),
        ({"matchers": "most"}, "not 'most'"),
    ],
)
def test_rules_that_mean_nothing(given, message):
    with pytest.raises(ValueError, match=message):
        Rule(**given)


def test_more_matchers_than_there_are():
    with pytest.raises(ValueError, match="asks for 3 matchers, and there are 1"):
        decide([view([0])], PAIRS_OF_TWO, Rule(matchers="3"))


def test_rates_of_what_is_kept_are_those_of_a_set_that_never_had_more():
    rng = np.random.default_rng(3)
    clusters = np.repeat(np.arange(20), 3)
    kept = rng.random(60) < 0.6
    hits = [np.sort(rng.choice(60, 25)) for _ in range(2)]
    whole = view(hits[0], 60, holdout=hits[1])
    found = measure_kept(whole, clusters, kept, QUICK)
    place = {int(item): number for number, item in enumerate(np.flatnonzero(kept))}
    galleries = []
    for reached in hits:
        stays = [item for item in reached.tolist() if item in place]
        images = np.array([place[item] for item in stays])
        galleries.append(Gallery(np.arange(6), images, np.array(stays) % 6))
    _, left = np.unique(clusters[kept], return_inverse=True)
    assert found == measure_excess(galleries, left, QUICK)
    # By hand: of each cluster the share of its kept images that reach somebody.
    shares = [
        np.isin(np.flatnonzero(kept & (clusters == cluster)), hits[0]).mean()
        for cluster in np.unique(clusters[kept])
    ]
    assert found.training.rate == pytest.approx(np.mean(shares))
