"""Everything on a machine with a GPU: ``python -m bench.gpu --out FOLDER build test sanitize bench``.

Each stage ends well within ten minutes, so that they can be called one by one. `build` compiles the package for the
device at hand and installs it; `test` runs the tests that need a device; `sanitize` runs a small set of them under
every tool of compute-sanitizer, after a planted bug has shown that the tool is awake; `bench` measures the table and
prints it last. Output of each stage goes to FOLDER/<stage>.log, the table to FOLDER/gpu.json.
"""

from __future__ import annotations

import argparse
import datetime
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.run import Galleries, commit, save_result
from idsim.benchmark import Case, Effort, case_line, measure_case
from idsim.benchmark.device import device_tools
from idsim.benchmark.device_peaks import device_peaks
from idsim.benchmark.line import tool_line

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parent.parent
CASES = [
    *(Case(q, 1_000_000) for q in (1, 8, 32, 128, 1024, 4096)),
    *(Case(1024, 1_000_000, k=k) for k in (1, 100, 1000)),
    Case(32, 1_000_000, data="clustered"),
    Case(1024, 1_000_000, data="clustered"),
    *(Case(q, 1_000_000, dim=128) for q in (1, 1024)),
    Case(4096, 4_000_000),
]


def run_logged(name: str, folder: Path, commands: Sequence[Sequence[str]], env: dict[str, str]) -> int:
    """Run commands one after another into a log; return the first status that is not 0."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.log").open("w", encoding="utf-8") as log:
        for command in commands:
            log.write(f"$ {' '.join(command)}\n")
            log.flush()
            status = subprocess.run(
                command,
                cwd=ROOT,
                env={**os.environ, **env},
                stdout=log,
                stderr=subprocess.STDOUT,
                check=False,
            ).returncode
            if status:
                print(f"{name}: status {status}; the end of {folder / f'{name}.log'}:", file=sys.stderr)
                print("\n".join((folder / f"{name}.log").read_text().splitlines()[-40:]), file=sys.stderr)
                return status
    print(f"{name}: done")
    return 0


def architecture() -> str:
    """Return the device's architecture as nvcc names it: "80", "90a"."""
    import torch

    major, minor = torch.cuda.get_device_capability()
    return "90a" if (major, minor) == (9, 0) else f"{major}{minor}"


def build(folder: Path) -> int:
    """Install the package with machine code for this device alone."""
    command = [
        sys.executable, "-m", "pip", "install", "--no-build-isolation", "--no-deps",
        f"--config-settings=cmake.define.IDSIM_CUDA_ARCHITECTURES={architecture()}", ".",
    ]  # fmt: skip
    return run_logged("build", folder, [command], {"IDSIM_CUDA": "ON"})


def test(folder: Path) -> int:
    """Run the Python tests that need a device."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider"]
    return run_logged("test", folder, [command], {})


def sanitize(folder: Path) -> int:
    """Run a small set of the tests under compute-sanitizer."""
    planted = folder.resolve() / "planted"
    status = run_logged("planted", folder, [["nvcc", "-o", str(planted), "tests/cuda/planted.cu"]], {})
    tests = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "tests/cuda"]
    for tool in ("memcheck", "racecheck", "initcheck", "synccheck"):
        checked = ["compute-sanitizer", "--tool", tool, "--error-exitcode", "7"]
        awake = subprocess.run([*checked, str(planted), tool], capture_output=True, check=False).returncode
        asleep = subprocess.run([*checked, str(planted), "none"], capture_output=True, check=False).returncode
        print(f"{tool}: status {awake} with its planted bug (7 expected), {asleep} without (0 expected)")
        small = [*checked, "--target-processes", "all", *tests, "-k", "edges and 129 or every_question"]
        status = status or (awake != 7) or asleep or run_logged(f"sanitize-{tool}", folder, [small], {})
    return int(status)


def bench(folder: Path, data: Path | None, stop_after: float) -> int:
    """Measure the table."""
    import torch

    started = datetime.datetime.now(datetime.UTC)
    document: dict[str, Any] = {
        "date": started.date().isoformat(),
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "commit": commit(),
        "peaks": device_peaks().to_dict(),
        "cases": [],
    }
    galleries = Galleries(data)
    effort = Effort(seconds=5.0, rounds=(5, 15), pause=0.01, full=True)
    for case in CASES:
        if (datetime.datetime.now(datetime.UTC) - started).total_seconds() > stop_after:
            print(f"stopped before {case.name}", file=sys.stderr)
            break
        queries, gallery = galleries.get(case)
        record = measure_case(
            case, queries, gallery, device_tools(mode=case.mode), device_peaks_of(document),
            threads=1, effort=effort,
        )  # fmt: skip
        document["cases"].append(record)
        save_result(folder / "gpu.json", document)
        for result in record["tools"]:
            print(f"    {tool_line(result)}", file=sys.stderr, flush=True)
    print(f"{document['device']}, {document['date']}; peaks {document['peaks']}")
    for record in document["cases"]:
        print(case_line(record))
    return 0


def device_peaks_of(document: dict[str, Any]) -> Any:
    """Return the peaks that a document holds."""
    from idsim.benchmark import Peaks

    return Peaks(**document["peaks"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and run the stages."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m bench.gpu")
    parser.add_argument("stages", nargs="+", choices=["build", "test", "sanitize", "bench"])
    parser.add_argument("--out", type=Path, required=True, help="folder for logs and results")
    parser.add_argument("--data-dir", type=Path, help="keep the galleries here between runs")
    parser.add_argument("--stop-after", type=float, default=480, help="start no case after so many seconds")
    chosen = parser.parse_args(arguments)
    for stage in chosen.stages:
        if stage == "bench":
            status = bench(chosen.out, chosen.data_dir, chosen.stop_after)
        else:
            status = {"build": build, "test": test, "sanitize": sanitize}[stage](chosen.out)
        if status:
            return status
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
