"""From pictures to embeddings: every picture once, in shards, with a record of what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from idsim.audit.faces import FaceSet
from idsim.audit.shards import SHARD_ITEMS, Shard, read_shard, write_shard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from idsim.audit.inputs import Content
    from idsim.matchers.base import Matcher

__all__ = ["PictureSource", "embed_set"]


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


def embed_set(
    source: PictureSource,
    matcher: Matcher,
    description: str,
    folder: Path,
    progress: Callable[[int, int], None],
) -> FaceSet:
    """Return the embeddings of a set; shards that an earlier run finished are read instead of computed.

    Parameters
    ----------
    source : PictureSource
        The pictures.
    matcher : Matcher
        What represents a picture.
    description : str
        Hash of the matcher's description: shards of another one do not count.
    folder : Path
        Where the shards of this set and matcher are; made if missing.
    progress : callable
        Called with (pictures done, pictures in all).

    Raises
    ------
    ValueError
        A file changed while the scan ran.
    """
    folder.mkdir(parents=True, exist_ok=True)
    items, shards = source.items, []
    for number, start in enumerate(range(0, len(items), SHARD_ITEMS)):
        stop = min(start + SHARD_ITEMS, len(items))
        key = source.key(description, start, stop)
        path = folder / f"shard-{number:06d}.bin"
        shard = read_shard(path, key)
        if shard is None:
            shard = _compute(source.pictures(start, stop), matcher, _shifted(progress, start, len(items)))
            write_shard(path, key, shard)
        shards.append(shard)
        progress(stop, len(items))
    records = [record for shard in shards for record in shard.records]
    rows = np.flatnonzero([record["status"] == "ok" for record in records]).astype(np.int64)
    vectors = np.concatenate([shard.vectors for shard in shards])
    return FaceSet(source.name, items, source.labels, vectors, rows, records, source.origin)


def _shifted(progress: Callable[[int, int], None], start: int, total: int) -> Callable[[int], None]:
    return lambda done: progress(start + done, total)


def _compute(contents: Iterator[Content], matcher: Matcher, progress: Callable[[int], None]) -> Shard:
    records = []
    vectors: list[NDArray[np.float32]] = []
    for number, content in enumerate(contents):
        record, vector = _represent(content, matcher)
        records.append(record)
        if vector is not None:
            vectors.append(vector)
        progress(number + 1)
    return Shard(records, np.array(vectors, np.float32).reshape(len(vectors), matcher.dim))


def _represent(content: Content, matcher: Matcher) -> tuple[dict[str, Any], NDArray[np.float32] | None]:
    """Return the record of a picture, and its embedding if it has one."""
    record: dict[str, Any] = {
        "status": "unreadable", "reason": "", "route": "", "faces": 0, "box": None, "confidence": None,
        "norm": None, "sha256": content.sha256,
    }  # fmt: skip
    picture = content.picture
    if picture.pixels is None:
        return record | {"reason": picture.reason}, None
    found = matcher.represent(picture.pixels)
    record |= {"route": found.route, "faces": found.faces, "confidence": found.confidence}
    record["box"] = list(found.box) if found.box else None
    if found.vector is None:
        return record | {"status": "no_face", "reason": "no face was found"}, None
    if not np.isfinite(found.vector).all():
        return record | {"status": "no_face", "reason": "the embedding is not finite"}, None
    norm = float(np.sqrt(np.dot(found.vector.astype(np.float64), found.vector.astype(np.float64))))
    return record | {"status": "ok", "norm": norm}, found.vector
