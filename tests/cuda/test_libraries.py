"""Results for libraries whose arrays cannot be written to: idsim's own memory, handed over by DLPack."""

from __future__ import annotations

import gc
import sys
import types

import numpy as np
import pytest

import idsim
from idsim import _core
from idsim.engines import CudaEngine, _importer
from support import emulator
from support.compare import assert_same, same_bytes
from support.data import grid_rows
from support.device_arrays import DeviceArray, to_device, to_host

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not _core.build_info()["cuda_emulated"], reason="the stand-in needs the emulated device"
    ),
]


class Frozen(DeviceArray):
    """An array of a library like JAX: not to be written to, on a stream that only DLPack tells of."""

    # The library's name, as idsim asks for it.
    __module__ = "frozen.arrays"
    __cuda_array_interface__ = None

    def __init__(self, array, device=0, taken=None):
        super().__init__(array, device)
        self.taken = taken

    def __getitem__(self, key):
        return Frozen(self.array[key], self.device)

    def __array_namespace__(self):
        return sys.modules["frozen"]


class _Host:
    """What a device's array holds, for NumPy; the emulated device has the host's memory."""

    def __init__(self, array):
        interface = array.__cuda_array_interface__
        self.__array_interface__ = {**interface, "version": 3}
        self.kept = array


@pytest.fixture
def frozen(monkeypatch):
    """A library with from_dlpack and no empty; it works on a stream of its own."""
    library = types.ModuleType("frozen")
    library.stream = emulator.make_stream(0)

    def from_dlpack(array):
        capsule = array.__dlpack__(stream=library.stream, max_version=(1, 0))
        host = np.array(np.asarray(_Host(array)), copy=False)
        return Frozen(host, array.__dlpack_device__()[1], (array, capsule))

    library.from_dlpack = from_dlpack
    monkeypatch.setitem(sys.modules, "frozen", library)
    return library


@pytest.fixture
def rows():
    return grid_rows(np.random.default_rng(8), 20, 900, 70)


def freeze(array, device=0):
    return Frozen(to_device(array, device).array, device)


def test_results_are_of_the_library(rows, frozen):
    queries, gallery = rows
    expected = idsim.search(queries, gallery, 9, device="cpu")
    for g in (gallery, freeze(gallery), idsim.Index(freeze(gallery))):
        result = idsim.search(freeze(queries), g, 9)
        assert all(isinstance(part, Frozen) for part in result)
        assert_same([to_host(part) for part in result], expected)
    scan = idsim.TopKScan(freeze(queries), 9)
    scan.feed(gallery)
    assert_same([to_host(part) for part in scan.finish()], expected)
    assert same_bytes(to_host(idsim.normalize(freeze(queries))), idsim.normalize(queries))


def test_several_devices_and_chunks(rows, frozen):
    queries, gallery = np.concatenate([rows[0]] * 5), rows[1]
    expected = idsim.search(queries, gallery, 9, device="cpu")
    for options in ({"device": "cuda:1,2"}, {"memory_budget": 2_500_000}):
        result = idsim.search(freeze(queries), gallery, 9, **options)
        assert_same([to_host(part) for part in result], expected)


def test_memory_is_freed_with_the_array(rows, frozen):
    gc.collect()
    before = emulator.live_bytes(0)
    result = idsim.search(freeze(rows[0]), rows[1], 9)
    assert emulator.live_bytes(0) == before + 20 * 9 * (4 + 8)
    with emulator.counted() as calls:
        scores, kept = result.scores, np.array(to_host(result.scores))
        del result
        gc.collect()
        assert same_bytes(to_host(scores), kept)
        del scores
        gc.collect()
    assert emulator.live_bytes(0) == before
    assert calls["stream_waits"] == calls["event_waits"] == 0


def test_streams(rows, frozen):
    """Inputs are asked for on the stream of the work; results make the library's stream wait, not the host."""
    queries, gallery = freeze(rows[0]), freeze(rows[1])
    work = emulator.make_stream(0)
    idsim.search(queries, gallery, 3, stream=work)
    assert queries.streams == gallery.streams == [work]
    array = _core.CudaArray((4, 8), "float32", 0, work)
    for stream, orders in ((work, 0), (-1, 0), (frozen.stream, 1), (None, 1), (1, 0), (2, 1)):
        with emulator.counted() as calls:
            array.__dlpack__(stream=stream)
        assert (calls["stream_orders"], calls["stream_waits"]) == (orders, 0)


def test_protocol(frozen):
    array = _core.CudaArray((4, 8), "int64", 1, 0)
    assert array.__dlpack_device__() == (2, 1)
    assert "dltensor_versioned" in repr(array.__dlpack__(max_version=(1, 1)))
    assert '"dltensor"' in repr(array.__dlpack__(max_version=(0, 8)))
    assert array[1:3].shape == (2, 8)
    offset = array[1:].__cuda_array_interface__["data"][0] - array.__cuda_array_interface__["data"][0]
    assert offset == 8 * 8
    array.__dlpack__(dl_device=(2, 1), copy=False)
    for options in ({"copy": True}, {"dl_device": (1, 0)}):
        with pytest.raises(BufferError, match="without a copy"):
            array.__dlpack__(**options)
    with pytest.raises(ValueError, match="stream must be None, -1, 1, 2 or a handle, not 0"):
        array.__dlpack__(stream=0)
    with pytest.raises(ValueError, match="dtype must be"):
        _core.CudaArray((4, 8), "int32", 1, 0)


def test_a_library_that_cuts_integers(rows, frozen, monkeypatch):
    """As JAX does without jax_enable_x64: allowed where every id fits."""
    take = frozen.from_dlpack
    monkeypatch.setattr(
        frozen, "from_dlpack", lambda array: Frozen(to_host(take(array)).astype("i4")[..., :1]), raising=True
    )
    assert idsim.search(freeze(rows[0]), rows[1], 3).ids.dtype == np.int32
    engine = CudaEngine(0, 0, None)
    ids = _core.CudaArray((4, 1), "int64", 0, 0)
    engine.handed_over(ids, freeze(rows[0]), 1 << 31)
    with pytest.raises(OverflowError, match="ids up to 2147483648 do not fit the int32 .* jax_enable_x64"):
        engine.handed_over(ids, freeze(rows[0]), (1 << 31) + 1)


def test_a_library_that_takes_nothing(rows, frozen, monkeypatch):
    monkeypatch.delattr(frozen, "from_dlpack")
    with pytest.raises(TypeError, match="results for queries of frozen have to be given as out="):
        idsim.search(freeze(rows[0]), rows[1], 3)


def test_jax(rows):
    """JAX takes the host's memory as it takes a device's; its arrays serve as they are."""
    jax = pytest.importorskip("jax", reason="needs jax")
    queries, gallery = rows
    expected = idsim.search(queries, gallery, 9, device="cpu")
    for device in ("cpu", "cuda"):
        result = idsim.search(jax.numpy.asarray(queries), jax.numpy.asarray(gallery), 9, device=device)
        assert_same(result, expected)
    for wide in (False, True):
        with jax.enable_x64(wide):
            taken = _importer(jax.numpy.asarray(queries))(expected.ids)
            assert isinstance(taken, jax.Array)
            assert same_bytes(np.asarray(taken), expected.ids.astype(np.int64 if wide else np.int32))
