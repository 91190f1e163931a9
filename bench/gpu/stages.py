"""The stages that run other programs: build, tests, compute-sanitizer. Their output goes to FOLDER/<stage>.log."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.gpu.budget import Budget

ROOT = Path(__file__).parent.parent.parent
OUT_OF_TIME = 124
TILES = "IDSIM_CUDA_TILES"  # the package may not be installed yet: its own name for it cannot be imported
OF_GROUPS = ("racecheck", "synccheck")


def run_logged(
    name: str,
    folder: Path,
    commands: Sequence[Sequence[str]],
    budget: Budget,
    env: Mapping[str, str] | None = None,
) -> int:
    """Run commands one after another into a log; return the first status that is not 0, 124 when time is up."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.log"
    with path.open("w", encoding="utf-8") as log:
        for command in commands:
            log.write(f"$ {' '.join(command)}\n")
            log.flush()
            try:
                status = subprocess.run(
                    command, cwd=ROOT, env={**os.environ, **(env or {})}, stdout=log, stderr=subprocess.STDOUT,
                    check=False, timeout=max(budget.left, 1.0),
                ).returncode  # fmt: skip
            except subprocess.TimeoutExpired:
                status = OUT_OF_TIME
            if status:
                print(f"{name}: status {status}; the end of {path}:", file=sys.stderr)
                print("\n".join(path.read_text(encoding="utf-8").splitlines()[-40:]), file=sys.stderr)
                return status
    print(f"{name}: done, {path.read_text(encoding='utf-8').splitlines()[-1]}")
    return 0


def architecture() -> str:
    """Return the device's architecture as nvcc names it: "80", "90a"."""
    import torch

    major, minor = torch.cuda.get_device_capability()
    return "90a" if (major, minor) == (9, 0) else f"{major}{minor}"


def build(folder: Path, budget: Budget) -> int:
    """Install the package with machine code for this device alone."""
    command = [
        sys.executable, "-m", "pip", "install", "--no-build-isolation", "--no-deps",
        f"--config-settings=cmake.define.IDSIM_CUDA_ARCHITECTURES={architecture()}", ".",
    ]  # fmt: skip
    return run_logged("build", folder, [command], budget, {"IDSIM_CUDA": "ON"})


def groups_env() -> list[dict[str, str]]:
    """Return the environment that asks for warp-group tiles, where the device has them (compute capability 9.0)."""
    return [{TILES: "wgmma"}] if architecture() == "90a" else []


def test(folder: Path, budget: Budget) -> int:
    """Run the Python tests that need a device, with each kind of tiles; those that failed before come first.

    A failure with one kind does not keep the other from being tested.
    """
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-m",
        "gpu",
        "--failed-first",
        "-o",
        "cache_dir=build/pytest",
    ]
    found = [
        run_logged(f"test-{env[TILES]}", folder, [command], budget, env)
        for env in [{TILES: "mma"}, *groups_env()]
    ]
    return next(filter(None, found), 0)


def sanitize(folder: Path, budget: Budget) -> int:
    """Run a small set of the tests under compute-sanitizer, each tool first on a planted bug.

    The tools that look for races and wrong barriers come once more with warp-group tiles, where the device has them.
    """
    planted = folder.resolve() / "planted"
    status = run_logged("planted", folder, [["nvcc", "-o", str(planted), "tests/cuda/planted.cu"]], budget)
    if status:
        return status
    tests = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "tests/cuda"]
    for tool in ("memcheck", "racecheck", "initcheck", "synccheck"):
        checked = ["compute-sanitizer", "--tool", tool, "--error-exitcode", "7"]
        awake = subprocess.run([*checked, str(planted), tool], capture_output=True, check=False).returncode
        asleep = subprocess.run([*checked, str(planted), "none"], capture_output=True, check=False).returncode
        print(f"{tool}: status {awake} with its planted bug (7 expected), {asleep} without (0 expected)")
        small = [*checked, "--target-processes", "all", *tests, "-k", "edges and 129 or every_question"]
        status = status or (awake != 7) or asleep
        for env in [{TILES: "mma"}, *(groups_env() if tool in OF_GROUPS else [])]:
            status = status or run_logged(f"sanitize-{tool}-{env[TILES]}", folder, [small], budget, env)
    return int(status)
