"""Every kind of array has one documented outcome: the right answer, TypeError or ValueError."""

from __future__ import annotations

import numpy as np
import pytest

import idsim
from idsim import reference
from support.compare import assert_same
from support.data import grid_rows
from support.forms import FORMS


def flat(found):
    return *found[:2], *found.pairs


ENTRIES = {
    "search": lambda q, x: idsim.search(q, x, 4),
    "Index": lambda q, x: idsim.Index(x).search(q, 4),
    "count_above": lambda q, x: (idsim.count_above(q, x, [0.0, 0.2]),),
    "pairs_above": lambda q, x: idsim.pairs_above(q, x, 0.1),
    "compare": lambda q, x: flat(idsim.compare(q, x, 4, threshold=0.1)),
    "normalize": lambda _, x: (idsim.normalize(x),),
}
DEFINITIONS = {
    "search": lambda q, x: reference.search(q, x, 4),
    "Index": lambda q, x: reference.search(q, x, 4),
    "count_above": lambda q, x: (reference.count_above(q, x, [0.0, 0.2]),),
    "pairs_above": lambda q, x: reference.pairs_above(q, x, 0.1),
    "compare": lambda q, x: (*reference.search(q, x, 4), *reference.pairs_above(q, x, 0.1)),
    "normalize": lambda _, x: (reference.normalize(x),),
}


def numpy_of(result):
    return tuple(np.asarray(part) for part in result)


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("form", FORMS)
def test_forms(form, entry, rng):
    for q, n, d in [(3, 60, 19), (1, 1, 1), (2, 0, 4)]:
        queries, gallery = grid_rows(rng, q, n, d)
        expected = DEFINITIONS[entry](queries, gallery)
        make = FORMS[form]
        context = f"q={q} n={n} d={d}"
        assert_same(numpy_of(ENTRIES[entry](make(queries), make(gallery))), expected, context)
        assert_same(numpy_of(ENTRIES[entry](queries, make(gallery))), expected, context)
        assert_same(numpy_of(ENTRIES[entry](make(queries), gallery)), expected, context)


@pytest.mark.parametrize("form", [name for name in FORMS if "torch" not in name])
@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_forms_of_other_dtypes(form, dtype, rng):
    if form == "field of a record":
        pytest.skip("the record is of float32")
    queries, gallery = (rows.astype(dtype) for rows in grid_rows(rng, 3, 60, 19))
    expected = reference.search(queries, gallery, 4)
    assert_same(idsim.search(FORMS[form](queries), FORMS[form](gallery), 4), expected)


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize(
    "dtype", ["i1", "u1", "i2", "i4", "i8", "u8", "?", "c8", "c16", "O", "S4", "U4", "m8[s]", "g"]
)
def test_dtypes_that_are_refused(entry, dtype):
    good, bad = np.zeros((3, 4), np.float32), np.zeros((3, 4), dtype)
    with pytest.raises(TypeError, match="float32"):
        ENTRIES[entry](good, bad)
    if entry != "normalize":
        with pytest.raises(TypeError, match="queries"):
            ENTRIES[entry](bad, good)


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("shape", [(), (4,), (2, 3, 4), (1, 1, 3, 4)])
def test_shapes_that_are_refused(entry, shape):
    with pytest.raises(ValueError, match="dimension"):
        ENTRIES[entry](np.zeros((3, 4), np.float32), np.zeros(shape, np.float32))


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("thing", [None, "rows", b"rows", 3.5, object(), {"a": 1}, {1, 2}])
def test_things_that_are_no_arrays(entry, thing):
    if entry in {"pairs_above", "compare"} and thing is None:
        pytest.skip("without a gallery the pairs are those within the queries")
    with pytest.raises((TypeError, ValueError)):
        ENTRIES[entry](np.zeros((3, 4), np.float32), thing)


def test_masked_arrays_are_refused():
    """Ignoring the mask would be silently wrong."""
    rows = np.ma.masked_array(np.ones((3, 4), np.float32), mask=np.eye(3, 4) > 0)
    with pytest.raises(TypeError, match="mask"):
        idsim.search(rows, np.ones((3, 4), np.float32), 1)
    with pytest.raises(TypeError, match="mask"):
        idsim.search(np.ones((3, 4), np.float32), rows, 1)


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float64", "float32"])
def test_torch_in_torch_out(name, rng):
    import torch

    queries, gallery = (
        torch.from_numpy(rows).to(getattr(torch, name)) for rows in grid_rows(rng, 5, 300, 24)
    )
    wide = [rows.double().numpy() for rows in (queries, gallery)]
    expected = reference.search(*wide, 6)
    found = idsim.search(queries, gallery, 6)
    assert isinstance(found.scores, torch.Tensor)
    assert isinstance(found.ids, torch.Tensor)
    assert (found.scores.dtype, found.ids.dtype) == (torch.float32, torch.int64)
    assert_same(numpy_of(found), expected)
    assert_same(numpy_of(idsim.Index(gallery).search(queries, 6)), expected)
    assert isinstance(idsim.normalize(gallery), torch.Tensor)


def test_torch_tensors_that_need_gradients_are_read(rng):
    import torch

    queries, gallery = grid_rows(rng, 2, 50, 8)
    leaf = torch.from_numpy(queries).requires_grad_()
    found = idsim.search(leaf, torch.from_numpy(gallery), 3)
    assert_same(numpy_of(found), reference.search(queries, gallery, 3))
    assert not found.scores.requires_grad


def test_torch_dtypes_that_are_refused():
    import torch

    good = np.zeros((3, 4), np.float32)
    for dtype in (torch.int64, torch.bool, torch.complex64, torch.uint8):
        with pytest.raises(TypeError, match="float32"):
            idsim.search(torch.zeros((3, 4), dtype=dtype), good, 1)


def test_inputs_are_not_changed(rng):
    queries, gallery = grid_rows(rng, 5, 300, 24)
    before = queries.tobytes(), gallery.tobytes()
    for entry in ENTRIES.values():
        entry(queries, gallery)
    assert (queries.tobytes(), gallery.tobytes()) == before


def test_an_index_holds_its_rows(rng):
    """The answer stays right after the caller has dropped the last reference to the rows."""
    queries, gallery = grid_rows(rng, 5, 20_000, 24)
    expected = reference.search(queries, gallery, 4)
    index = idsim.Index(gallery)
    del gallery
    rubbish = [np.full((20_000, 24), np.nan, np.float32) for _ in range(4)]
    assert_same(index.search(queries, 4), expected)
    assert len(rubbish) == 4
