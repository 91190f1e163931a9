"""The inputs of a scan: what the three sets consist of, by content, before anything is computed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from idsim.audit.faces import FaceSet
from idsim.gallery import open_source
from idsim.gallery.elements import widen
from idsim.images import Listed, Picture, decode, list_images, read_bytes, sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from idsim.audit.config import ScanConfig, SetConfig

__all__ = ["Content", "ImageInput", "given_labels", "load_embeddings", "read_images", "tree_hash"]

UNREADABLE = "unreadable"


class Content(NamedTuple):
    """A picture, and the hash of its content."""

    sha256: str
    picture: Picture


@dataclass(frozen=True)
class ImageInput:
    """The pictures of one set.

    Attributes
    ----------
    name : str
        ``synthetic``, ``training`` or ``holdout``.
    files : list of Listed
        In order of their names.
    hashes : list of str
        SHA-256 of every file's content; ``unreadable`` where it cannot be read.
    labels : list of str
        Person (synthetic: cluster) of every file.
    skipped : list of tuple
        What was left out of the folder, and why.
    """

    name: str
    files: list[Listed]
    hashes: list[str]
    labels: list[str]
    skipped: list[tuple[str, str]]

    @property
    def items(self) -> list[str]:
        """Names of the pictures."""
        return [file.item for file in self.files]

    @property
    def origin(self) -> dict[str, Any]:
        """Nothing is known of where the files come from."""
        return {}

    def fingerprint(self) -> dict[str, Any]:
        """Return what tells this input from another."""
        return {
            "images": len(self.files),
            "skipped": len(self.skipped),
            "sha256": tree_hash(self.items, self.hashes),
        }

    def key(self, description: str, start: int, stop: int) -> str:
        """Return the hash of a range of pictures and of what represents them."""
        files = self.files[start:stop]
        return tree_hash([description, *(file.item for file in files)], [self.name, *self.hashes[start:stop]])

    def pictures(self, start: int, stop: int) -> Iterator[Content]:
        """Yield a range of pictures.

        Raises
        ------
        ValueError
            A file changed while the scan ran.
        """
        for file, content in zip(self.files[start:stop], self.hashes[start:stop], strict=True):
            try:
                data = read_bytes(file.path)
            except OSError as error:
                reason = f"it cannot be read ({error.strerror or error})"
                yield Content(content, Picture(None, reason))
                continue
            if content not in (UNREADABLE, sha256(data)):
                raise ValueError(f"{file.path} changed while the scan ran")
            yield Content(content, decode(data))


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
        Its folder.
    known : dict
        ``item -> [bytes, mtime_ns, sha256]`` of an earlier run; hashes of files that have the same size and
        time are taken from here. Updated in place.
    progress : callable
        Called with (files done, files in all).

    Raises
    ------
    ValueError
        There is no picture in the folder.
    OSError
        The folder cannot be read.
    """
    listing = list_images(root)
    if not listing.images:
        raise ValueError(f"[{name}] images: there is no JPEG, PNG or WebP file in {root}")
    hashes = []
    for number, file in enumerate(listing.images):
        hashes.append(_content_hash(file, known))
        progress(number + 1, len(listing.images))
    labels = [_label(file.item, config.labels) for file in listing.images]
    return ImageInput(name, listing.images, hashes, labels, listing.skipped)


def _content_hash(file: Listed, known: dict[str, list[Any]]) -> str:
    try:
        status = file.path.stat(follow_symlinks=False)
        key = [status.st_size, status.st_mtime_ns]
        before = known.get(file.item)
        if before is not None and before[:2] == key:
            return str(before[2])
        content = sha256(read_bytes(file.path))
    except OSError:
        return UNREADABLE
    known[file.item] = [*key, content]
    return content


def _label(item: str, rule: str) -> str:
    folder, _, _ = item.partition("/")
    return folder if rule == "folder" else item


# --- embeddings -----------------------------------------------------------------------------------


def load_embeddings(name: str, part: SetConfig, config: ScanConfig) -> tuple[FaceSet, dict[str, Any]]:
    """Read the embeddings of a set into memory, and what tells this input from another.

    A row with NaN or infinity counts as an item without a face.

    Raises
    ------
    GalleryError
        The files are damaged, or of no format that is read.
    ValueError
        There are no rows, or the labels do not fit them.
    """
    path = config.place(part.embeddings)
    source = open_source(path)
    if not source.rows:
        raise ValueError(f"[{name}] embeddings: {path} has no rows")
    vectors = np.empty((source.rows, source.dim), np.float32)
    names: list[str] = []
    groups: list[str] = []
    done = 0
    for batch in source.batches(65_536):
        block = widen(batch.stored, source.dtype)
        vectors[done : done + len(block)] = block
        done += len(block)
        if batch.table is not None:
            names += _column(batch.table, "id")
            groups += _column(batch.table, "group")
    items = names if len(names) == source.rows else [str(row) for row in range(source.rows)]
    labels = given_labels(name, part, config, items, groups)
    finite: NDArray[np.bool_] = np.all(np.isfinite(vectors), axis=1)
    records = [{"status": "ok" if good else "no_face", "route": "", "faces": 1} for good in finite.tolist()]
    rows = np.flatnonzero(finite).astype(np.int64)
    fingerprint = {"rows": source.rows, "dim": source.dim, "sha256": _content(vectors, labels, items)}
    return FaceSet(name, items, labels, vectors[rows], rows, records), fingerprint


def _column(table: Any, name: str) -> list[str]:
    return [str(value) for value in table.column(name).to_pylist()] if name in table.column_names else []


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
    path = config.place(part.labels)
    try:
        labels = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"[{name}] labels: {path} is no .npy file of labels ({error})") from error
    if not isinstance(labels, np.ndarray):
        raise ValueError(f"[{name}] labels: {path} is no .npy file of labels (it is an archive)")
    if labels.shape != (len(items),) or labels.dtype.kind not in "iuU":
        raise ValueError(
            f"[{name}] labels: {path} must hold {len(items)} integers or strings, "
            f"not {labels.dtype} {list(labels.shape)}"
        )
    return [str(label) for label in labels.tolist()]


def _content(vectors: NDArray[np.float32], labels: list[str], items: list[str]) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(vectors).data)
    digest.update(json.dumps([labels, items]).encode())
    return digest.hexdigest()
