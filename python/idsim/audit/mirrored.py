"""A set of pictures together with their mirror images: generators are often trained on both."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.images import Picture
from idsim.sources.decoding import Content

if TYPE_CHECKING:
    from collections.abc import Iterator

    from idsim.audit.inputs import ImageInput

__all__ = ["MIRRORED", "MirroredInput"]

MIRRORED = " (mirrored)"


class MirroredInput:
    """Every picture of a set, followed by its mirror image as one of the same person.

    Parameters
    ----------
    plain : ImageInput
        The set.
    """

    def __init__(self, plain: ImageInput) -> None:
        self.plain = plain
        self.name = plain.name
        self.items = [name for item in plain.items for name in (item, item + MIRRORED)]
        self.labels = [label for label in plain.labels for _ in (0, 1)]
        self.skipped = plain.skipped

    @property
    def origin(self) -> dict[str, Any]:
        """Nothing is known of where the files come from."""
        return self.plain.origin

    def fingerprint(self) -> dict[str, Any]:
        """Return what tells this input from another."""
        return self.plain.fingerprint() | {"mirrored": True}

    def key(self, description: str, start: int, stop: int) -> str:
        """Return the hash of a range of pictures and of what represents them."""
        plain = self.plain.key(description, start // 2, (stop + 1) // 2)
        return hashlib.sha256(f"mirrored {start} {stop} {plain}".encode()).hexdigest()

    def pictures(self, start: int, stop: int) -> Iterator[Content]:
        """Yield a range of pictures."""
        number = start // 2 * 2
        for content in self.plain.pictures(start // 2, (stop + 1) // 2):
            for both in (content, _mirror(content)):
                if start <= number < stop:
                    yield both
                number += 1


def _mirror(content: Content) -> Content:
    pixels = content.picture.pixels
    if pixels is None:
        return content
    return Content(content.sha256, Picture(np.ascontiguousarray(pixels[:, ::-1]), content.picture.reason))
