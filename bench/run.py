"""Measure the table: ``python -m bench.run --out bench/results/today.json``.

The file grows case by case and an interrupted run goes on where it stopped. ``--select "q=32 d=512"``
measures the cases whose name holds these words, ``--again`` measures cases that the file has already.
"""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench import grid
from idsim.benchmark import (
    Case,
    Effort,
    Peaks,
    all_tools,
    case_line,
    describe_machine,
    measure_case,
    measure_peaks,
    pin_threads,
)
from idsim.benchmark.avx2 import hold_to_avx2
from idsim.benchmark.cases import make_rows
from idsim.benchmark.environment import start_again_if_held
from idsim.benchmark.line import tool_line
from idsim.benchmark.measure import too_slow_in
from idsim.errors import IdsimError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MAX_QUERIES = 4096


def commit() -> str | None:
    """Return the commit that is checked out, with a plus sign when files differ from it."""
    try:
        text = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"],
            capture_output=True, text=True, check=True, cwd=Path(__file__).parent,
        ).stdout  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return None
    return text.strip()


class Galleries:
    """Rows of the cases; the last gallery is kept, and all are kept on disk when a folder is given."""

    def __init__(
        self, folder: Path | None, most_queries: int = MAX_QUERIES, make: Callable[..., Any] = make_rows
    ) -> None:
        self._folder, self._most_queries, self._make = folder, most_queries, make
        self._key: tuple[str, int, int] | None = None
        self._rows: tuple[np.ndarray, np.ndarray] | None = None

    def holds(self, case: Case) -> bool:
        """Return whether the rows of a case are there."""
        return self._key == (case.data, case.rows, case.dim)

    def get(self, case: Case) -> tuple[np.ndarray, np.ndarray]:
        """Return queries and gallery of a case."""
        key = (case.data, case.rows, case.dim)
        if key != self._key or self._rows is None:
            self._rows = None
            self._rows = self._load(key)
            self._key = key
        queries, gallery = self._rows
        return queries[: case.queries], gallery

    def _load(self, key: tuple[str, int, int]) -> tuple[np.ndarray, np.ndarray]:
        data, rows, dim = key
        if self._folder is None:
            return self._make(data, rows, dim, self._most_queries)
        stem = self._folder / f"{data}-{rows}-{dim}-{self._most_queries}"
        files = [stem.with_suffix(f".{part}.npy") for part in ("queries", "gallery")]
        if not all(file.exists() for file in files):
            self._folder.mkdir(parents=True, exist_ok=True)
            for file, array in zip(files, self._make(data, rows, dim, self._most_queries), strict=True):
                partial = file.with_suffix(".partial.npy")
                np.save(partial, array)
                partial.replace(file)
        return np.load(files[0]), np.load(files[1])


def open_result(path: Path, threads: int) -> dict[str, Any]:
    """Return the result file's document or a new one; the peaks are the best of all runs so far.

    Raises
    ------
    IdsimError
        The file was measured with other BLAS kernels: its cases cannot be compared with new ones.
    """
    machine = describe_machine(threads)
    peaks = measure_peaks(threads)
    if path.exists():
        document = json.loads(path.read_text(encoding="utf-8"))
        before = document["machine"].get("blas")
        if before != machine["blas"]:
            raise IdsimError(
                f"{path} was measured with the BLAS kernels {before}, and this run has {machine['blas']}: "
                "name another file"
            )
        document["peaks"] = peaks.best_of(Peaks(**document["peaks"])).to_dict()
        return document
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine,
        "peaks": peaks.to_dict(),
        "cases": [],
    }


def save_result(path: Path, document: dict[str, Any]) -> None:
    """Write the document so that an interruption leaves the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def hopeless_tools(records: Sequence[dict[str, Any]], case: Case, effort: Effort) -> dict[str, str]:
    """Return the tools that measured cases rule out for this one, and why.

    A case of the same sizes counts whatever its k and data; one with fewer queries counts for tools
    whose time grows with the number of queries.
    """
    tools = all_tools(case.mode)
    found: dict[str, str] = {}
    for record in records:
        other = record["case"]
        if any(other[name] != getattr(case, name) for name in ("rows", "dim", "mode")):
            continue
        if other["queries"] == case.queries:
            found.update(too_slow_in(record, tools, effort))
        elif other["queries"] < case.queries:
            found.update(too_slow_in(record, [tool for tool in tools if tool.linear], effort))
    return found


def run_cases(
    cases: Sequence[Case],
    path: Path,
    galleries: Galleries,
    *,
    threads: int,
    effort: Effort,
    again: bool,
    stop_after: float = float("inf"),
    like: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    """Measure the cases that the file does not have yet, saving after each."""
    started = time.monotonic()
    with pin_threads(threads):
        document = open_result(path, threads)
        peaks = Peaks(**document["peaks"])
        print(f"peaks: {document['peaks']}", file=sys.stderr, flush=True)
        for case in cases:
            if any(record["name"] == case.name for record in document["cases"]) and not again:
                continue
            if time.monotonic() - started > stop_after:
                print(f"stopped before {case.name}", file=sys.stderr)
                break
            known = [record for record in document["cases"] if record["name"] != case.name]
            queries, gallery = galleries.get(case)
            record = measure_case(
                case, queries, gallery, all_tools(case.mode), peaks,
                threads=threads, effort=effort, hopeless=hopeless_tools([*like, *known], case, effort),
            )  # fmt: skip
            record["commit"] = commit()
            document["cases"] = [*(r for r in document["cases"] if r["name"] != case.name), record]
            save_result(path, document)
            print(case_line(record), flush=True)
            for result in record["tools"]:
                print(f"    {tool_line(result)}  {result['setting'] or ''}", file=sys.stderr, flush=True)
            for tool, reason in record["left_out"].items():
                print(f"    {tool:<16} left out: {reason}", file=sys.stderr, flush=True)
    return document


def default_path(suffix: str) -> Path:
    """Return bench/results/<date>-<machine>.json, with a suffix to the machine if there is one."""
    model = describe_machine(1)["cpu"].lower()
    machine = "-".join("".join(c if c.isalnum() else " " for c in model).split()[:4]) or "machine"
    machine = f"{machine}-{suffix}" if suffix else machine
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    return Path(__file__).parent / "results" / f"{date}-{machine}.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m bench.run")
    parser.add_argument("--out", type=Path, help="result file; default: bench/results/<date>-<machine>.json")
    parser.add_argument("--whole", action="store_true", help="all 320 combinations, not the reduced table")
    parser.add_argument("--select", action="append", default=[], help='words of a case name, "q=32 d=512"')
    parser.add_argument("--again", action="store_true", help="measure cases that the file has already")
    parser.add_argument("--full", action="store_true", help="leave no rival out, however slow")
    parser.add_argument(
        "--like", type=Path, help="result file of this machine whose slow rivals are left out here too"
    )
    parser.add_argument(
        "--leave-out", type=float, default=2.5, help="leave out exact rivals slower by this factor"
    )
    parser.add_argument(
        "--trial-rows", type=int, default=262_144, help="rows on which the settings are tried"
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="aim for the rounds of one case")
    parser.add_argument(
        "--stop-after", type=float, default=float("inf"), help="start no case after so many seconds"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--avx2", action="store_true", help="hold every tool to AVX2 (use a result file of its own)"
    )
    parser.add_argument("--data-dir", type=Path, help="keep the galleries here between runs (5 GB)")
    parser.add_argument("--list", action="store_true", help="print the names of the cases and stop")
    chosen = parser.parse_args(arguments)
    cases = grid.matching(grid.whole() if chosen.whole else grid.reduced(), chosen.select)
    if chosen.list or not cases:
        print("\n".join(case.name for case in cases) or "no case matches")
        return 0 if cases else 2
    start_again_if_held(only_avx2=chosen.avx2)
    if chosen.avx2:
        hold_to_avx2()
    path = chosen.out or default_path("avx2" if chosen.avx2 else "")
    effort = Effort(
        seconds=chosen.seconds,
        rounds=(3, 15),
        leave_out=chosen.leave_out,
        trial_rows=chosen.trial_rows,
        full=chosen.full,
    )
    like = json.loads(chosen.like.read_text(encoding="utf-8"))["cases"] if chosen.like else ()
    run_cases(
        cases,
        path,
        Galleries(chosen.data_dir),
        threads=chosen.threads,
        effort=effort,
        again=chosen.again,
        stop_after=chosen.stop_after,
        like=like,
    )
    print(f"wrote {path}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
