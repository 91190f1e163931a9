"""From pictures to embeddings: every picture once, in shards, with a record of what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from idsim.audit.faces import FaceSet
from idsim.audit.representing import Stages, represent_all
from idsim.audit.shards import SHARD_ITEMS, Shard, read_shard, write_shard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from idsim.audit.representing import Found
    from idsim.matchers.base import Matcher
    from idsim.sources.decoding import Content

__all__ = ["PictureSource", "ShardPlan", "compute_for_all", "compute_shards", "face_set", "shard_items"]


def shard_items() -> int:
    """Return how many pictures a shard holds."""
    return SHARD_ITEMS


class PictureSource(Protocol):
    """The pictures of one set: stored ones, or ones that are drawn when they are needed."""

    @property
    def name(self) -> str:
        """``synthetic``, ``training`` or ``holdout``."""

    @property
    def items(self) -> list[str]:
        """Names of the pictures."""

    @property
    def labels(self) -> list[str]:
        """Person (synthetic: cluster) of every picture."""

    @property
    def origin(self) -> dict[str, Any]:
        """What drew them; empty for files."""

    def key(self, description: str, start: int, stop: int) -> str:
        """Return the hash of a range of pictures and of what represents them."""

    def pictures(self, start: int, stop: int) -> Iterator[Content]:
        """Yield a range of pictures."""


@dataclass(frozen=True)
class ShardPlan:
    """The shards of a set: fixed ranges of its pictures.

    Attributes
    ----------
    source : PictureSource
        The pictures.
    description : str
        Hash of the matcher's description: shards of another one do not count.
    folder : Path
        Where the shards are.
    """

    source: PictureSource
    description: str
    folder: Path

    @property
    def numbers(self) -> range:
        """Numbers of the shards."""
        return range((len(self.source.items) + SHARD_ITEMS - 1) // SHARD_ITEMS)

    def bounds(self, number: int) -> tuple[int, int]:
        """Return first picture of a shard, and the one after its last."""
        return number * SHARD_ITEMS, min((number + 1) * SHARD_ITEMS, len(self.source.items))

    def covering(self, start: int, stop: int) -> range:
        """Return the numbers of the shards that a range of pictures lies in."""
        return range(start // SHARD_ITEMS, (stop + SHARD_ITEMS - 1) // SHARD_ITEMS)

    def key(self, number: int) -> str:
        """Return what tells a shard from any other."""
        return self.source.key(self.description, *self.bounds(number))

    def path(self, number: int) -> Path:
        """Return the file of a shard."""
        return self.folder / f"shard-{number:06d}.bin"

    def read(self, number: int) -> Shard | None:
        """Return a shard, or None where it must be computed (again)."""
        return read_shard(self.path(number), self.key(number))

    def write(self, number: int, key: str, shard: Shard) -> None:
        """Write a shard durably.

        Raises
        ------
        ValueError
            Its pictures changed since `key` was taken.
        """
        if self.key(number) != key:
            first, last = self.bounds(number)
            items = self.source.items
            raise ValueError(f"pictures changed while the run went on: {items[first]} to {items[last - 1]}")
        self.folder.mkdir(parents=True, exist_ok=True)
        write_shard(self.path(number), key, shard)


def face_set(source: PictureSource, shards: Sequence[Shard], dim: int) -> FaceSet:
    """Return a set from all its shards, in their order."""
    records = [record for shard in shards for record in shard.records]
    rows = np.flatnonzero([record["status"] == "ok" for record in records]).astype(np.int64)
    vectors = np.concatenate([np.empty((0, dim), np.float32), *(shard.vectors for shard in shards)])
    return FaceSet(source.name, source.items, source.labels, vectors, rows, records, source.origin)


def compute_shards(
    plan: ShardPlan, numbers: Sequence[int], matcher: Matcher, stages: Stages, count: Callable[[], None]
) -> Iterator[tuple[int, Shard]]:
    """Compute and write shards, and yield each with its number.

    Neighbours share one stream of pictures, so that decoding goes on across the border of a shard.

    Parameters
    ----------
    plan : ShardPlan
        What they are of.
    numbers : sequence of int
        Ascending.
    matcher : Matcher
        What represents a picture.
    stages : Stages
        Takes note of the time that each stage needs.
    count : callable
        Called after every picture.

    Raises
    ------
    ValueError
        A file changed meanwhile.
    """
    for _, pairs in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        stretch = [number for _, number in pairs]
        keys = {number: plan.key(number) for number in stretch}
        contents = plan.source.pictures(plan.bounds(stretch[0])[0], plan.bounds(stretch[-1])[1])
        found = represent_all(contents, matcher, SHARD_ITEMS, stages)
        for number in stretch:
            start, stop = plan.bounds(number)
            shard = _shard(islice(found, stop - start), matcher.dim, count)
            plan.write(number, keys[number], shard)
            yield number, shard


def compute_for_all(
    plans: Sequence[tuple[ShardPlan, Matcher]],
    number: int,
    contents: Sequence[Content],
    stages: Stages,
    count: Callable[[], None],
) -> list[Shard]:
    """Compute and write one shard for each of several matchers: every picture is decoded or drawn once.

    Parameters
    ----------
    plans : sequence of (ShardPlan, Matcher)
        Of one source.
    number : int
        Of the shard.
    contents : sequence of Content
        Its pictures.
    stages : Stages
        Takes note of the time that each stage needs.
    count : callable
        Called after every picture of every matcher.

    Raises
    ------
    ValueError
        A file changed meanwhile.
    """
    keys = [plan.key(number) for plan, _ in plans]
    shards = []
    for (plan, matcher), key in zip(plans, keys, strict=True):
        found = represent_all(iter(contents), matcher, SHARD_ITEMS, stages)
        shards.append(_shard(found, matcher.dim, count))
        plan.write(number, key, shards[-1])
    return shards


def _shard(found: Iterable[Found], dim: int, count: Callable[[], None]) -> Shard:
    records, vectors = [], []
    for record, vector in found:
        records.append(record)
        if vector is not None:
            vectors.append(vector)
        count()
    return Shard(records, np.array(vectors, np.float32).reshape(len(vectors), dim))
