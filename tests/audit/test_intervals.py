"""Intervals in closed form against published and hand-computed values."""

from __future__ import annotations

import math

import pytest

from idsim.audit.rates.intervals import newcombe, rule_of_three, wilson, zero_errors_upper


def test_wilson_of_published_example():
    # Newcombe 1998 (Statistics in Medicine 17, 857), table I, method 3: 81 of 263.
    low, high = wilson(81 / 263, 263)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)


def test_wilson_stays_inside_and_touches_the_ends():
    assert wilson(0.0, 20)[0] == 0.0
    assert wilson(1.0, 20)[1] == 1.0
    assert wilson(0.5, 0) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((56, 70), (48, 80), (0.0524, 0.3339)),
        ((9, 10), (3, 10), (0.1705, 0.8090)),
        ((5, 56), (0, 29), (-0.0381, 0.1926)),
        ((0, 10), (0, 10), (-0.2775, 0.2775)),
    ],
)
def test_newcombe_of_published_examples(first, second, expected):
    # Newcombe 1998 (Statistics in Medicine 17, 873), table II, method 10.
    (a, m), (b, n) = first, second
    assert newcombe(a / m, m, b / n, n) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("n", [1, 10, 1000])
def test_no_errors_bound_is_clopper_pearson(n):
    upper = zero_errors_upper(n)
    assert (1 - upper) ** n == pytest.approx(0.05)


def test_rule_of_three_is_its_limit():
    assert rule_of_three(100_000) == pytest.approx(zero_errors_upper(100_000), rel=2e-3)
    assert rule_of_three(2) == 1.0
    assert math.isclose(zero_errors_upper(0), 1.0)
