"""Galleries whose codes are stored in another order than the rows: nothing shows it but two bytes a row."""

from __future__ import annotations

import numpy as np
import pytest

import idsim
from idsim.errors import CudaError
from support.compare import assert_same, same_bytes
from support.data import grid_rows
from support.device_arrays import to_device

pytestmark = pytest.mark.gpu

LEVELS = [0.1, 0.7, 0.3]


@pytest.fixture(autouse=True)
def _tiles_of_hopper(monkeypatch):
    monkeypatch.setenv("IDSIM_CUDA_TILES", "wgmma")
    monkeypatch.setenv("IDSIM_EMULATED_CAPABILITY", "90")
    try:
        idsim.Index(np.eye(2, dtype=np.float32), device="cuda")
    except CudaError as error:
        if "needs compute capability 9.0" not in str(error):
            raise
        pytest.skip(str(error))


@pytest.fixture
def rows():
    queries, gallery = grid_rows(np.random.default_rng(8), 6, 8300, 40)
    gallery *= np.random.default_rng(9).uniform(0.5, 2.0, (len(gallery), 1)).astype(np.float32)
    gallery[[8191, 40, 700, 8250], 3] = np.nan
    gallery[[0, 9, 8299]] = 0
    return queries, gallery


@pytest.mark.parametrize("precision", ["int8", "float16"])
@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_search(rows, metric, precision):
    queries, gallery = rows
    labels = np.arange(len(queries)) % 3, np.arange(len(gallery)) // 5 % 3
    options = {"metric": metric, "exclude": labels}
    expected = idsim.search(queries, gallery, 9, nonfinite="skip", device="cpu", **options)
    for source in (gallery, to_device(gallery)):
        got = idsim.search(
            queries,
            source,
            9,
            nonfinite="skip",
            device="cuda",
            precision=precision,
            certificate=True,
            **options,
        )
        assert_same(got, expected)
        assert got.certificate.skipped_rows == 4
    for place in ("device", "host"):
        index = idsim.Index(
            gallery, metric=metric, device="cuda", rows=place, nonfinite="skip", precision=precision
        )
        assert index.info()["row_place"] == {"device": "device", "host": "mapped"}[place]
        assert index.info()["code_bytes"] == len(gallery) * (64 * (1 + (precision == "float16")) + 30)
        assert_same(index.search(queries, 9, exclude=labels), expected)


@pytest.mark.parametrize("precision", ["int8", "float16"])
def test_queries_of_more_than_one_block(precision):
    """So many that products of warp groups make them."""
    queries, gallery = grid_rows(np.random.default_rng(8), 260, 8300, 40)
    gallery[40, 3] = np.nan
    expected = idsim.search(queries, gallery, 9, nonfinite="skip", device="cpu")
    got = idsim.search(queries, gallery, 9, nonfinite="skip", device="cuda", precision=precision)
    assert_same(got, expected)
    index = idsim.Index(gallery, device="cuda", nonfinite="skip", precision=precision)
    assert_same(index.search(queries, 9), expected)


def test_fixed_thresholds(rows):
    queries, gallery = rows
    labels = np.arange(len(queries)) % 3, np.arange(len(gallery)) // 5 % 3
    index = idsim.Index(gallery, device="cuda", nonfinite="skip", precision="int8")
    counts = idsim.count_above(queries, gallery, LEVELS, exclude=labels, nonfinite="skip", device="cpu")
    assert same_bytes(idsim.count_above(queries, index, LEVELS, exclude=labels), counts)
    pairs = idsim.pairs_above(queries, gallery, 0.3, exclude=labels, nonfinite="skip", device="cpu")
    assert len(pairs[0]) > 0
    for got, want in zip(idsim.pairs_above(queries, index, 0.3, exclude=labels), pairs, strict=True):
        assert same_bytes(got, want)


def test_rows_that_the_host_fetches_keep_their_order(rows):
    queries, gallery = rows
    index = idsim.Index(
        np.asfortranarray(gallery), device="cuda", rows="host", nonfinite="skip", precision="int8"
    )
    assert index.info()["row_place"] == "fetched"
    assert index.info()["code_bytes"] == len(gallery) * (64 + 28)
    expected = idsim.search(queries, gallery, 9, nonfinite="skip", device="cpu")
    assert_same(index.search(queries, 9), expected)


def test_the_first_bad_row_is_named(rows):
    queries, gallery = rows
    with pytest.raises(ValueError, match="gallery row 40 holds NaN or Inf"):
        idsim.Index(gallery, device="cuda", precision="int8")
    with pytest.raises(ValueError, match="gallery row 40 holds NaN or Inf"):
        idsim.search(queries, gallery, 9, device="cuda", precision="int8")
