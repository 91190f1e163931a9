"""Rates inside strata against brute force, exact exchange, and confounding by composition."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from idsim.audit.rates.dependence import pairs_of
from idsim.audit.rates.excess import Gallery, Resampling, measure_excess
from idsim.audit.rates.resampling import image_counts, leak_rate, matched_draws
from idsim.audit.rates.strata_cells import (
    UNKNOWN,
    CellGallery,
    Searched,
    cell_draws,
    check_weights,
    person_cells,
)
from idsim.audit.rates.strata_impostors import CellImpostors, same_cell_rate
from idsim.audit.rates.strata_rates import cell_excess, standardised_excess

QUICK = Resampling(bootstrap=200, permutations=999, draws=5)


def gallery(rng, persons, cells, items, chance, images=1):
    """A gallery in which an item reaches a person of its own cell with a chance, and of another with none."""
    codes = np.repeat(np.arange(persons), images)
    own = items[:, None] == cells[codes][None, :]
    reached = own & (rng.random(own.shape) < chance)
    rows, columns = np.nonzero(reached)
    return CellGallery(Gallery(codes, rows, columns), cells)


def composed(rng, of_training, of_holdout, items, chance):
    """Two galleries of 200 persons, with these numbers of persons in cell 0, the others in cell 1."""
    return tuple(
        gallery(rng, 200, np.repeat([0, 1], [first, 200 - first]), items, chance)
        for first in (of_training, of_holdout)
    )


# --- cells ----------------------------------------------------------------------------------------


def test_a_person_is_of_the_cell_of_most_images():
    persons = np.array([0, 0, 0, 1, 1, 2, 2, 3])
    cells = np.array([2, 2, 0, 1, 0, UNKNOWN, 1, UNKNOWN])
    found, mixed = person_cells(persons, cells)
    assert found.tolist() == [2, 0, 1, UNKNOWN]
    assert mixed == 2
    assert person_cells(persons, np.full(8, UNKNOWN))[0].tolist() == [UNKNOWN] * 4


def test_draws_match_every_cell():
    rng = np.random.default_rng(0)
    sides = []
    for persons in (90, 60):
        codes = np.repeat(np.arange(persons), rng.integers(1, 4, persons))
        cells = rng.integers(0, 3, persons)
        cells[:5] = UNKNOWN
        sides.append(CellGallery(Gallery(codes, np.empty(0, np.int64), np.empty(0, np.int64)), cells))
    sides[0].cells[sides[0].cells == 2] = 3  # a cell of training alone, and one of the holdout alone
    draws = cell_draws(*sides, 4, rng)
    assert len(draws) == 4
    for draw in draws:
        counts = []
        for side, kept in zip(sides, draw, strict=True):
            images = np.bincount(side.gallery.persons[kept], minlength=len(side.cells))
            assert not images[side.cells >= 2].any()
            counts.append(
                {cell: sorted(images[(side.cells == cell) & (images > 0)]) for cell in (UNKNOWN, 0, 1)}
            )
        assert counts[0] == counts[1]
        assert all(counts[0].values())


def test_galleries_without_cells_are_matched_as_ever():
    codes = np.repeat(np.arange(20), 2), np.arange(15)
    nothing = np.empty(0, np.int64)
    sides = [CellGallery(Gallery(persons, nothing, nothing), None) for persons in codes]
    ours = cell_draws(*sides, 3, np.random.default_rng(5))
    theirs = matched_draws(*codes, 3, np.random.default_rng(5))
    for one, other in zip(ours, theirs, strict=True):
        assert np.array_equal(one.training, other.training)
        assert np.array_equal(one.holdout, other.holdout)
    with pytest.raises(ValueError, match="not known"):
        sides[0].of_persons(0)


def test_galleries_without_a_common_cell_have_no_draw():
    nothing = np.empty(0, np.int64)
    sides = [CellGallery(Gallery(np.arange(3), nothing, nothing), np.full(3, cell)) for cell in (0, 1)]
    assert cell_draws(*sides, 3, np.random.default_rng(0)) == []


def test_parts_of_a_gallery_are_the_pairs_that_they_say():
    rng = np.random.default_rng(1)
    persons, cells = np.repeat(np.arange(12), 2), rng.integers(-1, 3, 12)
    items = rng.integers(-1, 3, 30)
    reached = rng.random((30, 24)) < 0.3
    side = CellGallery(Gallery(persons, *np.nonzero(reached)), cells)
    same = side.of_same_cell(items).gallery
    expected = reached & (items[:, None] == cells[persons]) & (items[:, None] >= 0)
    assert np.array_equal(np.stack([same.images, same.columns]), np.stack(np.nonzero(expected)))
    part = side.of_items(items == 1).of_persons(2)
    block = reached[items == 1][:, cells[persons] == 2]
    assert np.array_equal(np.stack([part.gallery.images, part.gallery.columns]), np.stack(np.nonzero(block)))
    assert part.gallery.persons.tolist() == np.repeat(np.arange((cells == 2).sum()), 2).tolist()


# --- excess ---------------------------------------------------------------------------------------


def test_the_p_of_a_cell_is_that_of_all_exchanges_inside_cells():
    rng = np.random.default_rng(3)
    cells = np.array([0, 0, 0, 1, 1]), np.array([0, 0, 0, 1, 1])
    items = np.repeat([0, 1], 10)
    sides = tuple(
        gallery(rng, 5, side, items, chance) for side, chance in zip(cells, (0.4, 0.1), strict=True)
    )
    draws = cell_draws(*sides, 1, rng)
    found = cell_excess(sides, np.arange(20), Resampling(bootstrap=100, permutations=20_000), draws)
    pooled = [side.gallery.hits() for side in sides]
    images = np.concatenate([hits.images for hits in pooled])
    people = np.concatenate([pooled[0].persons, pooled[1].persons + 5])
    both = np.concatenate(cells)

    def excess(members):
        inside = np.isin(people, members)
        return (len(np.unique(images[inside])) - len(np.unique(images[~inside]))) / 20

    exchanges = [
        excess([*first, *second])
        for first in combinations(np.flatnonzero(both == 0), 3)
        for second in combinations(np.flatnonzero(both == 1), 2)
    ]
    observed = excess(range(5))
    assert found.rate == pytest.approx(observed)
    exact = np.mean(np.array(exchanges) >= observed - 1e-12)
    assert found.p_value == pytest.approx(exact, abs=0.015)


def test_composition_is_no_leak():
    rng = np.random.default_rng(4)
    items = np.zeros(600, np.int64)
    sides = composed(rng, 160, 40, items, 0.002)
    crude = measure_excess([side.gallery for side in sides], np.arange(600), QUICK)
    assert crude.interval.low > 0.05
    assert crude.p_value == 0.001
    draws = cell_draws(*sides, 20, rng)
    matched = cell_excess(sides, np.arange(600), QUICK, draws)
    assert matched.interval.low < 0 < matched.interval.high
    assert matched.p_value > 0.01


def test_exchange_inside_cells_has_uniform_p():
    rng = np.random.default_rng(5)
    items = np.repeat([0, 1], [300, 100])
    values = []
    for seed in range(60):
        sides = composed(rng, 140, 60, items, 0.003)
        resampling = Resampling(bootstrap=100, permutations=199, draws=2, seed=seed)
        found = cell_excess(sides, np.arange(400), resampling, cell_draws(*sides, 2, rng))
        values.append(found.p_value)
    values = np.array(values)
    assert 0.35 < values.mean() < 0.68
    assert (values <= 0.05).mean() <= 0.15


def test_shares_of_the_set_itself_give_the_rate_of_the_set():
    rng = np.random.default_rng(6)
    items = np.repeat([0, 1], [120, 60])
    clusters = np.repeat(np.arange(60), 3)
    sides = composed(rng, 100, 100, items, 0.002)
    draws = cell_draws(*sides, 5, rng)
    searched = Searched(clusters, items)
    found = standardised_excess(sides, searched, {0: 40, 1: 20}, QUICK, draws)
    plain = cell_excess(sides, clusters, QUICK, draws)
    assert (found.training, found.holdout) == pytest.approx((plain.training.rate, plain.holdout.rate))
    assert found.interval[:2] == pytest.approx(plain.interval[:2])
    assert found.p_value == plain.p_value
    assert (found.clusters, found.effective_clusters) == (60, pytest.approx(60))


def test_other_shares_give_the_weighted_mean_of_the_cells():
    rng = np.random.default_rng(7)
    items = np.repeat([0, 1, UNKNOWN], [100, 50, 20])
    sides = (
        gallery(rng, 80, rng.integers(0, 2, 80), items, 0.01),
        gallery(rng, 60, rng.integers(0, 2, 60), items, 0.002),
    )
    draws = cell_draws(*sides, 3, rng)
    found = standardised_excess(sides, Searched(np.arange(170), items), {0: 0.2, 1: 0.6}, QUICK, draws)
    weights = np.ones(170)
    expected = []
    for side, place in zip(sides, (0, 1), strict=True):
        rates = [side.gallery.hits(draw[place]) for draw in draws]
        cells = [
            np.mean(
                [
                    (weights[np.unique(hits.images)] * (items[np.unique(hits.images)] == cell)).sum()
                    for hits in rates
                ]
            )
            / (items == cell).sum()
            for cell in (0, 1)
        ]
        expected.append(0.25 * cells[0] + 0.75 * cells[1])
    assert (found.training, found.holdout) == pytest.approx(tuple(expected))
    assert found.rate > 0
    assert found.interval.low <= found.rate <= found.interval.high <= 1
    # 100 clusters of weight 0.25 / 100 and 50 of 0.75 / 50
    assert found.effective_clusters == pytest.approx(1 / (0.25**2 / 100 + 0.75**2 / 50))


def test_few_events_have_closed_intervals():
    items = np.repeat([0, 1], 40)
    nothing = np.empty(0, np.int64)
    cells = np.repeat([0, 1], 30)
    empty = CellGallery(Gallery(np.arange(60), nothing, nothing), cells)
    one = CellGallery(Gallery(np.arange(60), np.array([3]), np.array([4])), cells)
    rng = np.random.default_rng(0)
    searched, shares = Searched(np.arange(80), items), {0: 1.0, 1: 1.0}
    none = standardised_excess((empty, empty), searched, shares, QUICK, cell_draws(empty, empty, 1, rng))
    assert none.rate == 0
    assert none.p_value == 1
    assert none.upper == pytest.approx(1 - 0.05 ** (1 / 80))
    few = standardised_excess((one, empty), searched, shares, QUICK, cell_draws(one, empty, 1, rng))
    assert few.rate == pytest.approx(1 / 80)
    assert "few events" in few.interval.method
    assert few.interval.low < 0 < few.rate < few.upper < few.interval.high


def test_the_interval_of_the_standardised_rate_holds_the_truth():
    rng = np.random.default_rng(8)
    items = np.repeat([0, 1], [200, 100])
    inside = 0
    for seed in range(80):
        sides = [gallery(rng, 100, np.repeat([0, 1], 50), items, chance) for chance in (0.001, 0.0004)]
        resampling = Resampling(bootstrap=300, permutations=1, seed=seed)
        found = standardised_excess(
            tuple(sides),
            Searched(np.arange(300), items),
            {0: 1, 1: 3},
            resampling,
            cell_draws(*sides, 1, rng),
        )
        truth = (1 - 0.0004) ** 50 - (1 - 0.001) ** 50
        inside += found.interval.low <= truth <= found.interval.high
    assert inside >= 70  # 76 of 80 are expected


# --- false matches --------------------------------------------------------------------------------


def impostors(rng, persons=40, chance=0.1):
    images = rng.integers(1, 4, persons)
    codes = np.repeat(np.arange(persons), images)
    first, second = np.triu_indices(len(codes), 1)
    apart = codes[first] != codes[second]
    wrong = apart & (rng.random(len(first)) < chance)
    return images, codes[first[wrong]], codes[second[wrong]]


def test_false_matches_of_a_cell_are_those_of_its_persons():
    rng = np.random.default_rng(9)
    images, first, second = impostors(rng)
    cells = rng.integers(0, 3, 40)
    parts = [CellImpostors.of(first, second, images, cells == cell) for cell in range(3)]
    for cell, part in enumerate(parts):
        inside = cells == cell
        errors = int((inside[first] & inside[second]).sum())
        rate = part.rate(0.95)
        assert (rate.errors, rate.trials) == (errors, pairs_of(images[inside]))
        assert rate.interval.low < rate.rate < rate.interval.high
    together = same_cell_rate(parts, 0.95)
    assert together.errors == sum(part.rate(0.95).errors for part in parts)
    assert together.rate == pytest.approx((cells[first] == cells[second]).sum() / together.trials)
    assert together.interval.low < together.rate < together.interval.high


def test_one_cell_for_all_is_the_pooled_rate():
    rng = np.random.default_rng(10)
    images, first, second = impostors(rng)
    part = CellImpostors.of(first, second, images, np.ones(40, np.bool_))
    assert same_cell_rate([part], 0.95).interval[:2] == pytest.approx(part.rate(0.95).interval[:2])


def test_no_false_match_and_no_comparison():
    nothing = np.empty(0, np.int64)
    parts = [CellImpostors(nothing, nothing, np.ones(20, np.int64)) for _ in range(3)]
    rate = same_cell_rate(parts, 0.95)
    assert (rate.rate, rate.errors, rate.trials) == (0, 0, 3 * 190)
    assert rate.interval.high == pytest.approx(1 - 0.05 ** (1 / 30))
    alone = CellImpostors(nothing, nothing, np.array([4]))
    assert alone.rate(0.95) is None
    assert same_cell_rate([alone], 0.95) is None
    assert same_cell_rate([], 0.95) is None


# --- weights --------------------------------------------------------------------------------------


def test_weights_are_a_set_or_a_table():
    assert check_weights(("training",)) == "training"
    assert check_weights(("female 20-39=0.3", "a=b = 2")) == {"female 20-39": 0.3, "a=b": 2.0}


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ((), "must be one of synthetic"),
        (("men",), "not 'men'"),
        (("men=",), "not 'men='"),
        (("=1",), "not '=1'"),
        (("men=0",), "positive"),
        (("men=inf",), "positive"),
        (("men=1", "men=2"), "names 'men' twice"),
        (("training", "holdout"), "not 'training'"),
    ],
)
def test_other_weights_are_refused(entries, words):
    with pytest.raises(ValueError, match=words):
        check_weights(entries)


def test_the_rate_of_one_cell_is_plain_counting():
    rng = np.random.default_rng(11)
    items = np.zeros(50, np.int64)
    sides = composed(rng, 120, 120, items, 0.001)
    found = cell_excess(sides, np.arange(50), QUICK, cell_draws(*sides, 1, rng))
    for side, rate in zip(sides, (found.training, found.holdout), strict=True):
        assert rate.rate == pytest.approx(leak_rate(side.gallery.hits(), np.ones(50)))
        assert len(image_counts(side.gallery.persons)) == found.persons
