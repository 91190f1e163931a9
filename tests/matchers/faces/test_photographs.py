"""Detectors with their true weights on true photographs: values that facenet-pytorch gives, and what goes wrong."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest

from idsim.images import decode
from idsim.matchers.faces import AlignedMatcher, Alignment
from idsim.matchers.faces.boxes import main_face
from idsim.matchers.faces.dlib_hog import DlibDetector, DlibDetectorOptions
from idsim.matchers.faces.mtcnn import MtcnnDetector, MtcnnOptions
from support.photographs import astronaut, encodings, two_faces


def missing(*packages):
    return [name for name in packages if importlib.util.find_spec(name) is None]


NO_MTCNN = missing("onnx", "onnxruntime") or (missing("facenet_pytorch") and missing("mtcnn", "lz4"))
NO_DLIB = missing("dlib", "face_recognition_models")
needs_mtcnn = pytest.mark.skipif(bool(NO_MTCNN), reason=f"needs the extra mtcnn: {NO_MTCNN} missing")
needs_dlib = pytest.mark.skipif(bool(NO_DLIB), reason=f"needs the extra dlib: {NO_DLIB} missing")

# What facenet-pytorch 2.6.0 with PyTorch 2.13 gives for this picture.
BOX = (181.0514, 62.1561, 267.7473, 172.0502)
LANDMARKS = [
    [205.0109, 101.7275], [246.7626, 103.7141], [224.6714, 128.9650], [201.7161, 139.2462], [245.2655, 141.8570],
]  # fmt: skip
# And for the picture beside its mirror image; the mirrored face scores higher.
PAIR = [
    [
        [777.7679, 104.1148],
        [821.7501, 101.7429],
        [800.6592, 129.3547],
        [779.2627, 142.1952],
        [824.1581, 140.8640],
    ],
    [
        [204.0934, 101.4024],
        [247.6772, 103.7165],
        [225.5865, 129.5327],
        [202.3427, 140.1159],
        [246.0781, 142.3294],
    ],
]


@pytest.fixture(scope="module")
def photograph():
    return astronaut()


@pytest.fixture(scope="module")
def forms(photograph):
    return encodings(photograph)


@pytest.fixture(scope="module")
def mtcnn():
    return MtcnnDetector()


@pytest.fixture(scope="module")
def dlib_hog():
    return DlibDetector()


@pytest.fixture(params=[pytest.param("mtcnn", marks=needs_mtcnn), pytest.param("dlib_hog", marks=needs_dlib)])
def detector(request):
    return request.getfixturevalue(request.param)


class Pixels:
    """An embedder whose vector is the crop, a pixel in 16."""

    name, metric, size, dim = "pixels", "cosine", (112, 112), 3 * 28 * 28

    def describe(self):
        return {"licence": "none"}

    def embed(self, crops):
        self.seen = len(crops)
        return crops[:, ::4, ::4].reshape(len(crops), -1).astype(np.float32)


# --- stored values --------------------------------------------------------------------------------


@needs_mtcnn
def test_mtcnn_gives_what_facenet_pytorch_gives(photograph, mtcnn):
    (face,) = mtcnn.find(photograph)
    np.testing.assert_allclose(face.box, BOX, atol=0.01)
    np.testing.assert_allclose(face.landmarks, LANDMARKS, atol=0.01)
    assert face.landmarks.dtype == np.float32
    assert face.confidence > 0.9999
    assert face.route == "detected"
    np.testing.assert_array_equal(mtcnn.find(photograph.copy())[0].landmarks, face.landmarks)


@needs_mtcnn
def test_mtcnn_gives_what_facenet_pytorch_gives_for_two_faces(photograph, mtcnn):
    faces = mtcnn.find(np.concatenate([photograph, photograph[:, ::-1]], axis=1))
    np.testing.assert_allclose([face.landmarks for face in faces], PAIR, atol=0.02)


@needs_mtcnn
def test_mtcnn_needs_no_torch_and_imports_no_package_of_weights(mtcnn):
    assert not {"facenet_pytorch", "mtcnn", "tensorflow"} & set(sys.modules)
    assert mtcnn.describe()["weights"].startswith("762cf99882dc2892")  # the same in both packages


@needs_mtcnn
def test_threads_do_not_change_mtcnn(photograph, mtcnn):
    many = MtcnnDetector(MtcnnOptions(threads=2)).find(photograph)
    np.testing.assert_array_equal(many[0].landmarks, mtcnn.find(photograph)[0].landmarks)


@needs_dlib
def test_dlib_landmarks(photograph, dlib_hog):
    (face,) = dlib_hog.find(photograph)
    assert face.box == (179, 83, 266, 170)
    np.testing.assert_allclose(
        face.landmarks, [[203.17, 101.5], [246.83, 104], [225, 127], [201, 140], [245, 141]], atol=0.01
    )
    assert face.points.shape == (68, 2)


@needs_dlib
def test_a_chip_by_the_detector_is_that_of_the_matcher(photograph):
    from idsim.matchers.dlib import DlibMatcher

    (face,) = DlibDetector(DlibDetectorOptions(landmarks=5)).find(photograph)
    assert face.landmarks is None
    chip = Alignment("dlib_chip", (150, 150)).crop(photograph, face)
    matcher = DlibMatcher()
    np.testing.assert_array_equal(matcher._vector(chip), matcher.represent(photograph).vector)
    with pytest.raises(ValueError, match="similarity5 needs five landmarks"):
        Alignment().crop(photograph, face)


@needs_mtcnn
@needs_dlib
def test_detectors_agree(photograph, mtcnn, dlib_hog):
    apart = mtcnn.find(photograph)[0].landmarks - dlib_hog.find(photograph)[0].landmarks
    assert np.linalg.norm(apart, axis=1).max() < 4
    with pytest.raises(ValueError, match="dlib's landmarks"):
        Alignment("dlib_chip", (150, 150)).crop(photograph, mtcnn.find(photograph)[0])


# --- what goes wrong ------------------------------------------------------------------------------


def test_the_main_of_two_faces_is_chosen_and_both_counted(photograph, detector):
    pair = two_faces(photograph)
    matcher = AlignedMatcher(detector, Alignment(), Pixels())
    found = matcher.represent(pair)
    assert found.faces == 2
    assert found.route == "detected"
    nearer = main_face(detector.find(pair), pair.shape)
    middle = (nearer.box[0] + nearer.box[2]) / 2
    assert abs(middle - 300) < min(abs((f.box[0] + f.box[2]) / 2 - 300) for f in detector.find(pair)) + 10
    assert found.box == tuple(round(side) for side in nearer.box)


def test_a_face_upside_down_is_a_failure_that_is_told(photograph, detector):
    found = AlignedMatcher(detector, Alignment(), Pixels()).represent(photograph[::-1, ::-1])
    assert (found.vector, found.faces, found.route) == (None, 0, "")


@pytest.mark.parametrize("name", ["coffee", "rocket", "chelsea", "brick"])
def test_pictures_without_a_face_have_none(detector, name):
    data = pytest.importorskip("skimage.data")
    picture = getattr(data, name)()
    assert detector.find(picture if picture.ndim == 3 else np.repeat(picture[:, :, None], 3, 2)) == []


def test_a_face_that_fills_the_frame_is_found_with_padding(photograph, detector):
    face = np.kron(photograph[95:165, 190:258], np.ones((3, 3, 1), np.uint8))
    (found,) = detector.find(face)
    assert found.route == "padded"
    # The true places, in the cut and enlarged picture.
    np.testing.assert_allclose(found.landmarks, (np.array(LANDMARKS) - (190, 95)) * 3 + 1, atol=16)


@pytest.mark.parametrize("form", ["png", "jpeg", "grey", "rgba", "palette", "rgb16", "grey16", "exif"])
def test_every_form_of_a_picture_shows_the_same_face(photograph, detector, forms, form):
    content = decode(forms[form])
    assert not content.reason
    face = main_face(detector.find(content.pixels), photograph.shape)  # HOG finds a second one in the JPEG
    np.testing.assert_allclose(face.landmarks, detector.find(photograph)[0].landmarks, atol=2.5)


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 1), (2, 2), (12, 12), (13, 700)])
@pytest.mark.parametrize("kind", ["black", "noise"])
def test_odd_pictures_have_no_faces(detector, shape, kind):
    random = np.random.default_rng(0)
    picture = (
        random.integers(0, 256, (*shape, 3), dtype=np.uint8)
        if kind == "noise"
        else np.zeros((*shape, 3), np.uint8)
    )
    found = AlignedMatcher(detector, Alignment(), Pixels()).represent(picture)
    assert (found.vector, found.faces) == (None, 0)


@needs_mtcnn
def test_large_pictures_are_looked_at_smaller(photograph, mtcnn):
    large = np.kron(photograph, np.ones((5, 5, 1), np.uint8))
    (face,) = mtcnn.find(large)
    np.testing.assert_allclose(face.landmarks, np.array(LANDMARKS) * 5 + 2, atol=8)


def test_many_pictures_are_embedded_in_one_call(photograph, detector):
    embedder = Pixels()
    matcher = AlignedMatcher(detector, Alignment(), embedder)
    pictures = [photograph, np.zeros((40, 40, 3), np.uint8), photograph[:, ::-1], photograph[:300]]
    many = matcher.represent_many(pictures)
    assert embedder.seen == 3
    for picture, found in zip(pictures, many, strict=True):
        alone = matcher.represent(picture)
        assert found[1:] == alone[1:]
        np.testing.assert_array_equal(found.vector, alone.vector)
