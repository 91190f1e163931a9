"""Hypothesis: any shape, any float32, any layout; the outcome is the definition's, or its error.

IDSIM_HYPOTHESIS=nightly runs 20,000 random examples per test; by default the examples are fixed.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import idsim
from idsim import _core, reference
from idsim.topk import TopKScan
from support.compare import assert_same

ISAS = list(_core.available_isas())
DIMS = st.one_of(st.integers(1, 40), st.sampled_from([63, 64, 65, 127, 128, 129, 512, 513]))
METRICS = st.sampled_from(["cosine", "dot", "l2"])
SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, 1e-45, -1e-40, 1.2e-38, 3e38, -3e38, 1e-20, 1e20, 127.0]
FINITE = st.one_of(
    st.sampled_from([np.float32(value) for value in SPECIAL]),
    st.floats(width=32, allow_nan=False, allow_infinity=False).map(np.float32),
    st.integers(-3, 3).map(np.float32),
)
ANY = st.one_of(FINITE, st.sampled_from([np.float32(v) for v in (np.nan, np.inf, -np.inf)]))


@pytest.fixture(autouse=True)
def best_isa():
    yield
    _core.set_isa(ISAS[-1])


@st.composite
def rows(draw, count, d, elements=FINITE):
    """Rows that are mostly one value, so that ties and cancellation are frequent."""
    n = draw(count)
    dtype = draw(st.sampled_from([np.float32, np.float32, np.float64]))
    values = draw(hnp.arrays(np.float32, (n, d), elements=elements, fill=elements))
    return laid_out(draw, values.astype(dtype))


def laid_out(draw, values):
    layout = draw(st.sampled_from(["c", "f", "strided", "reversed", "shifted"]))
    if layout == "f":
        return np.asfortranarray(values)
    if layout == "strided":
        return np.repeat(np.repeat(values, 2, axis=0), 3, axis=1)[::2, ::3]
    if layout == "reversed":
        return np.ascontiguousarray(values[::-1, ::-1])[::-1, ::-1]
    if layout == "shifted":
        raw = np.zeros(values.nbytes + 1, np.uint8)
        view = raw[1:].view(values.dtype) if values.size else values.ravel()
        view[:] = values.ravel()
        return view.reshape(values.shape)
    return values


def outcome(function, *args, **options):
    try:
        return function(*args, **options)
    except ValueError:
        return "ValueError"


@given(st.data())
def test_search(data):
    d, metric = data.draw(DIMS), data.draw(METRICS)
    queries = data.draw(rows(st.integers(0, 5), d))
    gallery = data.draw(rows(st.integers(0, 40), d))
    k = data.draw(st.integers(0, 50))
    threads = data.draw(st.sampled_from([1, 2, 5]))
    _core.set_isa(data.draw(st.sampled_from(ISAS)))
    expected = reference.search(queries, gallery, k, metric=metric)
    options = {"metric": metric, "threads": threads}
    assert_same(idsim.search(queries, gallery, k, **options), expected)
    index = idsim.Index(gallery, **options)
    assert_same(index.search(queries, k), expected)
    cut = data.draw(st.integers(0, len(gallery)))
    scan = TopKScan(queries, k, **options)
    scan.feed(gallery[cut:], cut)
    scan.feed(gallery[:cut], 0)
    assert_same(scan.finish(), expected)


@given(st.data())
def test_any_float(data):
    """NaN and infinity raise, or are skipped, in the engine exactly where they are in the definition."""
    d = data.draw(DIMS)
    queries = data.draw(rows(st.integers(1, 3), d, st.one_of(FINITE, FINITE, FINITE, ANY)))
    gallery = data.draw(rows(st.integers(0, 20), d, ANY))
    nonfinite = data.draw(st.sampled_from(["raise", "skip"]))
    _core.set_isa(data.draw(st.sampled_from(ISAS)))
    args, options = (queries, gallery, 7), {"nonfinite": nonfinite}
    expected, found = outcome(reference.search, *args, **options), outcome(idsim.search, *args, **options)
    if isinstance(expected, str) or isinstance(found, str):
        assert found == expected
    else:
        assert_same(found, expected)


@given(st.data())
def test_options(data):
    d, metric = data.draw(st.integers(1, 9)), data.draw(METRICS)
    queries = data.draw(rows(st.integers(0, 5), d))
    gallery = data.draw(rows(st.integers(0, 40), d))
    labels = st.integers(-2, 2)
    groups = (
        data.draw(hnp.arrays(np.int64, len(queries), elements=labels)),
        data.draw(hnp.arrays(np.int64, len(gallery), elements=labels)),
    )
    exclude = data.draw(st.sampled_from([None, "self", groups]))
    threshold = data.draw(st.one_of(st.none(), st.floats(-2, 2), st.sampled_from([0.5, 1.0, 0.0])))
    _core.set_isa(data.draw(st.sampled_from(ISAS)))
    options = {"metric": metric, "exclude": exclude, "threshold": threshold}
    expected = reference.search(queries, gallery, 6, **options)
    assert_same(idsim.search(queries, gallery, 6, **options), expected)
    assert_same(
        idsim.Index(gallery, metric=metric).search(queries, 6, exclude=exclude, threshold=threshold), expected
    )
    limits = data.draw(hnp.arrays(np.float64, st.integers(0, 5), elements=st.floats(-2, 2)))
    shared = {"metric": metric, "exclude": exclude}
    counts = idsim.count_above(queries, gallery, limits, **shared)
    assert_same((counts,), (reference.count_above(queries, gallery, limits, **shared),))
    level = 0.25 if threshold is None else threshold
    found = idsim.pairs_above(queries, gallery, level, **shared)
    assert_same(found, reference.pairs_above(queries, gallery, level, **shared))


@given(st.data())
def test_normalize(data):
    values = data.draw(rows(st.integers(0, 20), data.draw(DIMS)))
    _core.set_isa(data.draw(st.sampled_from(ISAS)))
    assert_same((idsim.normalize(values),), (reference.normalize(values),))
