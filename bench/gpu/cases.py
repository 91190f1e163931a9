"""What is measured on a device, in order of worth, how long it may take, and what it is meant to reach."""

from __future__ import annotations

from idsim.benchmark import Case

MILLION = 1_000_000
MOST_QUERIES = 65_536

# The headline sizes first; cases of one gallery stand together, for making 10 million rows takes minutes.
CASES = [
    *(Case(q, MILLION) for q in (1024, 32, 1, 65_536, 128, 8, 2)),
    Case(1, 1000),
    *(Case(q, 10 * MILLION) for q in (65_536, 1, 32, 1024)),
    *(Case(1024, 10 * MILLION, k=k) for k in (1000, 4096)),
    *(Case(q, MILLION, dim=128) for q in (65_536, 1, 32, 1024)),
    *(Case(1024, MILLION, k=k) for k in (1000, 4096, 100, 1)),
    *(Case(32, MILLION, k=k) for k in (1000, 4096)),
    *(Case(q, MILLION, mode="one-shot") for q in (1024, 32, 1)),
    *(Case(q, MILLION, data="clustered") for q in (32, 1024)),
    *(Case(q, 10 * MILLION, dim=128) for q in (65_536, 32)),
]


def expected_seconds(case: Case, *, rows_are_there: bool) -> float:
    """Return a cautious guess for one case: making the rows, trials, and a dozen float32 products of its size.

    One core makes 40 million values a second; float32 products without tensor cores reach 40 TFLOP/s.
    """
    making = 0.0 if rows_are_there else case.rows * case.dim / 4e7
    return making + 20.0 + 12 * case.flops / 4e13


def goals(case: Case) -> tuple[tuple[str, float], ...]:
    """Return what a case is meant to reach: ("product bfloat16", 1.0) is a ratio, ("read", 0.85) a share of a peak."""
    if case.dim != 512 or case.k != 10 or case.data != "random" or case.mode != "prepared":
        return ()
    if case.queries <= 32:
        return (("read", 0.85),)
    if case.queries == 65_536 and case.rows == 10 * MILLION:
        return (("product bfloat16", 1.0), ("torch bfloat16", 3.0))
    return ()
