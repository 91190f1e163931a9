"""SCRFD and YuNet in ONNX form, at several sizes of the picture at once.

A face that takes more than about 40 % of the frame at the size these networks were trained with gets low scores, so
FFHQ's pictures at 640 pixels have no faces. Hence the picture is looked at in several sizes, and of boxes that
overlap the best stays; the size that it was found at is its route.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.errors import MatcherError
from idsim.matchers.base import Face
from idsim.matchers.faces.anchors import Candidates, decode_scrfd, decode_yunet
from idsim.matchers.faces.boxes import suppress
from idsim.matchers.faces.framing import with_padding
from idsim.matchers.faces.resample import resized
from idsim.matchers.onnx import open_session
from idsim.matchers.onnx_file import read_onnx
from idsim.matchers.onnx_runtime import import_onnxruntime
from idsim.matchers.options import RunOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["OnnxDetectorOptions", "ScrfdDetector", "YunetDetector"]

MULTIPLE = 32  # the largest stride of the networks: heights and widths are multiples of it
MAX_CANDIDATES = 2000
MAX_SIDE = 4096


@dataclass(frozen=True)
class OnnxDetectorOptions:
    """How faces are looked for.

    Attributes
    ----------
    sizes : tuple of int
        Pixels of the longer side of the picture, one or several; larger ones find smaller faces. Pictures are enlarged
        to the smallest of them at most.
    threshold : float
        The smallest score of a face; 0: 0.5 for SCRFD, 0.9 for YuNet.
    overlap : float
        Of two boxes that share more than this of their common area, the better one stays; 0: 0.4 for SCRFD, 0.3 for
        YuNet.
    pad : bool
        Where no face is found, try again with the frame widened.
    sha256 : str
        What the model file's SHA-256 must be; empty: anything.
    licence : str
        The licence of the model, for reports.
    runtime : RunOptions
        The device and the threads.
    """

    sizes: tuple[int, ...] = (640, 256, 128)
    threshold: float = 0.0
    overlap: float = 0.0
    pad: bool = True
    sha256: str = ""
    licence: str = "not stated"
    runtime: RunOptions = field(default_factory=lambda: RunOptions(threads=1))

    def __post_init__(self) -> None:
        if not self.sizes or not all(MULTIPLE <= size <= MAX_SIDE for size in self.sizes):
            raise ValueError(f"sizes must be from {MULTIPLE} to {MAX_SIDE} pixels, not {self.sizes}")
        if not 0 <= self.threshold < 1:
            raise ValueError(f"threshold must be from 0 to 1, not {self.threshold}")
        if not 0 <= self.overlap < 1:
            raise ValueError(f"overlap must be from 0 to 1, not {self.overlap}")


class _OnnxDetector(ABC):
    """What the two networks share."""

    name = ""
    threshold = 0.5
    overlap = 0.4

    def __init__(self, file: str | os.PathLike[str], options: OnnxDetectorOptions | None = None) -> None:
        self.options = options or OnnxDetectorOptions()
        self._path = os.fspath(file)
        model = read_onnx(file, sha256=self.options.sha256)
        self._files = model.files
        self._session = open_session(model.model.SerializeToString(), self.options.runtime, self._path)
        inputs = self._session.get_inputs()
        shape = inputs[0].shape if len(inputs) == 1 else []
        if len(shape) != 4 or shape[1] not in (3, "3") or inputs[0].type != "tensor(float)":
            raise MatcherError(
                self._path, "input", f"must be one of float32 [1, 3, height, width], not {shape}"
            )
        self._input = inputs[0].name
        sides = [side if isinstance(side, int) and side > 0 else 0 for side in shape[2:]]
        self._fixed = (sides[0], sides[1]) if all(sides) else None
        self._outputs = [output.name for output in self._session.get_outputs()]

    def describe(self) -> dict[str, Any]:
        """Return everything that the faces found depend on, and the licence."""
        onnxruntime = import_onnxruntime()
        options = self.options
        return {
            "name": self.name,
            "licence": options.licence,
            "library": f"onnxruntime {onnxruntime.__version__}",
            "provider": str(self._session.get_providers()[0]),
            "files": self._files,
            "sizes": list(options.sizes),
            "threshold": options.threshold or self.threshold,
            "overlap": options.overlap or self.overlap,
            "pad": options.pad,
        }

    def find(self, image: NDArray[np.uint8]) -> list[Face]:
        """Return the faces of a picture, uint8 ``[height, width, 3]`` RGB, best first."""
        image = np.ascontiguousarray(image)
        return with_padding(self._look, image) if self.options.pad else self._look(image)

    def _look(self, image: NDArray[np.uint8]) -> list[Face]:
        faces = [face for side in self._sides(image) for face in self._look_at(image, side)]
        if not faces:
            return []
        boxes = np.array([face.box for face in faces])
        scores = np.array([face.confidence for face in faces])
        return [faces[i] for i in suppress(boxes, scores, self.options.overlap or self.overlap)]

    def _sides(self, image: NDArray[np.uint8]) -> list[int]:
        """Return the lengths that the longer side of the picture is given, longest first."""
        longest = max(*image.shape[:2], min(self.options.sizes))
        most = min(self._fixed) if self._fixed else MAX_SIDE
        return sorted({min(size, longest, most) for size in self.options.sizes}, reverse=True)

    def _look_at(self, image: NDArray[np.uint8], side: int) -> Iterator[Face]:
        scale = side / max(image.shape[:2])
        height, width = (max(1, round(length * scale)) for length in image.shape[:2])
        canvas = self._fixed or (-(-height // MULTIPLE) * MULTIPLE, -(-width // MULTIPLE) * MULTIPLE)
        filled = np.zeros((*canvas, 3), np.uint8)
        filled[:height, :width] = resized(image, (height, width))
        pixels = np.ascontiguousarray(self._normalised(filled).transpose(2, 0, 1)[None], np.float32)
        try:
            arrays = self._session.run(self._outputs, {self._input: pixels})
        except Exception as error:  # the runtime has no base class of its errors
            raise MatcherError(self._path, "model", f"ONNX Runtime says: {error}"[:500]) from error
        try:
            found = self._decoded(dict(zip(self._outputs, arrays, strict=True)), canvas)
        except ValueError as error:
            raise MatcherError(self._path, "outputs", str(error)) from error
        # Sides are rounded to whole pixels, so the two directions differ a little.
        stretch = np.array([image.shape[1] / width, image.shape[0] / height])
        for i in self._best(found):
            box = (found.boxes[i].reshape(2, 2) * stretch).reshape(-1)
            landmarks = None if found.points is None else (found.points[i] * stretch).astype(np.float32)
            yield Face(tuple(box.tolist()), landmarks, float(found.scores[i]), f"side {side}")

    def _best(self, found: Candidates) -> NDArray[np.intp]:
        """Return the candidates that stay, of those whose numbers are finite."""
        numbers = [found.boxes] if found.points is None else [found.boxes, found.points.reshape(-1, 10)]
        sides = found.boxes[:, 2:] - found.boxes[:, :2]
        sound = np.flatnonzero(np.isfinite(np.concatenate(numbers, 1)).all(1) & (sides > 0).all(1))
        order = sound[np.argsort(-found.scores[sound], kind="stable")][:MAX_CANDIDATES]
        kept = suppress(found.boxes[order], found.scores[order], self.options.overlap or self.overlap)
        return order[kept]

    @abstractmethod
    def _normalised(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return what the network takes."""

    @abstractmethod
    def _decoded(self, outputs: dict[str, NDArray[np.float32]], size: tuple[int, int]) -> Candidates:
        """Return what the network's outputs say."""


class ScrfdDetector(_OnnxDetector):
    """SCRFD of insightface (``det_10g.onnx``, ``scrfd_10g_bnkps.onnx`` and others): boxes and five landmarks.

    Parameters
    ----------
    file : path-like
        The model.
    options : OnnxDetectorOptions, optional
        How it looks.

    Raises
    ------
    MatcherError
        The model is refused, or has other inputs or outputs.
    ModuleNotFoundError
        onnx or onnxruntime is not installed (the extra ``onnx``).
    """

    name = "scrfd"
    threshold = 0.5
    overlap = 0.4

    def _normalised(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return (pixels - np.float32(127.5)) / np.float32(128)

    def _decoded(self, outputs: dict[str, NDArray[np.float32]], size: tuple[int, int]) -> Candidates:
        return decode_scrfd(outputs, size, self.options.threshold or self.threshold)


class YunetDetector(_OnnxDetector):
    """YuNet of OpenCV's model zoo (``face_detection_yunet_2023mar.onnx``): boxes and five landmarks.

    Made for faces of 10 to 300 pixels. The parameters and errors are those of `ScrfdDetector`.
    """

    name = "yunet"
    threshold = 0.9
    overlap = 0.3

    def _normalised(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return pixels[:, :, ::-1].astype(np.float32)  # trained with OpenCV's order of colours, from 0 to 255

    def _decoded(self, outputs: dict[str, NDArray[np.float32]], size: tuple[int, int]) -> Candidates:
        return decode_yunet(outputs, size, self.options.threshold or self.threshold)
