"""An index on a device whose rows stay on the host: read there by the device, or fetched by the host."""

from __future__ import annotations

import gc
import mmap

import numpy as np
import pytest

import idsim
from idsim import _core
from support.compare import assert_same, same_bytes
from support.data import grid_rows
from support.device_arrays import to_device

pytestmark = pytest.mark.gpu

emulated = pytest.mark.skipif(
    not _core.build_info()["cuda_emulated"], reason="memory is taken from the emulated device"
)


@pytest.fixture
def rows():
    return grid_rows(np.random.default_rng(5), 40, 1500, 70)


def read_only(rows):
    """Rows in pages of no file that cannot be written."""
    pages = mmap.mmap(-1, rows.nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    pages.write(rows.tobytes())
    out = np.frombuffer(pages, np.float32).reshape(rows.shape)
    out.flags.writeable = False
    return out


def file_mapped(rows, folder):
    np.save(folder / "rows.npy", rows)
    return np.load(folder / "rows.npy", mmap_mode="r")


def test_where_rows_are_read(rows, tmp_path):
    queries, gallery = rows
    expected = idsim.search(queries, gallery, 9, device="cpu")
    for form, place in [
        (gallery, "mapped"),
        (gallery[::-1], "mapped"),
        (gallery.astype(np.float64), "mapped"),
        (read_only(gallery), "mapped"),
        (file_mapped(gallery, tmp_path), "fetched"),
        (np.asfortranarray(gallery), "fetched"),
        (to_device(gallery), "device"),
    ]:
        index = idsim.Index(form, device="cuda", rows="host")
        assert index.info()["row_place"] == place
        assert index.info()["row_bytes"] == 0
        same = expected
        if form is not gallery and isinstance(form, np.ndarray):
            same = idsim.search(queries, form, 9, device="cpu")
        assert_same(index.search(queries, 9), same)


@emulated
def test_rows_that_cannot_be_locked(rows, monkeypatch):
    queries, gallery = rows
    expected = idsim.search(queries, gallery, 40, device="cpu")
    monkeypatch.setenv("IDSIM_EMULATED_REGISTER", "0")
    index = idsim.Index(gallery, device="cuda", rows="host")
    assert index.info()["row_place"] == "fetched"
    assert_same(index.search(queries, 40), expected)
    assert_same(index.search(queries, 40, memory_budget=2_200_000), expected)


def test_every_question(rows, tmp_path):
    queries, gallery = rows
    levels = [0.1, 0.7, 0.3]
    counts = idsim.count_above(queries, gallery, levels)
    pairs = idsim.pairs_above(queries, gallery, 0.25)
    distribution = idsim.score_distribution(queries, gallery, tail=0.4, bins=256)
    for form in (gallery, file_mapped(gallery, tmp_path)):
        index = idsim.Index(form, device="cuda", rows="host")
        assert same_bytes(idsim.count_above(queries, index, levels), counts)
        for got, want in zip(idsim.pairs_above(queries, index, 0.25), pairs, strict=True):
            assert same_bytes(got, want)
        got = idsim.score_distribution(queries, index, tail=0.4, bins=256)
        assert same_bytes(got.counts, distribution.counts)


def test_the_budget_decides(rows):
    _, gallery = rows
    codes = _core.plan_index(*gallery.shape, 0, 0)["code_bytes"]
    enough = codes + gallery.nbytes
    assert idsim.Index(gallery, device="cuda", memory_budget=enough).info()["row_place"] == "device"
    assert idsim.Index(gallery, device="cuda", memory_budget=enough - 1).info()["row_place"] == "mapped"
    with pytest.raises(MemoryError, match="the codes of 1500 rows of 70 columns take .* memory_budget is"):
        idsim.Index(gallery, device="cuda", memory_budget=codes - 1)


@emulated
def test_the_memory_decides(rows, monkeypatch):
    queries, gallery = rows
    expected = idsim.search(queries, gallery, 3, device="cpu")
    gc.collect()  # what earlier tests left behind is on the device too
    for memory, place in ((2_500_000, "device"), (800_000, "mapped")):
        monkeypatch.setenv("IDSIM_EMULATED_MEMORY", str(memory))
        index = idsim.Index(gallery, device="cuda")
        assert index.info()["row_place"] == place
        monkeypatch.delenv("IDSIM_EMULATED_MEMORY")
        assert_same(index.search(queries, 3), expected)
        del index  # its memory, before the next one is made


def test_rows_with_nan(rows):
    queries, gallery = rows[0], rows[1].copy()
    gallery[[40, 700], 3] = np.nan
    with pytest.raises(ValueError, match="gallery row 40 holds NaN or Inf"):
        idsim.Index(gallery, device="cuda", rows="host")
    index = idsim.Index(gallery, device="cuda", rows="host", nonfinite="skip")
    assert index.info()["skipped_rows"] == 2
    assert_same(
        index.search(queries, 900), idsim.search(queries, gallery, 900, nonfinite="skip", device="cpu")
    )


def test_bad_arguments(rows):
    with pytest.raises(ValueError, match="rows must be 'auto', 'device' or 'host', not 'disk'"):
        idsim.Index(rows[1], device="cuda", rows="disk")
    with pytest.raises(ValueError, match="rows='device' needs a device"):
        idsim.Index(rows[1], device="cpu", rows="device")
