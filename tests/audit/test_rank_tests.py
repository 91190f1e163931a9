"""Sign and signed-rank tests against SciPy and enumeration."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats

from idsim.audit.significance.rank_tests import binomial_upper, log_binomial, sign_test, signed_rank_test


@pytest.mark.parametrize(("n", "chance"), [(1, 0.3), (40, 0.5), (1000, 0.01), (100_000, 0.5)])
def test_binomial_tail(n, chance):
    for successes in (0, 1, n // 3, n // 2 + 1, n):
        expected = stats.binom.sf(successes - 1, n, chance)
        assert binomial_upper(successes, n, chance) == pytest.approx(expected, rel=1e-8, abs=1e-300)


def test_binomial_tail_at_its_ends():
    assert binomial_upper(0, 10, 0.5) == 1
    assert binomial_upper(11, 10, 0.5) == 0
    assert binomial_upper(1, 10, 0.0) == 0
    assert binomial_upper(10, 10, 1.0) == 1
    np.testing.assert_allclose(np.exp(log_binomial(4)), [1, 4, 6, 4, 1])


def test_sign_test_is_the_binomial_test(rng):
    values = np.round(rng.standard_normal(200) + 0.2, 1)
    above, below = int((values > 0).sum()), int((values < 0).sum())
    found = sign_test(values)
    assert (found.statistic, found.n) == (above, above + below)
    expected = stats.binomtest(above, above + below, alternative="greater").pvalue
    assert found.p_value == pytest.approx(expected)


@pytest.mark.parametrize("n", [1, 5, 20, 50])
def test_signed_ranks_exactly(rng, n):
    values = rng.standard_normal(n) + 0.3
    found = signed_rank_test(values)
    expected = stats.wilcoxon(values, alternative="greater", method="exact")
    assert found.exact
    assert found.statistic == expected.statistic
    assert found.p_value == pytest.approx(expected.pvalue)


@pytest.mark.parametrize(("n", "digits"), [(51, 9), (400, 9), (400, 1), (30, 1)])
def test_signed_ranks_by_approximation(rng, n, digits):
    """Many values, ties, or zeros: zeros left out, variance corrected for ties, no continuity correction."""
    values = np.round(rng.standard_normal(n) + 0.1, digits)
    found = signed_rank_test(values)
    expected = stats.wilcoxon(values, alternative="greater", method="asymptotic", correction=False)
    assert not found.exact
    assert found.statistic == expected.statistic
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.n == (values != 0).sum()


def test_signed_ranks_by_enumeration():
    values = np.array([0.3, -0.1, 0.7, 1.1, -0.2])
    size = np.abs(values)
    observed = stats.rankdata(size)[values > 0].sum()
    sums = [stats.rankdata(size)[np.array(signs) > 0].sum() for signs in product([-1, 1], repeat=5)]
    assert signed_rank_test(values).p_value == np.mean(np.array(sums) >= observed)


def test_all_zero_says_nothing():
    assert signed_rank_test(np.zeros(5)).p_value == 1.0
    assert sign_test(np.zeros(5)).p_value == 1.0
    assert signed_rank_test(np.zeros(5)).n == 0
