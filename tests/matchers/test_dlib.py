"""dlib's network on a real photograph, against the values that face_recognition gives."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest

from idsim.errors import MatcherError
from idsim.matchers import dlib as adapter
from idsim.matchers.dlib import LANDMARKS, NETWORK, DlibMatcher, DlibOptions, find_models

HAS_DLIB = all(importlib.util.find_spec(name) for name in ("dlib", "face_recognition_models"))
needs_dlib = pytest.mark.skipif(not HAS_DLIB, reason="needs the extra dlib")


@pytest.fixture(scope="module")
def photograph():
    """The astronaut Eileen Collins, 512 x 512, which scikit-image ships."""
    pytest.importorskip("skimage")
    from skimage import data

    return data.astronaut()


@pytest.fixture(scope="module")
def matcher():
    return DlibMatcher()


# --- without dlib ---------------------------------------------------------------------------------


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setattr(adapter, "MODELS_PACKAGE", "no_such_models_package")
    with pytest.raises(ModuleNotFoundError, match=r"idsim\[dlib\]") as caught:
        find_models()
    assert caught.value.name == "no_such_models_package"


def test_missing_dlib_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(ModuleNotFoundError, match=r"idsim\[dlib\]") as caught:
        DlibMatcher()
    assert caught.value.name == "dlib"


def test_a_missing_model_file_is_named(tmp_path):
    (tmp_path / LANDMARKS).write_bytes(b"x")
    with pytest.raises(MatcherError, match=NETWORK) as caught:
        find_models(str(tmp_path))
    assert caught.value.path == str(tmp_path)


@pytest.mark.parametrize("options", [{"upsample": 4}, {"upsample": -1}, {"detect_side": 20}])
def test_options_are_checked(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        DlibOptions(**options)


# --- with dlib ------------------------------------------------------------------------------------


@needs_dlib
def test_a_damaged_model_file_is_named(tmp_path):
    for name in (LANDMARKS, NETWORK):
        (tmp_path / name).write_bytes(b"damaged")
    with pytest.raises(MatcherError, match="cannot read") as caught:
        DlibMatcher(DlibOptions(models=str(tmp_path)))
    assert caught.value.path.endswith(LANDMARKS)


@needs_dlib
def test_the_models_package_is_never_imported(matcher):
    assert "face_recognition_models" not in sys.modules
    described = matcher.describe()
    assert described["files"][NETWORK].startswith("55533b28")
    assert (described["metric"], described["dim"]) == ("l2", 128)
    assert "public domain" in described["licence"]


@needs_dlib
def test_the_descriptor_of_face_recognition(photograph):
    """face_recognition doubles the picture for detection; its first three numbers and its norm."""
    found = DlibMatcher(DlibOptions(upsample=1)).represent(photograph)
    np.testing.assert_allclose(found.vector[:3], [-0.0663, 0.0209, 0.0176], atol=1e-4)
    assert np.linalg.norm(found.vector) == pytest.approx(1.457, abs=1e-3)
    assert found.faces == 2  # the mission patch is taken for a face, and not chosen


@needs_dlib
def test_one_face_is_found(photograph, matcher):
    found = matcher.represent(photograph)
    assert (found.route, found.faces, found.box) == ("detected", 1, (179, 83, 266, 170))
    assert found.vector.dtype == np.float32
    assert found.vector.shape == (128,)
    np.testing.assert_array_equal(matcher.represent(photograph.copy()).vector, found.vector)


@needs_dlib
def test_colours_are_red_green_blue(photograph, matcher):
    right = matcher.represent(photograph).vector
    wrong = matcher.represent(np.ascontiguousarray(photograph[:, :, ::-1])).vector
    assert np.linalg.norm(right - wrong) > 0.15  # 0.171 here; the right order is pinned by the numbers above


@needs_dlib
def test_a_mirrored_copy_has_the_same_descriptor_if_asked(photograph):
    mirrored = np.ascontiguousarray(photograph[:, ::-1])
    plain, folded = DlibMatcher(), DlibMatcher(DlibOptions(mirror=True))
    apart = np.linalg.norm(plain.represent(photograph).vector - plain.represent(mirrored).vector)
    together = np.linalg.norm(folded.represent(photograph).vector - folded.represent(mirrored).vector)
    assert 0.1 < apart < 0.3
    assert together < apart / 2


@needs_dlib
def test_a_face_that_fills_the_frame_is_found_with_padding(photograph):
    face = np.kron(photograph[95:165, 190:258], np.ones((3, 3, 1), np.uint8))
    assert DlibMatcher(DlibOptions(pad=False)).represent(face).vector is None
    padded = DlibMatcher().represent(face)
    assert padded.route == "padded"
    left, top, right, bottom = padded.box
    assert left < 102 < right
    assert top < 105 < bottom
    whole = DlibMatcher(DlibOptions(pad=False, whole_image=True)).represent(face)
    assert whole.route == "frame"
    assert whole.box == (0, 0, 203, 209)
    known = DlibMatcher().represent(photograph).vector
    assert np.linalg.norm(padded.vector - known) < 0.55


@needs_dlib
def test_detection_on_a_smaller_copy_finds_the_same_face(photograph, matcher):
    large = np.kron(photograph, np.ones((2, 2, 1), np.uint8))
    small = DlibMatcher(DlibOptions(detect_side=512)).represent(large)
    assert np.abs(np.array(small.box) / 2 - (179, 83, 266, 170)).max() < 6
    assert np.linalg.norm(small.vector - matcher.represent(photograph).vector) < 0.15


@needs_dlib
@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (80, 80), (2, 2)])
def test_no_face_is_an_answer(matcher, shape):
    found = matcher.represent(np.full((*shape, 3), 127, np.uint8))
    assert found.vector is None
    assert found.faces == 0


@needs_dlib
@pytest.mark.parametrize("image", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3), np.float32)])
def test_other_arrays_are_refused(matcher, image):
    with pytest.raises(ValueError, match="uint8"):
        matcher.represent(image)
