"""The report of registers, spills and shared memory."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from bench.kernels import ROOT, faults, main, parse, table
from bench.shared_memory import (
    dynamic_shared,
    expression_for,
    kernel_names,
    launches,
    split_instance,
    template_names,
)

FEW = "_ZN5idsim4cuda9scan_rowsILi4ENS0_12_GLOBAL__N_114ListCandidatesILb0EEEEEvNS0_8TileScanET0_"
REFINE = "_ZN5idsim4cuda12_GLOBAL__N_16refineILNS_5DTypeE{}EEEvv"


def report(name: str, architecture: str, registers: int, spilled: int = 0, smem: str = "") -> str:
    return (
        f"ptxas info    : Compiling entry function '{name}' for 'sm_{architecture}'\n"
        f"ptxas info    : Function properties for {name}\n"
        f"    8 bytes stack frame, {spilled} bytes spill stores, {spilled + 4} bytes spill loads\n"
        f"ptxas info    : Used {registers} registers, used 1 barriers{smem}, 512 bytes cmem[0]\n"
    )


LOG = (
    "[1/2] Building CUDA object\nptxas info    : 0 bytes gmem\n"
    + report(FEW, "80", 113, 36)
    + report(FEW, "90a", 110, smem=", 96 bytes smem")
    + report(REFINE.format(0), "80", 40, 400)
    + report(REFINE.format(1), "80", 48)
)
needs_cxxfilt = pytest.mark.skipif(shutil.which("c++filt") is None, reason="c++filt was not found")
needs_compiler = pytest.mark.skipif(shutil.which("c++") is None, reason="c++ was not found")


@needs_cxxfilt
def test_the_report_is_read():
    first, second, third, _ = parse(LOG)
    assert first.kernel == "scan_rows<4, ListCandidates<false>>"
    assert (first.architecture, first.registers, first.spilled, first.shared) == ("80", 113, 40, 0)
    assert (second.architecture, second.spilled, second.shared) == ("90a", 4, 96)
    assert third.kernel == "refine<(DType)0>"


@needs_cxxfilt
def test_element_types_share_a_line():
    usages = parse(LOG)
    text = table(usages, dict.fromkeys((u.kernel for u in usages), 1104)).splitlines()
    assert text[0] == "| kernel | static shared | dynamic shared | sm_80 | sm_90a |"
    assert text[2].endswith("| 0–96 | 1104 | 113 (spills 40) | 110 (spills 4) |")
    assert text[3] == "| `refine` | 0 | 1104 | 40–48 (spills 404) | – |"


@needs_cxxfilt
def test_only_scans_must_not_spill():
    usages = parse(LOG)
    assert faults(usages, LOG, 40) == []
    assert faults(usages, LOG, 39) == [
        "scan_rows<4, ListCandidates<false>> spills 40 bytes on sm_80, 39 are allowed"
    ]
    warned = "ptxas info : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized"
    assert faults(usages, LOG + warned, 40) == [warned]


@needs_cxxfilt
@needs_compiler
def test_a_check_of_a_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    log = tmp_path / "log"
    log.write_text(LOG)
    assert main(["--log", str(log), "--check"]) == 1
    said = capsys.readouterr()
    assert "| `scan_rows<4, ListCandidates<false>>` | 0–96 | " in said.out
    assert said.err.count("\n") == 1
    assert main(["--log", str(log), "--check", "--most-spill", "40"]) == 0
    log.write_text("nothing of ptxas")
    with pytest.raises(SystemExit, match="no report of ptxas"):
        main(["--log", str(log)])


def test_launches_are_found():
    text = 'launch("a, b", f<int, 3>, grid(1, 2), 32,\n  size_t{4} * g<2>(p->n, 3), stream);\nlaunch(x);'
    found = launches(text, "x.cu", {"f"})
    assert [(one.kernel, one.shared) for one in found] == [("f", "size_t{4} * g<2>(p->n, 3)")]
    with pytest.raises(ValueError, match="no end"):
        launches('launch("a", f', "x.cu", {"f"})


def test_launches_of_variables():
    text = (
        "template <class T> void launch(const char* doing, T kernel) {}\n"
        "const auto kernel = wide ? f<1> : g<1>;\nconst auto shared = bytes(8 *\n 2);\n"
        "launch(doing, kernel, 1, 1, shared, stream);"
    )
    found = launches(text, "x.cu", {"f", "g"})
    assert [(one.kernel, one.shared) for one in found] == [("f", "bytes(8 * 2)"), ("g", "bytes(8 * 2)")]


def test_an_instance_fills_the_expression():
    text = "template <int kQueries, class Epilogue>\n__global__ __launch_bounds__(8) void f(int x) {"
    names = template_names(text)
    assert names == {"f": ["kQueries", "Epilogue"]}
    plain, given = split_instance("f<4, E<1, 2>>")
    assert (plain, given) == ("f", ["4", "E<1, 2>"])
    launch = launches('launch("f", f<kQueries>, 1, 1, 8 * kQueries * scan.d_pad, s);', "x.cu", {"f"})[0]
    assert expression_for(launch, names[plain], given) == "8 * 4 * int64_t{512}"


def test_every_launch_of_the_backend_names_a_kernel():
    sources = [path.read_text() for path in sorted((ROOT / "csrc/cuda").rglob("*.cu*"))]
    kernels = {name for text in sources for name in kernel_names(text)}
    launched = {one.kernel for text in sources for one in launches(text, "", kernels)}
    assert launched
    assert launched == kernels


@needs_compiler
def test_what_is_not_constant_stays_an_expression(tmp_path: Path):
    folder = tmp_path / "csrc/cuda"
    folder.mkdir(parents=True)
    (tmp_path / "tests").mkdir()
    (folder / "one.cu").write_text(
        "#include <cstdint>\nnamespace idsim::cuda { namespace { constexpr int kBytes = 96; } }\n"
        '// launch("f", f, 1, 1, kBytes, s); launch("f", f, 1, 1, 2 * kBytes, s); launch("g", g, 1, 1, bytes, s);\n'
    )
    assert dynamic_shared(tmp_path, ["f", "g", "h"]) == {"f": 192, "g": "bytes", "h": "not launched"}
