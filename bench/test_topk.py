"""The table on pytest-benchmark: ``pytest bench`` (quick), ``pytest bench --idsim-table`` (an hour).

pytest-benchmark times one function after another, which a drifting machine turns into differences
between tools. Here the rounds of all tools of a case are interleaved first; then each tool's recorded
times are replayed into pytest-benchmark through its timer, so that its tables, histograms, JSON and
``pytest-benchmark compare`` work on them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from idsim.benchmark import all_tools, case_line, measure_case
from idsim.benchmark.tools import OURS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NAMES = [tool.name for tool in all_tools("prepared")]


@pytest.fixture(scope="module")
def measured(request: pytest.FixtureRequest, settings: dict[str, Any]) -> dict[str, Any]:
    """Measure all tools of a case, interleaved; shared by the tests of its tools."""
    case = request.param
    queries, gallery = settings["galleries"].get(case)
    record = measure_case(
        case, queries, gallery, all_tools(case.mode), settings["peaks"],
        threads=settings["threads"], effort=settings["effort"],
    )  # fmt: skip
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print("\n" + case_line(record))
    return record


class Replay:
    """A clock that shows recorded durations, one per start and stop."""

    def __init__(self, seconds: Sequence[float]) -> None:
        self._readings = self._walk(seconds)

    @staticmethod
    def _walk(seconds: Sequence[float]) -> Iterator[float]:
        now = 0.0
        for duration in seconds:
            yield now
            now += duration
            yield now

    def __call__(self) -> float:
        return next(self._readings)


@pytest.mark.parametrize("tool", NAMES)
def test_topk(measured: dict[str, Any], tool: str, benchmark: Any) -> None:
    result = next((each for each in measured["tools"] if each["tool"] == tool), None)
    if result is None:
        pytest.skip(measured["left_out"].get(tool, "does not take part in one-shot cases"))
    seconds = [milliseconds / 1e3 for milliseconds in result["times_ms"]]
    benchmark.group = measured["name"]
    benchmark._timer = Replay(seconds)
    benchmark.pedantic(lambda: None, rounds=len(seconds), iterations=1)
    columns = ("gflops", "gbs", "share", "share_of", "wrong", "checked", "setting")
    benchmark.extra_info.update({name: result[name] for name in columns})
    if tool == OURS:
        benchmark.extra_info.update(best_exact=measured["best_exact"], best_inexact=measured["best_inexact"])
        assert result["identical"]
        assert result["wrong"] == 0
