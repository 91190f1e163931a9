"""The measuring code on tiny sizes: rivals from NumPy alone, whatever else is installed."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from idsim import _core, reference
from idsim.benchmark import (
    Case,
    Effort,
    Peaks,
    all_tools,
    case_line,
    measure_case,
    measure_peaks,
    pin_threads,
)
from idsim.benchmark.cases import make_rows
from idsim.benchmark.measure import too_slow_in
from idsim.benchmark.products import product_settings
from idsim.benchmark.tools import OURS, Tool, one_setting
from idsim.benchmark.truth import count_wrong, expected, is_identical

TINY = Effort(seconds=0.0, rounds=(2, 2), pause=0.0, full=True)
PEAKS = Peaks(100.0, 200.0, 400.0, 40.0)


def reference_tool(name: str, *, shift: int = 0, exact: bool = True) -> Tool:
    """Return a tool that answers by the definition, with ids moved by ``shift``."""

    def search(gallery: Any, queries: Any, k: int, setting: Any) -> Any:
        scores, ids = reference.search(queries, gallery, k)
        return (ids + shift) % len(gallery), scores

    return Tool(name, ("numpy",), exact, "float32", 4, lambda gallery, threads: gallery, search, one_setting)


def measure(case: Case, tools: list[Tool], **options: Any) -> dict[str, Any]:
    queries, gallery = make_rows(case.data, case.rows, case.dim, case.queries)
    return measure_case(case, queries, gallery, tools, PEAKS, threads=1, **{"effort": TINY, **options})


@pytest.mark.parametrize("data", ["random", "clustered"])
def test_rows(data: str) -> None:
    queries, gallery = make_rows(data, 400, 32, 5)
    assert queries.dtype == gallery.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(gallery, axis=1), 1, atol=1e-6)
    again, same = make_rows(data, 400, 32, 3)
    assert np.array_equal(gallery, same)
    assert np.array_equal(queries[:3], again)
    mates = (queries @ gallery.T > 0.45).sum(axis=1)
    assert (mates >= 15).all() if data == "clustered" else (mates < 15).all()


@pytest.mark.parametrize("k", [1, 7, 64, 80])
def test_expected_is_the_definition(k: int) -> None:
    queries, gallery = make_rows("clustered", 64, 16, 20)
    truth = expected(queries, gallery, k, sample=6)
    scores, ids = reference.search(queries[truth.places], gallery, k)
    assert np.array_equal(truth.ids, ids)
    assert truth.scores.tobytes() == scores.tobytes()
    assert len(truth.places) == 6


def test_wrong_ids_are_counted() -> None:
    queries, gallery = make_rows("random", 300, 16, 4)
    truth = expected(queries, gallery, 5)
    found = truth.ids.copy()
    assert count_wrong(truth, found, queries, gallery) == (0, 0)
    assert count_wrong(truth, found[:, ::-1].copy(), queries, gallery) == (0, 0)
    assert not is_identical(truth, found[:, ::-1].copy(), truth.scores)
    worst = int(np.argmin(queries[0] @ gallery.T))
    found[0, 4] = worst
    found[1, 3] = found[1, 2]
    found[2, 0] = 300
    assert count_wrong(truth, found, queries, gallery) == (3, 3)


def test_a_near_tie_is_not_held_against_float32() -> None:
    queries, gallery = make_rows("random", 300, 16, 1)
    first = expected(queries, gallery, 1).ids[0, 0]
    gallery = np.vstack([gallery, gallery[first]])  # an exact tie: the lower id wins
    truth = expected(queries, gallery, 1)
    assert count_wrong(truth, np.array([[300]]), queries, gallery) == (1, 0)


def test_a_record() -> None:
    tools = [reference_tool(OURS), reference_tool("right"), reference_tool("shifted", shift=1)]
    tools.append(reference_tool("codes", shift=1, exact=False))
    tools.append(Tool("absent", ("no_such_module",), True, "float32", 4, print, print, one_setting))
    record = measure(Case(3, 200, 16, 5), tools)
    by_tool = {result["tool"]: result for result in record["tools"]}
    assert by_tool[OURS]["identical"]
    assert not by_tool["shifted"]["identical"]
    assert by_tool["shifted"]["wrong"] > 0
    assert record["best_exact"]["tool"] == "right"
    assert record["best_inexact"]["tool"] == "codes"
    assert record["left_out"] == {"absent": "not installed: no_such_module"}
    ours = by_tool[OURS]
    assert len(ours["times_ms"]) == 2
    seconds = ours["median_ms"] / 1e3
    assert ours["gflops"] == pytest.approx(2 * 3 * 200 * 16 / seconds / 1e9)
    assert ours["gbs"] == pytest.approx(4 * 200 * 16 / seconds / 1e9)
    assert " | no rival" not in case_line(record)
    json.dumps(record, allow_nan=False)


def test_a_hopeless_rival_is_left_out_with_the_reason() -> None:
    effort = Effort(seconds=0.0, rounds=(2, 2), pause=0.0)
    tools = [reference_tool("fast"), reference_tool("slow")]
    record = measure(Case(2, 100, 16, 3), tools, effort=effort, hopeless={"slow": "too slow"})
    assert [result["tool"] for result in record["tools"]] == ["fast"]
    assert record["left_out"] == {"slow": "too slow"}


def test_a_measured_case_rules_out_slow_rivals() -> None:
    tools = [reference_tool(name) for name in (OURS, "fast", "slow", "near", "absent")]
    record = measure(Case(2, 100, 16, 3), tools[:4])
    record["left_out"]["absent"] = "not installed: absent"
    medians = {OURS: 1.0, "fast": 10.0, "near": 24.0, "slow": 26.0}
    for result in record["tools"]:
        result["median_ms"] = medians[result["tool"]]
    assert too_slow_in(record, tools, Effort()) == {
        "slow": "with q=2 k=3 random: 2.6x the best of its class",
        "absent": "with q=2 k=3 random: not installed: absent",
    }


@pytest.mark.parametrize("mode", ["prepared", "one-shot"])
@pytest.mark.parametrize("name", [tool.name for tool in all_tools("prepared") if tool.name != OURS])
@pytest.mark.filterwarnings("default")  # other libraries warn about their own matters
def test_every_rival_that_is_installed_answers(name: str, mode: str) -> None:
    tools = [tool for tool in all_tools(mode) if tool.name == name]
    if not tools or tools[0].missing:
        pytest.skip("not installed, or not in this mode")
    with pin_threads(2):
        record = measure(Case(5, 4096, 64, 10, "clustered", mode), tools)
    result = record["tools"][0]
    assert result["wrong"] <= (0 if result["exact_method"] else 15)
    assert result["checked"] == 50


def test_every_product_setting_answers() -> None:
    queries, gallery = make_rows("random", 40_000, 16, 6)
    truth = expected(queries, gallery, 20)
    settings = product_settings(6, len(gallery))
    assert {setting["chunk"] for setting in settings} == {0, 16_384}
    for tool in all_tools():
        if tool.name not in ("numpy", "torch float32") or tool.missing:
            continue
        state = tool.prepare(gallery, 2)
        for setting in settings:
            ids = tool.search(state, queries, 20, setting)
            assert count_wrong(truth, ids, queries, gallery)[1] == 0, (tool.name, setting)


def test_peaks_are_positive() -> None:
    peaks = measure_peaks(1, gemm_size=64, read_bytes=1 << 16)
    assert peaks.float32 > 0
    assert peaks.read > 0
    assert peaks.int8 >= 0.5 * _core.tile_rate(1) / 1e9  # whatever else is installed


def test_the_tiles_of_every_instruction_set_have_a_rate() -> None:
    best = _core.available_isas()[-1]
    try:
        for isa in _core.available_isas():
            _core.set_isa(isa)
            assert 1e8 < _core.tile_rate(1) < 1e13
    finally:
        _core.set_isa(best)


@pytest.mark.parametrize(("field", "value"), [("queries", 0), ("k", 0), ("data", "sorted"), ("mode", "cold")])
def test_a_case_that_cannot_be_is_refused(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=field):
        Case(**{"queries": 1, "rows": 10, field: value})  # type: ignore[arg-type]
