"""What the order of codes is worth: how often a warp finds that a tile's one threshold is reached.

    python -m bench.gpu.tile_hits [--dim 512] [--threshold 0.188]

Random unit rows, 8-bit codes, the thresholds of ``csrc/core/tile_bound.hpp`` for cosine. A warp looks at 16 queries
and the 128 rows of a tile at a time; where one of these pairs reaches the tile's threshold it looks at pairs one by
one. The default is what the tenth best of a million random rows reaches at 512 dimensions.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np

TILE, WARP_QUERIES, ORDER_BLOCK = 128, 16, 8192


@dataclass(frozen=True)
class Hits:
    """Shares of all pairs, and of what warps look at."""

    by_pair: float  # pairs that reach their own threshold
    by_tile: float  # pairs that reach their tile's
    warps: float  # of 16 queries and a tile, with at least one such pair


def _codes(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    scale = np.abs(rows).max(axis=1, keepdims=True) / 127
    codes = np.rint(rows / scale)
    return codes, scale[:, 0], np.linalg.norm(rows - scale * codes, axis=1)


def _unit(rng: np.random.Generator, count: int, dim: int) -> np.ndarray:
    rows = rng.standard_normal((count, dim), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def tile_hits(
    dim: int, threshold: float, *, ordered: bool, rows: int = 65_536, queries: int = 64, seed: int = 0
) -> Hits:
    """Return the shares for random unit rows, with codes in the order of rows or, within blocks of 8,192, of scales.

    rows: a multiple of 8,192. queries: a multiple of 16.
    """
    rng = np.random.default_rng(seed)
    codes, scale, residual = _codes(_unit(rng, rows, dim))
    query_codes, query_scale, query_residual = _codes(_unit(rng, queries, dim))
    if ordered:
        blocks = scale.reshape(-1, ORDER_BLOCK)
        order = np.argsort(-blocks, axis=1, kind="stable") + np.arange(0, rows, ORDER_BLOCK)[:, None]
        codes, scale, residual = codes[order.ravel()], scale[order.ravel()], residual[order.ravel()]
    u, v = (1 / scale).reshape(-1, TILE), (residual / scale).reshape(-1, TILE)
    a = ((threshold - query_residual) / query_scale)[:, None]
    b = ((1 + query_residual) / query_scale)[:, None]
    products = (query_codes @ codes.T).reshape(queries, -1, TILE)
    of_tiles = products >= np.floor(a * u.min(axis=1) - b * v.max(axis=1))[:, :, None]
    of_pairs = products >= a[:, :, None] * u - b[:, :, None] * v
    warps = of_tiles.reshape(queries // WARP_QUERIES, WARP_QUERIES, -1, TILE).any(axis=(1, 3))
    return Hits(float(of_pairs.mean()), float(of_tiles.mean()), float(warps.mean()))


def main() -> None:
    """Parse the command line and print both orders."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--threshold", type=float, default=0.188)
    chosen = parser.parse_args()
    print(f"{'order of codes':<16}{'pairs, own':>12}{'pairs, tile':>14}{'warps':>10}")
    for name, ordered in (("rows", False), ("scales", True)):
        hits = tile_hits(chosen.dim, chosen.threshold, ordered=ordered)
        print(f"{name:<16}{hits.by_pair:>12.4%}{hits.by_tile:>14.4%}{hits.warps:>10.1%}")


if __name__ == "__main__":
    main()
