"""Everything on a machine with a GPU: ``python -m bench.gpu --out FOLDER build test sanitize probe bench stream``.

Call the stages one by one or several together; each call ends within ``--minutes``, and what is measured is written at
once, so that a call that is cut off loses one case. `build` compiles the package for the device at hand and installs
it; `test` runs the tests that need a device; `sanitize` runs a few of them under the tools of compute-sanitizer;
`probe` takes the first measurements, beside what was predicted; `bench` measures the table against every rival that is
installed, the most worthy cases first, and goes on with ``--resume``; `stream` searches galleries that lie on the host,
in part on the host, and on disk. Where a device has two kinds of tiles, tests and measurements are made with both.
Results: FOLDER/gpu.json, probe.json, stream.json and logs; a short table comes last.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bench.gpu import stages
from bench.gpu.budget import Budget

if TYPE_CHECKING:
    from collections.abc import Sequence

RUN = {"build": stages.build, "test": stages.test, "sanitize": stages.sanitize}
MEASURE = ("probe", "bench", "stream")


def measure(stage: str, chosen: argparse.Namespace, budget: Budget) -> int:
    """Run a stage that needs the package, which a stage before it may have installed."""
    from bench import grid
    from bench.gpu.cases import CASES
    from bench.gpu.measure import bench
    from bench.gpu.probe import probe
    from bench.gpu.stream import stream

    if stage == "bench":
        cases = grid.matching(CASES, chosen.select)
        return bench(chosen.out, chosen.data_dir, budget, resume=chosen.resume, cases=cases)
    return (probe if stage == "probe" else stream)(chosen.out, budget)


def list_cases(select: list[str]) -> int:
    """Print the names of the cases in their order."""
    from bench import grid
    from bench.gpu.cases import CASES

    cases = grid.matching(CASES, select)
    print("\n".join(case.name for case in cases) or "no case matches")
    return 0 if cases else 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and run the stages; stop at the first that fails."""
    parser = argparse.ArgumentParser(
        description=__doc__, prog="python -m bench.gpu", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [*RUN, *MEASURE]
    parser.add_argument("stages", nargs="*", metavar="STAGE", help=f"of {', '.join(names)}")
    parser.add_argument("--out", type=Path, help="folder for logs and results")
    parser.add_argument(
        "--minutes", type=float, default=9.0, help="time of this call, all its stages together"
    )
    parser.add_argument(
        "--resume", action="store_true", help="measure the cases that the result file does not have"
    )
    parser.add_argument("--select", action="append", default=[], help='words of a case name, "q=32 d=512"')
    parser.add_argument("--data-dir", type=Path, help="keep the galleries here between calls (100 GB)")
    parser.add_argument("--list", action="store_true", help="print the names of the cases and stop")
    chosen = parser.parse_args(arguments)
    if chosen.list:
        return list_cases(chosen.select)
    if chosen.out is None or not chosen.stages:
        parser.error("name a folder with --out, and at least one stage")
    if unknown := [stage for stage in chosen.stages if stage not in names]:
        parser.error(f"no stage is called {unknown[0]}; there are {', '.join(names)}")
    import torch

    if not torch.cuda.is_available():
        print(f"PyTorch {torch.__version__} finds no CUDA device here", file=sys.stderr)
        return 5
    budget = Budget(60 * chosen.minutes)
    for stage in chosen.stages:
        status = RUN[stage](chosen.out, budget) if stage in RUN else measure(stage, chosen, budget)
        if status:
            return status
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
