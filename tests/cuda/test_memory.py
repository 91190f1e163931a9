"""Little memory, and a context that is lost; on the emulated device, from which memory can be taken."""

from __future__ import annotations

import gc

import numpy as np
import pytest

import idsim
from idsim import _core
from idsim.errors import CudaError
from support import emulator
from support.compare import assert_same, same_bytes
from support.data import grid_rows

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not _core.build_info()["cuda_emulated"], reason="memory is taken from the emulated device"
    ),
]


@pytest.fixture
def rows():
    return grid_rows(np.random.default_rng(5), 150, 900, 70)


@pytest.fixture
def device_memory(monkeypatch):
    """Give the device so many bytes beside what other tests hold, and the host as many to lock, or the default."""
    gc.collect()

    def give(device: int | None = None, pinned: int | None = None) -> None:
        room = None if device is None else device + emulator.live_bytes(0)
        for name, size in (("MEMORY", room), ("PINNED", pinned)):
            if size is None:
                monkeypatch.delenv(f"IDSIM_EMULATED_{name}", raising=False)
            else:
                monkeypatch.setenv(f"IDSIM_EMULATED_{name}", str(size))

    return give


@pytest.mark.parametrize("device", [12_000_000, 5_000_000, 2_700_000])
def test_less_memory_than_the_budget(rows, device_memory, device):
    queries, gallery = rows
    expected = idsim.search(queries, gallery, 9, device="cpu")
    device_memory(device)
    seen = []
    result = idsim.search(
        queries, gallery, 9, device="cuda", progress=lambda done, total: seen.append((done, total))
    )
    assert_same(result, expected)
    assert sorted(seen) == seen
    assert seen[-1] == (900, 900)


def test_little_memory_to_lock(rows, device_memory):
    queries, gallery = rows
    expected = idsim.search(queries, gallery, 9, device="cpu")
    device_memory(pinned=200_000)
    assert_same(idsim.search(queries, gallery, 9, device="cuda"), expected)
    device_memory(pinned=1000)
    with pytest.raises(MemoryError, match="the host has no room for another .* bytes of page-locked memory"):
        idsim.search(queries, gallery, 9, device="cuda")


def test_every_question_with_little_memory(rows, device_memory):
    queries, gallery = rows
    levels = [0.1, 0.7]
    counts = idsim.count_above(queries, gallery, levels)
    pairs = idsim.pairs_above(queries, gallery, 0.25)
    distribution = idsim.score_distribution(queries, gallery, bins=256)
    device_memory(1_500_000)
    assert same_bytes(idsim.count_above(queries, gallery, levels, device="cuda"), counts)
    for got, want in zip(idsim.pairs_above(queries, gallery, 0.25, device="cuda"), pairs, strict=True):
        assert same_bytes(got, want)
    got = idsim.score_distribution(queries, gallery, bins=256, device="cuda")
    assert same_bytes(got.non_mated, distribution.non_mated)


def test_no_memory(rows, device_memory):
    queries, gallery = rows
    device_memory(400_000)
    with pytest.raises(
        MemoryError, match=r"the CUDA device has no room for another \d+ bytes: \d+ of its \d+ are free"
    ):
        idsim.search(queries, gallery, 9, device="cuda")
    with pytest.raises(MemoryError):
        idsim.Index(np.zeros((2000, 512), np.float32), device="cuda")
    device_memory()
    assert_same(
        idsim.search(queries, gallery, 9, device="cuda"), idsim.search(queries, gallery, 9, device="cpu")
    )


@pytest.mark.parametrize("error", [700, 719, 214])
def test_a_lost_context(rows, monkeypatch, error):
    queries, gallery = rows
    index = idsim.Index(gallery, device="cuda")
    expected = index.search(queries, 3)
    monkeypatch.setenv("IDSIM_EMULATED_FAILURE", str(error))
    for use in (
        lambda: index.search(queries, 3),
        lambda: idsim.search(queries, gallery, 3, device="cuda"),
        lambda: idsim.normalize(queries, device="cuda"),
        lambda: idsim.Index(gallery, device="cuda"),
    ):
        with pytest.raises(CudaError, match="The CUDA context of this process is lost.*only a new process"):
            use()
    monkeypatch.delenv("IDSIM_EMULATED_FAILURE")  # as a new process
    assert_same(index.search(queries, 3), expected)
