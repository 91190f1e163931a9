"""Embeddings of pictures in shards that appear whole or not at all, so that a killed scan goes on.

A shard holds a fixed range of the files of a set: a line of JSON (what it is of, a record per file), the
embeddings as float32 in C order, and the SHA-256 of everything before it. A shard that does not verify, or is of
other files or another matcher, is computed again.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from idsim.files import NewFile

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["SHARD_ITEMS", "Shard", "read_shard", "replace_file", "write_shard"]

SHARD_ITEMS = 64  # about 10 s of dlib on one core: what a kill costs at most
MAGIC = b"idsim embeddings 1\n"
DIGEST_BYTES = 32


class Shard(NamedTuple):
    """Records of a range of files, and the embeddings of those with a face, in the same order."""

    records: list[dict[str, Any]]
    vectors: NDArray[np.float32]


def write_shard(path: Path, key: str, shard: Shard) -> None:
    """Write a shard durably; `key` names the files and the matcher that it is of."""
    vectors = np.ascontiguousarray(shard.vectors, dtype="<f4")
    header = {"key": key, "shape": list(vectors.shape), "records": shard.records}
    content = MAGIC + json.dumps(header, ensure_ascii=True).encode() + b"\n" + vectors.tobytes()
    replace_file(path, content + hashlib.sha256(content).digest())


def read_shard(path: Path, key: str) -> Shard | None:
    """Return a shard, or None where there is none that verifies and is of `key`."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    content, digest = data[:-DIGEST_BYTES], data[-DIGEST_BYTES:]
    if hashlib.sha256(content).digest() != digest or not content.startswith(MAGIC):
        return None
    line, _, rest = content[len(MAGIC) :].partition(b"\n")
    header = json.loads(line)
    if header["key"] != key:
        return None
    vectors = np.frombuffer(rest, dtype="<f4").reshape(header["shape"]).astype(np.float32)
    return Shard(header["records"], vectors)


def replace_file(path: Path, data: bytes) -> None:
    """Put a file in place durably, instead of one of that name: written, fsynced, renamed, folder fsynced."""
    path.unlink(missing_ok=True)
    with NewFile(path) as file:
        file.write(data)
        file.commit()
