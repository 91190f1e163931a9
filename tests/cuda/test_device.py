"""What is a device's own: where arrays lie and results go, streams, parts, budgets, and errors."""

from __future__ import annotations

import os

import numpy as np
import pytest

import idsim
from idsim import _core
from idsim.arrays import cuda_device
from idsim.errors import CudaError
from support.compare import assert_same, same_bytes
from support.data import grid_rows, normal
from support.device_arrays import to_device, to_host

pytestmark = pytest.mark.gpu

emulated = pytest.mark.skipif(
    not _core.build_info()["cuda_emulated"], reason="the stand-in arrays need the emulated device"
)


@pytest.fixture
def rows():
    return grid_rows(np.random.default_rng(5), 20, 900, 70)


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_results_lie_where_the_queries_lie(rows, metric):
    queries, gallery = rows
    expected = idsim.search(queries, gallery, 9, metric=metric, device="cpu")
    for q, g in [
        (queries, to_device(gallery)),
        (to_device(queries), gallery),
        (to_device(queries), to_device(gallery)),
    ]:
        result = idsim.search(q, g, 9, metric=metric)
        if isinstance(q, np.ndarray):
            assert_same(result, expected)
        else:
            assert cuda_device(result.scores) == 0
            assert_same([to_host(part) for part in result], expected)


def test_every_question(rows):
    queries, gallery = rows
    on_device = to_device(gallery)
    levels = [0.1, 0.7, 0.3]
    assert same_bytes(
        idsim.count_above(queries, on_device, levels), idsim.count_above(queries, gallery, levels)
    )
    for got, want in zip(
        idsim.pairs_above(queries, on_device, 0.25), idsim.pairs_above(queries, gallery, 0.25), strict=True
    ):
        assert same_bytes(got, want)
    labels = np.arange(len(queries)) % 3, np.arange(len(gallery)) % 3
    got = idsim.score_distribution(queries, on_device, groups=labels, tail=0.4, bins=256)
    want = idsim.score_distribution(queries, gallery, groups=labels, tail=0.4, bins=256)
    assert same_bytes(got.mated, want.mated)
    assert same_bytes(got.non_mated, want.non_mated)
    assert got.max_error == want.max_error


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_best_rows_and_pairs_of_one_set_in_ranges(rows, metric):
    """One question after the other: each reports as half of the work, and ranges join to the whole."""
    _, gallery = rows
    top = idsim.search(gallery, gallery, 3, metric=metric, exclude="self", device="cpu")
    threshold = float(np.median(top.scores[:, 1]))
    pairs = idsim.pairs_above(gallery, threshold=threshold, metric=metric, device="cpu")
    asked = {"k": 3, "threshold": threshold, "metric": metric}
    seen = []
    whole = idsim.compare(gallery, device="cuda", progress=lambda *done: seen.append(done), **asked)
    assert_same(whole[:2], top)
    assert_same(whole.pairs, pairs)
    assert seen == sorted(seen)
    assert (450, 900) in seen
    assert seen[-1] == (900, 900)
    parts = [
        idsim.compare(to_device(gallery[a:b]), to_device(gallery), first=a, **asked)
        for a, b in ((0, 7), (7, 500), (500, 900))
    ]
    for place, want in enumerate(top):
        assert same_bytes(np.concatenate([to_host(part[place]) for part in parts]), want)
    for place, want in enumerate(pairs):
        assert same_bytes(np.concatenate([part.pairs[place] for part in parts]), want)
    with pytest.raises(ValueError, match=f"more than max_pairs = {len(pairs.rows) - 1} pairs"):
        idsim.compare(gallery, device="cuda", max_pairs=len(pairs.rows) - 1, **asked)


def test_normalize(rows):
    queries, _ = rows
    expected = idsim.normalize(queries)
    assert same_bytes(idsim.normalize(queries, device="cuda"), expected)
    assert same_bytes(to_host(idsim.normalize(to_device(queries))), expected)
    out = to_device(np.empty_like(queries))
    assert idsim.normalize(to_device(queries), out=out) is out
    assert same_bytes(to_host(out), expected)
    with pytest.raises(ValueError, match="x row 3 holds NaN or Inf"):
        broken = queries.copy()
        broken[3, 1] = np.inf
        idsim.normalize(to_device(broken))


def test_index(rows):
    queries, gallery = rows
    for g in (gallery, to_device(gallery)):
        index = idsim.Index(g, metric="l2", device="cuda")
        assert_same(index.search(queries, 5), idsim.search(queries, gallery, 5, metric="l2", device="cpu"))
        info = index.info()
        assert info["instruction_set"] == "cuda:0"
        assert info["row_bytes"] == (gallery.nbytes if isinstance(g, np.ndarray) else 0)
        assert info["rows"], info["dim"] == gallery.shape
        with pytest.raises(ValueError, match="not saved"):
            index.save("nowhere")
    with pytest.raises(ValueError, match="made for device 'cuda:0', the question is for the CPU"):
        idsim.search(queries, idsim.Index(gallery, device="cuda"), 3, device="cpu")


def test_parts_in_any_order(rows):
    queries, gallery = rows
    scan = idsim.TopKScan(queries, 11, device="cuda", exclude_self=True)
    for start in (600, 0, 300):
        scan.feed(gallery[start : start + 300], start)
    expected = idsim.search(queries, gallery, 11, exclude="self", device="cpu")
    assert_same(scan.finish(), expected)
    assert scan.certificate().pairs == queries.shape[0] * gallery.shape[0]


def test_budget_cuts_queries_and_galleries(rows):
    queries = np.concatenate([rows[0]] * 5)
    gallery = np.asfortranarray(rows[1])  # made dense on the way to the device
    seen = []
    result = idsim.search(
        queries, gallery, 4, device="cuda", memory_budget=2_500_000,
        progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert_same(result, idsim.search(queries, gallery, 4, device="cpu"))
    assert seen[-1] == (900, 900)
    assert sorted(seen) == seen
    with pytest.raises(ValueError, match="memory_budget must be at least"):
        idsim.search(queries, gallery, 4, device="cuda", memory_budget=100_000)
    with pytest.raises(KeyboardInterrupt, match="cancelled"):
        idsim.search(queries, gallery, 4, device="cuda", progress=lambda done, total: False)


def test_gallery_on_disk(rows, tmp_path):
    queries, gallery = rows
    np.save(tmp_path / "a.npy", gallery)
    from idsim.gallery.writer import GalleryWriter

    with GalleryWriter(tmp_path / "faces", dim=gallery.shape[1]) as writer:
        writer.append(gallery)
    stored = idsim.Gallery.open(tmp_path / "faces")
    expected = idsim.search(queries, gallery, 6, device="cpu")
    assert_same(idsim.search(queries, stored, 6, device="cuda", memory_budget=2_500_000), expected)


def test_out(rows):
    queries, gallery = rows
    expected = idsim.search(queries, gallery, 3, device="cpu")
    out = to_device(np.zeros((20, 3), np.float32)), to_device(np.zeros((20, 3), np.int64))
    result = idsim.search(to_device(queries), gallery, 3, out=out)
    assert result.scores is out[0]
    assert_same([to_host(part) for part in result], expected)
    on_host = np.zeros((20, 3), np.float32), np.zeros((20, 3), np.int64)
    idsim.search(to_device(queries), gallery, 3, out=on_host)
    assert_same(on_host, expected)
    with pytest.raises(TypeError, match="out: scores must be float32, not float64"):
        idsim.search(to_device(queries), gallery, 3, out=(to_device(np.zeros((20, 3))), out[1]))
    with pytest.raises(ValueError, match="out: ids must be a writable, contiguous array of shape"):
        idsim.search(to_device(queries), gallery, 3, out=(out[0], to_device(np.zeros((20, 4), np.int64))))
    with pytest.raises(TypeError, match="out: ids must be an array on device 'cuda:0'"):
        idsim.search(to_device(queries), gallery, 3, out=(out[0], on_host[1]))


@emulated
def test_streams(rows):
    queries, gallery = (to_device(part) for part in rows)

    class Stream:
        def __cuda_stream__(self):
            return 0, 0

    idsim.search(queries, gallery, 3)
    idsim.search(queries, gallery, 3, stream=Stream())
    assert gallery.streams == [1, 1]  # DLPack's number of the legacy default stream
    with pytest.raises(TypeError, match="stream must be a handle or an object with __cuda_stream__, not str"):
        idsim.search(queries, gallery, 3, stream="default")


def test_nonfinite_rows(rows):
    queries, gallery = rows[0], rows[1].copy()
    gallery[[40, 700], 3] = np.nan
    for g in (gallery, to_device(gallery)):
        with pytest.raises(ValueError, match="gallery row 40 holds NaN or Inf"):
            idsim.search(queries, g, 3, device="cuda")
        with pytest.raises(ValueError, match="gallery row 40 holds NaN or Inf"):
            idsim.Index(g, device="cuda")
        for source in (g, idsim.Index(g, device="cuda", nonfinite="skip")):
            result = idsim.search(queries, source, 900, device="cuda", nonfinite="skip", certificate=True)
            assert result.certificate.skipped_rows == 2
            assert_same(result, idsim.search(queries, gallery, 900, nonfinite="skip", device="cpu"))
    broken = queries.copy()
    broken[7, 0] = np.inf
    with pytest.raises(ValueError, match="queries row 7 holds NaN or Inf"):
        idsim.search(to_device(broken), rows[1], 3)


def test_bad_arguments(rows):
    queries, gallery = rows
    for name in ("gpu", "cuda:", "cuda:x", "CUDA"):
        with pytest.raises(ValueError, match=r"device must be 'cpu', 'cuda', 'cuda:N', "):
            idsim.search(queries, gallery, 3, device=name)
    with pytest.raises(CudaError):
        idsim.search(queries, gallery, 3, device="cuda:99")
    with pytest.raises(ValueError, match="gallery must have 70 columns like queries, not 12"):
        idsim.search(queries, gallery[:, :12], 3, device="cuda")
    with pytest.raises(ValueError, match="more than max_pairs = 10 pairs"):
        idsim.pairs_above(queries, gallery, -1.0, max_pairs=10, device="cuda")


@pytest.mark.parametrize("n", [1, 127, 128, 129, 4099])
@pytest.mark.parametrize("q", [1, 8, 9, 64, 65, 129])
def test_edges_of_tiles(q, n):
    rng = np.random.default_rng(n * 1000 + q)
    queries, gallery = normal(rng, q, 65), normal(rng, n, 65)
    for k in (1, min(n, 40)):
        assert_same(
            idsim.search(queries, gallery, k, device="cuda"), idsim.search(queries, gallery, k, device="cpu")
        )


CODES = ["auto", "int8", "float16"]


@pytest.mark.parametrize("precision", [*CODES, "float32"])
@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_precision_changes_no_answer(rows, metric, precision):
    queries, gallery = rows
    want = idsim.search(queries, gallery, 300, metric=metric, device="cpu")
    on_device = {"metric": metric, "device": "cuda", "precision": precision}
    assert_same(idsim.search(queries, gallery, 300, **on_device), want)
    scan = idsim.TopKScan(queries, 300, **on_device)
    for first in (600, 0, 300):
        scan.feed(gallery[first : first + 300], first)
    assert_same(scan.finish(), want)
    level = float(np.median(want.scores[:, 5]))
    assert same_bytes(
        idsim.count_above(queries, gallery, [level], **on_device),
        idsim.count_above(queries, gallery, [level], metric=metric),
    )
    got, pairs = (
        idsim.pairs_above(queries, gallery, level, **arguments)
        for arguments in (on_device, {"metric": metric})
    )
    assert all(same_bytes(a, b) for a, b in zip(got, pairs, strict=True))


@pytest.mark.parametrize("precision", CODES)
def test_an_index_keeps_the_codes_that_it_was_made_with(rows, precision):
    queries, gallery = rows
    index = idsim.Index(gallery, device="cuda", precision=precision)
    kept = index.precision if precision == "auto" else precision
    assert index.precision == kept
    assert index.info()["tiers"][0] == f"{kept} codes"
    ordered = os.environ.get("IDSIM_CUDA_TILES") == "wgmma"
    stats = 30 if ordered else 28
    assert index.info()["code_bytes"] == len(gallery) * (128 * (1 + (kept == "float16")) + stats)
    assert_same(index.search(queries, 7), idsim.search(queries, gallery, 7, device="cpu"))
    assert_same(idsim.search(queries, index, 7, precision=kept), index.search(queries, 7))
    # Estimates are those of 8-bit codes, whatever the Index keeps.
    got, want = (idsim.score_distribution(queries, g, bins=64) for g in (index, gallery))
    assert same_bytes(got.counts, want.counts)
    assert got.max_error == want.max_error
    other = "int8" if kept == "float16" else "float16"
    with pytest.raises(ValueError, match=f"the Index keeps {kept} codes: .* '{kept}', not '{other}'"):
        idsim.search(queries, index, 7, precision=other)


def test_large_k_chooses_16_bit_codes(rows):
    queries, gallery = rows
    passed = {
        precision: idsim.search(
            queries, gallery, 100, device="cuda", precision=precision, certificate=True
        ).certificate.candidates
        for precision in CODES
    }
    assert passed["auto"] == passed["float16"] <= passed["int8"]


def test_few_queries_over_rows_without_codes(rows):
    """The rows themselves are multiplied: bytes, rows with NaN or Inf, squares that overflow in float32, zero rows."""
    queries, gallery = rows
    odd = gallery.copy()
    odd[11, 3], odd[500, 69] = np.nan, -np.inf
    odd[7], odd[8], odd[300] = 3e38, 1e-44, 0.0
    for q in (queries[:1], queries[:8], np.zeros_like(queries[:2])):
        for metric in ("cosine", "dot", "l2"):
            options = {"metric": metric, "nonfinite": "skip"}
            want = idsim.search(q, odd, 9, device="cpu", **options)
            got = idsim.search(q, odd, 9, device="cuda", certificate=True, **options)
            assert_same(got, want)
            assert got.certificate.skipped_rows == 2
            for source in (odd, to_device(odd)):
                counts = idsim.count_above(q, source, [0.1, 0.4], device="cuda", **options)
                assert same_bytes(counts, idsim.count_above(q, odd, [0.1, 0.4], **options))
        with pytest.raises(ValueError, match="gallery row 11 holds NaN or Inf"):
            idsim.search(q, odd, 9, device="cuda")
        with pytest.raises(ValueError, match="gallery row 11 holds NaN or Inf"):
            idsim.search(q, odd, 0, device="cuda", precision="float32")


def test_an_index_is_codes(rows):
    with pytest.raises(ValueError, match="an Index keeps codes: precision must be .* not 'float32'"):
        idsim.Index(rows[1], device="cuda", precision="float32")
