"""Damaged files: every truncation that matters, and random edits of the bytes."""

from __future__ import annotations

import random
from collections.abc import Iterator


def truncations(data: bytes, dense: int = 300, others: int = 40) -> Iterator[bytes]:
    """Yield proper prefixes: all short ones, some in between, the ones that lack a few bytes at the end."""
    lengths = set(range(min(dense, len(data))))
    lengths |= {len(data) * i // (others + 1) for i in range(1, others + 1)}
    lengths |= {len(data) - i for i in range(1, 17) if i <= len(data)}
    for length in sorted(lengths):
        yield data[:length]


def edits(data: bytes, count: int, seed: int, head: int | None = None) -> Iterator[bytes]:
    """Yield `count` damaged copies of `data`, most of the damage within its first `head` bytes."""
    rng = random.Random(seed)
    for _ in range(count):
        damaged = bytearray(data)
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            size = len(damaged)
            limit = size if head is None or rng.random() < 0.2 else min(head, size)
            _edit(damaged, rng.randrange(max(1, limit)), rng)
        if damaged != data:
            yield bytes(damaged)


def _edit(data: bytearray, place: int, rng: random.Random) -> None:
    kind = rng.randrange(6)
    if kind == 0:
        data[place : place + 1] = bytes([data[place] ^ (1 << rng.randrange(8))] if data else b"")
    elif kind == 1:
        data[place : place + 1] = rng.randbytes(1)
    elif kind == 2:
        data[place:place] = rng.randbytes(rng.choice((1, 2, 4, 8)))
    elif kind == 3:
        del data[place : place + rng.choice((1, 2, 4, 8))]
    elif kind == 4:
        extreme = rng.choice((b"\xff", b"\x00", b"\x7f", b"9"))
        data[place : place + 8] = extreme * rng.choice((1, 2, 4, 8))
    else:
        other = rng.randrange(max(1, len(data)))
        data[place : place + 4] = data[other : other + 4]
