"""Distinct identities and identity capacity, against SciPy, planted truth and known caps."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components as scipy_components
from scipy.special import betainc

from audit.manifold_makers import on_sphere
from idsim.audit.manifold import (
    cap_fraction_log,
    chao1,
    duplication,
    identity_capacity,
)
from idsim.audit.plain_values import plain_values
from idsim.audit.rates.edges import connected_components
from idsim.tails import pairs_above


def same_partition(one, other):
    pairs = np.unique(np.stack([one, other]), axis=1)
    return pairs.shape[1] == len(np.unique(one)) == len(np.unique(other))


# --- components -----------------------------------------------------------------------------------


@pytest.mark.parametrize("edges", [0, 30, 300, 1200])
def test_components_are_those_of_scipy(rng, edges):
    first, second = rng.integers(0, 500, (2, edges))
    found = connected_components(first, second, 500)
    graph = coo_array((np.ones(edges), (first, second)), shape=(500, 500))
    assert same_partition(found, scipy_components(graph, directed=False)[1])
    assert (found[found] == found).all()
    assert (found <= np.arange(500)).all()


def test_long_chains_in_any_order(rng):
    order = rng.permutation(5000)
    edges = rng.permutation(4999)
    found = connected_components(order[edges], order[edges + 1], 5000)
    assert (found == 0).all()


def test_bad_edges_are_named():
    with pytest.raises(ValueError, match="nodes from 0 to 4"):
        connected_components(np.array([0]), np.array([5]), 5)
    with pytest.raises(ValueError, match="must be of one length"):
        connected_components(np.array([0, 1]), np.array([2]), 5)


# --- duplication ----------------------------------------------------------------------------------


def drawn(rng, identities, draws, weights=None):
    """Pairs of draws of the same identity."""
    kinds = rng.choice(identities, draws, p=weights)
    first, second = np.nonzero(np.triu(kinds[:, None] == kinds[None, :], 1))
    return kinds, first, second


def test_equally_likely_identities_are_counted():
    rng = np.random.default_rng(2)
    covered = [0, 0]
    for _ in range(60):
        kinds, first, second = drawn(rng, 3000, 800)
        found = duplication(first, second, np.ones(800, np.int64))
        assert found.components == len(np.unique(kinds))
        assert same_partition(found.component_of, kinds)
        low, high, _ = found.effective_identities.interval
        covered[0] += low <= 3000 <= high
        low, high, _ = found.richness.total.interval
        covered[1] += low <= 3000 <= high
    assert min(covered) >= 52


def test_unequal_identities_are_an_effective_number():
    rng = np.random.default_rng(4)
    weights = np.arange(1, 401.0)
    weights /= weights.sum()
    values = []
    for _ in range(40):
        _, first, second = drawn(rng, 400, 500, weights)
        found = duplication(first, second, np.ones(500, np.int64))
        values.append(1 / found.effective_identities.value)
        # The same pairs, counted by components.
        assert found.effective_components == pytest.approx(found.effective_identities.value)
        assert found.linked == 1.0
    assert np.mean(values) == pytest.approx((weights**2).sum(), rel=0.03)


def test_chance_pairs_are_taken_off():
    rng = np.random.default_rng(6)
    fmr, total = 1e-3, 600 * 599 // 2
    _, first, second = drawn(rng, 1500, 600)
    wrong = rng.integers(0, 600, (2, round(fmr * total)))
    wrong = np.unique(np.sort(wrong[:, wrong[0] != wrong[1]], axis=0), axis=1)
    both = np.unique(np.stack([np.r_[first, wrong[0]], np.r_[second, wrong[1]]]), axis=1)
    faces = np.ones(600, np.int64)
    raw = duplication(both[0], both[1], faces)
    corrected = duplication(both[0], both[1], faces, fmr=fmr, fmr_interval=(0.9e-3, 1.1e-3))
    assert raw.effective_identities.value < 800
    assert corrected.effective_identities.value == pytest.approx(1500, rel=0.3)
    assert corrected.expected_by_chance.value == pytest.approx(fmr * total)
    assert corrected.expected_by_chance.interval[:2] == pytest.approx((0.9e-3 * total, 1.1e-3 * total))
    assert corrected.linked < 0.8  # chance joins different people into chains
    low, high, _ = corrected.effective_identities.interval
    assert low <= 1500 <= high


def test_missed_pairs_are_added():
    rng = np.random.default_rng(9)
    _, first, second = drawn(rng, 500, 800)
    seen = rng.random(len(first)) < 0.8
    found = duplication(first[seen], second[seen], np.ones(800, np.int64), fnmr=0.2)
    assert found.effective_identities.value == pytest.approx(500, rel=0.15)


def test_what_chance_explains_is_no_repetition():
    rng = np.random.default_rng(1)
    wrong = np.unique(np.sort(rng.choice(2000, (2, 40), replace=False), axis=0), axis=1)
    rate = 40 / (2000 * 1999 / 2)
    found = duplication(
        wrong[0], wrong[1], np.ones(2000, np.int64), fmr=rate, fmr_interval=(rate / 2, 2 * rate)
    )
    assert (
        found.effective_identities.refusal == "faces match each other no more often than different people do"
    )
    assert found.at_least > 50_000
    assert found.richness.total.refusal == "40 matching pairs are no more than false matches explain"


def test_no_repetition_at_all():
    none = np.empty(0, np.int64)
    found = duplication(none, none, np.ones(1000, np.int64))
    assert (found.components, found.largest, found.sizes) == (1000, 1, {1: 1000})
    assert found.effective_components is None
    assert found.effective_identities.value is None
    # 500 disjoint pairs without a match: a rate below 1 - 0.05^(1/500).
    assert found.at_least == pytest.approx(1 / (1 - 0.05 ** (1 / 500)))
    assert found.richness.total.refusal == "no identity was drawn exactly twice"
    entry = plain_values(found)
    assert entry["sizes"] == {"1": 1000}
    assert "component_of" not in entry


def test_draws_of_several_faces():
    # Draws 0 and 1 are one person, with all four pairs of their two faces.
    first, second = np.zeros(4, np.int64), np.ones(4, np.int64)
    found = duplication(first, second, np.full(20, 2))
    assert (found.draws, found.images, found.pairs) == (20, 40, 4)
    assert found.compared == 40 * 39 // 2 - 20
    assert found.components == 19
    assert found.linked == 1.0


def test_few_draws_and_bad_input():
    none = np.empty(0, np.int64)
    found = duplication(none, none, np.ones(5, np.int64))
    assert found.match_rate.refusal == "fewer than 10 draws: 5"
    assert found.effective_identities.refusal == "fewer than 10 draws: 5"
    with pytest.raises(ValueError, match="no repetition"):
        duplication(np.array([1]), np.array([1]), np.ones(20, np.int64))
    with pytest.raises(ValueError, match="at least one face"):
        duplication(none, none, np.zeros(20, np.int64))
    with pytest.raises(ValueError, match="must be rates"):
        duplication(none, none, np.ones(20, np.int64), fmr=2.0)


def test_chao1_is_the_formula():
    # Chao and others 2014, bias-corrected: n = 20, f1 = 7, f2 = 2.
    found = chao1(np.array([1] * 7 + [2] * 2 + [3, 6]))
    assert (found.observed, found.singletons, found.doubletons, found.total.n) == (11, 7, 2, 20)
    assert found.total.value == pytest.approx(11 + 19 / 20 * 7 * 6 / (2 * 3))
    assert 11 <= found.total.interval.low < found.total.value < found.total.interval.high
    complete = chao1(np.array([2, 2, 5]))
    assert complete.total.interval[:2] == (3.0, 3.0)
    with pytest.raises(ValueError, match="1 or more"):
        chao1(np.array([0, 1]))


# --- capacity -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dimension", [2, 3, 10, 37.5, 128])
def test_cap_area_is_the_incomplete_beta_function(dimension):
    for angle in (0.3, 0.8, 1.2, math.pi / 2, 1.7, 2.5, math.pi):
        half = betainc((dimension - 1) / 2, 0.5, math.sin(angle) ** 2) / 2
        share = half if angle <= math.pi / 2 else 1 - half
        assert cap_fraction_log(angle, dimension) == pytest.approx(math.log(share), abs=1e-11, rel=1e-11)
    assert cap_fraction_log(1.0, 3) == pytest.approx(math.log((1 - math.cos(1.0)) / 2))
    assert cap_fraction_log(0.01, 512) < -2000  # far below what a float64 holds


def test_capacity_of_a_known_cap(rng):
    """Points on the rim of a cap: the farthest of each is nearly opposite, at twice the half angle."""
    rim = on_sphere(rng, 3000, 2)
    points = np.column_stack([np.sin(0.6) * rim, np.full(3000, np.cos(0.6))])
    found = identity_capacity(points, 0.9)
    assert found.population_angle.value == pytest.approx(0.6, abs=1e-3)
    reach = math.acos(0.9) / 2
    assert found.identity_angle.value == pytest.approx(reach)
    areas = [1 - math.cos(0.6 + reach), 1 - math.cos(2 * reach)]
    assert 10**found.log10.value == pytest.approx(areas[0] / areas[1], rel=5e-3)
    assert 2**found.log2.value == pytest.approx(10**found.log10.value)
    assert found.log10.interval.low <= found.log10.value <= found.log10.interval.high
    assert found.identity_from == "threshold"


def test_identity_angle_from_clusters(rng):
    people = on_sphere(rng, 60, 32)
    clusters = np.repeat(np.arange(60), rng.integers(2, 5, 60))
    faces = people[clusters] + 0.05 * rng.standard_normal((len(clusters), 32))
    faces /= np.linalg.norm(faces, axis=1, keepdims=True)
    found = identity_capacity(faces, 0.7, clusters=clusters)
    least = [(faces[clusters == c] @ faces[clusters == c].T).min() for c in range(60)]
    assert found.identity_from == "clusters"
    assert found.identity_angle.value == pytest.approx(np.median(np.arccos(least)) / 2, abs=1e-4)
    low, high, _ = found.identity_angle.interval
    assert low < found.identity_angle.value < high
    narrow = identity_capacity(faces, 0.7, clusters=clusters, dimension=6)
    assert narrow.log10.value < found.log10.value
    assert len(plain_values(found)["assumptions"]) == 3


def test_a_stricter_threshold_has_room_for_more(rng):
    points = on_sphere(rng, 300, 16)
    values = [identity_capacity(points, threshold).log10.value for threshold in (0.3, 0.5, 0.7)]
    assert values[0] < values[1] < values[2]


def test_capacity_refuses_what_it_cannot_say(rng):
    points = on_sphere(rng, 200, 16)
    assert (
        identity_capacity(points, 0.5, metric="l2").log10.refusal == "the matcher does not compare by cosine"
    )
    assert identity_capacity(points, 1.0).log10.refusal == "1 is no cosine between -1 and 1"
    assert identity_capacity(points[:50], 0.5).log2.refusal == "fewer than 100 faces: 50"
    assert "too loose" in identity_capacity(points, -0.1).log10.refusal
    one = points[:1] + 0.001 * points
    assert "no wider than those of one person" in identity_capacity(one, 0.5).log10.refusal
    with pytest.raises(ValueError, match="quantile must be between 0 and 1"):
        identity_capacity(points, 0.5, quantile=1.0)
    with pytest.raises(ValueError, match="half angle"):
        cap_fraction_log(0.0, 3)
    with pytest.raises(ValueError, match="dimension"):
        cap_fraction_log(1.0, 1)


def test_pairs_of_the_engine_give_the_identities(rng):
    people = on_sphere(rng, 40, 64)
    kinds = rng.integers(0, 40, 200)
    faces = people[kinds] + 0.02 * rng.standard_normal((200, 64))
    pairs = pairs_above(faces.astype(np.float32), threshold=0.8)
    found = duplication(pairs.rows, pairs.columns, np.ones(200, np.int64))
    assert same_partition(found.component_of, kinds)
