"""Loads damaged checkpoints under limits: ``PYTHONPATH=tests python -m support.fuzz_checkpoints --count 100000``.

Every file must load or be refused with `CheckpointError`, within 2 seconds of processor time, with no more
memory than its size and 64 MiB, and without causing code, imports, other files or processes. The exit status is
1 where one does not. Case N is the same on every machine and is run again by ``--first N --count 1``.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

from idsim import CheckpointError
from idsim.generators.stylegan2 import load_checkpoint
from support.checkpoint_mutations import mutation, seeds
from support.watch import watched

SECONDS = 2.0
SPARE_BYTES = 64 << 20
CASES_OF_A_PROCESS = 5000


class Hang(BaseException):
    """The processor time of a case is used up."""


def _hang(*_: object) -> None:
    raise Hang


def say(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def examine(path: Path) -> tuple[str, str]:
    """Load one file under the limits; return the outcome and a detail."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + path.stat().st_size + SPARE_BYTES
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    signal.signal(signal.SIGPROF, _hang)
    outcome, detail, foreign = "loaded", "", None
    with watched(path) as seen:
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            load_checkpoint(path)
        except CheckpointError as error:
            outcome, detail = "refused", error.reason
        except Hang:
            outcome = "hang"
        except MemoryError:
            outcome = "memory"
        except BaseException as error:  # noqa: BLE001 - this is what is looked for
            outcome, foreign = "foreign", error
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    if foreign is not None:  # formatted here, as it reads source files
        detail = "".join(traceback.format_exception(foreign, limit=-3))
    return ("execution", seen[0]) if seen else (outcome, detail)


def work(first: int, count: int, folder: Path) -> None:
    """Run cases and print one JSON line for each that is not as it should be, and one at the end."""
    path = folder / "case"
    warm_up(folder)
    counts: Counter[str] = Counter()
    slowest = 0.0
    for number in range(first, first + count):
        name, data = mutation(number)
        path.write_bytes(data)
        say({"begun": number})
        start = time.process_time()
        outcome, detail = examine(path)
        slowest = max(slowest, time.process_time() - start)
        counts[outcome] += 1
        if outcome not in ("loaded", "refused"):
            say({"case": number, "seed": name, "outcome": outcome, "detail": detail})
    say({"counts": counts, "slowest": slowest})


def _environment() -> dict[str, str]:
    paths = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


def examine_apart(paths: list[Path]) -> dict[str, tuple[str, str]]:
    """Examine files in one process of their own; return outcome and detail by path."""
    command = [sys.executable, "-m", "support.fuzz_checkpoints", "--files", *map(str, paths)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=_environment())
    return {
        line["path"]: (line["outcome"], line["detail"]) for line in map(json.loads, done.stdout.splitlines())
    }


def warm_up(folder: Path) -> None:
    """Load good files: what is imported at the first use is no part of a case."""
    for data in seeds().values():
        Path(folder, "case").write_bytes(data)
        load_checkpoint(Path(folder, "case"))


def run(first: int, count: int) -> dict[str, Any]:
    """Run cases in processes of their own; a process that ends early is a crash of the case it was at."""
    counts: Counter[str] = Counter()
    found: list[dict[str, Any]] = []
    slowest, number, end = 0.0, first, first + count
    while number < end:
        amount = min(CASES_OF_A_PROCESS, end - number)
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "support.fuzz_checkpoints", "--first", str(number)]
            command += ["--count", str(amount), "--work", folder]
            done = subprocess.run(command, check=False, capture_output=True, text=True, env=_environment())
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        found += [line for line in lines if "case" in line]
        if done.returncode == 0:
            counts.update(lines[-1]["counts"])
            slowest = max(slowest, lines[-1]["slowest"])
            number += amount
            continue
        begun = [line["begun"] for line in lines if "begun" in line]
        if not begun:
            raise RuntimeError(done.stderr)
        counts["crash"] += 1
        found.append({"case": begun[-1], "outcome": "crash", "detail": done.stderr[-2000:]})
        counts["before a crash"] += begun[-1] - number
        number = begun[-1] + 1
    return {
        "first": first,
        "count": count,
        "counts": dict(counts),
        "slowest_s": round(slowest, 3),
        "found": found,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--files", type=Path, nargs="+", help="Examine these files instead.")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work is not None:
        work(arguments.first, arguments.count, arguments.work)
        return 0
    if arguments.files:
        with tempfile.TemporaryDirectory() as folder:
            warm_up(Path(folder))
        for path in arguments.files:
            outcome, detail = examine(path)
            say({"path": str(path), "outcome": outcome, "detail": detail})
        return 0
    result = run(arguments.first, arguments.count)
    sys.stdout.write(json.dumps(result, indent=1) + "\n")
    return int(bool(result["found"]))


if __name__ == "__main__":
    sys.exit(main())
