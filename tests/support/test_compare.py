from __future__ import annotations

import numpy as np
import pytest

from idsim import reference
from support.compare import assert_same, assert_search, digest, same_bytes
from support.data import ADVERSARIAL


def result():
    scores = np.array([[0.5, 0.25], [1.0, -np.inf]], np.float32)
    return scores, np.array([[3, 1], [0, -1]], np.int64)


def test_equal_results_pass():
    assert_same(result(), result())
    assert digest(*result()) == digest(*result())


@pytest.mark.parametrize(
    "change",
    [
        lambda s, i: (np.nextafter(s, np.float32(2)), i),
        lambda s, i: (s, i[:, ::-1]),
        lambda s, i: (s.astype(np.float64), i),
        lambda s, i: (s[:, :1], i[:, :1]),
        lambda s, i: (s, i.astype(np.int32)),
    ],
)
def test_any_change_of_bits_shape_or_dtype_is_told(change):
    with pytest.raises(AssertionError):
        assert_same(change(*result()), result())


def test_zero_signs_differ_and_nan_equals_itself():
    assert not same_bytes(np.float32([0.0]), np.float32([-0.0]))
    assert same_bytes(np.float32([np.nan]), np.float32([np.nan]))


def test_the_message_names_the_first_place():
    other = result()
    other[1][1, 0] = 7
    with pytest.raises(AssertionError, match=r"first at \(1, 0\)"):
        assert_same(other, result())


def test_assert_search_sees_a_wrong_id_among_equal_scores():
    gallery = np.ones((4, 3), np.float32)
    scores, ids = reference.search(gallery[:1], gallery, 2)
    assert_search((scores, ids), gallery[:1], gallery, 2)
    with pytest.raises(AssertionError):
        assert_search((scores, ids[:, ::-1]), gallery[:1], gallery, 2)


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_makers_return_finite_float32_of_the_asked_shape(name):
    rng = np.random.default_rng(5)
    for q, n, d in [(3, 11, 16), (1, 1, 1), (2, 0, 5)]:
        queries, gallery = ADVERSARIAL[name](rng, q, n, d)
        assert queries.shape == (q, d)
        assert gallery.shape == (n, d)
        assert queries.dtype == gallery.dtype == np.float32
        assert np.isfinite(queries).all()
        assert np.isfinite(gallery).all()
