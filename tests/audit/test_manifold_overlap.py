"""Precision, recall, density and coverage against the matrix of all distances."""

from __future__ import annotations

import numpy as np
import pytest

from audit.manifold_makers import curved
from idsim import reference
from idsim.audit.manifold import balls, embedded, expected_coverage, neighbours, overlap
from idsim.audit.plain_values import plain_values


def stated(synthetic, real, k):
    """The four numbers as Naeem et al. (2020) state them, over matrices of canonical distances."""
    inner = [np.sort(reference.l2(side, side), axis=1)[:, k] for side in (synthetic, real)]
    between = reference.l2(real, synthetic)
    return {
        "precision": (between < inner[1][:, None]).any(axis=0).mean(),
        "recall": (between < inner[0][None, :]).any(axis=1).mean(),
        "density": (between < inner[1][:, None]).sum(axis=0).mean() / k,
        "coverage": (between.min(axis=1) < inner[1]).mean(),
    }


def measured(synthetic, real, k, **options):
    radii = [neighbours(side, k).distances[:, -1] for side in (synthetic, real)]
    return overlap(synthetic, real, *radii, k, **options)


def numbers(found):
    return {name: getattr(found, name).value for name in ("precision", "recall", "density", "coverage")}


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.parametrize("shift", [0.0, 1.5])
def test_the_numbers_are_those_of_the_matrix(rng, metric, k, shift):
    synthetic = embedded(curved(rng, 260, noise=0.2) + np.float32(shift), metric)
    real = embedded(curved(rng, 330, noise=0.4), metric)
    assert numbers(measured(synthetic, real, k)) == pytest.approx(stated(synthetic, real, k), rel=1e-12)


@pytest.mark.parametrize("room", [1, 500])
def test_slices_and_blocks_do_not_show(rng, monkeypatch, room):
    synthetic, real = curved(rng, 150), curved(rng, 700, noise=0.3)
    plain = measured(synthetic, real, 3)
    monkeypatch.setattr(balls, "LISTED_PAIRS", room)
    monkeypatch.setattr(balls, "SMALLEST_SLICE", 5)
    assert measured(synthetic, real, 3) == plain


def test_an_odd_real_face_with_a_huge_ball(rng):
    synthetic, real = curved(rng, 200) + np.float32(30), curved(rng, 200)
    real[17] = 60.0  # far from everything: its ball holds all synthetic faces
    found = measured(synthetic, real, 5)
    assert numbers(found) == pytest.approx(stated(synthetic, real, 5), rel=1e-12)
    assert found.precision.value == 1.0
    assert found.coverage.value == 1 / 200


def test_a_set_against_itself_and_against_nothing_near(rng):
    real = curved(rng, 200)
    assert numbers(measured(real, real, 5)) == pytest.approx(stated(real, real, 5), rel=1e-12)
    far = measured(real + np.float32(1000), real, 5)
    assert set(numbers(far).values()) == {0.0}
    assert 0 < far.precision.interval.high < 0.02


def test_equal_distributions_have_the_expected_coverage():
    rng = np.random.default_rng(8)
    for sizes in ((1500, 1500), (500, 2000)):
        found = measured(curved(rng, sizes[0]), curved(rng, sizes[1]), 5)
        assert found.coverage.value == pytest.approx(expected_coverage(*sizes, 5), abs=0.03)
        assert found.expected_coverage == expected_coverage(*sizes, 5)
        assert found.density.value == pytest.approx(1.0, abs=0.06)
    assert expected_coverage(10**9, 10**9, 5) == pytest.approx(1 - 1 / 32)
    assert expected_coverage(5, 3, 5) == 1.0  # fewer than k real faces cannot hide one


def test_intervals_are_over_clusters_and_persons(rng):
    synthetic = np.repeat(curved(rng, 60), 5, axis=0) + 0.01 * curved(rng, 300)
    real = curved(rng, 300, noise=0.3)
    alone = measured(synthetic, real, 5)
    grouped = measured(synthetic, real, 5, clusters=np.arange(300) // 5, persons=np.arange(300) // 3)
    assert numbers(alone) == numbers(grouped)
    assert (grouped.density.groups, grouped.recall.groups) == (60, 100)
    width = [found.density.interval.high - found.density.interval.low for found in (alone, grouped)]
    assert width[1] > 1.5 * width[0]
    assert plain_values(grouped)["neighbours"] == 5


def test_bad_input_is_named(rng):
    points = curved(rng, 10)
    radii = neighbours(points, 3).distances[:, -1]
    with pytest.raises(ValueError, match=r"real_radii must have shape \(10,\), not \(4,\)"):
        overlap(points, points, radii, radii[:4], 3)
    with pytest.raises(ValueError, match="synthetic_radii of row 0 is not finite: there are fewer than k"):
        overlap(points, points, neighbours(points, 10).distances[:, -1], radii, 3)
    with pytest.raises(ValueError, match="k must be 1 or more, not 0"):
        overlap(points, points, radii, radii, 0)
    with pytest.raises(ValueError, match="there are no faces that synthetic_radii belong to"):
        overlap(points[:0], points, radii[:0], radii, 3)
