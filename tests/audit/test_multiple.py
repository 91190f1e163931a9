"""Corrections for many tests against their definitions, SciPy, and false rejections that are counted."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from idsim.audit.significance.multiple import (
    METHODS,
    benjamini_hochberg,
    benjamini_yekutieli,
    bonferroni,
    correct,
    corrected_entry,
    holm,
)


def test_holm():
    assert holm([]).tolist() == []
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03]), [0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]).tolist() == [1.0, 1.0]


def test_holm_is_the_closed_test_of_bonferroni(rng):
    """A hypothesis falls when every intersection of hypotheses that holds it falls (Marcus and others 1976)."""
    values = rng.random(6) ** 3
    expected = []
    for number in range(6):
        sets = [[k for k in range(6) if mask >> k & 1] for mask in range(1, 64) if mask >> number & 1]
        expected.append(max(min(1.0, len(members) * values[members].min()) for members in sets))
    np.testing.assert_allclose(holm(values), expected)


@pytest.mark.parametrize("count", [1, 2, 17, 1000])
@pytest.mark.parametrize("ties", [False, True])
def test_false_discovery_control_of_scipy(rng, count, ties):
    values = rng.random(count) ** 4
    if ties:
        values = np.round(values, 1)
    np.testing.assert_allclose(benjamini_hochberg(values), stats.false_discovery_control(values, method="bh"))
    np.testing.assert_allclose(
        benjamini_yekutieli(values), stats.false_discovery_control(values, method="by")
    )


def test_published_example():
    # Benjamini and Hochberg 1995, section 3.2: 15 tests, four rejected at 5 %, three of them by Bonferroni.
    values = [
        0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344,
        0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0000,
    ]  # fmt: skip
    assert correct(values).rejections == 4
    assert correct(values, "bonferroni").rejections == 3
    assert correct(values, "holm").rejections == 3


@pytest.mark.parametrize("method", METHODS)
def test_order_and_untested_values(rng, method):
    values = rng.random(30) ** 3
    order = rng.permutation(30)
    np.testing.assert_allclose(METHODS[method](values[order]), METHODS[method](values)[order])
    with_gaps = np.insert(values, [0, 10, 30], np.nan)
    adjusted = METHODS[method](with_gaps)
    assert np.flatnonzero(np.isnan(adjusted)).tolist() == [0, 11, 32]
    np.testing.assert_array_equal(adjusted[~np.isnan(adjusted)], METHODS[method](values))
    found = correct(with_gaps, method, 0.2)
    assert found.tests == 30
    assert not found.rejected[[0, 11, 32]].any()
    assert corrected_entry(found)["least_adjusted"] == pytest.approx(np.nanmin(adjusted))


@pytest.mark.parametrize("method", METHODS)
def test_corrections_are_monotone_and_no_smaller_than_p(rng, method):
    values = np.sort(rng.random(50) ** 2)
    adjusted = METHODS[method](values)
    assert (np.diff(adjusted) >= 0).all()
    assert (adjusted >= values - 1e-15).all()
    assert (adjusted <= 1).all()


def test_a_p_at_the_level_is_rejected():
    assert correct([0.05 / 3, 0.9, 0.9], "bonferroni").rejected.tolist() == [True, False, False]
    assert correct([0.05], "benjamini-hochberg").rejections == 1


def test_nothing_tested():
    found = correct([np.nan, np.nan])
    assert (found.tests, found.rejections) == (0, 0)
    assert corrected_entry(found)["least_adjusted"] is None


def test_error_rates_are_held(rng):
    """80 true hypotheses and 20 false ones: any false rejection, and the share of false ones, at 10 %."""
    null = np.arange(100) < 80
    any_false, share = 0, []
    for _ in range(400):
        values = np.where(null, rng.random(100), rng.random(100) * 1e-3)
        any_false += correct(values, "holm", 0.1).rejected[null].any()
        rejected = correct(values, "benjamini-hochberg", 0.1).rejected
        share.append(rejected[null].sum() / max(1, rejected.sum()))
    assert any_false / 400 <= 0.1 + 3 * np.sqrt(0.09 / 400)
    assert 0.06 < np.mean(share) < 0.1  # Benjamini-Hochberg holds 80 % of its level here


@pytest.mark.parametrize(
    ("values", "message"),
    [([0.1, 1.5], "number 1 is 1.5"), ([-0.1], "number 0 is -0.1"), ([[0.1]], "one dimension")],
)
def test_what_is_no_p_value(values, message):
    with pytest.raises(ValueError, match=message):
        bonferroni(values)


def test_bad_arguments():
    with pytest.raises(ValueError, match="bonferroni, holm, .* not 'sidak'"):
        correct([0.1], "sidak")
    with pytest.raises(ValueError, match="level must be between 0 and 1, not 5"):
        correct([0.1], level=5)
