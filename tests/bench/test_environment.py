"""Benchmarks run with the fastest kernels that the rivals have, whatever the caller's environment says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from idsim import _core
from idsim.benchmark.avx2 import ENVIRONMENT
from idsim.benchmark.environment import HELD, corrected, wanted

ROOT = Path(__file__).resolve().parents[2]
HELD_BACK = {"OPENBLAS_CORETYPE": "Prescott", "OPENBLAS_L2_SIZE": "512", "ATEN_CPU_CAPABILITY": "default"}
IDSIM = ("-c", "from idsim.cli.main import run; run()")


def start(*command: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in HELD}
    return subprocess.run(
        [sys.executable, *command], env={**environment, **HELD_BACK, **more},
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


def test_what_holds_back_is_taken_out_and_the_rest_stays() -> None:
    right = {"OPENBLAS_CORETYPE": "SkylakeX"}
    after = corrected({**HELD_BACK, "HOME": "/home/x", "OPENBLAS_NUM_THREADS": "2"}, right)
    assert after == {"HOME": "/home/x", "OPENBLAS_NUM_THREADS": "2", **right}


def test_a_run_held_to_avx2_sets_all_of_its_own_variables() -> None:
    assert wanted(only_avx2=True) == ENVIRONMENT
    assert set(HELD) > set(ENVIRONMENT)


def test_the_short_benchmark_starts_again() -> None:
    pytest.importorskip("threadpoolctl")
    sizes = ("--rows", "500", "--dim", "16", "--queries", "1", "--seconds", "0", "--threads", "1")
    ran = start(*IDSIM, "bench", *sizes, "--no-rivals", "--json")
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.startswith("starting again with ")
    assert ran.stderr.count("starting again") == 1
    assert "no OPENBLAS_L2_SIZE" in ran.stderr
    kernels = json.loads(ran.stdout)["machine"]["blas"]
    assert "numpy" in kernels
    for each in kernels.values():
        assert "Prescott" not in each
        if "avx512" in _core.available_isas():
            assert "SkylakeX" in each


@pytest.mark.parametrize("module", ["bench.run", "bench.streaming", "bench.compare"])
def test_every_benchmark_starts_again_before_it_measures(module: str, tmp_path: Path) -> None:
    # With the mark of a process that has been started again already, it must refuse instead.
    out = {
        "bench.run": ("--out", str(tmp_path / "x.json"), "--select", "q=1 d=512"),
        "bench.compare": ("HEAD",),
    }
    ran = start("-m", module, *out.get(module, ()), IDSIM_BENCHMARK_STARTED_AGAIN="1")
    assert ran.returncode == 1
    assert "IdsimError: a benchmark needs" in ran.stderr
    assert not list(tmp_path.iterdir())
