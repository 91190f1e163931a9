"""The sets of a scan as one matcher sees them: given embeddings, or pictures that are embedded in shards."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Protocol

import numpy as np

from idsim.audit.embedding import face_set

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from idsim.audit.embedding import ShardPlan
    from idsim.audit.faces import FaceSet
    from idsim.audit.shards import Shard
    from idsim.matchers.base import Matcher

__all__ = ["GivenPart", "Part", "PicturePart"]


class Part(Protocol):
    """One set, for one matcher."""

    @property
    def name(self) -> str:
        """``synthetic``, ``training``, ``holdout`` or ``probes``."""

    @property
    def total(self) -> int:
        """Items."""

    @property
    def labels(self) -> list[str]:
        """Person (synthetic: cluster) of every item."""

    @property
    def identity(self) -> str:
        """Hash of the items' content and of what represents them."""

    def unfinished(self) -> list[int]:
        """Return the numbers of the shards that are not there."""

    def holds(self, start: int, stop: int) -> bool:
        """Whether the shards of a range of items are there."""

    def vectors(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return the embeddings ``[r, d]`` of a range of items, which must be there."""

    def faces(self) -> FaceSet:
        """Return the whole set, of which all shards must be there."""


class GivenPart:
    """A set whose embeddings are given.

    Parameters
    ----------
    faces : FaceSet
        The set.
    identity : str
        Hash of its content.
    """

    def __init__(self, faces: FaceSet, identity: str) -> None:
        self._faces, self.identity = faces, identity
        self.name, self.total, self.labels = faces.name, len(faces.items), faces.labels

    def unfinished(self) -> list[int]:
        """Return nothing: everything is there."""
        return []

    def holds(self, start: int, stop: int) -> bool:  # noqa: ARG002 - of pictures
        """Return True: everything is there."""
        return True

    def vectors(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return the embeddings of a range of items."""
        first, last = np.searchsorted(self._faces.rows, [start, stop])
        return self._faces.vectors[first:last]

    def faces(self) -> FaceSet:
        """Return the set."""
        return self._faces


class PicturePart:
    """A set of pictures that a matcher embeds.

    Parameters
    ----------
    plan : ShardPlan
        Its shards.
    matcher : Matcher
        What represents a picture.
    """

    def __init__(self, plan: ShardPlan, matcher: Matcher) -> None:
        self.plan, self.matcher = plan, matcher
        self.name, self.total, self.labels = plan.source.name, len(plan.source.items), plan.source.labels
        keys = [plan.key(number) for number in plan.numbers]
        self.identity = hashlib.sha256(json.dumps(keys).encode()).hexdigest()
        self._shards: dict[int, Shard] = {}
        self._faces: FaceSet | None = None

    def read(self) -> None:
        """Read the shards that are there and verify."""
        for number in self.unfinished():
            shard = self.plan.read(number)
            if shard is not None:
                self._shards[number] = shard

    def add(self, number: int, shard: Shard) -> None:
        """Take a shard that was computed."""
        self._shards[number] = shard

    def unfinished(self) -> list[int]:
        """Return the numbers of the shards that are not there."""
        return [number for number in self.plan.numbers if number not in self._shards]

    def holds(self, start: int, stop: int) -> bool:
        """Whether the shards of a range of items are there."""
        return all(number in self._shards for number in self.plan.covering(start, stop))

    def vectors(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return the embeddings of a range of items that starts and ends with a shard, or with the set."""
        shards = [self._shards[number] for number in self.plan.covering(start, stop)]
        empty = np.empty((0, self.matcher.dim), np.float32)
        return np.concatenate([empty, *(shard.vectors for shard in shards)])

    def faces(self) -> FaceSet:
        """Return the whole set."""
        if self._faces is None:
            shards = [self._shards[number] for number in self.plan.numbers]
            self._faces = face_set(self.plan.source, shards, self.matcher.dim)
        return self._faces
