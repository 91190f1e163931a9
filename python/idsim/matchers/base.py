"""What every matcher offers. A matcher knows pixels and its own model files, nothing of sets or searches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["METRICS", "Matcher", "Representation"]

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
