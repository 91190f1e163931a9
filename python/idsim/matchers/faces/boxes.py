"""Boxes of faces: which of those that overlap stays, and which face is the main one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from idsim.matchers.base import Face

__all__ = ["main_face", "prominence", "suppress"]


def suppress(
    boxes: NDArray[np.float64],
    scores: NDArray[np.float64],
    limit: float,
    share_of: Literal["union", "smaller"] = "union",
) -> NDArray[np.intp]:
    """Return which boxes stay, best first: each drops those that share more than `limit` of their area with it.

    Parameters
    ----------
    boxes : ndarray
        float64 ``[n, 4]``: left, top, right and bottom.
    scores : ndarray
        float64 ``[n]``; of equal ones, the earlier goes first.
    limit : float
        The largest share that two boxes may have in common.
    share_of : {"union", "smaller"}
        What the share is of: the area of both together, or of the smaller one.
    """
    rest = np.argsort(-scores, kind="stable")
    areas = np.maximum(boxes[:, 2] - boxes[:, 0], 0) * np.maximum(boxes[:, 3] - boxes[:, 1], 0)
    kept = []
    while len(rest):
        best, rest = rest[0], rest[1:]
        kept.append(best)
        width = np.minimum(boxes[best, 2], boxes[rest, 2]) - np.maximum(boxes[best, 0], boxes[rest, 0])
        height = np.minimum(boxes[best, 3], boxes[rest, 3]) - np.maximum(boxes[best, 1], boxes[rest, 1])
        common = np.maximum(width, 0) * np.maximum(height, 0)
        union, smaller = areas[best] + areas[rest] - common, np.minimum(areas[best], areas[rest])
        whole = union if share_of == "union" else smaller
        rest = rest[common <= limit * whole]
    return np.array(kept, np.intp)


def prominence(box: Sequence[float], shape: tuple[int, ...]) -> float:
    """Area of a face less twice its squared distance from the centre, in square pixels.

    The rule of facenet-pytorch's ``center_weighted_size``: the main face is large and central.
    """
    left, top, right, bottom = box
    across = (left + right) / 2 - shape[1] / 2
    down = (top + bottom) / 2 - shape[0] / 2
    return float((right - left) * (bottom - top) - 2.0 * (across**2 + down**2))


def main_face(faces: Sequence[Face], shape: tuple[int, ...]) -> Face | None:
    """Return the face that the picture is of, or None where there is none.

    Parameters
    ----------
    faces : sequence of Face
        What a detector found.
    shape : tuple of int
        Height and width of the picture, and what follows.
    """
    order = range(len(faces))
    best = max(order, key=lambda i: (prominence(faces[i].box, shape), faces[i].confidence, -i), default=None)
    return None if best is None else faces[best]
