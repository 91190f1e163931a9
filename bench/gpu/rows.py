"""Rows for a device's cases, made by every core: of 10 million rows, one core would need minutes."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from idsim.benchmark.cases import Float32, make_rows

BLOCK = 65_536
VALUES_PER_CORE = 4e7  # normal values that one core makes in a second


def make_many_rows(data: str, rows: int, dim: int, queries: int) -> tuple[Float32, Float32]:
    """Return queries and gallery as `make_rows` does; random rows by blocks that each have a generator of their own.

    The rows depend on sizes alone, not on how many cores there are.
    """
    if data != "random":
        return make_rows(data, rows, dim, queries)
    found, _ = make_rows(data, 1, dim, queries)
    gallery = np.empty((rows, dim), np.float32)

    def fill(start: int) -> None:
        block = gallery[start : start + BLOCK]
        np.random.default_rng([rows, dim, 2, start]).standard_normal(dtype=np.float32, out=block)
        norms = np.sqrt(np.einsum("ij,ij->i", block, block, dtype=np.float64))
        np.divide(block, norms[:, None], out=block, casting="same_kind")

    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(fill, range(0, rows, BLOCK)))
    return found, gallery


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))
