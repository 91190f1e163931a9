"""What listing pairs adds to a search: ``python -m bench.compare_pass``.

Times `idsim.search`, `idsim.pairs_above` and `idsim.compare`, which answers both in one pass, on the same rows. Every
round runs each once and starts with another one. The numbers are medians over the rounds, and quartiles, of the time
of `compare` over that of the search alone and over that of the search and the pairs; of the time that passed, and of
the processors' time, which is the steadier one where other programs run.

The threshold is the score that the given share of all pairs reaches, as far as the k best of every query tell.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np

import idsim
from idsim import _core
from idsim.benchmark.cases import make_rows
from idsim.benchmark.environment import start_again_if_held

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ASKED = ("search", "pairs_above", "compare")


def threshold_of(scores: np.ndarray, pairs: int) -> float:
    """Return the score of the given place among the best of all queries; the last one where they are fewer."""
    ordered = np.sort(scores.ravel())[::-1]
    return float(ordered[min(pairs, ordered.size) - 1])


def timed(ask: Callable[[], Any]) -> tuple[float, float, Any]:
    """Return the seconds that passed, those of the processors, and the answer."""
    start, start_of_work = time.perf_counter(), time.process_time()
    answer = ask()
    return time.perf_counter() - start, time.process_time() - start_of_work, answer


def check(answers: dict[str, Any]) -> None:
    """The answers of one pass must have the bytes of those of two."""
    one, top, pairs = (answers[name] for name in ("compare", "search", "pairs_above"))
    both = zip((*one[:2], *one.pairs), (*top, *pairs), strict=True)
    if any(got.tobytes() != wanted.tobytes() for got, wanted in both):
        sys.exit("the answers of one pass differ from those of two")


def measure(
    queries: np.ndarray, gallery: Any, k: int, share: float, rounds: int, threads: int
) -> dict[str, Any]:
    """Return the times of every round, by name, and what was asked."""
    best = idsim.search(queries, gallery, k, threads=threads)
    threshold = threshold_of(best.scores, max(1, round(share * len(queries) * len(gallery))))
    calls: dict[str, Callable[[], Any]] = {
        "search": lambda: idsim.search(queries, gallery, k, threads=threads),
        "pairs_above": lambda: idsim.pairs_above(queries, gallery, threshold, threads=threads),
        "compare": lambda: idsim.compare(queries, gallery, k, threshold=threshold, threads=threads),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ASKED}
    processor: dict[str, list[float]] = {name: [] for name in ASKED}
    answers: dict[str, Any] = {}
    for number in range(rounds):
        for place in range(len(ASKED)):
            name = ASKED[(number + place) % len(ASKED)]
            passed, worked, answers[name] = timed(calls[name])
            seconds[name].append(passed)
            processor[name].append(worked)
    check(answers)
    return {
        "threshold": threshold,
        "pairs": len(answers["pairs_above"].rows),
        "seconds": seconds,
        "processor_seconds": processor,
    }


def ratios(seconds: dict[str, list[float]]) -> dict[str, list[float]]:
    """Return, round by round, the time of `compare` over that of the search, and of both questions."""
    rounds = list(zip(*(seconds[name] for name in ASKED), strict=True))
    return {
        "search": [one / search for search, _, one in rounds],
        "search + pairs_above": [one / (search + pairs) for search, pairs, one in rounds],
    }


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return the median and the quartiles."""
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": median, "low": low, "high": high}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--queries", type=int, default=4096)
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("-k", type=int, default=5)
    parser.add_argument("--share", type=float, default=1e-6, help="of all pairs that reach the threshold")
    parser.add_argument("--data", choices=("random", "clustered"), default="random")
    parser.add_argument("--one-shot", action="store_true", help="rows as they are, not prepared")
    parser.add_argument("--rounds", type=int, default=5, help="2 or more")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    if options.rounds < 2:
        parser.error(f"--rounds must be 2 or more, not {options.rounds}")
    start_again_if_held()
    threads = options.threads or _core.default_threads()
    queries, gallery = make_rows(options.data, options.rows, options.dim, options.queries)
    asked = gallery if options.one_shot else idsim.Index(gallery, threads=threads)
    result = measure(queries, asked, options.k, options.share, options.rounds, threads)
    for kind in ("seconds", "processor_seconds"):
        found = ratios(result[kind])
        result[f"ratios_of_{kind}"] = {name: spread(values) for name, values in found.items()}
    result["instruction_set"], result["threads"] = _core.active_isa(), threads
    if options.json:
        print(json.dumps(result, indent=2))
        return
    print(
        f"{options.queries} queries, {options.rows} rows, d={options.dim}, k={options.k}, {options.data}, "
        f"{result['instruction_set']}, {threads} threads: {result['pairs']} pairs reach {result['threshold']:.4f}"
    )
    for name in ASKED:
        print(f"{name:11} {statistics.median(result['seconds'][name]):8.3f} s")
    for kind, told in (("seconds", "time"), ("processor_seconds", "processors' time")):
        for name, found in result[f"ratios_of_{kind}"].items():
            print(
                f"{told}: compare / ({name}) {found['median']:.3f} ({found['low']:.3f} to {found['high']:.3f})"
            )


if __name__ == "__main__":
    main()
