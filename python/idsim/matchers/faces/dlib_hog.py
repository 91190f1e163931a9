"""dlib's HOG detector with dlib's landmarks, for matchers that are not dlib's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.matchers.base import Face
from idsim.matchers.dlib import LANDMARKS, find_models, load, models_package, sha256_of
from idsim.matchers.faces.hog import HogFinder, check_search, corners, import_dlib
from idsim.matchers.faces.similarity import five_of_68

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["DlibDetector", "DlibDetectorOptions"]

LANDMARKS_68 = "shape_predictor_68_face_landmarks.dat"
LICENCES = {
    5: "dlib's 5-point landmarks: public domain (CC0), Davis King",
    68: "dlib's 68-point landmarks: trained on iBUG 300-W, which excludes commercial use",
}


@dataclass(frozen=True)
class DlibDetectorOptions:
    """How faces are found and their landmarks placed.

    Attributes
    ----------
    landmarks : {5, 68}
        Which of dlib's landmarks. Its five are the corners of the eyes and the base of the nose, which serve dlib's
        chips alone; of its 68 the five of other matchers are made.
    upsample, detect_side, pad, models
        As in `DlibOptions`.
    """

    landmarks: int = 68
    upsample: int = 0
    detect_side: int = 0
    pad: bool = True
    models: str = ""

    def __post_init__(self) -> None:
        if self.landmarks not in LICENCES:
            raise ValueError(f"landmarks must be 5 or 68, not {self.landmarks}")
        check_search(self.upsample, self.detect_side)


class DlibDetector:
    """Boxes by dlib's HOG detector, and dlib's landmarks.

    Raises
    ------
    ModuleNotFoundError
        dlib or the package with the model files is not installed (the extra ``dlib``).
    MatcherError
        The model file is missing or cannot be read.
    """

    name = "dlib-hog"

    def __init__(self, options: DlibDetectorOptions | None = None) -> None:
        self.options = options or DlibDetectorOptions()
        self._dlib = import_dlib()
        file = LANDMARKS if self.options.landmarks == 5 else LANDMARKS_68
        self._model = find_models(self.options.models, (file,)) / file
        self._finder = HogFinder(self.options.upsample, self.options.detect_side, self.options.pad)
        self._landmarks = load(self._dlib.shape_predictor, self._model)

    def describe(self) -> dict[str, Any]:
        """Return everything that the faces found depend on, and the licence."""
        options = self.options
        return {
            "name": self.name,
            "licence": LICENCES[options.landmarks],
            "library": f"dlib {self._dlib.__version__}",
            "package": models_package(options.models),
            "files": {self._model.name: sha256_of(self._model)},
            "landmarks": options.landmarks,
            "upsample": options.upsample,
            "detect_side": options.detect_side,
            "pad": options.pad,
        }

    def find(self, image: NDArray[np.uint8]) -> list[Face]:
        """Return the faces of a picture, uint8 ``[height, width, 3]`` RGB, best first."""
        found = self._finder.find(np.ascontiguousarray(image))
        if found is None:
            return []
        left, top = found.margins
        faces = []
        for box, score in zip(found.boxes, found.scores, strict=True):
            shape = self._landmarks(found.image, box)
            points = np.array([(part.x - left, part.y - top) for part in shape.parts()], np.float32)
            landmarks = five_of_68(points) if len(points) == 68 else None
            x0, y0, x1, y1 = corners(box)
            place = (float(x0 - left), float(y0 - top), float(x1 - left), float(y1 - top))
            faces.append(Face(place, landmarks, score, found.route, points))
        return sorted(faces, key=lambda face: -face.confidence)
