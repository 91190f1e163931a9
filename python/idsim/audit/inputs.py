"""The inputs of a scan: what the three sets consist of, by content, before anything is computed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from idsim.audit.faces import FaceSet
from idsim.audit.strata_files import is_file, one_per_item, read_strata, strata_hash
from idsim.gallery import open_source
from idsim.gallery.elements import widen
from idsim.images import sha256
from idsim.sources import open_images
from idsim.sources.decoding import Content

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from idsim.audit.configuration.config import ScanConfig, SetConfig
    from idsim.sources import ImageSource
    from idsim.sources.decoding import DecoderPool

__all__ = [
    "BOX_COLUMNS",
    "RECORD_COLUMNS",
    "ImageInput",
    "StoredVectors",
    "content_hash",
    "given_labels",
    "load_embeddings",
    "read_images",
    "read_vectors",
    "tree_hash",
]

UNREADABLE = "unreadable"

# The columns of a gallery that say what became of a picture, beside ``status``.
RECORD_COLUMNS = ("reason", "route", "faces", "confidence", "norm", "sha256")
BOX_COLUMNS = ("left", "top", "right", "bottom")


@dataclass(frozen=True)
class ImageInput:
    """The pictures of one set.

    Attributes
    ----------
    name : str
        ``synthetic``, ``training`` or ``holdout``.
    source : ImageSource
        Where they are.
    hashes : list of str
        SHA-256 of every file's content; ``unreadable`` where it cannot be read.
    labels : list of str
        Person (synthetic: cluster) of every file.
    pool : DecoderPool
        Decodes them.
    """

    name: str
    source: ImageSource
    hashes: list[str]
    labels: list[str]
    pool: DecoderPool

    @property
    def items(self) -> list[str]:
        """Names of the pictures."""
        return self.source.items

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """What was left out of the source, and why."""
        return self.source.skipped

    @property
    def origin(self) -> dict[str, Any]:
        """Nothing is known of where the files come from."""
        return {}

    def fingerprint(self) -> dict[str, Any]:
        """Return what tells this input from another."""
        return {
            "images": len(self.items),
            "skipped": len(self.skipped),
            "sha256": tree_hash(self.items, self.hashes),
        }

    def key(self, description: str, start: int, stop: int) -> str:
        """Return the hash of a range of pictures and of what represents them."""
        return tree_hash([description, *self.items[start:stop]], [self.name, *self.hashes[start:stop]])

    def pictures(self, start: int, stop: int) -> Iterator[Content]:
        """Yield a range of pictures.

        Raises
        ------
        ValueError
            A file changed while the scan ran.
        """
        contents = self.pool.decode(partial(self.source.read, number) for number in range(start, stop))
        for number, content in enumerate(contents, start):
            expected = self.hashes[number]
            if content.sha256 and expected not in (UNREADABLE, content.sha256):
                raise ValueError(f"{self.source.path}: {self.items[number]} changed while the scan ran")
            yield Content(expected, content.picture)


def tree_hash(names: list[str], hashes: list[str]) -> str:
    """Return one SHA-256 over names and contents of files."""
    digest = hashlib.sha256()
    for name, content in zip(names, hashes, strict=True):
        digest.update(json.dumps([name, content]).encode() + b"\n")
    return digest.hexdigest()


def read_images(
    name: str,
    config: SetConfig,
    root: Path,
    pool: DecoderPool,
    known: dict[str, list[Any]],
    progress: Callable[[int, int], None],
) -> ImageInput:
    """List the pictures of a set and hash their contents.

    Parameters
    ----------
    name : str
        Of the set.
    config : SetConfig
        Its description.
    root : Path
        Its source.
    pool : DecoderPool
        Will decode them.
    known : dict
        ``item -> [stamp, sha256]`` of an earlier run; hashes of files that have the same bytes and time are taken
        from here. Updated in place.
    progress : callable
        Called with (files done, files in all).

    Raises
    ------
    SourceError
        The source is damaged.
    ValueError
        There is no picture, or no label of the kind that is asked for.
    OSError
        The source cannot be read.
    """
    try:
        source = open_images(root, config.kind, config.split)
    except ValueError as error:
        raise ValueError(f"[{name}] images: {error}") from error
    hashes = []
    for number in range(len(source)):
        hashes.append(_content_hash(source, number, known))
        progress(number + 1, len(source))
    return ImageInput(name, source, hashes, _image_labels(name, source, config.labels), pool)


def _content_hash(source: ImageSource, number: int, known: dict[str, list[Any]]) -> str:
    item = source.items[number]
    try:
        stamp = list(source.stamp(number))
        before = known.get(item)
        if before is not None and before[0] == stamp:
            return str(before[1])
        content = sha256(source.read(number))
    except OSError:
        return UNREADABLE
    known[item] = [stamp, content]
    return content


def _image_labels(name: str, source: ImageSource, rule: str) -> list[str]:
    if rule == "each":
        return source.items
    if rule == "folder":
        return [item.partition("/")[0] for item in source.items]
    if source.identities is None:
        raise ValueError(f"[{name}] labels: {source.path} does not say who is in its pictures")
    return source.identities


# --- embeddings -----------------------------------------------------------------------------------


class StoredVectors(NamedTuple):
    """What a file or folder of embeddings holds.

    Attributes
    ----------
    vectors : ndarray
        float32 ``[n, d]``.
    finite : ndarray
        bool ``[n]``: whether a row has neither NaN nor infinity.
    items : list of str
        Ids; row numbers where there are none.
    groups, more : list of str
        The group column, and another one that was asked for; empty where there is none.
    records : list of dict
        What is known of pictures; empty where nothing is.
    """

    vectors: NDArray[np.float32]
    finite: NDArray[np.bool_]
    items: list[str]
    groups: list[str]
    more: list[str]
    records: list[dict[str, Any]]


def read_vectors(path: Path, *, key: str | None = None, more: str = "") -> StoredVectors:
    """Read embeddings into memory, from any format that galleries are built from.

    Parameters
    ----------
    path : Path
        File or folder.
    key : str, optional
        Which matrix, where there are several.
    more : str
        A column to read beside id and group.

    Raises
    ------
    GalleryError
        The files are damaged, or of no format that is read.
    """
    source = open_source(path, key=key)
    vectors = np.empty((source.rows, source.dim), np.float32)
    finite = np.empty(source.rows, np.bool_)
    names: list[str] = []
    found = StoredVectors(vectors, finite, names, [], [], [])
    done = 0
    for batch in source.batches(65_536):
        block = widen(batch.stored, source.dtype)
        vectors[done : done + len(block)] = block
        finite[done : done + len(block)] = np.isfinite(block).all(axis=1)
        done += len(block)
        if batch.table is not None:
            names += _column(batch.table, "id")
            found.groups.extend(_column(batch.table, "group"))
            found.more.extend(_column(batch.table, more, null=""))
            found.records.extend(_known_records(batch.table))
    items = names if len(names) == source.rows else [str(row) for row in range(source.rows)]
    return found._replace(items=items)


def load_embeddings(name: str, part: SetConfig, config: ScanConfig) -> tuple[FaceSet, dict[str, Any]]:
    """Read the embeddings of a set into memory, and what tells this input from another.

    A row with NaN or infinity counts as an item without a face. Of a gallery that ``idsim embed`` made, what is known
    of every picture is read too.

    Raises
    ------
    GalleryError
        The files are damaged, or of no format that is read.
    ValueError
        There are no rows, or the labels do not fit them.
    """
    path = config.place(part.embeddings)
    stored = read_vectors(path, more=part.strata)
    vectors, finite, items, known = stored.vectors, stored.finite, stored.items, stored.records
    if not len(vectors):
        raise ValueError(f"[{name}] embeddings: {path} has no rows")
    labels = given_labels(name, part, config, items, stored.groups)
    if len(known) == len(vectors):
        for record, good in zip(known, finite.tolist(), strict=True):
            record["status"] = "ok" if good else record.get("status", "no_face")
    else:  # one record for all of a kind: there may be millions
        good_one, bad_one = ({"route": "", "faces": 1, "status": status} for status in ("ok", "no_face"))
        known = [good_one if good else bad_one for good in finite.tolist()]
    rows = np.flatnonzero(finite).astype(np.int64)
    fingerprint = {
        "rows": len(vectors),
        "dim": vectors.shape[1],
        "sha256": content_hash(vectors, labels, items),
    }
    kept = vectors if finite.all() else vectors[rows]
    faces = FaceSet(name, items, labels, kept, rows, known)
    if part.strata:
        faces.strata = _given_strata(name, part, config, items, stored.more)
        fingerprint["strata"] = strata_hash(faces.strata)
    return faces, fingerprint


def _given_strata(
    name: str, part: SetConfig, config: ScanConfig, items: list[str], column: list[str]
) -> list[str]:
    if is_file(part.strata):
        return read_strata(name, config.place(part.strata), items)
    if len(column) != len(items):
        raise ValueError(
            f"[{name}] strata: there is no column {part.strata!r}, and it is no .npy or .csv file"
        )
    return column


def _known_records(table: Any) -> list[dict[str, Any]]:
    """Return the records of pictures in a table with the columns of ``idsim embed``; of any other, none."""
    if not {"status", *RECORD_COLUMNS, *BOX_COLUMNS} <= set(table.column_names):
        return []
    records: list[dict[str, Any]] = table.select(["status", *RECORD_COLUMNS, *BOX_COLUMNS]).to_pylist()
    for record in records:
        if record["status"] not in ("no_face", "unreadable"):
            record["status"] = "no_face"  # where the row has no numbers after all
        box = [record.pop(side) for side in BOX_COLUMNS]
        record["box"] = None if None in box else box
    return records


def _column(table: Any, name: str, null: str = "None") -> list[str]:
    if name not in table.column_names:
        return []
    return [null if value is None else str(value) for value in table.column(name).to_pylist()]


def given_labels(
    name: str, part: SetConfig, config: ScanConfig, items: list[str], groups: list[str]
) -> list[str]:
    """Return the label of every item that is given as an embedding or an id, by the rule of its set."""
    if part.labels == "each":
        return items
    if part.labels == "group":
        if len(groups) != len(items):
            raise ValueError(f"[{name}] labels: there is no group column")
        return groups
    return one_per_item(f"[{name}] labels", config.place(part.labels), len(items))


def content_hash(vectors: NDArray[np.float32], labels: list[str], items: list[str]) -> str:
    """Return one SHA-256 over embeddings, labels and names."""
    digest = hashlib.sha256(np.ascontiguousarray(vectors).data)
    digest.update(json.dumps([labels, items]).encode())
    return digest.hexdigest()
