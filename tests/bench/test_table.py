from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest

from bench import grid, run, table
from idsim.benchmark import Case, Effort, Peaks
from idsim.benchmark.record import best_rival, case_record
from idsim.errors import IdsimError

if TYPE_CHECKING:
    from pathlib import Path


def result(tool: str, times_ms: list[float], *, exact: bool, beyond: int = 0) -> dict[str, Any]:
    middle = sorted(times_ms)[len(times_ms) // 2]
    return {
        "tool": tool, "exact_method": exact, "arithmetic": "int8", "setting": {}, "prepare_s": 0.1,
        "times_ms": times_ms, "median_ms": middle, "low_ms": min(times_ms), "high_ms": max(times_ms),
        "gflops": 500.0, "gbs": 12.0, "share": 0.5, "share_of": "int8 peak",
        "checked": 160, "wrong": beyond, "wrong_beyond_rounding": beyond,
    }  # fmt: skip


RESULTS = [
    result("idsim", [10.0, 10.0, 20.0], exact=True),
    result("wrong exact", [5.0, 5.0, 5.0], exact=True, beyond=1),
    result("slow exact", [90.0, 90.0, 90.0], exact=True),
    result("right exact", [50.0, 50.0, 60.0], exact=True),
    result("codes", [30.0, 30.0, 30.0], exact=False, beyond=4),
]


@pytest.fixture
def document() -> dict[str, Any]:
    record = case_record(Case(64, 1_000_000), copy.deepcopy(RESULTS), {"rest": "not installed: rest"})
    return {
        "date": "2026-01-01",
        "machine": {
            "cpu": "A CPU",
            "threads": 2,
            "instruction_set": "avx2",
            "memory_gib": 8.0,
            "blas": {"numpy": "openblas 0.3 SkylakeX"},
            "versions": {"numpy": "2", "torch": None},
        },
        "peaks": {"float32": 180.0, "bfloat16": 360.0, "int8": 720.0, "read": 40.0},
        "cases": [record],
    }


def test_a_rival_with_wrong_ids_is_not_the_best_exact_one() -> None:
    best = best_rival(RESULTS, exact=True)
    assert best is not None
    assert best["tool"] == "right exact"


def test_ratio_of_medians_and_spread_of_pairs(document: dict[str, Any]) -> None:
    ratio = document["cases"][0]["best_exact"]
    assert ratio["ratio"] == 5.0
    assert (ratio["low"], ratio["high"]) == (4.0, 5.0)  # of the pairs 5, 5 and 3
    assert document["cases"][0]["best_inexact"]["wrong"] == 4


def test_table(document: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps(document))
    assert table.main([str(path), "--tools"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(
        "A CPU (avx2), 2 threads for every tool, 8 GiB, 2026-01-01; numpy 2. "
        "BLAS (numpy: openblas 0.3 SkylakeX). Measured peaks:"
    )
    head, rule, row = lines[2:5]
    assert head.count("|") == rule.count("|") == row.count("|")
    assert "| 64 × 1,000,000 | 512 | 10 | random | prepared | 10 |" in row
    assert "**5.0×** (4.0–5.0) right exact | 0 / 160 | **3.0×**" in row
    assert "| 500 | 12.0 | 69 % of int8 peak |" in row
    assert row.endswith("| 5.5× missed |")
    assert "Geometric mean of 1 ratios to the best exact rival: 5.0×." in lines
    assert lines[-1].startswith("| q=64 n=1000000 d=512 k=10 random prepared | 10 | 5 (1 wrong) |")


def test_table_into_a_page(document: dict[str, Any], tmp_path: Path) -> None:
    path, page = tmp_path / "result.json", tmp_path / "page.md"
    path.write_text(json.dumps(document))
    page.write_text(f"before\n{table.MARKS[0]}\nold\n{table.MARKS[1]}\nafter\n")
    for _ in range(2):  # writing it again changes nothing
        assert table.main([str(path), "--short", "--into", str(page)]) == 0
        lines = page.read_text().splitlines()
        assert lines[:2] == ["before", table.MARKS[0]]
        assert lines[-3:] == ["", table.MARKS[1], "after"]
        assert lines[-4].startswith("| 64 × 1,000,000 | prepared | 10 | **5.0×** (4.0–5.0) right exact |")
        assert "old" not in lines
    with pytest.raises(ValueError, match="once each"):
        table.put_into("no marks", "text", table.MARKS)


def test_cases_are_in_the_order_of_their_sizes(
    document: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "result.json"
    more = [Case(2, 1000, mode="one-shot"), Case(1024, 1000), Case(8, 1000)]
    document["cases"] += [case_record(case, copy.deepcopy(RESULTS), {}) for case in more]
    path.write_text(json.dumps(document))
    assert table.main([str(path), "--short"]) == 0
    rows = [line.split(" ×")[0] for line in capsys.readouterr().out.splitlines()[4:]]
    assert rows == ["| 8", "| 64", "| 1,024", "| 2"]


def test_a_selection_without_cases_is_an_error(document: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps(document))
    assert table.main([str(path), "--select", "q=63"]) == 2


def test_grid() -> None:
    whole, reduced = grid.whole(), grid.reduced()
    assert len(whole) == len({case.name for case in whole}) == 320
    assert len(reduced) == len({case.name for case in reduced})
    assert set(reduced) <= set(whole)
    assert [case.queries for case in grid.matching(whole, ["d=128 k=1 random prepared"])] == [
        1, 2, 4, 8, 16, 32, 64, 256, 1024, 4096,
    ]  # fmt: skip


def test_a_file_that_has_all_cases_is_not_measured_again(
    document: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps(document))
    higher = Peaks(100.0, 200.0, 900.0, 30.0)
    monkeypatch.setattr(run, "start_again_if_held", lambda **_: None)
    monkeypatch.setattr(run, "describe_machine", lambda threads: document["machine"])
    monkeypatch.setattr(run, "measure_peaks", lambda threads: higher)
    monkeypatch.setattr(run, "measure_case", lambda *args, **kwargs: pytest.fail("measured"))
    command = ["--out", str(path), "--select", document["cases"][0]["name"]]
    assert run.main(command) == 0
    assert json.loads(path.read_text()) == document
    other = {**document["machine"], "blas": {"numpy": "openblas 0.3 Haswell"}}
    monkeypatch.setattr(run, "describe_machine", lambda threads: other)
    with pytest.raises(IdsimError, match=r"SkylakeX.*Haswell"):
        run.main(command)


def test_measured_cases_rule_out_rivals_of_like_cases(document: dict[str, Any]) -> None:
    record = document["cases"][0]
    record["tools"] += [
        result("torch float32", [200.0] * 3, exact=True),  # blocks its work: may pay off with more queries
        result("simsimd", [200.0] * 3, exact=True),  # grows with the queries: will not
    ]
    effort = Effort(leave_out=2.5)
    same = run.hopeless_tools([record], Case(64, 1_000_000, k=100, data="clustered"), effort)
    assert set(same) == {"torch float32", "simsimd"}
    assert same["simsimd"] == "with q=64 k=10 random: 4.0x the best of its class"
    assert set(run.hopeless_tools([record], Case(256, 1_000_000), effort)) == {"simsimd"}
    for other in (Case(32, 1_000_000), Case(64, 200_000), Case(64, 1_000_000, dim=128)):
        assert run.hopeless_tools([record], other, effort) == {}
