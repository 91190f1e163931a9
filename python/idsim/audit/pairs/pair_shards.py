"""Comparisons of two sets in shards that appear whole or not at all, so that a killed scan goes on.

A shard is what comparing a fixed range of items of one set with all of another gave (`Compared`): a line of JSON, the
best matches, the tail, and the SHA-256 of everything before it. One that does not verify, or is of other sets, is
computed again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from idsim.audit.pairs.compared import Compared
from idsim.audit.shards import read_sealed, write_sealed
from idsim.results import Pairs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["NOTHING_LISTED", "best_of_tail", "joined", "read_pairs", "write_pairs"]

MAGIC = b"idsim comparisons 1\n"
COLUMNS = ("<f4", "<i8", "<i8", "<i8", "<f4")

# The level of a comparison whose tail was too large to be listed: no threshold is strict enough.
NOTHING_LISTED = {"l2": -np.inf}


def write_pairs(path: Path, key: str, compared: Compared) -> None:
    """Write a shard durably; `key` names the sets, the range and the level that it is of."""
    arrays = (compared.scores, compared.ids, *compared.tail)
    header = {
        "key": key,
        "metric": compared.metric,
        "level": repr(float(compared.level)),
        "shape": list(compared.scores.shape),
        "pairs": len(compared.tail.rows),
    }
    payload = b"".join(
        np.ascontiguousarray(array, dtype=kind).tobytes() for array, kind in zip(arrays, COLUMNS, strict=True)
    )
    write_sealed(path, MAGIC, header, payload)


def read_pairs(path: Path, key: str) -> Compared | None:
    """Return a shard, or None where there is none that verifies and is of `key`."""
    sealed = read_sealed(path, MAGIC, key)
    if sealed is None:
        return None
    header = sealed.header
    rows, count = header["shape"]
    sizes = (rows * count, rows * count, header["pairs"], header["pairs"], header["pairs"])
    arrays, place = [], 0
    for size, kind in zip(sizes, COLUMNS, strict=True):
        arrays.append(np.frombuffer(sealed.payload, dtype=kind, count=size, offset=place))
        place += arrays[-1].nbytes
    scores, ids = (array.reshape(rows, count) for array in arrays[:2])
    return Compared(header["metric"], scores, ids, float(header["level"]), Pairs(*arrays[2:]))


def joined(parts: Sequence[Compared], metric: str) -> Compared:
    """Return the comparison of a whole set from those of its ranges, in their order."""
    width = max((part.scores.shape[1] for part in parts), default=0)
    firsts = np.cumsum([0, *(len(part.scores) for part in parts)])
    rows = [part.tail.rows + first for part, first in zip(parts, firsts, strict=False)]
    levels = [part.level for part in parts]
    return Compared(
        metric,
        np.concatenate([np.empty((0, width), np.float32), *(part.scores for part in parts)]),
        np.concatenate([np.empty((0, width), np.int64), *(part.ids for part in parts)]),
        (min if metric == "l2" else max)(levels, default=NOTHING_LISTED.get(metric, np.inf)),
        Pairs(
            np.concatenate([np.empty(0, np.int64), *rows]),
            np.concatenate([np.empty(0, np.int64), *(part.tail.columns for part in parts)]),
            np.concatenate([np.empty(0, np.float32), *(part.tail.scores for part in parts)]),
        ),
    )


def best_of_tail(
    tail: Pairs, count: int, k: int, metric: str
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return scores and ids ``[count, k]`` of the best matches of every face in a self-comparison, from its tail.

    Where fewer than k pairs of a face are listed, id -1 and the worst score stand.

    Parameters
    ----------
    tail : Pairs
        Every pair once.
    count, k : int
        Faces, and matches wanted of each.
    metric : str
        ``l2``: lower is better.
    """
    k = min(k, max(0, count - 1))
    scores = np.full((count, k), np.inf if metric == "l2" else -np.inf, np.float32)
    ids = np.full((count, k), -1, np.int64)
    rows = np.concatenate([tail.rows, tail.columns])
    others = np.concatenate([tail.columns, tail.rows])
    values = np.concatenate([tail.scores, tail.scores])
    order = np.lexsort((others, values if metric == "l2" else -values, rows))
    rows = rows[order]
    rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
    kept = rank < k
    scores[rows[kept], rank[kept]] = values[order][kept]
    ids[rows[kept], rank[kept]] = others[order][kept]
    return scores, ids
