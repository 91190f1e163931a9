"""What makes detectors find faces that they are not made for: a wider frame, and fewer pixels.

Detectors are trained with some surroundings of a face, and with faces up to some size. A face that fills the frame
has neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from idsim.matchers.faces.resample import block_means

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from idsim.matchers.base import Face

__all__ = ["PAD_SHARE", "moved", "widened", "with_limit", "with_padding"]

PAD_SHARE = 0.5  # of the height and of the width, on each side


def moved(face: Face, scale: float, left: float, top: float) -> Face:
    """Return a face at places multiplied by `scale`, then shifted."""
    shift = np.array([left, top])
    x0, y0, x1, y1 = (float(v) for v in np.asarray(face.box, np.float64) * scale + np.tile(shift, 2))
    landmarks, points = (
        None if places is None else (places * scale + shift).astype(np.float32)
        for places in (face.landmarks, face.points)
    )
    return face._replace(box=(x0, y0, x1, y1), landmarks=landmarks, points=points)


def widened(image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], int, int]:
    """Return a picture with its edges repeated outward, and the rows above and the columns at the left of it."""
    rows, columns = (round(side * PAD_SHARE) for side in image.shape[:2])
    wide = np.pad(image, ((rows, rows), (columns, columns), (0, 0)), mode="edge")
    return np.ascontiguousarray(wide), rows, columns


def with_padding(find: Callable[[NDArray[np.uint8]], list[Face]], image: NDArray[np.uint8]) -> list[Face]:
    """Return the faces of a picture; where there are none, those of the widened picture, with ``padded`` as route."""
    faces = find(image)
    if faces:
        return faces
    wide, rows, columns = widened(image)
    return [moved(face._replace(route=_padded(face.route)), 1.0, -columns, -rows) for face in find(wide)]


def _padded(route: str) -> str:
    return "padded" if route == "detected" else f"padded, {route}"


def with_limit(
    find: Callable[[NDArray[np.uint8]], list[Face]], image: NDArray[np.uint8], side: int
) -> list[Face]:
    """Return the faces of a picture, found on a copy of at most `side` pixels; 0 is no limit.

    The copy is made of the means of whole blocks of pixels.
    """
    block = -(-max(image.shape[:2]) // side) if side else 1
    if block == 1:
        return find(image)
    shift = (block - 1) / 2
    return [moved(face, block, shift, shift) for face in find(block_means(image, block))]
