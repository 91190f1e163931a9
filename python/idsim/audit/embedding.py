"""From pictures to embeddings: every file once, in shards, with a record of what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.audit.faces import FaceSet
from idsim.audit.inputs import UNREADABLE, ImageInput, tree_hash
from idsim.audit.shards import SHARD_ITEMS, Shard, read_shard, write_shard
from idsim.images import Listed, decode, read_bytes, sha256

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from idsim.matchers.base import Matcher

__all__ = ["embed_set"]


def embed_set(
    source: ImageInput,
    matcher: Matcher,
    description: str,
    folder: Path,
    progress: Callable[[int, int], None],
) -> FaceSet:
    """Return the embeddings of a set; shards that an earlier run finished are read instead of computed.

    Parameters
    ----------
    source : ImageInput
        The files.
    matcher : Matcher
        What represents a picture.
    description : str
        Hash of the matcher's description: shards of another one do not count.
    folder : Path
        Where the shards of this set and matcher are; made if missing.
    progress : callable
        Called with (files done, files in all).

    Raises
    ------
    ValueError
        A file changed while the scan ran.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shards = []
    for number, start in enumerate(range(0, len(source.files), SHARD_ITEMS)):
        files = source.files[start : start + SHARD_ITEMS]
        hashes = source.hashes[start : start + SHARD_ITEMS]
        key = tree_hash([description, *(file.item for file in files)], [source.name, *hashes])
        path = folder / f"shard-{number:06d}.bin"
        shard = read_shard(path, key)
        if shard is None:
            shard = _compute(files, hashes, matcher, _shifted(progress, start, len(source.files)))
            write_shard(path, key, shard)
        shards.append(shard)
        progress(start + len(files), len(source.files))
    records = [record for shard in shards for record in shard.records]
    rows = np.flatnonzero([record["status"] == "ok" for record in records]).astype(np.int64)
    vectors = np.concatenate([shard.vectors for shard in shards])
    return FaceSet(source.name, [file.item for file in source.files], source.labels, vectors, rows, records)


def _shifted(progress: Callable[[int, int], None], start: int, total: int) -> Callable[[int], None]:
    return lambda done: progress(start + done, total)


def _compute(
    files: list[Listed],
    hashes: list[str],
    matcher: Matcher,
    progress: Callable[[int], None],
) -> Shard:
    records = []
    vectors: list[NDArray[np.float32]] = []
    for number, (file, content) in enumerate(zip(files, hashes, strict=True)):
        record, vector = _represent(file, content, matcher)
        records.append(record)
        if vector is not None:
            vectors.append(vector)
        progress(number + 1)
    return Shard(records, np.array(vectors, np.float32).reshape(len(vectors), matcher.dim))


def _represent(
    file: Listed, content: str, matcher: Matcher
) -> tuple[dict[str, Any], NDArray[np.float32] | None]:
    """Return the record of a picture, and its embedding if it has one."""
    record: dict[str, Any] = {
        "status": "unreadable", "reason": "", "route": "", "faces": 0, "box": None, "confidence": None,
        "norm": None, "sha256": content,
    }  # fmt: skip
    try:
        data = read_bytes(file.path)
    except OSError as error:
        return record | {"reason": f"it cannot be read ({error.strerror or error})"}, None
    if content not in (UNREADABLE, sha256(data)):
        raise ValueError(f"{file.path} changed while the scan ran")
    picture = decode(data)
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
