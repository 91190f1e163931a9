"""The device's tools find the right rows; run with PyTorch on the CPU, which they treat alike."""

from __future__ import annotations

import os
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

import idsim
from idsim.benchmark import Case, Effort, Peaks, device_tiles, measure_case
from idsim.benchmark.cases import make_rows
from idsim.benchmark.device import device_tools
from idsim.benchmark.device_peaks import DevicePeaks, device_peaks, device_state
from idsim.benchmark.device_rivals import ArraySearch, CuvsSearch, FaissSearch, product_settings
from idsim.benchmark.device_rows import DeviceRows, OnDevice, free_device_memory
from idsim.benchmark.tools import Tool

torch = pytest.importorskip("torch")

EFFORT = Effort(seconds=0.0, rounds=(1, 1), pause=0.0, full=True, device=True)
PEAKS = DevicePeaks(1.0, 1.0, 1.0, 1.0, 1.0, 1.0)


def record_of(case: Case, effort: Effort = EFFORT) -> dict[str, Any]:
    queries, gallery = make_rows(case.data, case.rows, case.dim, case.queries)
    tools = device_tools("cpu", case.mode)
    return measure_case(case, queries, gallery, tools, PEAKS, threads=1, effort=effort)


def tool_named(name: str) -> Any:
    return next(tool for tool in device_tools("cpu") if tool.name == name)


@pytest.mark.parametrize("mode", ["prepared", "one-shot"])
def test_a_case(mode: str):
    record = record_of(Case(7, 3000, dim=64, k=5, mode=mode))
    results = {result["tool"]: result for result in record["tools"]}
    assert results["idsim"]["identical"]
    assert results["torch float32"]["wrong_beyond_rounding"] == 0
    assert results["torch float32"]["checked"] == 35
    assert results["torch float16"]["wrong"] <= 5
    assert results["product bfloat16"]["checked"] == 0
    assert record["best_exact"]["tool"] in ("torch float32", "jax top_k")
    assert not record["best_inexact"]["tool"].startswith("product")


def test_who_cannot_take_part_is_named():
    left_out = record_of(Case(3, 500, dim=16, k=2))["left_out"]
    faiss_gpu = pytest.importorskip("faiss").__dict__.get("StandardGpuResources")
    if faiss_gpu is None:
        assert left_out["faiss float32"] == "RuntimeError: this build of FAISS has no GPU part"
    for library in ("cupy", "cuvs", "jax"):
        if library not in sys.modules:
            names = [name for name in left_out if name.startswith(library)]
            assert names
            assert all(left_out[name].startswith("not installed") for name in names)


def test_a_rival_that_is_too_slow_is_named():
    effort = Effort(seconds=0.0, rounds=(1, 1), pause=0.0, full=True, device=True, most_seconds=0.0)
    record = record_of(Case(3, 500, dim=16, k=2), effort)
    assert [result["tool"] for result in record["tools"]] == ["idsim"]
    assert record["left_out"]["torch float32"].startswith("a trial predicts")


def test_our_failures_are_not_hidden():
    tools = device_tools("cpu")
    queries, gallery = make_rows("random", 100, 8, 2)
    queries[0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        measure_case(Case(2, 100, dim=8, k=1), queries, gallery, tools[:1], PEAKS, threads=1, effort=EFFORT)


@pytest.mark.parametrize("name", ["torch float32", "torch tf32"])
def test_chunks_and_blocks(name: str):
    tool = tool_named(name)
    rng = np.random.default_rng(3)
    queries, gallery = (rng.standard_normal((n, 32), dtype=np.float32) for n in (5, 1000))
    state = tool.prepare(gallery, 1)
    whole = np.asarray(tool.search(state, queries, 10, {"block": 5, "chunk": 1000}))
    assert whole.dtype == np.int64
    assert whole.shape == (5, 10)
    assert np.array_equal(tool.search(state, queries, 10, {"block": 2, "chunk": 130}), whole)
    # A last chunk with fewer rows than k.
    assert np.array_equal(tool.search(state, queries, 10, {"block": 5, "chunk": 999}), whole)


def test_products_of_8_bits_with_few_queries(monkeypatch: pytest.MonkeyPatch):
    sizes = []

    def int_mm(a: Any, b: Any) -> Any:
        sizes.append(len(a))
        return a.int() @ b.int()

    monkeypatch.setattr(torch, "_int_mm", int_mm)
    tool = tool_named("torch int8")
    rng = np.random.default_rng(6)
    queries, gallery = (rng.standard_normal((n, 32), dtype=np.float32) for n in (40, 1000))
    state = tool.prepare(gallery, 1)
    whole = np.asarray(tool.search(state, queries, 5, {"block": 40, "chunk": 1000}))
    assert sizes == [40]
    few = np.asarray(tool.search(state, queries[:3], 5, {"block": 3, "chunk": 1000}))
    assert sizes == [40, 32]
    assert few.shape == (3, 5)
    assert np.mean(few[:, 0] == (queries[:3] @ gallery.T).argmax(axis=1)) > 0.5
    assert whole.shape == (40, 5)


def test_kinds_of_tiles(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("IDSIM_CUDA_TILES", raising=False)
    assert device_tiles.tiers("cpu") == ()
    for capability, have in (((8, 0), ("mma",)), ((9, 0), ("mma", "wgmma")), ((10, 0), ("mma",))):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, has=capability: has)
        assert device_tiles.tiers("cuda") == have
        assert device_tiles.other_tiles("cuda") == have[1:]
    with device_tiles.using("wgmma"):
        with device_tiles.using("mma"):
            assert device_tiles.chosen_tiles() == "mma"
        assert os.environ["IDSIM_CUDA_TILES"] == "wgmma"
        assert device_tiles.other_tiles("cuda") == ("mma",)
    assert "IDSIM_CUDA_TILES" not in os.environ


def test_ours_with_other_tiles(monkeypatch: pytest.MonkeyPatch):
    """The variable is set while rows are prepared and while they are searched, and not longer."""
    asked = []

    def spy(kind: str, way: Any) -> Any:
        def call(*arguments: Any) -> Any:
            asked.append((kind, os.environ.get("IDSIM_CUDA_TILES")))
            return way(*arguments)

        return call

    monkeypatch.delenv("IDSIM_CUDA_TILES", raising=False)
    monkeypatch.setattr("idsim.benchmark.device.other_tiles", lambda device: ("wgmma",))
    monkeypatch.setattr(idsim, "Index", spy("Index", idsim.Index))
    monkeypatch.setattr(idsim, "search", spy("search", idsim.search))
    queries, gallery = make_rows("random", 300, 16, 2)
    for tool in device_tools("cpu")[:2]:
        tool.search(tool.prepare(gallery, 1), queries, 3, {})
    assert asked == [("Index", None), ("search", None), ("Index", "wgmma"), ("search", "wgmma")]
    assert "IDSIM_CUDA_TILES" not in os.environ


def test_settings_fit_into_memory():
    assert product_settings(1024, 200_000) == [
        {"block": 1024, "chunk": 200_000}, {"block": 1024, "chunk": 65_536},
    ]  # fmt: skip
    many = product_settings(65_536, 10_000_000)
    assert all(4 * setting["block"] * setting["chunk"] <= 4 << 30 for setting in many)
    assert {setting["block"] for setting in many} == {8192, 1024}
    assert product_settings(1, 3_000_000_000)[0]["chunk"] == 1_048_576


def test_only_the_first_setting_of_a_hopeless_tool_is_tried():
    tried = []

    def search(state: Any, queries: Any, k: int, setting: Any) -> Any:
        tried.append(setting["n"])
        return np.zeros((len(queries), k), np.int64)

    tool = Tool("slow", (), False, "float32", 4, lambda x, _: x, search, lambda q, n: [{"n": 0}, {"n": 1}])
    queries, gallery = make_rows("random", 50, 8, 2)
    effort = Effort(seconds=0.0, rounds=(1, 1), pause=0.0, device=True, most_seconds=1e-12)
    record = measure_case(
        Case(2, 50, dim=8, k=1),
        queries,
        gallery,
        [device_tools("cpu")[0], tool],
        PEAKS,
        threads=1,
        effort=effort,
    )
    assert set(tried) == {0}
    assert "slow" in record["left_out"]


def test_memory_is_given_back(monkeypatch: pytest.MonkeyPatch):
    freed = []
    pool = SimpleNamespace(free_all_blocks=lambda: freed.append(True))
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(get_default_memory_pool=lambda: pool))
    free_device_memory()
    assert freed == [True]


def test_array_libraries():
    rows = DeviceRows("cpu")
    rng = np.random.default_rng(4)
    queries, gallery = (rng.standard_normal((n, 16), dtype=np.float32) for n in (5, 300))
    search = ArraySearch(rows, "numpy")
    state = search.prepare(gallery, 1)
    right = np.argsort(-(queries @ gallery.T), axis=1)[:, :7]
    for setting in ({"block": 5, "chunk": 300}, {"block": 2, "chunk": 64}):
        found = rows_of(search.search(state, queries, 7, setting))
        assert np.array_equal(found, right)


def rows_of(answer: OnDevice) -> Any:
    return np.asarray(answer)


def fake_faiss(monkeypatch: pytest.MonkeyPatch) -> None:
    def knn_gpu(resources: str, q: Any, x: Any, k: int, metric: str) -> tuple[Any, Any]:
        assert (resources, metric) == ("resources", "inner product")
        return (q @ x.T).topk(k, dim=1)

    names = {
        "StandardGpuResources": lambda: "resources",
        "METRIC_INNER_PRODUCT": "inner product",
        "knn_gpu": knn_gpu,
    }
    for name in ("faiss", "faiss.contrib", "faiss.contrib.torch_utils"):
        module = ModuleType(name)
        module.__dict__.update(names)
        monkeypatch.setitem(sys.modules, name, module)


def fake_cuvs(monkeypatch: pytest.MonkeyPatch) -> None:
    def search(x: Any, q: Any, k: int) -> tuple[Any, Any]:
        return (q.float() @ x.float().T).topk(k, dim=1)

    made = SimpleNamespace(build=lambda x, metric: x if metric == "inner_product" else None, search=search)
    for name in ("cuvs", "cuvs.neighbors", "cuvs.neighbors.brute_force"):
        monkeypatch.setitem(sys.modules, name, made)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize(("fake", "way"), [(fake_faiss, FaissSearch), (fake_cuvs, CuvsSearch)])
def test_libraries_for_search(monkeypatch: pytest.MonkeyPatch, fake: Any, way: Any, dtype: str):
    fake(monkeypatch)
    rng = np.random.default_rng(5)
    queries, gallery = (rng.standard_normal((n, 16), dtype=np.float32) for n in (4, 200))
    search = way(DeviceRows("cpu"), dtype)
    found = rows_of(search.search(search.prepare(gallery, 1), queries, 3, {}))
    assert np.array_equal(found[:, 0], (queries @ gallery.T).argmax(axis=1))


def test_rows_are_copied_once():
    rows = DeviceRows("cpu")
    gallery = np.ones((10, 4), np.float32)
    whole = rows.gallery(gallery, "bfloat16")
    assert rows.gallery(gallery[:5], "bfloat16").data_ptr() == whole.data_ptr()
    assert rows.gallery(gallery, "int8").unique().tolist() == [127]
    assert rows.gallery(np.ones((10, 4), np.float32), "bfloat16").data_ptr() != whole.data_ptr()
    each = DeviceRows("cpu", keep=False)
    first, second = each.gallery(gallery, "bfloat16"), each.gallery(gallery, "bfloat16")
    assert first.data_ptr() != second.data_ptr()


def test_peaks_are_numbers(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("idsim.benchmark.machine.CLOCK_PAUSE_S", 0.0)
    peaks = device_peaks("cpu", size=64, copied=1 << 16)
    assert min(peaks.to_dict().values()) > 0
    assert isinstance(peaks, Peaks)
    higher = peaks.highest(DevicePeaks(1e9, 0.0, 0.0, 0.0))
    assert (higher.float32, higher.int8) == (1e9, peaks.int8)
    assert peaks.share("float16", peaks.float16, 0.0) == (1.0, "float16 peak")


def test_the_device_s_state(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "")
    assert device_state() == {}
