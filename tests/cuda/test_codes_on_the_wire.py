"""Codes that were prepared on the CPU, in memory or in files, and the rows behind them: the device gets the codes."""

from __future__ import annotations

import numpy as np
import pytest

import idsim
from idsim import _core
from support.compare import assert_same, same_bytes
from support.data import grid_rows
from support.device_arrays import to_device, to_host

pytestmark = pytest.mark.gpu


@pytest.fixture
def rows():
    return grid_rows(np.random.default_rng(5), 40, 1500, 70)


def forms(gallery, folder):
    """The rows in every form whose codes go to the device: an index of strided, narrow or saved rows, and files."""
    yield idsim.Index(gallery, device="cpu")
    yield idsim.Index(np.asfortranarray(gallery), device="cpu")
    idsim.Index(gallery, device="cpu").save(folder / "index")
    yield idsim.Index.load(folder / "index")
    stored = idsim.Gallery.open(folder / "index")
    assert stored.is_prepared
    yield stored


@pytest.mark.parametrize("k", [1, 9, 1400])
def test_the_best(rows, tmp_path, k):
    queries, gallery = rows
    expected = idsim.search(queries, gallery, k, device="cpu")
    for form in forms(gallery, tmp_path):
        assert_same(idsim.search(queries, form, k, device="cuda"), expected)


@pytest.mark.parametrize("metric", ["dot", "l2"])
def test_other_metrics(rows, metric):
    queries, gallery = rows
    index = idsim.Index(gallery, metric=metric, device="cpu")
    expected = index.search(queries, 5, exclude="self")
    assert_same(idsim.search(queries, index, 5, exclude="self", device="cuda"), expected)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_types(rows, dtype):
    queries, gallery = rows[0], rows[1].astype(dtype)
    index = idsim.Index(gallery, device="cpu")
    assert_same(idsim.search(queries, index, 5, device="cuda"), index.search(queries, 5))


def test_every_question(rows, tmp_path):
    queries, gallery = rows
    levels = [0.1, 0.7, 0.3]
    labels = np.arange(len(queries)) % 3, np.arange(len(gallery)) % 3
    counts = idsim.count_above(queries, gallery, levels)
    pairs = idsim.pairs_above(queries, gallery, 0.25)
    distribution = idsim.score_distribution(queries, gallery, groups=labels, tail=0.4, bins=256)
    for form in forms(gallery, tmp_path):
        assert same_bytes(idsim.count_above(queries, form, levels, device="cuda"), counts)
        for got, want in zip(idsim.pairs_above(queries, form, 0.25, device="cuda"), pairs, strict=True):
            assert same_bytes(got, want)
        got = idsim.score_distribution(queries, form, groups=labels, tail=0.4, bins=256, device="cuda")
        assert same_bytes(got.mated, distribution.mated)
        assert same_bytes(got.non_mated, distribution.non_mated)
        assert got.max_error == distribution.max_error


def test_parts_and_turns(rows, tmp_path):
    """A budget so small that the gallery comes in many parts, and the rows of a part in several turns."""
    queries, gallery = rows
    expected = idsim.search(queries, gallery, 40, device="cpu")
    groups = np.arange(len(queries)) % 7, np.arange(len(gallery)) % 7
    without = idsim.search(queries, gallery, 3, exclude=groups, device="cpu")
    for form in forms(gallery, tmp_path):
        seen = []
        result = idsim.search(
            queries, form, 40, device="cuda", memory_budget=2_200_000, certificate=True,
            progress=lambda done, total, seen=seen: seen.append((done, total)),
        )  # fmt: skip
        assert_same(result, expected)
        assert sorted(seen) == seen
        assert seen[-1] == (len(gallery), len(gallery))
        assert result.certificate.pairs == len(queries) * len(gallery)
        assert_same(idsim.search(queries, form, 3, exclude=groups, device="cuda"), without)


def test_equal_rows_overflow_the_lists(rows):
    queries = rows[0][:3]
    gallery = np.repeat(rows[1][:1], 6000, axis=0)
    index = idsim.Index(gallery, device="cpu")
    assert_same(
        idsim.search(queries, index, 5, device="cuda", memory_budget=2_200_000), index.search(queries, 5)
    )


def test_where_it_is_searched(rows):
    """On the CPU where the codes are, unless the queries lie on the device or it is asked for."""
    queries, gallery = rows
    index = idsim.Index(gallery, device="cpu")
    expected = index.search(queries, 3)
    assert isinstance(idsim.search(queries, index, 3).scores, np.ndarray)
    result = idsim.search(to_device(queries), index, 3)
    assert_same([to_host(part) for part in result], expected)


def test_rows_with_nan(rows, tmp_path):
    queries, gallery = rows[0], rows[1].copy()
    gallery[[40, 700], 3] = np.nan
    index = idsim.Index(gallery, nonfinite="skip", device="cpu")
    index.save(tmp_path / "index")
    expected = index.search(queries, 900)
    stored = idsim.Gallery.open(tmp_path / "index")
    for form in (index, stored):
        result = idsim.search(queries, form, 900, device="cuda", nonfinite="skip", certificate=True)
        assert_same(result, expected)
        assert result.certificate.skipped_rows == 2
    with pytest.raises(ValueError, match="gallery row 40 holds NaN or Inf"):
        idsim.search(queries, stored, 3, device="cuda")


@pytest.mark.skipif(
    not _core.build_info()["cuda_emulated"], reason="memory is taken from the emulated device"
)
def test_little_memory(rows, monkeypatch):
    queries, gallery = rows
    index = idsim.Index(gallery, device="cpu")
    expected = index.search(queries, 9)
    monkeypatch.setenv("IDSIM_EMULATED_MEMORY", "2300000")
    assert_same(idsim.search(queries, index, 9, device="cuda"), expected)
