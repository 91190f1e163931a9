"""dlib's HOG detector of frontal faces, on smaller copies and in wider frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from idsim.matchers.faces.boxes import prominence
from idsim.matchers.faces.framing import widened

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["HogFinder", "HogFound", "check_search", "corners", "import_dlib"]

Rectangle = Any  # dlib.rectangle


@dataclass(frozen=True)
class HogFound:
    """Faces, at least one, and the picture they are in.

    Attributes
    ----------
    image : ndarray
        The picture, perhaps with margins.
    boxes : list of dlib.rectangle
        Where they are in it.
    scores : list of float
        The detector's margins above its threshold.
    route : {"detected", "padded"}
        How they were found.
    margins : tuple of int
        Columns added on the left and rows added at the top.
    """

    image: NDArray[np.uint8]
    boxes: list[Rectangle]
    scores: list[float]
    route: str
    margins: tuple[int, int]

    def best(self) -> int:
        """Return which face is the main one."""
        shape = self.image.shape
        ranks = [
            (prominence(corners(box), shape), score)
            for box, score in zip(self.boxes, self.scores, strict=True)
        ]
        return max(range(len(ranks)), key=lambda i: (*ranks[i], -i))


class HogFinder:
    """Finds frontal faces.

    Parameters
    ----------
    upsample, detect_side, pad
        As in `DlibOptions`.
    """

    def __init__(self, upsample: int, detect_side: int, pad: bool) -> None:
        self._dlib = import_dlib()
        self._detector = self._dlib.get_frontal_face_detector()
        self._upsample = upsample
        self._side = detect_side
        self._pad = pad

    def find(self, image: NDArray[np.uint8]) -> HogFound | None:
        """Return the faces of a picture, uint8 ``[height, width, 3]`` RGB, C-contiguous."""
        found = self._detect(image, "detected", (0, 0))
        if found is None and self._pad:
            wide, rows, columns = widened(image)
            found = self._detect(wide, "padded", (columns, rows))
        return found

    def _detect(self, image: NDArray[np.uint8], route: str, margins: tuple[int, int]) -> HogFound | None:
        scale = max(image.shape[:2]) / self._side if self._side else 1.0
        small = image
        if scale > 1:
            rows, columns = (max(1, round(length / scale)) for length in image.shape[:2])
            small = self._dlib.resize_image(image, rows, columns)
        boxes, scores, _ = self._detector.run(small, self._upsample, 0.0)
        if not len(boxes):
            return None
        if scale > 1:
            boxes = [self._dlib.rectangle(*(round(v * scale) for v in corners(box))) for box in boxes]
        return HogFound(image, list(boxes), [float(score) for score in scores], route, margins)


def corners(box: Rectangle) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom."""
    return box.left(), box.top(), box.right(), box.bottom()


def check_search(upsample: int, detect_side: int) -> None:
    """Refuse what is no way to search.

    Raises
    ------
    ValueError
        A number is out of its range.
    """
    if not 0 <= upsample <= 3:
        raise ValueError(f"upsample must be from 0 to 3, not {upsample}")
    if detect_side and detect_side < 80:
        raise ValueError(f"detect_side must be 0 or at least 80 pixels, not {detect_side}")


def import_dlib() -> Any:
    """Return the module dlib, or tell which extra has it."""
    try:
        import dlib
    except ModuleNotFoundError:
        raise ModuleNotFoundError("dlib is not installed: pip install 'idsim[dlib]'", name="dlib") from None
    return dlib
