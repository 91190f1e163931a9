"""A detector, an alignment and a network as one matcher."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.matchers.base import Representation
from idsim.matchers.faces.boxes import main_face

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from idsim.matchers.base import Detector, Embedder
    from idsim.matchers.faces.align import Alignment

__all__ = ["AlignedMatcher"]


class AlignedMatcher:
    """Finds the main face of a picture, aligns it and embeds it.

    A picture without a face, or with one that cannot be aligned, gets a `Representation` without a vector.

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

    def prepare(self, image: NDArray[np.uint8]) -> tuple[Representation, NDArray[np.uint8] | None]:
        """Return what is known of the main face of a picture without its vector, and its crop.

        Parameters
        ----------
        image : ndarray
            uint8 ``[height, width, 3]`` RGB.

        Returns
        -------
        representation : Representation
            Without a vector.
        crop : ndarray or None
            uint8 ``[*size, 3]``; None where there is no face, or none that can be aligned.

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
            return Representation(None) if crop is None else Representation(
                None, self.alignment.mode, 1
            ), crop
        faces = self.detector.find(image)
        face = main_face(faces, image.shape)
        if face is None:
            return Representation(None), None
        left, top, right, bottom = (round(value) for value in face.box)
        found = Representation(None, face.route, len(faces), (left, top, right, bottom), face.confidence)
        return found, self.alignment.crop(image, face)

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the embeddings ``[n, dim]`` of crops, uint8 ``[n, height, width, 3]`` RGB."""
        return self.embedder.embed(crops)

    def represent(self, image: NDArray[np.uint8]) -> Representation:
        """Return the embedding of the main face of a picture, uint8 ``[height, width, 3]`` RGB."""
        return self.represent_many([image])[0]

    def represent_many(self, images: Iterable[NDArray[np.uint8]]) -> list[Representation]:
        """Return the embeddings of the main faces of pictures, in their order; one call of the network for all."""
        prepared = [self.prepare(image) for image in images]
        crops = [crop for _, crop in prepared if crop is not None]
        vectors = iter(self.embed(np.stack(crops)) if crops else ())
        return [found if crop is None else found._replace(vector=next(vectors)) for found, crop in prepared]
