"""Searches in CUDA graphs, and what the host waits for."""

from __future__ import annotations

import numpy as np
import pytest

import idsim
from idsim import _core
from idsim.errors import CudaError
from support import emulator
from support.compare import assert_same
from support.data import grid_rows
from support.device_arrays import to_device, to_host

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not _core.build_info()["cuda_emulated"], reason="looks into the emulated device"),
]


@pytest.fixture
def rows():
    return grid_rows(np.random.default_rng(9), 20, 900, 70)


def values(result):
    return [to_host(part) for part in result]


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize("count", [1, 20, 130])
def test_replay_with_other_queries(rows, metric, count):
    queries, gallery = np.resize(rows[0], (count, 70)), rows[1]
    buffer = to_device(np.zeros_like(queries))
    search = idsim.Index(to_device(gallery), metric=metric).capture(buffer, 9)
    for scale in (1.0, -2.0):
        buffer.array[...] = scale * queries
        with emulator.counted() as calls:
            result = search.launch()
        assert result.scores is search.scores
        assert {name: calls[name] for name in calls if name != "launches"} == dict.fromkeys(
            emulator.CALLS[:-1], 0
        )
        assert_same(values(result), idsim.search(scale * queries, gallery, 9, metric=metric, device="cpu"))
        search.check()


def test_a_graph_of_the_callers(rows):
    queries, gallery = rows
    stream, graph = emulator.make_stream(0), emulator.Graph()
    buffer = to_device(np.zeros_like(queries))
    search = idsim.Index(gallery, device="cuda").capture(buffer, 9, exclude="self", threshold=0.1)
    with graph.capture(stream):
        search.launch(stream)
    for step in (1, -1):
        buffer.array[...] = queries[::step]
        graph.replay(stream)
        assert_same(
            values(search),
            idsim.search(queries[::step], gallery, 9, exclude="self", threshold=0.1, device="cpu"),
        )


def test_lists_that_overflow(rows):
    """Equal rows in numbers that no list holds: the device itself falls back to scoring them all."""
    queries = rows[0][:3]
    gallery = np.repeat(rows[1][:1], 6000, axis=0)
    buffer = to_device(queries)
    search = idsim.Index(gallery, device="cuda").capture(buffer, 5)
    assert_same(values(search.launch()), idsim.search(queries, gallery, 5, device="cpu"))


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_queries_with_nan_get_padding(rows, metric, bad):
    queries, gallery = rows[0].copy(), rows[1]
    queries[[4, 7], 2] = bad
    search = idsim.Index(gallery, metric=metric, device="cuda").capture(to_device(queries), 5)
    scores, ids = values(search.launch())
    finite = np.isfinite(queries).all(axis=1)
    assert_same(
        [scores[finite], ids[finite]], idsim.search(queries[finite], gallery, 5, metric=metric, device="cpu")
    )
    assert (ids[~finite] == -1).all()
    assert (scores[~finite] == (np.inf if metric == "l2" else -np.inf)).all()
    with pytest.raises(ValueError, match="queries row 4 holds NaN or Inf"):
        search.check()


def test_what_waits_is_refused_in_a_capture(rows):
    queries, gallery = (to_device(part) for part in rows)
    index, stream = idsim.Index(gallery), emulator.make_stream(0)
    search = index.capture(queries, 3)
    for work in (
        lambda: idsim.search(queries, index, 3, stream=stream),
        lambda: idsim.search(queries, gallery, 3, stream=stream),
        lambda: idsim.Index(gallery, stream=stream),
        lambda: idsim.normalize(queries, stream=stream),
        lambda: index.capture(queries, 3, stream=stream),
        lambda: search.check(stream),
    ):
        # The capture goes on as if nothing had been asked.
        with emulator.Graph().capture(stream), pytest.raises(CudaError, match=r"captured.*Index\.capture"):
            work()


def test_memory(rows):
    index = idsim.Index(rows[1], device="cuda")
    before = emulator.live_bytes(0)
    search = index.capture(to_device(rows[0]), 3)
    assert emulator.live_bytes(0) > before
    search.launch()
    del search
    assert emulator.live_bytes(0) == before
    with emulator.memory_left(0, 10_000), pytest.raises(MemoryError, match="no room"):
        index.capture(to_device(rows[0]), 3)
    del index


def test_bad_arguments(rows):
    queries, gallery = rows
    index = idsim.Index(gallery, device="cuda:1")
    with pytest.raises(ValueError, match="the Index is on 'cuda:1', the queries are on 'cpu'"):
        index.capture(queries, 3)
    with pytest.raises(ValueError, match="the Index is on 'cuda:0,1', the queries are on 'cuda:1'"):
        idsim.Index(gallery, device="cuda:0,1").capture(to_device(queries, 1), 3)
    with pytest.raises(ValueError, match="must lie on the device of the index and have 70 columns"):
        index.capture(to_device(queries[:, :12], 1), 3)
    with pytest.raises(ValueError, match="exclude must be None or 'self' in a search that is captured"):
        index.capture(to_device(queries, 1), 3, exclude=([1], [2]))
    out = np.zeros((20, 3), np.float32), np.zeros((20, 3), np.int64)
    with pytest.raises(TypeError, match="out must be given, as arrays on the device"):
        index.capture(to_device(queries, 1), 3, out=out)


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_what_the_host_waits_for(rows, metric):
    """All on the device: one wait, for the first query with NaN or Inf."""
    queries, gallery = (to_device(part) for part in rows)
    index = idsim.Index(gallery, metric=metric)
    with emulator.counted() as calls:
        result = index.search(queries, 5)
    assert (calls["stream_waits"], calls["event_waits"], calls["pageable_copies"]) == (1, 0, 1)
    assert_same(values(result), idsim.search(*rows, 5, metric=metric, device="cpu"))
    with emulator.counted() as calls:
        idsim.search(queries, gallery, 5, metric=metric)
    assert (calls["stream_waits"], calls["event_waits"], calls["pageable_copies"]) == (2, 0, 2)


def test_memory_of_an_index_is_freed_behind_its_readers(rows):
    queries, gallery = to_device(rows[0]), rows[1]
    for other, orders in ((0, 0), (emulator.make_stream(0), 1)):
        index = idsim.Index(gallery, device="cuda")
        for _ in range(2):
            idsim.search(queries, index, 3, stream=other)
        with emulator.counted() as calls:
            del index
        assert calls["stream_orders"] == orders
    index = idsim.Index(gallery, device="cuda")
    search = index.capture(queries, 3)
    search.launch(emulator.make_stream(0))
    del index
    with emulator.counted() as calls:
        del search
    assert (
        calls["stream_orders"] >= 3
    )  # of the search's memory behind its launch, and the index's behind both streams
