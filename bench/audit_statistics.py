"""How long the statistics of earlier work and those of the shape of a set take, on made-up embeddings.

    python -m bench.audit_statistics [--synthetic 20000] [--training 200000] [--holdout 20000] [--dim 512] [--rows 0]

A person is a point of 48 dimensions in a space of `dim`, a face is that point plus noise. Each line is one call,
timed once; what the calls share (nearest neighbours) has lines of its own. With ``--rows`` only so many training faces
are searched for in the training set, and the balls of the others get their radii: that takes `overlap` as long, and
its result means nothing.
"""

from __future__ import annotations

import argparse
import resource
import time
from typing import TYPE_CHECKING, Any

import numpy as np

import idsim
from idsim.audit import literature, manifold

if TYPE_CHECKING:
    from collections.abc import Callable

INNER = 48


def faces(rng: np.random.Generator, persons: int, images: int, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Return unit vectors and the person of each; the space is the same for all sets."""
    axes = np.random.default_rng(0).standard_normal((INNER, dim), dtype=np.float32)
    codes = np.repeat(np.arange(persons), images)
    points = rng.standard_normal((persons, INNER), dtype=np.float32)[codes] @ axes
    points += 3.0 * rng.standard_normal(points.shape, dtype=np.float32)
    return np.asarray(idsim.normalize(points)), codes


def timed(name: str, call: Callable[[], Any]) -> Any:
    """Print a line and return what the call returned."""
    start = time.perf_counter()
    result = call()
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"| {name} | {seconds:.1f} | {peak:.2f} |", flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in (
        ("synthetic", 20_000),
        ("training", 200_000),
        ("holdout", 20_000),
        ("dim", 512),
        ("rows", 0),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    rng = np.random.default_rng(1)
    s, draws = faces(rng, given.synthetic, 1, given.dim)
    t, persons = faces(rng, given.training // 2, 2, given.dim)
    h, others = faces(rng, given.holdout // 2, 2, given.dim)
    print("| what | s | peak memory so far, GiB |\n|---|---|---|")
    near_s = timed("5 neighbours, S in S", lambda: manifold.neighbours(s, 5))
    rows = None if not given.rows else np.sort(rng.permutation(len(t))[: given.rows])
    searched = len(t) if rows is None else len(rows)
    near_t = timed(f"5 neighbours, {searched} of T in T", lambda: manifold.neighbours(t, 5, rows=rows))
    best = timed("best match, S in T", lambda: idsim.search(s, t, 1))
    timed("spread of T", lambda: manifold.spread(t, "cosine", rng, persons=persons))
    timed(
        f"two_nn and levina_bickel, {searched} of T",
        lambda: [f(near_t) for f in (manifold.two_nn, manifold.levina_bickel)],
    )
    radii = [near_s.distances[:, -1], np.resize(near_t.distances[:, -1], len(t))]
    timed("overlap of S with T", lambda: manifold.overlap(s, t, *radii, 5, clusters=draws, persons=persons))
    pairs = timed("pairs of S x S from a cosine of 0.45", lambda: idsim.pairs_above(s, threshold=0.45))
    print(f"| ({len(pairs.rows)} pairs) | | |")
    timed(
        "duplication",
        lambda: manifold.duplication(pairs.rows, pairs.columns, np.ones(len(s), np.int64), fmr=1e-4),
    )
    timed("identity_capacity of S", lambda: manifold.identity_capacity(s, 0.5))
    rows = np.unique(best.ids)
    other = timed("nearest_others", lambda: literature.nearest_others(t, rows, "cosine"))
    timed(
        "authenticity",
        lambda: literature.authenticity(best.scores[:, 0], best.ids[:, 0], rows, other, "cosine"),
    )
    timed("copying_cells (C_T)", lambda: literature.copying_cells(s, t, h, rng, persons=others))
    timed("likelihood_gap (FLD)", lambda: literature.likelihood_gap(s, t, h, training_persons=persons))


if __name__ == "__main__":
    main()
