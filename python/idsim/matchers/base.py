"""What every matcher offers. A matcher knows pixels and its own model files, nothing of sets or searches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "METRICS",
    "Detector",
    "Embedder",
    "Face",
    "Matcher",
    "Representation",
    "StagedMatcher",
    "checked_crops",
]

METRICS = ("cosine", "l2")


class Representation(NamedTuple):
    """What a matcher made of one picture.

    Attributes
    ----------
    vector : ndarray or None
        float32 ``[d]``, finite; None where no face was found.
    route : str
        How the face was found, in the matcher's own words; empty where none was.
    faces : int
        Faces found by that route.
    box : tuple of int or None
        Left, top, right and bottom of the chosen face in pixels of the picture; may reach beyond its edges.
    confidence : float or None
        The detector's score of the chosen face, in the detector's own unit.
    """

    vector: NDArray[np.float32] | None
    route: str = ""
    faces: int = 0
    box: tuple[int, int, int, int] | None = None
    confidence: float | None = None


class Face(NamedTuple):
    """A face in a picture.

    Attributes
    ----------
    box : tuple of float
        Left, top, right and bottom in pixels of the picture; may reach beyond its edges.
    landmarks : ndarray or None
        float32 ``[5, 2]``, x and y in pixels of the picture: the eye on the image's left, the eye on its right, the tip
        of the nose, the corner of the mouth on the left and on the right.
    confidence : float
        The detector's score, in its own unit.
    route : str
        How it was found, in the detector's own words.
    points : ndarray or None
        float32 ``[n, 2]``, the detector's own landmarks where they are others than those five.
    """

    box: tuple[float, float, float, float]
    landmarks: NDArray[np.float32] | None
    confidence: float
    route: str = "detected"
    points: NDArray[np.float32] | None = None


class Detector(Protocol):
    """Finds faces in pictures.

    Attributes
    ----------
    name : str
        Lower-case name.
    """

    name: str

    def describe(self) -> dict[str, Any]:
        """Return everything that the faces found depend on, and the licence, as plain JSON values."""

    def find(self, image: NDArray[np.uint8]) -> list[Face]:
        """Return the faces of a picture, uint8 ``[height, width, 3]`` RGB, best first."""


class Embedder(Protocol):
    """Turns crops of faces, already aligned as it wants them, into vectors.

    Attributes
    ----------
    name : str
        Lower-case name, used in folder names.
    metric : {"cosine", "l2"}
        How its embeddings are compared.
    dim : int
        Elements of an embedding.
    size : tuple of int
        Height and width of a crop in pixels.
    """

    name: str
    metric: str
    dim: int
    size: tuple[int, int]

    def describe(self) -> dict[str, Any]:
        """Return everything that the embeddings depend on, and the licence, as plain JSON values."""

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the embeddings ``[n, dim]`` of crops, uint8 ``[n, height, width, 3]`` RGB."""


class Matcher(Protocol):
    """A face matcher.

    Attributes
    ----------
    name : str
        Lower-case name, used in folder names.
    metric : {"cosine", "l2"}
        How its embeddings are compared.
    dim : int
        Elements of an embedding.
    """

    name: str
    metric: str
    dim: int

    def describe(self) -> dict[str, Any]:
        """Return everything that the embeddings depend on, and the licence, as plain JSON values.

        Two matchers with equal descriptions give equal embeddings of equal pixels.
        """

    def represent(self, image: NDArray[np.uint8]) -> Representation:
        """Return the embedding of the main face of a picture, uint8 ``[height, width, 3]`` RGB."""


class StagedMatcher(Matcher, Protocol):
    """A matcher that finds and cuts out faces one by one and embeds them by many: the two go on at the same time."""

    def prepare(self, image: NDArray[np.uint8]) -> tuple[Representation, NDArray[np.uint8] | None]:
        """Return what is known of the main face of a picture without its vector, and its crop; None: no face."""

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the embeddings ``[n, dim]`` of crops, uint8 ``[n, height, width, 3]``."""


def checked_crops(crops: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return crops if they are uint8 ``[n, height, width, 3]`` of the size of an embedder.

    Raises
    ------
    TypeError
        They are no array of NumPy's, or not uint8.
    ValueError
        They have another shape.
    """
    wanted = f"uint8 [n, {size[0]}, {size[1]}, 3] RGB"
    if not isinstance(crops, np.ndarray):
        raise TypeError(f"crops must be a NumPy array, {wanted}, not {type(crops).__name__}")
    if crops.dtype != np.uint8:
        raise TypeError(f"crops must be {wanted}, not {crops.dtype}")
    if crops.ndim != 4 or crops.shape[1:] != (*size, 3):
        raise ValueError(f"crops must be {wanted}, not {list(crops.shape)}")
    return crops
