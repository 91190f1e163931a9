"""Five landmarks, the templates that they are moved to, and the similarity that does so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["TEMPLATES", "five_of_68", "similarity", "template"]

# x and y in a crop of 112 x 112 pixels: the eye on the image's left, the eye on its right, the tip of the nose, the
# corner of the mouth on the left and on the right. Source: insightface, ``face_align.py``.
_ARCFACE = (
    (38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041),
)  # fmt: skip
# SphereFace's crop is 8 columns narrower on each side, and 128 pixels are 8 more on each side.
_SHIFT = np.array([8.0, 0.0])

TEMPLATES = ("arcface112", "sphereface112x96")


def template(name: str, size: tuple[int, int]) -> NDArray[np.float64]:
    """Return the places of the five landmarks in a crop.

    ``arcface112`` at a multiple of 112 pixels is scaled; at a multiple of 128 it is scaled from 128 pixels, with 8
    more on each side and none above, as insightface does. ``sphereface112x96`` has that size alone, or a multiple.

    Parameters
    ----------
    name : {"arcface112", "sphereface112x96"}
        The template.
    size : tuple of int
        Height and width of the crop in pixels.

    Returns
    -------
    ndarray
        float64 ``[5, 2]``, x and y.

    Raises
    ------
    ValueError
        The template is unknown, or has no rule for this size.
    """
    height, width = size
    if name not in TEMPLATES:
        raise ValueError(f"the template {name!r} is none of {', '.join(TEMPLATES)}")
    whole = 96 if name == "sphereface112x96" else 112
    points = np.array(_ARCFACE)
    if height > 0 and height % 112 == 0 and width * 112 == height * whole:
        shift, scale = (-_SHIFT if whole == 96 else 0.0), height / 112
    elif name == "arcface112" and height == width > 0 and height % 128 == 0:
        shift, scale = _SHIFT, height / 128
    else:
        raise ValueError(f"the template {name} has no places for a crop of {height} x {width} pixels")
    places: NDArray[np.float64] = (points + shift) * scale
    return places


def similarity(source: ArrayLike, target: ArrayLike) -> NDArray[np.float64]:
    """Return the similarity that takes points nearest to others in the sense of least squares.

    A turn, a scale and a shift; never a reflection. This is Umeyama's estimate in the plane, where it has a
    closed form. Source: S. Umeyama, IEEE TPAMI 13(4), 1991.

    Parameters
    ----------
    source, target : array_like
        ``[n, 2]``, x and y.

    Returns
    -------
    ndarray
        float64 ``[2, 3]``.

    Raises
    ------
    ValueError
        The points are not of one shape, not finite, or all at one place.
    """
    points, wanted = np.asarray(source, np.float64), np.asarray(target, np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or points.shape != wanted.shape:
        raise ValueError(f"points are [n, 2], not {list(points.shape)} and {list(wanted.shape)}")
    middle, goal = points.mean(0), wanted.mean(0)
    (x, y), (u, v) = (points - middle).T, (wanted - goal).T
    spread = float((x * x + y * y).sum())
    if not (0 < spread < np.inf) or not np.isfinite(goal).all():
        raise ValueError("no similarity moves points that are all at one place, or nowhere")
    a, b = float((x * u + y * v).sum()) / spread, float((x * v - y * u).sum()) / spread
    turn = np.array([[a, -b], [b, a]])
    # Sums by hand: a matrix product may be rounded differently on another processor.
    shift = goal - (turn * middle).sum(1)
    return np.column_stack([turn, shift])


def five_of_68(points: ArrayLike) -> NDArray[np.float32]:
    """Return the five landmarks of 68 in the order of iBUG 300-W.

    An eye is the mean of its six points.

    Raises
    ------
    ValueError
        The points are not ``[68, 2]``.
    """
    outline = np.asarray(points, np.float64)
    if outline.shape != (68, 2):
        raise ValueError(f"the landmarks are [68, 2], not {list(outline.shape)}")
    eyes = outline[36:42].mean(0), outline[42:48].mean(0)
    return np.stack([*eyes, outline[30], outline[48], outline[54]]).astype(np.float32)
