"""The manifest of prepared codes, version 1 (docs/formats.md is the specification)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from idsim import _core
from idsim.gallery.format import MAX_MANIFEST_BYTES, Manifest, parse_entry, shard_file
from idsim.strict_json import Fields, digest, read_object, seal

if TYPE_CHECKING:
    from pathlib import Path

    from idsim.files import FileEntry

__all__ = ["ARRAYS", "PREPARED", "PreparedManifest", "PreparedShard", "read_prepared_manifest"]

FORMAT = "idsim-prepared"
VERSION = 1
PREPARED = "prepared.json"

# Kind of array -> element type. All have one entry per row; codes have `padded_dim` elements each.
ARRAYS = {"codes": "|u1", "scale": "<f4", "residual": "<f4", "norm": "<f8"}


class PreparedShard(NamedTuple):
    """The files of one shard."""

    codes: FileEntry
    scale: FileEntry
    residual: FileEntry
    norm: FileEntry


@dataclass(frozen=True)
class PreparedManifest:
    """What `prepared.json` says.

    Attributes
    ----------
    gallery : str
        Digest of the gallery's manifest: the codes belong to these rows and no others.
    padded_dim : int
        Codes of a row.
    shards : tuple of PreparedShard
        As many as the gallery has.
    """

    gallery: str
    padded_dim: int
    shards: tuple[PreparedShard, ...]

    def render(self) -> bytes:
        """Return the bytes of `prepared.json`."""
        return seal(self._content())

    @property
    def digest(self) -> str:
        """SHA-256 of the content."""
        return digest(self._content())

    @property
    def bytes(self) -> int:
        """Bytes of all files."""
        return sum(entry.bytes for shard in self.shards for entry in shard)

    def _content(self) -> dict[str, object]:
        return {
            "format": FORMAT,
            "version": VERSION,
            "gallery": self.gallery,
            "padded_dim": self.padded_dim,
            "shards": [
                {kind: entry._asdict() for kind, entry in shard._asdict().items()} for shard in self.shards
            ],
        }


def read_prepared_manifest(path: Path, gallery: Manifest) -> PreparedManifest:
    """Read and check `prepared.json`.

    Raises
    ------
    GalleryError
        It is damaged, of another version, or belongs to other rows.
    """
    content = read_object(path, MAX_MANIFEST_BYTES)
    fields = Fields(content, path, "manifest")
    if (name := fields.text("format")) != FORMAT:
        fields.refuse("format", f"is {name!r}, not {FORMAT!r}")
    if (version := fields.count("version")) != VERSION:
        fields.refuse("version", f"is {version}; this idsim reads version {VERSION}")
    sealed = fields.text("sha256")
    owner, padded = fields.text("gallery"), fields.count("padded_dim")
    shards = []
    for number, item in enumerate(fields.items("shards")):
        shard = Fields(item, path, fields.place(f"shards[{number}]"))
        entries = (parse_entry(shard.nested(kind), shard_file(kind, number, "npy")) for kind in ARRAYS)
        shards.append(PreparedShard(*entries))
        shard.finish()
    fields.finish()
    manifest = PreparedManifest(owner, padded, tuple(shards))
    if owner != gallery.digest:
        fields.refuse("gallery", "names other rows than this folder's; remove the prepared files")
    if padded != _core.padded_dim(gallery.dim) or len(shards) != len(gallery.shards):
        fields.refuse("shards", "do not fit those of the gallery")
    if sealed != manifest.digest:
        fields.refuse("sha256", "does not agree with the manifest's content: it was changed or damaged")
    return manifest
