"""The device's tools find the right rows; run with PyTorch on the CPU, which they treat alike."""

from __future__ import annotations

import numpy as np
import pytest

from idsim.benchmark import Case, Effort, Peaks, measure_case
from idsim.benchmark.cases import make_rows
from idsim.benchmark.device import device_peaks, device_tools

pytest.importorskip("torch")


def test_a_case():
    case = Case(7, 3000, dim=64, k=5)
    queries, gallery = make_rows(case.data, case.rows, case.dim, case.queries)
    record = measure_case(
        case, queries, gallery, device_tools("cpu"), Peaks(1.0, 1.0, 1.0, 1.0),
        threads=1, effort=Effort(seconds=0.0, rounds=(1, 1), pause=0.0, full=True),
    )  # fmt: skip
    results = {result["tool"]: result for result in record["tools"]}
    assert results["idsim"]["identical"]
    assert results["torch float32"]["wrong_beyond_rounding"] == 0
    assert results["torch float32"]["checked"] == 35
    assert results["torch float16"]["wrong"] <= 5
    assert results["product bfloat16"]["checked"] == 0
    assert record["best_exact"]["tool"] == "torch float32"
    assert record["best_inexact"]["tool"] != "product bfloat16"


def test_chunks():
    tool = next(tool for tool in device_tools("cpu") if tool.name == "torch float32")
    rng = np.random.default_rng(3)
    queries, gallery = (rng.standard_normal((n, 32), dtype=np.float32) for n in (3, 1000))
    state = tool.prepare(gallery, 1)
    whole = tool.search(state, queries, 10, {"chunk": 1000})
    assert np.array_equal(tool.search(state, queries, 10, {"chunk": 130}), whole)
    assert [setting["chunk"] for setting in tool.settings(1024, 200_000)] == [65_536, 200_000]


def test_peaks_are_numbers():
    peaks = device_peaks("cpu", size=64, copied=1 << 16)
    assert min(peaks.to_dict().values()) > 0
