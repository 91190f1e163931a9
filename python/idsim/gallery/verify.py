"""Every byte of a gallery against its manifest."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from idsim.errors import GalleryError
from idsim.files import READ_BYTES, InputFile, hash_file
from idsim.gallery.elements import nonfinite_rows
from idsim.gallery.format import Shard, storage_dtype
from idsim.gallery.npy import read_header
from idsim.gallery.rows import read_table
from idsim.gallery.unique import UniqueIds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from idsim.files import FileEntry
    from idsim.gallery.format import Manifest
    from idsim.gallery.prepared import PreparedManifest

__all__ = ["VerifyReport", "all_entries", "find_problems"]


class VerifyReport(NamedTuple):
    """What was found to be as the manifest says.

    Attributes
    ----------
    files : int
        Files read, without the manifest.
    bytes : int
        Their bytes.
    rows : int
        Rows of the gallery.
    """

    files: int
    bytes: int
    rows: int


def find_problems(
    folder: Path,
    manifest: Manifest,
    prepared: PreparedManifest | None,
    progress: Callable[[int, int], object] | None,
) -> Iterator[GalleryError]:
    """Yield everything that is not as the manifests say, file by file.

    Sizes and SHA-256 of all files, headers and shapes of the vectors, NaN and infinities (only as many rows
    as the manifest counts), schemas and row counts of the tables, missing ids and groups, ids that stand
    twice.

    Parameters
    ----------
    folder : Path
        The gallery.
    manifest : Manifest
        Its manifest.
    prepared : PreparedManifest, optional
        The manifest of its codes.
    progress : callable, optional
        Called with bytes done and bytes in all.
    """
    on_bytes = _counter(sum(entry.bytes for entry in all_entries(manifest, prepared)), progress)
    ids = UniqueIds()
    tables_hold = True
    for shard in manifest.shards:
        yield from _caught(_check_vectors, folder, manifest, shard, on_bytes)
        if shard.table is None:
            continue
        problems = list(_caught(_check_table, folder, manifest, shard, ids, on_bytes))
        tables_hold = tables_hold and not problems
        yield from problems
    if tables_hold:
        try:
            ids.check(folder, manifest.shards, manifest.columns)
        except ValueError as error:
            yield GalleryError(folder, "column 'id'", str(error))
    for files in prepared.shards if prepared else ():
        for entry in files:
            yield from _caught(_check_file, folder, entry, on_bytes)


def all_entries(manifest: Manifest, prepared: PreparedManifest | None) -> Iterator[FileEntry]:
    """Yield every file that the manifests name."""
    for shard in manifest.shards:
        yield shard.vectors
        if shard.table is not None:
            yield shard.table
    for files in prepared.shards if prepared else ():
        yield from files


def _counter(total: int, progress: Callable[[int, int], object] | None) -> Callable[[int], None]:
    done = 0

    def count(size: int) -> None:
        nonlocal done
        done += size
        if progress is not None:
            progress(min(done, total), total)

    return count


def _caught(check: Callable[..., None], *arguments: object) -> Iterator[GalleryError]:
    try:
        check(*arguments)
    except GalleryError as error:
        yield error


def _check_vectors(folder: Path, manifest: Manifest, shard: Shard, on_bytes: Callable[[int], None]) -> None:
    """Hash a shard and count its rows with NaN or infinities, in one pass over the file."""
    path = folder / shard.vectors.file
    dtype = storage_dtype(manifest.dtype)
    with InputFile(path) as file:
        _check_size(file, shard.vectors)
        header = read_header(file)
        if header.dtype != dtype or header.shape != (shard.rows, manifest.dim):
            raise GalleryError(
                path,
                "npy header",
                f"the array is {header.dtype.str} {header.shape}, "
                f"the manifest says {dtype.str} {(shard.rows, manifest.dim)}",
            )
        file.expect_sequential()
        digest = hashlib.sha256(file.read(0, header.offset))
        rows = max(1, READ_BYTES // (manifest.dim * dtype.itemsize))
        buffer = np.empty((min(rows, shard.rows), manifest.dim), dtype)
        bad, first_bad = 0, -1
        for first in range(0, shard.rows, rows):
            block = buffer[: min(rows, shard.rows - first)]
            file.read_into(block.view(np.uint8).data, header.offset + first * block[0].nbytes)
            digest.update(block.data)
            found = nonfinite_rows(block, manifest.dtype)
            if len(found) and first_bad < 0:
                first_bad = first + int(found[0])
            bad += len(found)
            on_bytes(block.nbytes)
    _check_digest(path, digest.hexdigest(), shard.vectors)
    if bad != shard.nonfinite_rows:
        raise GalleryError(
            path,
            f"row {max(first_bad, 0)}",
            f"{bad} rows hold NaN or infinities, the manifest counts {shard.nonfinite_rows}",
        )


def _check_table(
    folder: Path, manifest: Manifest, shard: Shard, ids: UniqueIds, on_bytes: Callable[[int], None]
) -> None:
    if shard.table is not None:
        _check_file(folder, shard.table, on_bytes)
        ids.add(read_table(folder / shard.table.file, manifest.columns, shard.rows)["id"])


def _check_file(folder: Path, entry: FileEntry, on_bytes: Callable[[int], None]) -> None:
    path = folder / entry.file
    with InputFile(path) as file:
        _check_size(file, entry)
    _check_digest(path, hash_file(path, on_bytes).sha256, entry)


def _check_size(file: InputFile, entry: FileEntry) -> None:
    if file.size != entry.bytes:
        raise GalleryError(
            file.path, "size", f"the file has {file.size} bytes, the manifest says {entry.bytes}"
        )


def _check_digest(path: Path, found: str, entry: FileEntry) -> None:
    if found != entry.sha256:
        raise GalleryError(
            path,
            "sha256",
            f"the content has changed: it is {found[:16]}..., the manifest says {entry.sha256[:16]}...",
        )
