"""Measure one case: trial runs choose settings and drop hopeless rivals, then interleaved rounds."""

from __future__ import annotations

import gc
import math
import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.benchmark.record import best_rival, case_record
from idsim.benchmark.tools import OURS, Float32, Setting, Tool, is_ours
from idsim.benchmark.truth import count_wrong, expected, is_identical

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from idsim.benchmark.cases import Case
    from idsim.benchmark.machine import Peaks

__all__ = ["Effort", "measure_case", "summary_of", "too_slow_in"]

LONG_S = 5.0  # on a device, a search that is not run more often than it must
HOPELESS = 3  # a setting so many times slower than the limit: the others are not tried
# What a library raises where it cannot do a case: memory, a missing part, a type or size that it does not take.
FAILURES = (
    RuntimeError,
    MemoryError,
    ValueError,
    TypeError,
    AttributeError,
    ImportError,
    OSError,
    AssertionError,
)


@dataclass(frozen=True)
class Effort:
    """How much time a case may take.

    Parameters
    ----------
    seconds : float
        Aim for the interleaved rounds of one case.
    rounds : (int, int)
        Fewest and most rounds.
    leave_out, leave_out_inexact : float
        A rival this many times slower than the best of its class in a trial is not timed.
    trial_rows : int
        Settings are tried on a slice of the gallery of this many rows.
    pause : float
        Rest between two timings in seconds: other libraries' worker threads spin for a while.
    full : bool
        Leave nothing out for its class.
    most_seconds : float
        A rival that a trial predicts to take longer than this is not timed, whatever its class.
    trial_queries : int, optional
        Settings are tried with at most so many queries.
    device : bool
        The tools work on a device: first calls compile, and a rival that fails is left out with its reason, for it
        may lack memory, a type or a size that the case needs.
    tidy : callable
        Called after each trial and each preparation; libraries that share a device keep what they freed.
    """

    seconds: float = 20.0
    rounds: tuple[int, int] = (5, 15)
    leave_out: float = 2.5
    leave_out_inexact: float = 1.5
    trial_rows: int = 262_144
    pause: float = 0.05
    full: bool = False
    most_seconds: float = math.inf
    trial_queries: int | None = None
    device: bool = False
    tidy: Callable[[], None] = lambda: None

    def limit(self, tool: Tool) -> float:
        """Return how many times slower than the best of its class a tool may be."""
        return self.leave_out if tool.exact else self.leave_out_inexact


@dataclass
class _Entry:
    """A tool within one case."""

    tool: Tool
    settings: list[Setting]
    estimate: float = math.inf
    state: Any = None
    setting: Setting = field(default_factory=dict)
    prepare_s: float = 0.0
    times: list[float] = field(default_factory=list)
    answer: Any = None


class _Runner:
    """The case's rows, and how a tool is run on them under the clock."""

    def __init__(self, case: Case, queries: Float32, gallery: Float32, threads: int, effort: Effort) -> None:
        self.case, self.queries, self.gallery = case, queries, gallery
        self.threads, self.effort = threads, effort

    def clock(self, entry: _Entry, setting: Setting) -> float:
        """Run once on the whole case and return seconds; the answer stays in the entry."""
        time.sleep(self.effort.pause)
        prepared = self.case.mode == "prepared"
        start = time.perf_counter()
        state = entry.state if prepared else entry.tool.prepare(self.gallery, self.threads)
        entry.answer = entry.tool.search(state, self.queries, self.case.k, setting)
        return time.perf_counter() - start

    def trial(self, entry: _Entry) -> None:
        """Try every setting on a slice; keep those near the best and estimate the whole case."""
        rows = min(len(self.gallery), max(self.effort.trial_rows, self.case.k))
        few = min(
            len(self.queries), 8 if entry.tool.linear else self.effort.trial_queries or len(self.queries)
        )
        part, queries = self.gallery[:rows], self.queries[:few]
        state = entry.tool.prepare(part, self.threads)
        whole = len(self.gallery) / rows * len(self.queries) / few  # how many times this trial the case is
        seconds: list[float] = []
        for setting in entry.settings:
            seconds.append(self._try(entry.tool, state, queries, setting))
            if whole * min(seconds) > HOPELESS * self.effort.most_seconds:
                break
        del entry.settings[len(seconds) :]
        best = min(seconds)
        near = [s for s, t in zip(entry.settings, seconds, strict=True) if t <= 1.25 * best]
        order = {id(s): t for s, t in zip(entry.settings, seconds, strict=True)}
        entry.settings = sorted(near, key=lambda setting: order[id(setting)])[:3]
        entry.estimate = best * whole
        if self.effort.device and entry.estimate > LONG_S:
            del entry.settings[1:]

    def _try(self, tool: Tool, state: Any, queries: Float32, setting: Setting) -> float:
        """Return the best seconds of a few searches."""
        once = math.inf
        for turn in range(3):
            time.sleep(self.effort.pause)
            start = time.perf_counter()
            tool.search(state, queries, self.case.k, setting)
            once = min(once, time.perf_counter() - start)
            if once > 1.0 and (turn or not self.effort.device):
                break
        return once

    def settle(self, entry: _Entry) -> None:
        """Prepare on the whole gallery, warm up, and choose among the settings that are left."""
        start = time.perf_counter()
        if self.case.mode == "prepared":
            entry.state = entry.tool.prepare(self.gallery, self.threads)
        entry.prepare_s = time.perf_counter() - start
        best = math.inf
        for setting in entry.settings:
            seconds = self.clock(entry, setting)
            if seconds < (LONG_S if self.effort.device else 0.5):
                seconds = min(seconds, self.clock(entry, setting))
            if seconds < best:
                best, entry.setting = seconds, setting
        entry.estimate = best

    def rounds(self, entries: Sequence[_Entry]) -> None:
        """Time all entries, one after another, round after round, each round from another start."""
        low, high = self.effort.rounds
        one_round = sum(entry.estimate + self.effort.pause for entry in entries)
        count = max(low, min(high, int(self.effort.seconds / max(one_round, 1e-9))))
        gc.collect()
        gc.disable()
        try:
            for turn in range(count):
                first = turn % len(entries)
                for entry in [*entries[first:], *entries[:first]]:
                    entry.times.append(self.clock(entry, entry.setting))
        finally:
            gc.enable()


def _too_slow(entry: _Entry, entries: Sequence[_Entry], effort: Effort) -> str | None:
    """Return why a rival is not worth more time, judged by the trials."""
    if is_ours(entry.tool.name):
        return None
    if entry.estimate > effort.most_seconds:
        return f"a trial predicts {entry.estimate:.3g} s, more than {effort.most_seconds:g} s"
    rivals = [e for e in entries if not is_ours(e.tool.name) and e.tool.exact == entry.tool.exact]
    best = min((other.estimate for other in rivals), default=math.inf)
    if effort.full or entry.estimate <= effort.limit(entry.tool) * best:
        return None
    return f"a trial predicts {entry.estimate:.3g} s, {entry.estimate / best:.1f}x the best of its class"


def _attempt(
    step: Callable[[_Entry], None], entries: Sequence[_Entry], left_out: dict[str, str], effort: Effort
) -> list[_Entry]:
    """Take a step with every entry; on a device, return those that could take it and note why others could not."""
    able = []
    for entry in entries:
        try:
            step(entry)
        except FAILURES as error:
            if entry.tool.name == OURS or not effort.device:
                raise
            entry.state = entry.answer = None
            left_out[entry.tool.name] = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        else:
            able.append(entry)
        effort.tidy()
    return able


def _enter(
    case: Case, tools: Sequence[Tool], hopeless: Mapping[str, str], effort: Effort
) -> tuple[list[_Entry], dict[str, str]]:
    entries, left_out = [], {}
    for tool in tools:
        if tool.missing:
            left_out[tool.name] = f"not installed: {', '.join(tool.missing)}"
        elif tool.name in hopeless and not effort.full:
            left_out[tool.name] = hopeless[tool.name]
        else:
            entries.append(_Entry(tool, list(tool.settings(case.queries, case.rows))))
    return entries, left_out


def summary_of(entry: _Entry, case: Case, peaks: Peaks) -> dict[str, Any]:
    """Return a tool's numbers for JSON.

    GFLOP/s counts 2 q n d operations; GB/s one pass over the gallery as the tool stores it.
    """
    median = statistics.median(entry.times)
    low, high = np.quantile(entry.times, [0.25, 0.75]).tolist()
    gflops = case.flops / median / 1e9
    gbs = entry.tool.value_bytes * case.rows * case.dim / median / 1e9
    share, share_of = peaks.share(entry.tool.arithmetic, gflops, gbs)
    return {
        "tool": entry.tool.name,
        "exact_method": entry.tool.exact,
        "arithmetic": entry.tool.arithmetic,
        "setting": dict(entry.setting),
        "prepare_s": round(entry.prepare_s, 4),
        "times_ms": [round(1e3 * seconds, 4) for seconds in entry.times],
        "median_ms": 1e3 * median,
        "low_ms": 1e3 * low,
        "high_ms": 1e3 * high,
        "gflops": gflops,
        "gbs": gbs,
        "share": share,
        "share_of": share_of,
    }


def _check(entries: Sequence[_Entry], runner: _Runner, results: Sequence[dict[str, Any]]) -> None:
    """Add to every result how many ids were checked and how many were wrong."""
    truth = expected(runner.queries, runner.gallery, runner.case.k)
    for entry, result in zip(entries, results, strict=True):
        answer = entry.answer
        if answer is None:  # a product without a selection
            result.update(checked=0, wrong=0, wrong_beyond_rounding=0)
            continue
        ids, scores = answer if isinstance(answer, tuple) else (answer, None)
        wrong, beyond = count_wrong(truth, np.asarray(ids), runner.queries, runner.gallery)
        result.update(checked=int(truth.ids.size), wrong=wrong, wrong_beyond_rounding=beyond)
        if scores is not None:
            result["identical"] = is_identical(truth, np.asarray(ids), np.asarray(scores))


def measure_case(
    case: Case,
    queries: Float32,
    gallery: Float32,
    tools: Sequence[Tool],
    peaks: Peaks,
    *,
    threads: int,
    effort: Effort | None = None,
    hopeless: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Measure one case and return its record for JSON.

    Parameters
    ----------
    case : Case
    queries, gallery : float32 [q, d] and [n, d], unit rows
    tools : sequence of Tool
        Ours, if it takes part, and rivals.
    peaks : Peaks
    threads : int
        Given to every tool; call this function inside :func:`idsim.benchmark.pin_threads`.
    effort : Effort, optional
    hopeless : mapping of tool name to str, optional
        Tools to leave out, with the reason, such as :func:`too_slow_in` finds.

    Returns
    -------
    dict
        See :func:`idsim.benchmark.record.case_record`.
    """
    effort = effort or Effort()
    runner = _Runner(case, queries, gallery, threads, effort)
    entries, left_out = _enter(case, tools, hopeless or {}, effort)
    ours = [entry for entry in entries if entry.tool.name == OURS]
    rivals = [entry for entry in entries if entry.tool.name != OURS]
    entries = ours + _attempt(runner.trial, rivals, left_out, effort)
    reasons = {e.tool.name: _too_slow(e, entries, effort) for e in entries}
    left_out.update({name: reason for name, reason in reasons.items() if reason})
    entries = [entry for entry in entries if entry.tool.name not in left_out]
    entries = _attempt(runner.settle, entries, left_out, effort)
    runner.rounds(entries)
    results = [summary_of(entry, case, peaks) for entry in entries]
    _check(entries, runner, results)
    return case_record(case, results, left_out)


def too_slow_in(record: Mapping[str, Any], tools: Sequence[Tool], effort: Effort) -> dict[str, str]:
    """Return the tools that a measured case shows to be hopeless in cases like it, and why."""
    found: dict[str, str] = {}
    place = f"with q={record['case']['queries']} k={record['case']['k']} {record['case']['data']}"
    by_name = {result["tool"]: result for result in record["tools"]}
    for tool in tools:
        result, best = by_name.get(tool.name), best_rival(record["tools"], exact=tool.exact)
        if tool.name in record["left_out"]:
            reason = record["left_out"][tool.name]
            found[tool.name] = reason if reason.startswith("with ") else f"{place}: {reason}"
        elif result and best and tool.name != OURS:
            slower = result["median_ms"] / best["median_ms"]
            if slower > effort.limit(tool):
                found[tool.name] = f"{place}: {slower:.1f}x the best of its class"
    return found
