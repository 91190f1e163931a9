"""Compare two commits on this machine: ``python -m bench.compare BASE HEAD``.

Each commit is checked out by ``git worktree`` and built into a folder of its own with the same
compiler, flags and NumPy. One process per commit holds the same queries and gallery; they run in the
order A B B A, so a drift of the machine meets both alike. Each such round gives one paired ratio. A
case fails only when the median ratio is above 1.10 and the spread of the ratios lies above 1 as well,
and when two fresh pairs of processes say so again: the memory that a process happens to get can make
it slower than its twin for as long as it lives.

Exit status: 0 no case is slower, 1 a case is slower, 2 a commit cannot be built or run.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.benchmark import Case
from idsim.benchmark.cases import make_rows
from idsim.benchmark.environment import start_again_if_held

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parent.parent
WORKER = Path(__file__).resolve().parent / "worker.py"
LIMIT = 1.10
MIN_ROUNDS = 5
CONFIRMATIONS = 3
# Small enough for a minute in all, large enough to leave the caches; one case per way the engine goes.
CASES = (
    Case(1, 200_000), Case(8, 200_000), Case(64, 200_000), Case(1024, 100_000),
    Case(1024, 100_000, k=100), Case(256, 200_000, dim=128), Case(1, 200_000, mode="one-shot"),
    Case(1024, 100_000, mode="one-shot"), Case(1, 1000),
)  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """Head's time over base's time for one case.

    ``low`` and ``high`` are the quartiles of the paired ratios, ``rounds`` their number.
    """

    case: str
    ratio: float
    low: float
    high: float
    rounds: int
    slower: bool


def paired_ratios(times: Sequence[tuple[float, float, float, float]]) -> list[float]:
    """Return one ratio per round from its four times, in the order base, head, head, base."""
    return [(first + second) / (before + after) for before, first, second, after in times]


def judge(case: str, ratios: Sequence[float], limit: float = LIMIT) -> Verdict:
    """Decide whether head is slower.

    Only when the median of the ratios is above ``limit`` and even their lower quartile is above 1:
    then the slowdown is larger than the spread of the rounds.

    Raises
    ------
    ValueError
        Fewer than 5 rounds: their spread says nothing.
    """
    if len(ratios) < MIN_ROUNDS:
        raise ValueError(f"at least {MIN_ROUNDS} rounds are needed to judge, not {len(ratios)}")
    median = statistics.median(ratios)
    low, high = np.quantile(ratios, [0.25, 0.75]).tolist()
    return Verdict(case, median, low, high, len(ratios), slower=median > limit and low > 1.0)


def combine(trials: Sequence[Sequence[float]], case: str, limit: float = LIMIT) -> Verdict:
    """Judge the ratios of several pairs of processes: slower only when every pair says so."""
    together = judge(case, [ratio for ratios in trials for ratio in ratios], limit)
    return replace(together, slower=all(judge(case, ratios, limit).slower for ratios in trials))


def checkout(revision: str, folder: Path, stack: ExitStack) -> str:
    """Check a revision out into ``folder`` until the stack closes; return its commit."""
    full = subprocess.run(
        ["git", "rev-parse", "--verify", f"{revision}^{{commit}}"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    subprocess.run(["git", "worktree", "add", "--quiet", "--detach", str(folder), full], cwd=ROOT, check=True)
    remove = ["git", "worktree", "remove", "--force", str(folder)]
    stack.callback(subprocess.run, remove, cwd=ROOT, check=False)
    return full


def build(source: Path, target: Path) -> None:
    """Install the checked-out tree into ``target`` with the build tools of this environment."""
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation",
         "--disable-pip-version-check", "--target", str(target), str(source)],
        check=True,
    )  # fmt: skip


class Worker:
    """A process that has one commit imported and answers with seconds."""

    def __init__(self, target: Path, threads: int) -> None:
        # -S leaves out site-packages and with it any editable install of this project; NumPy comes back
        # by path.
        numpy_home = Path(np.__file__).resolve().parent.parent
        paths = os.pathsep.join([str(target), str(numpy_home)])
        self._process = subprocess.Popen(
            [sys.executable, "-S", str(WORKER), str(target), str(threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": paths, "PYTHONNOUSERSITE": "1"},
        )  # fmt: skip
        self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a worker ended with status {self._process.wait()}")
        return json.loads(line)

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send one request and return its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()


def save_rows(case: Case, folder: Path) -> tuple[str, str]:
    """Write the rows of a case once, for both processes to map; return the two paths."""
    stem = f"{case.data}-{case.rows}-{case.dim}-{case.queries}"
    files = (folder / f"{stem}-queries.npy", folder / f"{stem}-gallery.npy")
    if not files[1].exists():
        for file, rows in zip(files, make_rows(case.data, case.rows, case.dim, case.queries), strict=True):
            np.save(file, rows)
    return str(files[0]), str(files[1])


def measure_pair(
    case: Case, targets: tuple[Path, Path], folder: Path, rounds: int, seconds: float, threads: int
) -> list[float]:
    """Start a process per commit, run one case A B B A, round after round, and return the ratios."""
    queries, gallery = save_rows(case, folder)
    with ExitStack() as stack:
        workers = []
        for target in targets:
            workers.append(Worker(target, threads))
            stack.callback(workers[-1].close)
        base, head = workers
        loaded = [
            worker.ask(do="load", queries=queries, gallery=gallery, k=case.k, mode=case.mode)
            for worker in workers
        ]
        if loaded[0]["digest"] != loaded[1]["digest"]:
            print(f"{case.name}: the two commits do not give the same answer", file=sys.stderr)
        once = max(each["seconds"] for each in loaded)
        repeat = max(1, int(0.02 / max(once, 1e-7)))  # a timing lasts 20 ms at least
        times = []
        for _ in range(max(rounds, min(40, int(seconds / (4 * once * repeat))))):
            four = []
            for worker in (base, head, head, base):
                time.sleep(0.01)
                four.append(float(worker.ask(do="time", repeat=repeat)["seconds"]))
            times.append((four[0], four[1], four[2], four[3]))
    return paired_ratios(times)


def compare_case(
    case: Case, targets: tuple[Path, Path], folder: Path, rounds: int, seconds: float, threads: int
) -> Verdict:
    """Measure one case, again with fresh processes as long as head looks slower."""
    trials: list[list[float]] = []
    while True:
        trials.append(measure_pair(case, targets, folder, rounds, seconds, threads))
        verdict = combine(trials, case.name)
        if not verdict.slower or len(trials) == CONFIRMATIONS:
            return verdict


def verdict_line(verdict: Verdict) -> str:
    """Return one line of the report."""
    word = "SLOWER" if verdict.slower else "ok"
    return (
        f"{verdict.case:<48} | head/base {verdict.ratio:5.3f} ({verdict.low:.3f}-{verdict.high:.3f}, "
        f"{verdict.rounds} rounds) | {word}"
    )


def compare(base: str, head: str, *, rounds: int, seconds: float, threads: int) -> list[Verdict]:
    """Build both commits, measure every case and print a line for each."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="idsim-compare-")))
        targets = (folder / "base", folder / "head")
        for target, revision in zip(targets, (base, head), strict=True):
            source = folder / f"{target.name}-source"
            commit = checkout(revision, source, stack)
            print(f"building {target.name} {commit[:12]}", file=sys.stderr, flush=True)
            build(source, target)
        verdicts = []
        for case in CASES:
            verdicts.append(compare_case(case, targets, folder, rounds, seconds, threads))
            print(verdict_line(verdicts[-1]), flush=True)
        return verdicts


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare two commits and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m bench.compare")
    parser.add_argument("base", help="commit to compare with, such as main")
    parser.add_argument("head", nargs="?", default="HEAD")
    parser.add_argument("--rounds", type=int, default=7, help="fewest ABBA rounds per case")
    parser.add_argument("--seconds", type=float, default=6.0, help="aim for each case")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="also write the verdicts here")
    chosen = parser.parse_args(arguments)
    start_again_if_held()
    try:
        verdicts = compare(
            chosen.base, chosen.head, rounds=chosen.rounds, seconds=chosen.seconds, threads=chosen.threads
        )
    except (subprocess.CalledProcessError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 2
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(each) for each in verdicts], indent=1) + "\n")
    return int(any(verdict.slower for verdict in verdicts))


if __name__ == "__main__":
    raise SystemExit(main())
