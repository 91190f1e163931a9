"""Pictures in a bundle: the files of the sets, and embedding them again."""

from __future__ import annotations

import errno
import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from idsim.audit.bundling import layout
from idsim.audit.embedding import ShardPlan, compute_shards, face_set
from idsim.audit.inputs import UNREADABLE, ImageInput
from idsim.audit.mirrored import MirroredInput
from idsim.audit.parts import PicturePart
from idsim.audit.representing import Stages
from idsim.sources.base import ImageSource

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from idsim.audit.bundling.archive import BundleArchive, Content
    from idsim.audit.faces import FaceSet
    from idsim.audit.work import Work
    from idsim.matchers.base import Matcher
    from idsim.sources.decoding import DecoderPool

    Tell = Callable[[str, int, int], None]

__all__ = ["BundledPictures", "embed_again", "picture_members"]


def picture_members(works: list[Work]) -> dict[str, Content]:
    """Return the files of all stored pictures of a run; those that cannot be read are left out.

    Pictures that were drawn while the scan ran are nowhere: seeds and generator say how to draw them.
    """
    members: dict[str, Content] = {}
    for work in works:
        for part in (*work.real.values(), *work.series.values()):
            if not isinstance(part, PicturePart):
                continue
            found = part.plan.source
            plain = found.plain if isinstance(found, MirroredInput) else found
            if isinstance(plain, ImageInput):
                members |= _files(plain)
    return members


def _files(given: ImageInput) -> dict[str, Content]:
    def reader(number: int) -> Callable[[], bytes]:
        return lambda: given.source.read(number)

    return {
        layout.image_member(given.name, number): reader(number)
        for number, found in enumerate(given.hashes)
        if found != UNREADABLE
    }


class BundledPictures(ImageSource):
    """The pictures of a set in a bundle, as a source.

    Parameters
    ----------
    bundle : BundleArchive
        The bundle.
    name : str
        Of the set.
    items : list of str
        Names of the pictures.
    """

    kind = "bundle"

    def __init__(self, bundle: BundleArchive, name: str, items: list[str]) -> None:
        super().__init__(bundle.path, items)
        self._bundle, self._name = bundle, name

    def read(self, number: int) -> bytes:
        """Return the file of a picture."""
        member = layout.image_member(self._name, number)
        if member not in self._bundle:
            raise OSError(errno.ENOENT, "it is not in the bundle", member)
        return self._bundle.read(member)

    def stamp(self, number: int) -> tuple[int, ...]:
        """Return the number of bytes of a picture."""
        member = layout.image_member(self._name, number)
        return (self._bundle.entries[member].bytes,) if member in self._bundle else ()

    def hashes(self) -> list[str]:
        """Return the SHA-256 of every picture; ``unreadable`` where there is none."""
        members = [layout.image_member(self._name, number) for number in range(len(self))]
        return [
            self._bundle.entries[member].sha256 if member in self._bundle else UNREADABLE
            for member in members
        ]


def embed_again(
    bundle: BundleArchive,
    faces: FaceSet,
    mirrored: bool,
    matcher: Matcher,
    pool: DecoderPool,
    folder: Path,
    tell: Tell,
) -> FaceSet:
    """Return a set with embeddings made from the pictures in the bundle, and what became of each picture.

    Parameters
    ----------
    bundle : BundleArchive
        The bundle.
    faces : FaceSet
        The set as the bundle has it.
    mirrored : bool
        Whether every second item is the mirror image of the one before.
    matcher : Matcher
        What represents a picture.
    pool : DecoderPool
        Decodes.
    folder : Path
        Where shards may be written.
    tell : callable
        Told how far it is.
    """
    step = 2 if mirrored else 1
    source = BundledPictures(bundle, faces.name, faces.items[::step])
    plain = ImageInput(faces.name, source, source.hashes(), faces.labels[::step], pool)
    given: Any = MirroredInput(plain) if mirrored else plain
    description = hashlib.sha256(repr(matcher.describe()).encode()).hexdigest()
    plan = ShardPlan(given, description, folder)
    total, done = len(faces.items), 0

    def count() -> None:
        nonlocal done
        done += 1
        tell(f"embed {faces.name}", done, total)

    shards = [shard for _, shard in compute_shards(plan, plan.numbers, matcher, Stages(), count)]
    made = face_set(given, shards, matcher.dim)
    # Hashes of files and what names a file are as in the bundle: it may show neither.
    records = [
        record | {"sha256": before.get("sha256"), "reason": before.get("reason", "")}
        if record["status"] == before["status"]
        else record
        for record, before in zip(made.records, faces.records, strict=True)
    ]
    return replace(faces, vectors=made.vectors, rows=made.rows, records=records)
