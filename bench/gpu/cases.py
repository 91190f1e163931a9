"""What is measured on a device, in order of worth, how long it may take, and what it is meant to reach."""

from __future__ import annotations

from bench.gpu.rows import VALUES_PER_CORE, cores
from idsim.benchmark import Case

MILLION = 1_000_000
MOST_QUERIES = 65_536
# Of 512 values: 41 GB of float32 rows and 83 GB of copies and codes, for a device with 139 GiB. Of 128: 27 and 55.
LARGEST = {512: 20 * MILLION, 128: 50 * MILLION}
COPY_RATE = 5e9  # bytes a second from memory that is not pinned, at worst

# The headline sizes first; cases of one gallery stand together, for making its rows and copies takes as long as a case.
CASES = [
    *(Case(q, MILLION) for q in (65_536, 1024, 1, 32)),
    *(Case(1024, MILLION, k=k) for k in (100, 1000, 1)),
    *(Case(q, 10 * MILLION) for q in (65_536, 1, 32, 1024)),
    *(Case(1024, 10 * MILLION, k=k) for k in (1000, 100, 1)),
    *(Case(q, MILLION, dim=128) for q in (65_536, 1024, 1, 32)),
    *(Case(q, MILLION, dim=1024) for q in (65_536, 1024, 1, 32)),
    *(Case(q, MILLION, dim=256) for q in (65_536, 1024, 1, 32)),
    *(Case(q, LARGEST[512]) for q in (65_536, 1, 1024)),
    *(Case(q, LARGEST[128], dim=128) for q in (65_536, 1, 1024)),
    *(Case(q, MILLION) for q in (128, 8, 256, 4096, 16_384, 2, 512)),
    *(Case(q, MILLION, k=k) for k in (1000, 100, 1) for q in (65_536, 32, 1)),
    *(Case(1024, MILLION, k=4096), Case(32, MILLION, k=4096)),
    *(Case(q, MILLION, mode="one-shot") for q in (1024, 32, 1)),
    Case(1, 1000),
    *(Case(q, 10 * MILLION, k=k) for k in (1000, 100) for q in (65_536, 32)),
    Case(1024, 10 * MILLION, k=4096),
    *(Case(1024, MILLION, dim=dim, k=k) for dim in (128, 1024, 256) for k in (1000, 100, 1)),
    *(Case(q, 10 * MILLION, dim=128) for q in (65_536, 1024, 32, 1)),
    *(Case(q, MILLION, data="clustered") for q in (32, 1024)),
]


def expected_seconds(case: Case, *, rows_are_there: bool) -> float:
    """Return a cautious guess for one case: making and copying the rows, trials, and a dozen products of its size.

    float32 products without tensor cores reach 40 TFLOP/s; what takes longer than the effort allows is left out.
    """
    values = case.rows * case.dim
    makers = 1 if case.data == "clustered" else cores()
    making = 0.0 if rows_are_there else values / (makers * VALUES_PER_CORE)
    return making + 4 * values / COPY_RATE + 10.0 + min(12 * case.flops / 4e13, 120.0)


def goals(case: Case) -> tuple[tuple[str, float], ...]:
    """Return what a case is meant to reach: ("product bfloat16", 1.0) is a ratio, ("read", 0.85) a share of a peak."""
    if case.dim != 512 or case.k != 10 or case.data != "random" or case.mode != "prepared":
        return ()
    if case.queries <= 32:
        return (("read", 0.85),)
    if case.queries == 65_536 and case.rows == 10 * MILLION:
        return (("product bfloat16", 1.0), ("torch bfloat16", 3.0))
    return ()
