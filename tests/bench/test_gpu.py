"""The stages of ``bench.gpu``, with PyTorch on the CPU in the place of a device."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench.gpu import model, stages
from bench.gpu.__main__ import main
from bench.gpu.budget import Budget
from bench.gpu.cases import CASES, expected_seconds, goals
from bench.gpu.measure import bench
from bench.gpu.probe import NOTHING, probe, scan_rates, scan_stages
from bench.gpu.rows import make_many_rows
from bench.gpu.stream import blocks_that_fit, free_on_host, stream
from bench.gpu.table import device_table
from bench.table import main as table

from idsim.benchmark import Case, Effort, measure_case
from idsim.benchmark.cases import make_rows
from idsim.benchmark.device_peaks import DevicePeaks

torch = pytest.importorskip("torch")

EFFORT = Effort(seconds=0.0, rounds=(1, 1), pause=0.0, full=True, device=True)
SMALL = [Case(3, 2000, dim=32, k=4), Case(2, 2000, dim=32, k=2000), Case(3, 10**11, dim=32)]


@pytest.fixture(autouse=True)
def quick_peaks(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("measure", "probe", "stream"):
        monkeypatch.setattr(
            f"bench.gpu.{module}.device_peaks", lambda *_: DevicePeaks(1.0, 1.0, 1.0, 1.0, to_device=1.0)
        )


def measured(folder: Path, seconds: float = 60.0, *, resume: bool = False, cases: Any = SMALL) -> Any:
    assert bench(folder, None, Budget(seconds), resume=resume, cases=cases, device="cpu", effort=EFFORT) == 0
    return json.loads((folder / "gpu.json").read_text())


def test_cases_that_fit_are_measured_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    document = measured(tmp_path)
    said = capsys.readouterr()
    assert [record["name"] for record in document["cases"]] == [case.name for case in SMALL[:2]]
    assert f"left for --resume: {SMALL[2].name}" in said.err
    assert "| 3 × 2,000 | 32 | 4 | random | prepared |" in said.out
    assert document["peaks"]["int8"] > 0
    ours = document["cases"][0]["tools"][0]
    assert ours["identical"]


def test_a_run_goes_on_where_it_stopped(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    first = measured(tmp_path, cases=SMALL[:1])
    options: Any = {"cases": SMALL[:2], "device": "cpu", "effort": EFFORT}
    assert bench(tmp_path, None, Budget(60), resume=False, **options) == 2
    assert "go on with --resume" in capsys.readouterr().err
    second = measured(tmp_path, resume=True)
    assert second["cases"][0] == first["cases"][0]
    assert [record["name"] for record in second["cases"]] == [case.name for case in SMALL[:2]]
    other = json.loads((tmp_path / "gpu.json").read_text())
    (tmp_path / "gpu.json").write_text(json.dumps({**other, "device": "another"}))
    assert bench(tmp_path, None, Budget(60), resume=True, **options) == 2
    assert "was measured on another" in capsys.readouterr().err


def test_the_table_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    document = measured(tmp_path, cases=SMALL[:1])
    record = document["cases"][0]
    for queries, rows in ((65_536, 10_000_000), (32, 1_000_000)):
        record["case"].update(queries=queries, rows=rows, dim=512, k=10)
        for result in record["tools"]:
            result["median_ms"], result["gbs"], result["gflops"] = 10.0, 100.0, 1e6
            if result["tool"] == "torch bfloat16":
                result["median_ms"] = 25.0
        document["peaks"].update(read=110.0, int8=2e6)
        text = device_table(document, [record])
        if queries == 32:
            assert text.splitlines()[4].endswith("| 85% of copy bandwidth reached |")
            assert "| 91% of copy bandwidth |" in text
        else:
            assert text.splitlines()[4].endswith("| 1× product bfloat16 reached; 3× torch bfloat16 missed |")
    assert "Took no part: cupy float32 (not installed), cuvs float16 (not installed)" in text
    capsys.readouterr()
    assert table([str(tmp_path / "gpu.json")]) == 0
    assert capsys.readouterr().out.count("\n") >= 5


def test_cases_and_their_cost():
    assert len({case.name for case in CASES}) == len(CASES)
    wanted = {(q, 10) for q in (1, 2, 8, 32, 128, 512, 1024, 4096, 16_384, 65_536)}
    wanted |= {(q, k) for q in (1, 32, 1024, 65_536) for k in (1, 100, 1000)} | {(1024, 4096)}
    assert wanted <= {(case.queries, case.k) for case in CASES if case.dim == 512}
    sizes = {(dim, q) for dim in (128, 256, 512, 1024) for q in (1, 32, 1024, 65_536)}
    assert sizes <= {(case.dim, case.queries) for case in CASES if case.rows == 1_000_000}
    # A gallery is made once for the headline cases: those that follow one another have it in common.
    first = [(case.rows, case.dim) for case in CASES[:26]]
    assert sum(now != before for before, now in itertools.pairwise(first)) == len(set(first)) - 1
    assert max(expected_seconds(case, rows_are_there=False) for case in CASES) < 9 * 60
    assert goals(Case(65_536, 10_000_000)) == (("product bfloat16", 1.0), ("torch bfloat16", 3.0))
    assert goals(Case(1, 1_000_000)) == (("read", 0.85),)
    assert goals(Case(1, 1_000_000, dim=128)) == ()


def test_first_measurements(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert probe(tmp_path, Budget(1e6), device="cpu", rows=2000, queries=4, seconds=0.0) == 0
    document = json.loads((tmp_path / "probe.json").read_text())
    by_gallery = {(line["gallery"], line["k"]): line for line in document["survivors"]}
    assert by_gallery["constant", 10]["rescored"] >= 10
    assert {line["what"] for line in document["scan"]} == {
        "top-k", "top-k, nothing survives", "count, nothing survives", "distribution", "top-k, few rows",
    }  # fmt: skip
    assert {line["tiles"] for line in document["scan"]} == {None}
    assert document["stages"][0]["what"] == "of_pairs"
    assert all("error" in line or line["share_of_bound"] < 1 for line in document["float16"])
    assert {line["kind"] for line in document["sustained"]} == {"int8", "float16", "bfloat16"}
    assert "scan: dim 512" in capsys.readouterr().out
    assert probe(tmp_path, Budget(0.0), device="cpu", rows=2000, queries=4) == 0
    assert "left out for lack of time: scan" in capsys.readouterr().out


def test_the_model_of_survivors():
    assert model.bound(512) == pytest.approx(0.0148, rel=0.05)
    assert model.bound(512, digits=2) == pytest.approx(0.0074, rel=0.05)
    assert model.bound(512, "float16") == pytest.approx(5.4e-4, rel=0.05)
    assert model.survivors(5, 32, 10) == 5
    some, more = (model.survivors(rows, 64, 10) for rows in (20_000, 200_000))
    assert model.survivors(200_000, 64, 10, precision="float16") < more
    assert model.survivors(200_000, 64, 10, digits=2) < 0.75 * more
    assert (model.digits_of(32), model.digits_of(33)) == (2, 1)
    assert 10 < some < more < 2000


def test_streams(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    sizes = (2, 3000, 0.002)
    assert stream(tmp_path, Budget(1e6), device="cpu", counts=(1, 3), sizes=sizes, largest=3, rounds=1) == 0
    results = json.loads((tmp_path / "stream.json").read_text())["results"]
    assert [(result["what"], result["queries"]) for result in results] == [
        *((what, q) for q in (1, 3) for what in ("idsim, pinned", "idsim, pageable", "torch bfloat16, pinned")),
        *((what, q) for q in (1, 3) for what in ("idsim, codes there", "torch bfloat16, pinned")),
        ("idsim, files", 1), ("idsim, files", 3),
    ]  # fmt: skip
    assert all(result["wrong"] == 0 for result in results if result["what"].startswith("idsim, p"))
    (largest,) = (
        result for result in results if result["what"] == "idsim, codes there" and result["checked"]
    )
    assert (largest["rows"], largest["bytes"], largest["wrong"]) == (9000, 9000 * 512, 0)
    assert "of plain reads by 4 threads" in capsys.readouterr().out


def test_the_largest_index():
    million = 1_000_000
    host, device = 128 * 2**30, 139 * 2**30
    assert blocks_that_fit(million, 512, host, device) == 46  # 94 GB of rows
    assert blocks_that_fit(million, 512, 100 * host, device) == 221  # 119 GB of codes
    assert 0 < free_on_host() < 2**50


def test_rows_by_every_core(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("bench.gpu.rows.BLOCK", 100)
    queries, gallery = make_many_rows("random", 350, 24, 7)
    monkeypatch.setattr("bench.gpu.rows.cores", lambda: 1)
    assert np.array_equal(make_many_rows("random", 350, 24, 9)[1], gallery)
    assert len(np.unique(gallery, axis=0)) == 350
    assert np.abs(np.linalg.norm(gallery.astype(np.float64), axis=1) - 1).max() < 1e-6
    assert queries.shape == (7, 24)
    assert np.array_equal(make_many_rows("clustered", 40, 8, 3)[1], make_rows("clustered", 40, 8, 3)[1])


def test_tests_of_both_kinds_of_tiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    ran: list[tuple[str, str]] = []

    def run(name: str, folder: Path, commands: Any, budget: Budget, env: Any = None) -> int:
        ran.append((name, (env or {}).get("IDSIM_CUDA_TILES", "")))
        return 0

    done = type("Done", (), {"returncode": 0})
    caught = type("Done", (), {"returncode": 7})
    monkeypatch.setattr(stages, "run_logged", run)
    monkeypatch.setattr(
        stages.subprocess, "run", lambda command, **_: done if command[-1] == "none" else caught
    )
    monkeypatch.setattr(stages, "architecture", lambda: "80")
    assert stages.test(tmp_path, Budget(9)) == 0
    assert ran == [("test-mma", "mma")]
    ran.clear()
    monkeypatch.setattr(stages, "architecture", lambda: "90a")
    assert stages.test(tmp_path, Budget(9)) == 0
    assert stages.sanitize(tmp_path, Budget(9)) == 0
    assert ran == [
        ("test-mma", "mma"), ("test-wgmma", "wgmma"), ("planted", ""),
        ("sanitize-memcheck-mma", "mma"),
        ("sanitize-racecheck-mma", "mma"), ("sanitize-racecheck-wgmma", "wgmma"),
        ("sanitize-initcheck-mma", "mma"),
        ("sanitize-synccheck-mma", "mma"), ("sanitize-synccheck-wgmma", "wgmma"),
    ]  # fmt: skip


def test_both_kinds_of_tiles_in_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("idsim.benchmark.device.other_tiles", lambda device: ("wgmma",))
    document = measured(tmp_path, cases=SMALL[:1])
    by_tool = {result["tool"]: result for result in document["cases"][0]["tools"]}
    assert by_tool["idsim wgmma"]["identical"]
    assert document["tiles"] == "mma"
    assert "idsim" not in document["cases"][0]["best_exact"]["tool"]
    ratio = by_tool["idsim wgmma"]["median_ms"] / by_tool["idsim"]["median_ms"]
    assert f" | {ratio:.2f}× wgmma | " in device_table(document, document["cases"])
    monkeypatch.setattr("bench.gpu.probe.tiers", lambda device: ("mma", "wgmma"))
    lines = scan_rates("cpu", 2000, 3, (32, 64), 1)
    assert [(line["dim"], line["tiles"]) for line in lines[::5]] == [
        (dim, tiles) for dim in (32, 64) for tiles in ("mma", "wgmma")
    ]


def test_what_stages_cost():
    seconds = {
        NOTHING: (3.0, 5.0),
        "top-k": (6.0, 7.5),
        "top-k, nothing survives": (3.0, 5.5),
        "distribution": (9.0, 10.0),
    }
    lines = [
        {"dim": dim, "tiles": "mma", "what": what, "seconds": times[at]}
        for what, times in seconds.items()
        for at, dim in enumerate((256, 512))
    ]
    first, *others = scan_stages(lines)
    assert first["what"] == "of_pairs"
    assert first["share"] == pytest.approx(1 / 5)  # 1 s, and 2 s for each 256 dimensions
    shares = {(line["dim"], line["what"]): line["share"] for line in others}
    assert shares[512, "top-k"] == pytest.approx(0.5)
    assert shares[256, "distribution"] == pytest.approx(2.0)


@pytest.mark.parametrize("asked", ["wmma", "wgmma"])
def test_tiles_that_there_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], asked: str
):
    monkeypatch.setenv("IDSIM_CUDA_TILES", asked)
    monkeypatch.setattr("idsim.benchmark.device_tiles.tiers", lambda device: ("mma",))
    options: Any = {"cases": SMALL[:1], "device": "cpu", "effort": EFFORT}
    assert bench(tmp_path, None, Budget(60), resume=False, **options) == 2
    assert probe(tmp_path, Budget(60), device="cpu") == 2
    assert stream(tmp_path, Budget(60), device="cpu") == 2
    said = capsys.readouterr().err.splitlines()
    wrong = (
        "needs compute capability 9.0; cpu has mma" if asked == "wgmma" else "'wmma': it can be mma or wgmma"
    )
    assert len(said) == 3
    assert all(line.startswith("IDSIM_CUDA_TILES is") and line.endswith(wrong) for line in said)


def test_logs_and_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    say = [sys.executable, "-c", "print('so far')"]
    assert stages.run_logged("said", tmp_path, [say], Budget(60)) == 0
    assert "so far" in (tmp_path / "said.log").read_text()
    assert (
        stages.run_logged("bad", tmp_path, [[sys.executable, "-c", "raise SystemExit(3)"], say], Budget(60))
        == 3
    )
    wait = [sys.executable, "-c", "import time; time.sleep(60)"]
    assert stages.run_logged("slow", tmp_path, [wait], Budget(0)) == stages.OUT_OF_TIME
    assert "slow: status 124" in capsys.readouterr().err


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["--list", "--select", "q=65536 d=512 n=10000000 k=10"]) == 0
    assert capsys.readouterr().out == "q=65536 n=10000000 d=512 k=10 random prepared\n"
    assert main(["--list", "--select", "q=3"]) == 2
    for wrong in (["bench"], ["--out", str(tmp_path)], ["walk", "--out", str(tmp_path)]):
        with pytest.raises(SystemExit):
            main(wrong)
    assert "no stage is called walk" in capsys.readouterr().err


def test_a_case_that_fails_costs_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def fails(case: Case, *arguments: Any, **options: Any) -> Any:
        if case == SMALL[0]:
            raise MemoryError("no room")
        return measure_case(case, *arguments, **options)

    monkeypatch.setattr("bench.gpu.measure.measure_case", fails)
    budget = Budget(60)
    assert bench(tmp_path, None, budget, resume=False, cases=SMALL[:2], device="cpu", effort=EFFORT) == 1
    assert f"failed: {SMALL[0].name}: MemoryError: no room" in capsys.readouterr().err
    document = json.loads((tmp_path / "gpu.json").read_text())
    assert [record["name"] for record in document["cases"]] == [SMALL[1].name]


def test_building_needs_no_package():
    program = "import sys; sys.modules['idsim'] = None; from bench.gpu.__main__ import main; main(['--help'])"
    subprocess.run([sys.executable, "-c", program], cwd=stages.ROOT, capture_output=True, check=True)


def test_a_machine_without_a_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["build", "bench", "--out", str(tmp_path)]) == 5
    assert "no CUDA device" in capsys.readouterr().err
