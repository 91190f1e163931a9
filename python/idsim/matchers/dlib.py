"""dlib's face recognition ResNet, the network behind the package ``face_recognition``.

HOG detector, 5-point landmarks, a chip of 150 x 150 pixels with padding 0.25, a descriptor of 128 elements,
compared by Euclidean distance. The descriptors are *not* of unit length and share a large mean: their cosines
say little. Sources: dlib ``face_recognition_model_v1``, ``face_recognition`` 1.3.0 ``api.py``.
"""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from idsim.errors import MatcherError
from idsim.matchers.base import Representation

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["DlibMatcher", "DlibOptions", "find_models", "load_network"]

MODELS_PACKAGE = "face_recognition_models"
LANDMARKS = "shape_predictor_5_face_landmarks.dat"
NETWORK = "dlib_face_recognition_resnet_model_v1.dat"
CHIP_SIZE = 150  # the network's input
CHIP_PADDING = 0.25  # what the network was trained with
LICENCE = "dlib_face_recognition_resnet_model_v1 and the 5-point landmarks: public domain (CC0), Davis King"

# The HOG detector wants some surroundings: a face that fills the frame is found once the frame is widened by
# half its size on every side.
PAD_SHARE = 0.5


@dataclass(frozen=True)
class DlibOptions:
    """How faces are found and described.

    Attributes
    ----------
    upsample : int
        How often the picture is doubled before detection. The detector finds faces from about 80 pixels on;
        ``face_recognition`` uses 1, which costs four times as much and finds more things that are no faces.
    detect_side : int
        Pictures with a longer side are shrunk to it for detection only; 0 leaves them as they are.
    pad : bool
        Where no face is found, try again with the frame widened (the route ``padded``).
    whole_image : bool
        Where that fails too, take the whole picture for a face that fills the frame (the route ``frame``).
        For sets of aligned crops only: of any other picture it makes a descriptor of something.
    mirror : bool
        Describe a face by the mean of the descriptors of its chip and of the mirrored chip, so that a mirrored
        copy has the same descriptor. Costs twice the time of the network.
    models : str
        Folder with the model files; empty: the one inside the package ``face_recognition_models``.
    """

    upsample: int = 0
    detect_side: int = 0
    pad: bool = True
    whole_image: bool = False
    mirror: bool = False
    models: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.upsample <= 3:
            raise ValueError(f"upsample must be from 0 to 3, not {self.upsample}")
        if self.detect_side and self.detect_side < 80:
            raise ValueError(f"detect_side must be 0 or at least 80 pixels, not {self.detect_side}")


class _Found(NamedTuple):
    """A detected face: the picture it is in (perhaps padded), its rectangle there, and how it was found."""

    image: NDArray[np.uint8]
    box: Any  # dlib.rectangle
    route: str
    faces: int
    confidence: float | None
    margins: tuple[int, int]  # columns and rows added on the left and at the top


def find_models(folder: str = "") -> Path:
    """Return the folder that holds the model files.

    The package ``face_recognition_models`` is located, never imported: importing it needs ``pkg_resources``,
    which new versions of setuptools lack.

    Raises
    ------
    ModuleNotFoundError
        No folder is given, and the package is not installed.
    MatcherError
        A model file is missing in the folder.
    """
    if folder:
        models = Path(folder)
    else:
        spec = importlib.util.find_spec(MODELS_PACKAGE)
        places = list(spec.submodule_search_locations or ()) if spec else []
        if not places:
            raise ModuleNotFoundError(
                f"the matcher dlib needs {MODELS_PACKAGE}: pip install 'idsim[dlib]'", name=MODELS_PACKAGE
            )
        models = Path(places[0]) / "models"
    for name in (LANDMARKS, NETWORK):
        if not (models / name).is_file():
            raise MatcherError(models, name, "this model file is missing")
    return models


def load_network(file: Path | None = None) -> tuple[Any, dict[str, Any]]:
    """Return the descriptor network alone, and what its descriptors depend on.

    Parameters
    ----------
    file : Path, optional
        Its file; by default the one of `find_models`.

    Raises
    ------
    ModuleNotFoundError
        dlib or the package with the model files is not installed (the extra ``dlib``).
    MatcherError
        The file is missing or cannot be read.
    """
    dlib = _import_dlib()
    path = file or find_models() / NETWORK
    network = _load(dlib.face_recognition_model_v1, path)
    return network, {"library": f"dlib {dlib.__version__}", "files": {path.name: _sha256(path)}}


class DlibMatcher:
    """dlib's HOG detector, 5-point alignment and ResNet descriptor.

    Raises
    ------
    ModuleNotFoundError
        dlib or the package with the model files is not installed (the extra ``dlib``).
    MatcherError
        A model file is missing or cannot be read.
    """

    name = "dlib"
    metric = "l2"
    dim = 128

    def __init__(self, options: DlibOptions | None = None) -> None:
        self.options = options or DlibOptions()
        self._dlib = _import_dlib()
        self._models = find_models(self.options.models)
        self._detector = self._dlib.get_frontal_face_detector()
        self._landmarks = _load(self._dlib.shape_predictor, self._models / LANDMARKS)
        self._network = _load(self._dlib.face_recognition_model_v1, self._models / NETWORK)

    def describe(self) -> dict[str, Any]:
        """Return everything that the descriptors depend on, and the licence."""
        options = self.options
        return {
            "name": self.name,
            "metric": self.metric,
            "dim": self.dim,
            "licence": LICENCE,
            "library": f"dlib {self._dlib.__version__}",
            "package": _models_package(options.models),
            "files": {name: _sha256(self._models / name) for name in (LANDMARKS, NETWORK)},
            "detector": "HOG frontal face detector",
            "alignment": f"5 points, chip of {CHIP_SIZE} pixels, padding {CHIP_PADDING}",
            "upsample": options.upsample,
            "detect_side": options.detect_side,
            "pad": options.pad,
            "whole_image": options.whole_image,
            "mirror": options.mirror,
        }

    def represent(self, image: NDArray[np.uint8]) -> Representation:
        """Return the descriptor of the main face of a picture, uint8 ``[height, width, 3]`` RGB."""
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(f"image must be uint8 [height, width, 3], not {image.dtype} {list(image.shape)}")
        found = self._find(np.ascontiguousarray(image))
        if found is None:
            return Representation(None)
        shape = self._landmarks(found.image, found.box)
        chip = self._dlib.get_face_chip(found.image, shape, size=CHIP_SIZE, padding=CHIP_PADDING)
        left, top = found.margins
        box = found.box
        corners = (box.left() - left, box.top() - top, box.right() - left, box.bottom() - top)
        return Representation(self._vector(chip), found.route, found.faces, corners, found.confidence)

    def _vector(self, chip: NDArray[np.uint8]) -> NDArray[np.float32]:
        vector = np.asarray(self._network.compute_face_descriptor(chip), dtype=np.float64)
        if self.options.mirror:
            mirrored = np.ascontiguousarray(chip[:, ::-1])
            vector = (vector + np.asarray(self._network.compute_face_descriptor(mirrored))) / 2
        return vector.astype(np.float32)

    def _find(self, image: NDArray[np.uint8]) -> _Found | None:
        found = self._detect(image, "detected", (0, 0))
        if found is None and self.options.pad:
            rows, columns = (round(side * PAD_SHARE) for side in image.shape[:2])
            wide = np.pad(image, ((rows, rows), (columns, columns), (0, 0)), mode="edge")
            found = self._detect(np.ascontiguousarray(wide), "padded", (columns, rows))
        if found is None and self.options.whole_image:
            frame = self._dlib.rectangle(0, 0, image.shape[1] - 1, image.shape[0] - 1)
            found = _Found(image, frame, "frame", 1, None, (0, 0))
        return found

    def _detect(self, image: NDArray[np.uint8], route: str, margins: tuple[int, int]) -> _Found | None:
        side = self.options.detect_side
        scale = max(image.shape[:2]) / side if side else 1.0
        small = image
        if scale > 1:
            rows, columns = (max(1, round(length / scale)) for length in image.shape[:2])
            small = self._dlib.resize_image(image, rows, columns)
        boxes, scores, _ = self._detector.run(small, self.options.upsample, 0.0)
        if not len(boxes):
            return None
        ratio = max(scale, 1.0)
        boxes = [self._enlarged(box, ratio) for box in boxes]
        best = max(range(len(boxes)), key=lambda i: (_prominence(boxes[i], image.shape), scores[i], -i))
        return _Found(image, boxes[best], route, len(boxes), float(scores[best]), margins)

    def _enlarged(self, box: Any, ratio: float) -> Any:
        if ratio == 1:
            return box
        corners = (round(value * ratio) for value in (box.left(), box.top(), box.right(), box.bottom()))
        return self._dlib.rectangle(*corners)


def _prominence(box: Any, shape: tuple[int, ...]) -> float:
    """Area of a face less twice its squared distance from the centre, in square pixels.

    The rule of facenet-pytorch's ``center_weighted_size``: the main face is large and central.
    """
    across = (box.left() + box.right()) / 2 - shape[1] / 2
    down = (box.top() + box.bottom()) / 2 - shape[0] / 2
    return float(box.width() * box.height() - 2.0 * (across**2 + down**2))


def _import_dlib() -> Any:
    try:
        import dlib
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "the matcher dlib needs dlib: pip install 'idsim[dlib]'", name="dlib"
        ) from None
    return dlib


def _load(loader: Any, path: Path) -> Any:
    try:
        return loader(str(path))
    except RuntimeError as error:
        raise MatcherError(path, "model", f"dlib cannot read this file ({error})") from error


def _models_package(folder: str) -> str:
    if folder:
        return "model files in a folder of the user's"
    try:
        return f"{MODELS_PACKAGE} {metadata.version(MODELS_PACKAGE)}"
    except metadata.PackageNotFoundError:
        return MODELS_PACKAGE


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
