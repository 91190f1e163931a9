"""MTCNN: three small networks, each of which looks closer at what the one before let pass.

Source: K. Zhang, Z. Zhang, Z. Li, Y. Qiao, "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional
Networks", IEEE SPL 23(10), 2016. Thresholds, scales and the resizing by areas are those of facenet-pytorch 2.6.0.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.matchers.base import Face
from idsim.matchers.faces.boxes import suppress
from idsim.matchers.faces.framing import with_limit, with_padding
from idsim.matchers.faces.mtcnn_networks import CascadeNetwork
from idsim.matchers.faces.mtcnn_weights import NETWORKS, find_weights, read_weights
from idsim.matchers.faces.resample import AreaTable
from idsim.matchers.onnx_runtime import import_onnxruntime

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Boxes = NDArray[np.float64]

__all__ = ["MtcnnDetector", "MtcnnOptions"]

LICENCE = (
    "MTCNN's weights as in facenet-pytorch and mtcnn (MIT); trained on WIDER FACE and CelebA (research only)"
)
CELL, STRIDE = 12, 2  # what one output of the first network sees, and how far the next one is
SHRINK = 0.709  # from one scale to the next: half the area
# A picture of noise may have a hundred thousand candidates; a photograph has a few hundred.
MAX_CANDIDATES = 2000


@dataclass(frozen=True)
class MtcnnOptions:
    """How faces are looked for.

    Attributes
    ----------
    min_face : int
        The smallest face in pixels; a larger one saves much time.
    thresholds : tuple of float
        The scores from which the three networks let a box pass.
    detect_side : int
        Pictures with a longer side are shrunk for detection, to the side that the largest whole blocks of pixels
        give below it; 0 leaves them as they are.
    pad : bool
        Where no face is found, try again with the frame widened (the route ``padded``).
    weights : str
        Folder with the weights; empty: the one inside the package ``facenet-pytorch`` or ``mtcnn``.
    threads : int
        Threads of ONNX Runtime. One is best where several pictures are looked at side by side.
    """

    min_face: int = 20
    thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7)
    detect_side: int = 2048
    pad: bool = True
    weights: str = ""
    threads: int = 1

    def __post_init__(self) -> None:
        if self.min_face < CELL:
            raise ValueError(f"min_face must be at least {CELL} pixels, not {self.min_face}")
        if len(self.thresholds) != 3 or not all(0 < value < 1 for value in self.thresholds):
            raise ValueError(f"thresholds must be three numbers between 0 and 1, not {self.thresholds}")
        if self.detect_side and self.detect_side < self.min_face:
            raise ValueError(f"detect_side must be 0 or at least min_face, not {self.detect_side}")
        if self.threads < 1:
            raise ValueError(f"threads must be at least 1, not {self.threads}")


class MtcnnDetector:
    """Boxes and five landmarks by MTCNN.

    Boxes and landmarks are those of facenet-pytorch, but for boxes that reach beyond the picture: these are filled up
    with zeros, as the authors do, not squeezed.

    Raises
    ------
    ModuleNotFoundError
        ONNX Runtime, onnx or the package with the weights is not installed (the extra ``mtcnn``).
    MatcherError
        A file of weights is missing or cannot be read.
    """

    name = "mtcnn"

    def __init__(self, options: MtcnnOptions | None = None) -> None:
        self.options = options or MtcnnOptions()
        files = find_weights(self.options.weights)
        weights = {name: read_weights(name, files[name]) for name in NETWORKS}
        self._digest = _digest(weights)
        self._nets = {
            name: CascadeNetwork(name, arrays, self.options.threads) for name, arrays in weights.items()
        }

    def describe(self) -> dict[str, Any]:
        """Return everything that the faces found depend on, and the licence."""
        onnxruntime = import_onnxruntime()
        options = self.options
        return {
            "name": self.name,
            "licence": LICENCE,
            "library": f"onnxruntime {onnxruntime.__version__}",
            "weights": self._digest,
            "min_face": options.min_face,
            "thresholds": list(options.thresholds),
            "detect_side": options.detect_side,
            "pad": options.pad,
        }

    def find(self, image: NDArray[np.uint8]) -> list[Face]:
        """Return the faces of a picture, uint8 ``[height, width, 3]`` RGB, best first."""
        if self.options.pad:
            return with_padding(self._limited, image)
        return self._limited(image)

    def _limited(self, image: NDArray[np.uint8]) -> list[Face]:
        return with_limit(self._cascade, image, self.options.detect_side)

    def _cascade(self, image: NDArray[np.uint8]) -> list[Face]:
        table = AreaTable(image)
        boxes = _squared(self._proposed(table))
        boxes = _squared(self._refined(table, boxes))
        return self._described(table, boxes)

    def _proposed(self, table: AreaTable) -> Boxes:
        """Return boxes of the first network, which slides over the picture at many scales."""
        cells, scores = [np.empty((0, 8))], [np.empty(0)]
        scale = CELL / self.options.min_face
        while min(table.height, table.width) * scale >= CELL:
            size = int(table.height * scale + 1), int(table.width * scale + 1)
            heads = self._nets["pnet"](table.whole(size)[None])
            found, good = _cells(heads, scale, self.options.thresholds[0])
            kept = suppress(found[:, :4], good, 0.5)
            cells.append(found[kept])
            scores.append(good[kept])
            scale *= SHRINK
        every = np.concatenate(cells)
        kept = suppress(every[:, :4], np.concatenate(scores), 0.7)
        return _adjusted(every[kept, :4], every[kept, 4:], 0)

    def _refined(self, table: AreaTable, boxes: Boxes) -> Boxes:
        """Return the boxes that the second network takes for faces, adjusted."""
        boxes, crops = _cut(table, boxes, 24)
        if not len(boxes):
            return boxes
        heads = self._nets["rnet"](crops)
        boxes, shifts, scores, _ = _passed(boxes, heads, self.options.thresholds[1])
        kept = suppress(boxes, scores, 0.7)
        return _adjusted(boxes[kept], shifts[kept], 1)

    def _described(self, table: AreaTable, boxes: Boxes) -> list[Face]:
        """Return the boxes that the third network takes for faces, with their landmarks."""
        boxes, crops = _cut(table, boxes, 48)
        if not len(boxes):
            return []
        heads = self._nets["onet"](crops)
        boxes, shifts, scores, passed = _passed(boxes, heads, self.options.thresholds[2])
        points = heads["points"][passed].astype(np.float64).reshape(-1, 2, 5).transpose(0, 2, 1)
        sides = boxes[:, None, 2:] - boxes[:, None, :2] + 1
        points = points * sides + boxes[:, None, :2] - 1
        boxes = _adjusted(boxes, shifts, 1)
        return [
            Face(tuple(boxes[i].tolist()), points[i].astype(np.float32), float(scores[i]))
            for i in suppress(boxes, scores, 0.7, "smaller")
        ]


def _cells(heads: dict[str, NDArray[np.float32]], scale: float, threshold: float) -> tuple[Boxes, Boxes]:
    """Return the cells that look like faces, ``[n, 8]``: the box in the picture and its shifts; and their scores."""
    scores = heads["scores"][0, 1]
    rows, columns = np.nonzero(scores >= threshold)
    good = scores[rows, columns].astype(np.float64)
    best = np.argsort(-good, kind="stable")[:MAX_CANDIDATES]
    rows, columns, good = rows[best], columns[best], good[best]
    corner = np.stack([columns, rows], 1) * STRIDE
    shifts = heads["boxes"][0][:, rows, columns].T.astype(np.float64)
    first, last = np.floor((corner + 1) / scale), np.floor((corner + CELL) / scale)
    return np.concatenate([first, last, shifts], 1), good


def _passed(
    boxes: Boxes, heads: dict[str, NDArray[np.float32]], threshold: float
) -> tuple[Boxes, Boxes, Boxes, NDArray[np.bool_]]:
    """Return the boxes over a threshold with their shifts and scores, and which of all they are."""
    passed = heads["scores"][:, 1] > threshold
    scores, shifts = heads["scores"][passed, 1], heads["boxes"][passed]
    return boxes[passed], shifts.astype(np.float64), scores.astype(np.float64), passed


def _adjusted(boxes: Boxes, shifts: Boxes, last: int) -> Boxes:
    """Return boxes with their sides shifted by shares of their width and height, which count `last` pixels more."""
    sides = boxes[:, 2:] - boxes[:, :2] + last
    return boxes + shifts * np.tile(sides, 2)


def _squared(boxes: Boxes) -> Boxes:
    """Return squares around the middles of boxes, as long as the longer side."""
    sides = boxes[:, 2:] - boxes[:, :2]
    longer = sides.max(1, keepdims=True, initial=0)
    first = boxes[:, :2] + sides * 0.5 - longer * 0.5
    return np.concatenate([first, first + longer], 1)


def _cut(table: AreaTable, boxes: Boxes, side: int) -> tuple[Boxes, NDArray[np.float32]]:
    """Return the boxes that hold pixels of the picture, and their crops; corners count from 1."""
    whole = np.trunc(boxes).astype(np.int64)
    whole[:, :2] -= 1
    inside = (whole[:, 2:] > whole[:, :2]).all(1) & (whole[:, 2:] > 0).all(1)
    inside &= (whole[:, :2] < (table.width, table.height)).all(1)
    return boxes[inside], table.crops(whole[inside], (side, side))


def _digest(weights: dict[str, dict[str, NDArray[np.float32]]]) -> str:
    """Return the SHA-256 of all weights, the same for every file format."""
    digest = hashlib.sha256()
    for name, arrays in weights.items():
        for key, array in arrays.items():
            digest.update(f"{name}.{key}\n".encode())
            digest.update(array.astype("<f4").tobytes())
    return digest.hexdigest()
