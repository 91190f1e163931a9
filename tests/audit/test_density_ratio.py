"""The density ratio of nearest neighbours against the formula, and where distances alone see nothing."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from audit.makers import unit
from idsim.audit.persons.density_ratio import density_ratios, reference_half
from idsim.audit.persons.membership import infer_membership, person_scores
from idsim.topk import search


def kth(queries, gallery, k):
    return np.asarray(search(queries, gallery, k).scores)[:, k - 1]


def test_the_score_is_the_log_ratio_of_neighbour_densities(rng):
    real, synthetic, reference = (unit(rng.standard_normal((n, 8))) for n in (50, 80, 60))
    ratio = density_ratios(kth(real, synthetic, 3), kth(real, reference, 3), "cosine")
    radii = [
        NearestNeighbors(n_neighbors=3).fit(side).kneighbors(real)[0][:, 2] for side in (synthetic, reference)
    ]
    dimension = 7
    density = [3 / (n * radius**dimension) for n, radius in zip((80, 60), radii, strict=True)]
    expected = np.log(density[0] / density[1]) - np.log(60 / 80)
    np.testing.assert_allclose(dimension * ratio, expected, atol=1e-4)


def test_cosines_and_distances_give_the_same(rng):
    cosines = rng.uniform(-0.5, 0.9, (2, 30))
    distances = np.sqrt(2 - 2 * cosines)
    np.testing.assert_allclose(
        density_ratios(*cosines, "cosine"), density_ratios(*distances, "l2"), atol=1e-12
    )


def test_a_copy_has_a_finite_score():
    ratio = density_ratios(np.array([1.0, 0.5]), np.array([0.5, 0.5]), "cosine")
    assert ratio.tolist() == [pytest.approx(11 * np.log(2)), 0.0]


@pytest.mark.parametrize(
    ("scores", "metric", "message"),
    [
        ([0.1, -np.inf], "cosine", "embedding 1 has no k-th neighbour"),
        ([0.1, 0.2], "dot", "metric must be cosine or l2, not dot"),
    ],
)
def test_what_is_no_distance_is_refused(scores, metric, message):
    with pytest.raises(ValueError, match=message):
        density_ratios(np.array(scores), np.zeros(2), metric)
    with pytest.raises(ValueError, match="shapes"):
        density_ratios(np.zeros(3), np.zeros(2), "cosine")


def test_half_of_the_persons_is_the_reference(rng):
    persons = np.repeat(np.arange(9), rng.integers(1, 4, 9))
    half = reference_half(persons, rng)
    assert len(np.unique(persons[half])) == 4
    assert not np.isin(persons[~half], persons[half]).any()


def test_the_ratio_sees_members_that_distances_miss(rng):
    """Most people are in a crowd that synthetic faces fill too; those who leak are far out, met loosely."""
    dim, crowd, outliers = 32, 700, 300
    centre = unit(rng.standard_normal((1, dim)))

    def people(dense):
        near = centre + 0.08 * rng.standard_normal((dense, dim))
        return unit(np.concatenate([near, rng.standard_normal((outliers, dim))]))

    training, holdout, reference = people(crowd), people(crowd), people(crowd)
    loose = training[crowd:] + 0.14 * rng.standard_normal((outliers, dim))
    synthetic = unit(np.concatenate([centre + 0.08 * rng.standard_normal((2000, dim)), loose]))
    sides, ratios = [], []
    for real in (training, holdout):
        codes = np.arange(len(real))
        sides.append(person_scores(kth(real, synthetic, 1), codes, "cosine"))
        ratio = density_ratios(kth(real, synthetic, 1), kth(real, reference, 1), "cosine")
        ratios.append(person_scores(ratio, codes, "cosine"))
    by_distance, by_ratio = (infer_membership(*both, 99, rng) for both in (sides, ratios))
    assert by_distance.detection[0].rate < 0.05
    assert by_ratio.detection[0].rate > 0.2
    assert by_ratio.auc_interval.low > by_distance.auc_interval.low
