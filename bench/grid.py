"""The cases of the table, and what each is meant to reach."""

from __future__ import annotations

from dataclasses import dataclass

from idsim.benchmark import Case

BATCHES = (*((queries, 1_000_000) for queries in (1, 2, 4, 8, 16, 32, 64, 256, 1024)), (4096, 200_000))
DIMS = (512, 128)
KS = (1, 10, 100, 1000)
DATA = ("random", "clustered")
MODES = ("prepared", "one-shot")

# The reduced table: every batch at k = 10 on random rows, and the other axes at three batches.
PROBES = ((1, 1_000_000), (32, 1_000_000), (1024, 1_000_000))


@dataclass(frozen=True)
class Goal:
    """Ratios to the best exact and the best inexact rival that a case is meant to reach."""

    exact: float
    inexact: float | None = None


def goal(case: Case) -> Goal | None:
    """Return the goal of a case; there are goals for 512 dimensions and k = 10 alone."""
    if case.dim != 512 or case.k != 10 or case.data != "random":
        return None
    if case.mode == "one-shot":
        return Goal(3.5) if case.queries == 1024 else None
    by_queries = {
        1: Goal(6, 3), 2: Goal(5), 4: Goal(5), 8: Goal(4), 16: Goal(4), 32: Goal(7, 3), 64: Goal(5.5, 3),
    }  # fmt: skip
    return by_queries.get(case.queries, Goal(4.5, 3))


def whole() -> list[Case]:
    """Return every combination: 320 cases, many hours."""
    return [
        Case(queries, rows, dim, k, data, mode)
        for dim in DIMS
        for data in DATA
        for mode in MODES
        for k in KS
        for queries, rows in BATCHES
    ]


def reduced() -> list[Case]:
    """Return the table of a release: one axis at a time, about an hour."""
    cases = [Case(queries, rows) for queries, rows in BATCHES]
    cases += [Case(queries, rows, mode="one-shot") for queries, rows in PROBES]
    cases += [Case(queries, rows, k=k) for k in KS if k != 10 for queries, rows in PROBES]
    cases += [Case(queries, rows, data="clustered") for queries, rows in PROBES]
    cases += [Case(queries, rows, k=100, data="clustered") for queries, rows in PROBES]
    cases += [Case(queries, rows, dim=128) for queries, rows in (*PROBES, BATCHES[2], BATCHES[-1])]
    return cases


def matching(cases: list[Case], patterns: list[str]) -> list[Case]:
    """Return the cases whose name holds all words of any pattern, such as "q=32 d=512 prepared"."""
    if not patterns:
        return cases
    wanted = [set(pattern.split()) for pattern in patterns]
    return [case for case in cases if any(words <= set(case.name.split()) for words in wanted)]
