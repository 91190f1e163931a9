"""Seeds as they are written on a command line: ``0-9999,20000``, first to last, both included."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import overload

__all__ = ["Seeds", "parse_seeds"]

LAST_SEED = 2**32 - 1  # what numpy.random.RandomState takes
MAX_SEEDS = 100_000_000


class Seeds(Sequence[int]):
    """Ranges of seeds as one sequence, which takes no memory for the numbers.

    Parameters
    ----------
    ranges : list of range
        Ascending, without overlap.
    """

    def __init__(self, ranges: list[range]) -> None:
        self._ranges = ranges
        self._starts = [0, *accumulate(len(part) for part in ranges)]

    def __len__(self) -> int:
        return self._starts[-1]

    def __str__(self) -> str:
        """Return the shortest text that `parse_seeds` makes the same seeds of."""
        joined: list[range] = []
        for part in self._ranges:
            if joined and joined[-1].stop == part.start:
                joined[-1] = range(joined[-1].start, part.stop)
            else:
                joined.append(part)
        return ",".join(
            str(part.start) if len(part) == 1 else f"{part.start}-{part.stop - 1}" for part in joined
        )

    @overload
    def __getitem__(self, place: int) -> int: ...
    @overload
    def __getitem__(self, place: slice) -> list[int]: ...
    def __getitem__(self, place: int | slice) -> int | list[int]:
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(len(self)))]
        number = place + len(self) if place < 0 else place
        if not 0 <= number < len(self):
            raise IndexError(place)
        part = bisect_right(self._starts, number) - 1
        return self._ranges[part][number - self._starts[part]]


def parse_seeds(text: str) -> Seeds:
    """Return the seeds of a text like ``0-9999,20000``, ascending.

    Raises
    ------
    ValueError
        It is written otherwise, names a seed twice or beyond 2^32 - 1, or more than 100 million.
    """
    ranges = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,20})\s*(?:-\s*(\d{1,20})\s*)?", part, re.ASCII)
        if match is None:
            raise ValueError(f"seeds must be like 0-9999,20000, not {text!r}")
        first = int(match[1])
        last = first if match[2] is None else int(match[2])
        if last < first:
            raise ValueError(f"seeds {part.strip()} run backwards: write {last}-{first}")
        if last > LAST_SEED:
            raise ValueError(f"seeds go from 0 to {LAST_SEED}, and {last} is beyond")
        ranges.append(range(first, last + 1))
    ordered = sorted(ranges, key=lambda part: part.start)
    for before, after in pairwise(ordered):
        if after.start < before.stop:
            raise ValueError(f"seed {after.start} is named twice in {text!r}")
    seeds = Seeds(ordered)
    if len(seeds) > MAX_SEEDS:
        raise ValueError(f"{text} are more than {MAX_SEEDS} seeds: cut the work into several runs")
    return seeds
