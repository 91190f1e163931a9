"""The prepared gallery: description, length, metric, and the way to disk and back."""

from __future__ import annotations

import numpy as np
import pytest

import idsim
from idsim import reference
from support.compare import assert_same
from support.data import ADVERSARIAL, grid_rows

METRICS = ["cosine", "dot", "l2"]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_save_and_load(isa, rng, tmp_path, metric, dtype):
    queries, gallery = ADVERSARIAL["mixed" if dtype == "float32" else "random"](rng, 12, 900, 50)
    gallery = gallery.astype(dtype)
    expected = reference.search(queries, gallery, 8, metric=metric)
    idsim.Index(gallery, metric=metric).save(tmp_path / "index")
    loaded = idsim.Index.load(tmp_path / "index")
    assert_same(loaded.search(queries, 8), expected)
    assert (len(loaded), loaded.dim, loaded.metric) == (900, 50, metric)
    assert loaded.info()["dtype"] == dtype


def test_nothing_is_overwritten(rng, tmp_path):
    _, gallery = grid_rows(rng, 1, 30, 8)
    index = idsim.Index(gallery)
    index.save(tmp_path / "index")
    before = {path.name: path.read_bytes() for path in (tmp_path / "index").iterdir()}
    with pytest.raises(FileExistsError):
        index.save(tmp_path / "index")
    assert {path.name: path.read_bytes() for path in (tmp_path / "index").iterdir()} == before


def test_codes_made_on_one_machine_work_on_another(rng, tmp_path):
    """Codes are the same bytes for every instruction set, so a saved index is portable."""
    from idsim import _core

    queries, gallery = ADVERSARIAL["mixed"](rng, 9, 700, 70)
    expected = reference.search(queries, gallery, 5)
    names = list(_core.available_isas())
    try:
        files = []
        for name in names:
            _core.set_isa(name)
            idsim.Index(gallery).save(tmp_path / name)
            files.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
        assert all(other == files[0] for other in files)
        for name in names:
            _core.set_isa(name)
            for maker in names:
                assert_same(idsim.Index.load(tmp_path / maker).search(queries, 5), expected)
    finally:
        _core.set_isa(names[-1])


def test_info(rng):
    _, gallery = grid_rows(rng, 1, 300, 100)
    gallery[5, 5] = np.nan
    index = idsim.Index(gallery, metric="l2", nonfinite="skip")
    info = index.info()
    assert (info["rows"], info["dim"], info["metric"], info["skipped_rows"]) == (300, 100, "l2", 1)
    assert info["code_bytes"] >= 300 * 128
    assert info["row_bytes"] == gallery.nbytes
    assert 0 < info["mean_residual"] < 0.05
    assert len(index) == 300
    assert index.dim == 100


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize("dim", [64, 100, 512])
def test_four_bit_codes_change_no_byte(rng, metric, dim):
    gallery = rng.standard_normal((5000, dim), dtype=np.float32)
    gallery[::7] *= 100
    gallery[11] = 0
    gallery[[13, 4000]] = np.nan
    gallery[2000:2100] = gallery[50] + 1e-3 * gallery[2000:2100]
    queries = np.concatenate([gallery[[50, 11, 7]], rng.standard_normal((4, dim), dtype=np.float32)])
    with_plane = idsim.Index(gallery, metric=metric, nonfinite="skip")
    without = idsim.Index(gallery, metric=metric, nonfinite="skip", four_bit=False)
    assert without.info()["nibble_bytes"] == 0
    has_kernels = idsim._core.active_isa() in ("vnni", "amx")
    assert (with_plane.info()["nibble_bytes"] > 0) == has_kernels
    for count in (1, 2, 3):
        for first in range(len(queries) - count + 1):
            for k in (1, 10, 300):
                some = queries[first : first + count]
                assert_same(with_plane.search(some, k), without.search(some, k))


def test_metric_is_the_indexs_own(rng):
    queries, gallery = grid_rows(rng, 3, 40, 9)
    index = idsim.Index(gallery, metric="dot")
    expected = reference.search(queries, gallery, 3, metric="dot")
    assert_same(idsim.search(queries, index, 3), expected)
    assert_same(idsim.search(queries, index, 3, metric="dot"), expected)
    with pytest.raises(ValueError, match="dot"):
        idsim.search(queries, index, 3, metric="cosine")
    with pytest.raises(ValueError, match="metric"):
        idsim.Index(gallery, metric="chebyshev")
