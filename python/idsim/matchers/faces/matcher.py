"""A detector, an alignment and a network as one matcher."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from idsim.matchers.base import Representation
from idsim.matchers.faces.boxes import main_face

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from idsim.matchers.base import Detector, Embedder, Face
    from idsim.matchers.faces.align import Alignment

__all__ = ["AlignedMatcher", "Prepared"]


class Prepared(NamedTuple):
    """The crop of the main face of a picture, before the network.

    Attributes
    ----------
    crop : ndarray or None
        uint8 ``[height, width, 3]``; None where there is no face.
    face : Face or None
        The main face; None where there is none, or where none had to be found.
    faces : int
        Faces found.
    route : str
        How the face was found; empty where none was.
    """

    crop: NDArray[np.uint8] | None
    face: Face | None
    faces: int
    route: str


class AlignedMatcher:
    """Finds the main face of a picture, aligns it and embeds it.

    Parameters
    ----------
    detector : Detector or None
        Finds faces; None for an alignment that needs none.
    alignment : Alignment
        Makes crops.
    embedder : Embedder
        Makes vectors of crops.

    Raises
    ------
    ValueError
        The crops are not of the size that the embedder takes, or the alignment needs a detector.
    """

    def __init__(self, detector: Detector | None, alignment: Alignment, embedder: Embedder) -> None:
        if tuple(embedder.size) != tuple(alignment.size):
            raise ValueError(
                f"{embedder.name} takes crops of {embedder.size[0]} x {embedder.size[1]} pixels, and the "
                f"alignment makes {alignment.size[0]} x {alignment.size[1]}"
            )
        if detector is None and alignment.needs_face:
            raise ValueError(f"the alignment {alignment.mode} needs a detector")
        self.detector = detector if alignment.needs_face else None
        self.alignment = alignment
        self.embedder = embedder
        self.name = embedder.name
        self.metric = embedder.metric
        self.dim = embedder.dim

    def describe(self) -> dict[str, Any]:
        """Return everything that the embeddings depend on, and the licences."""
        return {
            **self.embedder.describe(),
            "name": self.name,
            "metric": self.metric,
            "dim": self.dim,
            "detector": self.detector.describe() if self.detector else None,
            "alignment": self.alignment.describe(),
        }

    def prepare(self, image: NDArray[np.uint8]) -> Prepared:
        """Return the crop of the main face of a picture, uint8 ``[height, width, 3]`` RGB.

        Raises
        ------
        ValueError
            The picture has another type or shape.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            raise ValueError(f"image must be uint8 [height, width, 3], not {image.dtype} {list(image.shape)}")
        image = np.ascontiguousarray(image)
        if self.detector is None:
            crop = self.alignment.crop(image)
            return Prepared(crop, None, int(crop is not None), "" if crop is None else self.alignment.mode)
        faces = self.detector.find(image)
        face = main_face(faces, image.shape)
        if face is None:
            return Prepared(None, None, 0, "")
        return Prepared(self.alignment.crop(image, face), face, len(faces), face.route)

    def embed(self, prepared: Sequence[Prepared]) -> list[Representation]:
        """Return the representations of prepared pictures; all of their crops go to the network at once.

        Raises
        ------
        ValueError
            The network gives vectors of another shape, or numbers that are not finite.
        """
        crops = [one.crop for one in prepared if one.crop is not None]
        vectors = iter(self._vectors(crops))
        return [_representation(one, None if one.crop is None else next(vectors)) for one in prepared]

    def represent(self, image: NDArray[np.uint8]) -> Representation:
        """Return the embedding of the main face of a picture, uint8 ``[height, width, 3]`` RGB."""
        return self.embed([self.prepare(image)])[0]

    def represent_many(self, images: Sequence[NDArray[np.uint8]]) -> list[Representation]:
        """Return the embeddings of the main faces of pictures, in their order."""
        return self.embed([self.prepare(image) for image in images])

    def _vectors(self, crops: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
        if not crops:
            return np.empty((0, self.dim), np.float32)
        vectors = self.embedder.embed(np.stack(crops))
        if vectors.shape != (len(crops), self.dim):
            raise ValueError(
                f"{self.name} gives {list(vectors.shape)} for {len(crops)} crops, not [{len(crops)}, {self.dim}]"
            )
        if not np.isfinite(vectors).all():
            raise ValueError(f"{self.name} gives numbers that are not finite")
        return vectors


def _representation(one: Prepared, vector: NDArray[np.float32] | None) -> Representation:
    if one.face is None:
        return Representation(vector, one.route, one.faces)
    left, top, right, bottom = (round(value) for value in one.face.box)
    return Representation(vector, one.route, one.faces, (left, top, right, bottom), one.face.confidence)
