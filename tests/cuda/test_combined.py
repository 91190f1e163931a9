"""What the device's ways of working are together: precisions, places of rows, several devices, codes on the wire."""

from __future__ import annotations

import numpy as np
import pytest

import idsim
from idsim import _core
from support.compare import assert_same, same_bytes
from support.data import grid_rows
from support.device_arrays import to_device, to_host

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(_core.build_info()["cuda_devices"] < 3, reason="needs three CUDA devices"),
]
PLACES = ["cuda:0", "cuda:2,0"]
PRECISIONS = ["auto", "int8", "float16"]


@pytest.fixture
def rows():
    return grid_rows(np.random.default_rng(4), 20, 1100, 70)


def assert_same_answers(queries, gallery, asked, plain, metric, **options):
    """The questions, of a gallery as the device gets it, have the bytes of the CPU's answers of its rows."""
    own = {} if isinstance(asked, idsim.Index) else {"metric": metric}
    want = idsim.search(queries, plain, 9, metric=metric, device="cpu")
    assert_same(idsim.search(queries, asked, 9, **own, **options), want)
    level = float(np.median(want.scores[:, 4]))
    assert same_bytes(
        idsim.count_above(queries, asked, [level], **own, **options),
        idsim.count_above(queries, plain, [level], metric=metric, device="cpu"),
    )
    got = idsim.pairs_above(queries, asked, level, **own, **options)
    pairs = idsim.pairs_above(queries, plain, level, metric=metric, device="cpu")
    assert all(same_bytes(a, b) for a, b in zip(got, pairs, strict=True))
    compared = idsim.compare(queries, asked, 9, threshold=level, **own, **options)
    assert_same(compared[:2], want)
    assert_same(compared.pairs, pairs)


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_an_index_whose_rows_lie_anywhere(rows, precision, place, metric):
    queries, gallery = rows
    for given, where, read in [
        (gallery, "device", "device"),
        (gallery, "host", "mapped"),
        (np.asfortranarray(gallery), "host", "fetched"),
    ]:
        index = idsim.Index(given, metric=metric, device=place, rows=where, precision=precision)
        assert index.info()["row_place"] == read
        assert index.precision == ("float16" if precision == "float16" else "int8")
        assert_same_answers(queries, gallery, index, gallery, metric)
        if metric == "cosine":  # always by 8-bit codes: the rows of another index are fed anew
            got, want = (
                idsim.score_distribution(queries, asked, bins=64, device=on)
                for asked, on in ((index, place), (gallery, "cpu"))
            )
            assert same_bytes(got.counts, want.counts)
            assert got.max_error == want.max_error


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("precision", [*PRECISIONS, "float32"])
def test_codes_on_the_wire_or_their_rows(rows, tmp_path, precision, place):
    queries, gallery = rows
    index = idsim.Index(gallery, device="cpu")
    index.save(tmp_path / "index")
    for asked in (index, idsim.Gallery.open(tmp_path / "index")):
        plan = idsim.memory_plan(queries, asked, 9, device=place, precision=precision)
        assert plan.form == ("host_codes" if precision in {"auto", "int8"} else "host_rows")
        assert plan.precision == ("int8" if precision == "auto" else precision)
        assert_same_answers(queries, gallery, asked, gallery, "cosine", device=place, precision=precision)


@pytest.mark.parametrize("count", [3, 20])
@pytest.mark.parametrize("precision", [*PRECISIONS, "float32"])
def test_rows_with_nan_are_told_by_every_device(rows, precision, count):
    queries, gallery = rows[0][:count], rows[1].copy()
    gallery[[130, 900]] = np.nan
    options = {"precision": precision, "device": "cuda:0,1,2"}
    for asked in (gallery, to_device(gallery, 1)):
        with pytest.raises(ValueError, match="gallery row 130 holds NaN or Inf"):
            idsim.search(queries, asked, 5, **options)
        got = idsim.search(queries, asked, 5, nonfinite="skip", certificate=True, **options)
        assert_same(got, idsim.search(queries, gallery, 5, nonfinite="skip", device="cpu"))
        assert got.certificate.skipped_rows == 2


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("where", ["device", "host"])
def test_captured(rows, precision, where):
    queries, gallery = rows
    index = idsim.Index(gallery, device="cuda:1", rows=where, precision=precision)
    buffer = to_device(queries, 1)
    search = index.capture(buffer, 9)
    assert_same([to_host(part) for part in search.launch()], idsim.search(queries, gallery, 9, device="cpu"))
    if hasattr(buffer, "array"):
        buffer.array[4, 2] = np.nan
        scores, ids = (to_host(part) for part in search.launch())
        assert (ids[4] == -1).all()
        assert (scores[4] == -np.inf).all()
        with pytest.raises(ValueError, match="queries row 4 holds NaN or Inf"):
            search.check()


def test_what_waits_is_not_captured(rows):
    queries, gallery = rows
    index = idsim.Index(np.asfortranarray(gallery), device="cuda", rows="host")
    with pytest.raises(ValueError, match="capture needs an Index whose rows the device can read"):
        index.capture(to_device(queries), 9)
