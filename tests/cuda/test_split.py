"""Several devices that share a gallery: the same bytes, and errors that say where."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest

import idsim
from idsim import _core
from idsim.errors import CudaError
from support import emulator
from support.compare import assert_same, same_bytes
from support.data import grid_rows
from support.device_arrays import to_device, to_host

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(_core.build_info()["cuda_devices"] < 3, reason="needs three CUDA devices"),
]
emulated = pytest.mark.skipif(
    not _core.build_info()["cuda_emulated"], reason="provokes errors of the emulated device"
)
PLACES = ["cuda:0", "cuda:1,0", "cuda:all"]


@pytest.fixture
def rows():
    return grid_rows(np.random.default_rng(6), 20, 900, 70)


@pytest.fixture
def stored(rows, tmp_path):
    from idsim.gallery.writer import GalleryWriter

    with GalleryWriter(tmp_path / "faces", dim=rows[1].shape[1], shard_rows=500) as writer:
        writer.append(rows[1])
    return idsim.Gallery.open(tmp_path / "faces")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_search(rows, stored, place, metric):
    queries, gallery = rows
    expected = idsim.search(queries, gallery, 9, metric=metric, device="cpu")
    for source in (gallery, stored, idsim.Index(gallery, metric=metric, device=place)):
        assert_same(idsim.search(queries, source, 9, metric=metric, device=place), expected)


@pytest.mark.parametrize("place", PLACES[1:])
def test_arrays_on_any_device(rows, place):
    queries, gallery = rows
    expected = idsim.search(queries, gallery, 5, device="cpu")
    for at in (0, 1, 2):
        there = to_device(gallery, at)
        result = idsim.search(to_device(queries, 2 - at), there, 5, device=place)
        assert [part.__dlpack_device__() for part in result] == [(2, 2 - at)] * 2
        assert_same([to_host(part) for part in result], expected)
        index = idsim.Index(there, device=place)
        assert_same(index.search(queries, 5), expected)
        assert index.info()["row_bytes"] >= gallery.nbytes // 3
        with pytest.raises(ValueError, match="must be contiguous"):
            idsim.search(queries, to_device(np.asfortranarray(gallery), at), 5, device=place)


@pytest.mark.parametrize("place", PLACES[1:])
def test_every_question(rows, stored, place):
    queries, gallery = rows
    levels = [0.1, 0.7, 0.3]
    labels = np.arange(len(queries)) % 3, np.arange(len(gallery)) % 3
    for source in (stored, idsim.Index(gallery, device=place)):
        options = {"exclude": labels}
        assert same_bytes(
            idsim.count_above(queries, source, levels, **options, device=place),
            idsim.count_above(queries, gallery, levels, **options),
        )
        for got, want in zip(
            idsim.pairs_above(queries, source, 0.25, **options, device=place),
            idsim.pairs_above(queries, gallery, 0.25, **options),
            strict=True,
        ):
            assert same_bytes(got, want)
        got = idsim.score_distribution(queries, source, groups=labels, tail=0.4, bins=256, device=place)
        want = idsim.score_distribution(queries, gallery, groups=labels, tail=0.4, bins=256)
        assert same_bytes(got.mated, want.mated)
        assert same_bytes(got.non_mated, want.non_mated)
        assert got.max_error == want.max_error
    for got, want in zip(
        idsim.pairs_above(gallery, threshold=0.5, device=place),
        idsim.pairs_above(gallery, threshold=0.5),
        strict=True,
    ):
        assert same_bytes(got, want)
    within, apart = (idsim.score_distribution(gallery, bins=64, device=d) for d in (place, "cpu"))
    assert same_bytes(within.counts, apart.counts)


@pytest.mark.parametrize("n", [0, 1, 127, 129, 300])
def test_ranges_that_are_empty(rows, n):
    queries, gallery = rows[0], rows[1][:n]
    assert_same(
        idsim.search(queries, gallery, 4, device="cuda:all"), idsim.search(queries, gallery, 4, device="cpu")
    )


def test_certificate_and_parts(rows):
    queries, gallery = rows
    result = idsim.search(queries, gallery, 7, device="cuda:0,2", certificate=True)
    assert result.certificate.pairs == queries.shape[0] * gallery.shape[0]
    assert (result.certificate.reach <= result.scores[:, -1]).all()
    scan = idsim.TopKScan(queries, 7, device="cuda:0,2")
    for start in (600, 0, 300):
        scan.feed(gallery[start : start + 300], start)
    assert_same(scan.finish(), result)


def test_progress_and_cancel(rows):
    queries, gallery = rows
    seen = []

    def look(done, total):
        assert threading.current_thread() is threading.main_thread()
        seen.append((done, total))

    idsim.search(queries, gallery, 4, device="cuda:all", progress=look)
    assert seen[-1] == (900, 900)
    assert sorted(seen) == seen
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt, match="cancelled"):
        # Parts of 128 rows, so that there is something left to cancel.
        idsim.search(
            np.concatenate([queries] * 30), np.concatenate([gallery] * 20), 4, device="cuda:all",
            progress=lambda done, total: False,
        )  # fmt: skip
    assert threading.active_count() == before


def test_rows_with_nan(rows, stored):
    queries, gallery = rows[0], rows[1].copy()
    gallery[[340, 700], 3] = np.nan
    for source in (gallery, to_device(gallery, 1)):
        with pytest.raises(ValueError, match="gallery row 340 holds NaN or Inf"):
            idsim.search(queries, source, 3, device="cuda:all")
        with pytest.raises(ValueError, match="gallery row 340 holds NaN or Inf"):
            idsim.Index(source, device="cuda:all")
        result = idsim.search(queries, source, 3, device="cuda:all", nonfinite="skip", certificate=True)
        assert result.certificate.skipped_rows == 2
        assert_same(result, idsim.search(queries, gallery, 3, nonfinite="skip", device="cpu"))
    broken = queries.copy()
    broken[7, 0] = np.inf
    with pytest.raises(ValueError, match="queries row 7 holds NaN or Inf"):
        idsim.search(broken, rows[1], 3, device="cuda:all")


@emulated
def test_a_device_without_room(rows):
    queries, gallery = rows
    gc.collect()
    before = [emulator.live_bytes(device) for device in range(3)]
    with emulator.memory_left(1, 10_000):
        with pytest.raises(MemoryError, match=r"cuda:1: the CUDA device has no room for another \d+ bytes"):
            idsim.search(queries, gallery, 3, device="cuda:0,1,2")
        with pytest.raises(MemoryError, match="cuda:1: "):
            idsim.Index(gallery, device="cuda:0,1,2")
        idsim.search(queries, gallery, 3, device="cuda:0,2")
    gc.collect()
    assert [emulator.live_bytes(device) for device in range(3)] == before


def test_bad_arguments(rows):
    queries, gallery = rows
    with pytest.raises(ValueError, match="names a device twice: 'cuda:1,1'"):
        idsim.search(queries, gallery, 3, device="cuda:1,1")
    with pytest.raises(CudaError, match="there are [0-9]+ CUDA devices, 'cuda:0' to "):
        idsim.search(queries, gallery, 3, device="cuda:0,99")
    for name in ("cuda:0,", "cuda:0,x", "cuda:ALL"):
        with pytest.raises(ValueError, match="device must be"):
            idsim.search(queries, gallery, 3, device=name)
    with pytest.raises(ValueError, match="stream belongs to one device, the work is on 'cuda:0,1'"):
        idsim.search(queries, gallery, 3, device="cuda:0,1", stream=0)
    with pytest.raises(ValueError, match="normalize works on one device"):
        idsim.normalize(queries, device="cuda:all")
    with pytest.raises(ValueError, match="made for devices 'cuda:0,1', the question is for device 'cuda:1'"):
        idsim.search(queries, idsim.Index(gallery, device="cuda:0,1"), 3, device="cuda:1")
    with pytest.raises(ValueError, match="more than max_pairs = 10 pairs"):
        idsim.pairs_above(queries, gallery, -1.0, max_pairs=10, device="cuda:all")
    with pytest.raises(ValueError, match="not saved"):
        idsim.Index(gallery, device="cuda:all").save("nowhere")
