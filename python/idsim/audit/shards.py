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

__all__ = [
    "SHARD_ITEMS",
    "Sealed",
    "Shard",
    "read_sealed",
    "read_shard",
    "replace_file",
    "write_sealed",
    "write_shard",
]

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
    write_sealed(path, MAGIC, header, vectors.tobytes())


def read_shard(path: Path, key: str) -> Shard | None:
    """Return a shard, or None where there is none that verifies and is of `key`."""
    sealed = read_sealed(path, MAGIC, key)
    if sealed is None:
        return None
    vectors = np.frombuffer(sealed.payload, dtype="<f4").reshape(sealed.header["shape"]).astype(np.float32)
    return Shard(sealed.header["records"], vectors)


class Sealed(NamedTuple):
    """A file that says what it is of and whether it is whole: a header with a ``key``, and bytes."""

    header: dict[str, Any]
    payload: bytes


def write_sealed(path: Path, magic: bytes, header: dict[str, Any], payload: bytes) -> None:
    """Write durably: `magic`, a line of JSON, the payload, and the SHA-256 of everything before."""
    content = magic + json.dumps(header, ensure_ascii=True).encode() + b"\n" + payload
    replace_file(path, content + hashlib.sha256(content).digest())


def read_sealed(path: Path, magic: bytes, key: str) -> Sealed | None:
    """Return what `write_sealed` wrote, or None where nothing is there that verifies and is of `key`."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    content, digest = data[:-DIGEST_BYTES], data[-DIGEST_BYTES:]
    if hashlib.sha256(content).digest() != digest or not content.startswith(magic):
        return None
    line, _, payload = content[len(magic) :].partition(b"\n")
    header = json.loads(line)
    return Sealed(header, payload) if header["key"] == key else None


def replace_file(path: Path, data: bytes) -> None:
    """Put a file in place durably, instead of one of that name: written, fsynced, renamed, folder fsynced."""
    with NewFile(path, replace=True) as file:
        file.write(data)
        file.commit()
