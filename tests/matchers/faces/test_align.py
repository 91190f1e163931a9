"""Alignment: similarities, warps and crops against plain statements, scikit-image and PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

from idsim.matchers.base import Face
from idsim.matchers.faces import AlignedMatcher, Alignment
from idsim.matchers.faces.boxes import main_face, suppress
from idsim.matchers.faces.resample import AreaTable, resized, warp
from idsim.matchers.faces.similarity import five_of_68, similarity, template

LANDMARKS = np.array([[205, 102], [247, 104], [225, 129], [202, 139], [245, 142]], np.float32)


def picture(height=97, width=131, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def face(box=(10.0, 20.0, 60.0, 90.0), landmarks=None):
    return Face(box, landmarks, 1.0)


class Embedder:
    name, metric, dim, size = "toy", "cosine", 3, (112, 112)

    def describe(self):
        return {"licence": "none", "name": "toy"}

    def embed(self, crops):
        return crops.mean((1, 2), dtype=np.float64).astype(np.float32)


# --- similarities ---------------------------------------------------------------------------------


def test_similarity_is_umeyamas():
    transform = pytest.importorskip("skimage.transform", reason="compares with scikit-image")
    random = np.random.default_rng(3)
    for _ in range(50):
        source, target = random.normal(size=(2, 5, 2)) * 50 + 100
        wanted = transform.SimilarityTransform.from_estimate(source, target).params[:2]
        np.testing.assert_allclose(similarity(source, target), wanted, atol=1e-9)


def test_similarity_is_exact_where_one_exists():
    turn = 1.7 * np.array([[np.cos(2), -np.sin(2)], [np.sin(2), np.cos(2)]])
    matrix = similarity(LANDMARKS, LANDMARKS @ turn.T + (3, -8))
    np.testing.assert_allclose(matrix, np.column_stack([turn, (3, -8)]), atol=1e-10)


@pytest.mark.parametrize(
    ("points", "message"),
    [(np.ones((5, 2)), "one place"), (np.full((5, 2), np.nan), "nowhere"), (np.ones((4, 2)), r"\[4, 2\]")],
)
def test_points_that_determine_nothing_are_refused(points, message):
    with pytest.raises(ValueError, match=message):
        similarity(points, LANDMARKS)


def test_templates():
    arcface = template("arcface112", (112, 112))
    assert arcface[0].tolist() == [38.2946, 51.6963]
    np.testing.assert_allclose(template("arcface112", (224, 224)), arcface * 2)
    eight = np.array([8, 0])
    np.testing.assert_allclose(template("arcface112", (256, 256)), (arcface + eight) * 2)
    np.testing.assert_allclose(template("sphereface112x96", (112, 96)), arcface - eight)
    for name, size in (
        ("arcface112", (100, 100)),
        ("arcface112", (112, 96)),
        ("sphereface112x96", (96, 112)),
    ):
        with pytest.raises(ValueError, match="no places"):
            template(name, size)
    with pytest.raises(ValueError, match="none of"):
        template("other", (112, 112))


def test_five_of_68():
    points = np.arange(136.0).reshape(68, 2)
    wanted = [points[36:42].mean(0), points[42:48].mean(0), points[30], points[48], points[54]]
    np.testing.assert_array_equal(five_of_68(points), np.array(wanted, np.float32))
    with pytest.raises(ValueError, match="68"):
        five_of_68(points[:5])


# --- warps and areas ------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_warp_is_bilinear_with_a_border_of_zeros(seed):
    transform = pytest.importorskip("skimage.transform", reason="compares with scikit-image")
    random = np.random.default_rng(seed)
    image = picture(seed=seed)
    matrix = similarity(LANDMARKS / 2.5 + random.normal(size=(5, 2)) * 9, template("arcface112", (112, 112)))
    wanted = transform.warp(
        image.astype(np.float64), transform.AffineTransform(np.vstack([matrix, [0, 0, 1]])).inverse,
        output_shape=(112, 112), order=1, mode="constant", cval=0, preserve_range=True,
    )  # fmt: skip
    found = warp(image, matrix, (112, 112))
    assert np.abs(found - wanted)[2:-2, 2:-2].max() < 0.51  # rounded
    assert (found == 0).any()


def test_warp_by_the_identity_and_by_a_shift():
    image = picture()
    np.testing.assert_array_equal(warp(image, [[1, 0, 0], [0, 1, 0]], image.shape[:2]), image)
    shifted = warp(image, [[1, 0, 3], [0, 1, -2]], image.shape[:2])
    np.testing.assert_array_equal(shifted[:-2, 3:], image[2:, :-3])
    assert not shifted[:, :3].any()
    assert not shifted[-2:].any()
    with pytest.raises(ValueError, match="determinant"):
        warp(image, np.zeros((2, 3)), (4, 4))


def test_antialiasing_averages_what_falls_into_one_pixel():
    image = np.zeros((640, 640, 3), np.uint8)
    image[::2] = 255  # lines that a plain warp turns into black or white
    matrix = [[1 / 8, 0, 0], [0, 1 / 8, 0]]
    plain, smooth = warp(image, matrix, (70, 70)), warp(image, matrix, (70, 70), antialias=True)
    assert set(np.unique(plain[:, :70])) <= {0, 255}
    assert np.abs(smooth[2:70, 2:70].astype(int) - 128).max() <= 1
    inside = warp(image, [[1 / 8, 0, -20], [0, 1 / 8, -20]], (16, 16), antialias=True)
    np.testing.assert_array_equal(inside, smooth[20:36, 20:36])
    np.testing.assert_array_equal(
        warp(picture(), np.eye(2, 3) * 1.5, (90, 90), antialias=True),
        warp(picture(), np.eye(2, 3) * 1.5, (90, 90)),
    )


@pytest.mark.parametrize("far", [-1e12, -500, 500, 1e12])
def test_a_frame_beyond_the_picture_is_black(far):
    for antialias in (False, True):
        assert not warp(picture(), [[0.25, 0, far], [0, 0.25, 0]], (20, 30), antialias=antialias).any()


@pytest.mark.parametrize("size", [(24, 24), (48, 31), (97, 131), (120, 200)])
def test_areas_are_those_of_torch(size):
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    image = picture()
    whole = torch.as_tensor(image).permute(2, 0, 1)[None].float()
    wanted = torch.nn.functional.interpolate(whole, size=size, mode="area")[0].permute(1, 2, 0)
    np.testing.assert_allclose(AreaTable(image).whole(size), wanted.numpy(), atol=1e-4)


def test_crops_beyond_the_picture_are_filled_up_with_zeros():
    image = picture()
    wide = np.pad(image, ((30, 30), (30, 30), (0, 0)))
    boxes = np.array([[-7, -20, 41, 28], [100, 60, 148, 108], [5, 6, 53, 54], [-30, -30, 0, 0]])
    crops = AreaTable(image).crops(boxes, (24, 24))
    np.testing.assert_allclose(crops, AreaTable(wide).crops(boxes + 30, (24, 24)))
    assert not crops[3].any()


def test_resizing():
    image = picture()
    assert resized(image, (97, 131)) is image
    assert np.abs(resized(image, (10, 10)).astype(int) - 127).max() < 40
    grown = resized(image, (194, 262))
    assert grown.shape == (194, 262, 3)
    corner = image[:2, :2].astype(np.float64)
    mixed = np.tensordot(
        [[9 / 16, 3 / 16], [3 / 16, 1 / 16]], corner, 2
    )  # a quarter of a pixel from the first one
    np.testing.assert_allclose(grown[1, 1], mixed, atol=0.51)
    np.testing.assert_array_equal(grown[0, 0], image[0, 0])
    assert (resized(np.full((1, 1, 3), 7, np.uint8), (5, 9)) == 7).all()


# --- crops ----------------------------------------------------------------------------------------


def test_a_box_with_a_margin_is_cut_as_facenet_pytorch_does():
    image_module = pytest.importorskip("PIL.Image", reason="needs Pillow")
    image = picture(200, 300)
    crop = Alignment("box_margin", (160, 160), margin=14).crop(image, face((40.5, 30.2, 120.7, 140.9)))
    # Margins in the picture: 14 * 80.2 / 146 and 14 * 110.7 / 146, half on each side.
    part = image_module.fromarray(image[24:146, 36:124])
    np.testing.assert_array_equal(crop, np.asarray(part.resize((160, 160), image_module.Resampling.BILINEAR)))
    assert Alignment("box_margin", (160, 160)).crop(image, face((-50, -50, -10, 90))) is None
    held = Alignment("box_margin", (40, 40), margin=20).crop(image, face((-30, -30, 400, 400)))
    whole = image_module.fromarray(image).resize((40, 40), image_module.Resampling.BILINEAR)
    np.testing.assert_array_equal(held, np.asarray(whole))


def test_the_landmarks_come_to_the_template():
    turn = 2.2 * np.array([[np.cos(0.3), np.sin(0.3)], [-np.sin(0.3), np.cos(0.3)]])
    places = (template("arcface112", (112, 112)) @ turn + (40, 90)).round()
    image = np.zeros((400, 400, 3), np.uint8)
    for x, y in places.astype(int):
        image[y - 3 : y + 4, x - 3 : x + 4] = 255
    for name, size in (("arcface112", (112, 112)), ("sphereface112x96", (112, 96))):
        crop = Alignment("similarity5", size, name).crop(image, face(landmarks=places.astype(np.float32)))
        assert crop.shape == (*size, 3)
        rows, columns = np.nonzero(crop[:, :, 0] > 200)
        for x, y in template(name, size):
            assert np.hypot(columns - x, rows - y).min() < 1


@pytest.mark.parametrize("landmarks", [np.ones((5, 2)), np.full((5, 2), np.inf)])
def test_landmarks_at_one_place_give_no_crop(landmarks):
    assert Alignment().crop(picture(), face(landmarks=landmarks.astype(np.float32))) is None


def test_the_fixed_crop_of_ffhq():
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    image = picture(512, 512)
    whole = torch.as_tensor(resized(image, (256, 256))).permute(2, 0, 1)[None].float()
    wanted = (
        torch.nn.functional.adaptive_avg_pool2d(whole[:, :, 35:223, 32:220], 112)[0].permute(1, 2, 0).numpy()
    )
    crop = Alignment("ffhq_fixed").crop(image)
    assert np.abs(crop - wanted).max() < 0.51
    narrow = Alignment("ffhq_fixed", (112, 96), "sphereface112x96").crop(image)
    np.testing.assert_array_equal(narrow, crop[:, 8:104])
    assert Alignment("ffhq_fixed").crop(picture()) is None  # not square


def test_the_fixed_crop_is_near_the_template():
    """Eyes at 0.375 and 0.625 of the width and 0.472 of the height, the middle of the mouth at 0.748 of the height."""
    image = np.zeros((1024, 1024, 3), np.uint8)
    places = np.array([[0.375, 0.472], [0.625, 0.472], [0.5, 0.748]]) * 1024
    for x, y in places.astype(int):
        image[y - 4 : y + 5, x - 4 : x + 5] = 255
    rows, columns = np.nonzero(Alignment("ffhq_fixed").crop(image)[:, :, 0] > 60)
    arcface = template("arcface112", (112, 112))
    for x, y in (arcface[0], arcface[1], arcface[3:].mean(0)):
        assert np.hypot(columns - x, rows - y).min() < 4


def test_none_takes_the_picture_for_the_crop():
    image = picture(112, 112)
    assert Alignment("none").crop(image) is image
    assert Alignment("none", (64, 64)).crop(image).shape == (64, 64, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "other"}, "none of"),
        ({"size": (0, 5), "mode": "none"}, "at least 1"),
        ({"size": (100, 100)}, "no places"),
        ({"mode": "ffhq_fixed", "size": (128, 128)}, "multiple of 112"),
        ({"mode": "box_margin", "margin": 112}, "margin"),
        ({"mode": "dlib_chip", "size": (150, 140)}, "square"),
    ],
)
def test_alignments_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        Alignment(**options)


def test_an_alignment_says_what_it_lacks():
    with pytest.raises(ValueError, match="needs a face"):
        Alignment().crop(picture())
    with pytest.raises(ValueError, match="five landmarks"):
        Alignment().crop(picture(), face())


# --- matchers -------------------------------------------------------------------------------------


class Detector:
    name = "stored"

    def __init__(self, *faces):
        self.faces = list(faces)

    def describe(self):
        return {"name": "stored"}

    def find(self, image):
        return self.faces


def test_a_matcher_without_a_detector():
    matcher = AlignedMatcher(None, Alignment("ffhq_fixed"), Embedder())
    found = matcher.represent(picture(256, 256))
    assert (found.route, found.faces, found.box, found.confidence) == ("ffhq_fixed", 1, None, None)
    assert matcher.represent(picture()) == (None, "", 0, None, None)
    assert matcher.describe()["detector"] is None
    assert matcher.describe()["alignment"]["template"] == "arcface112"


def test_a_face_that_cannot_be_aligned_is_told():
    matcher = AlignedMatcher(Detector(face(landmarks=np.ones((5, 2), np.float32))), Alignment(), Embedder())
    found = matcher.represent(picture())
    assert (found.vector, found.route, found.faces, found.box) == (None, "detected", 1, (10, 20, 60, 90))


def test_the_main_face_is_large_and_central():
    central, corner = face((40, 30, 80, 70), LANDMARKS), face((0, 0, 45, 45), LANDMARKS)
    assert main_face([corner, central], (100, 120)) is central
    assert main_face([], (100, 120)) is None
    assert AlignedMatcher(Detector(corner, central), Alignment(), Embedder()).represent(picture()).faces == 2


def test_matchers_are_checked():
    with pytest.raises(ValueError, match="needs a detector"):
        AlignedMatcher(None, Alignment(), Embedder())
    with pytest.raises(ValueError, match="112 x 112"):
        AlignedMatcher(None, Alignment("none", (96, 96)), Embedder())
    matcher = AlignedMatcher(None, Alignment("none"), Embedder())
    for wrong in (np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3), np.float32), np.zeros((0, 9, 3), np.uint8)):
        with pytest.raises(ValueError, match="uint8"):
            matcher.represent(wrong)


def test_overlapping_boxes():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30], [2, 2, 6, 6]], float)
    scores = np.array([0.8, 0.9, 0.9, 0.7])
    assert suppress(boxes, scores, 0.5).tolist() == [1, 2, 3]
    assert suppress(boxes, scores, 0.5, "smaller").tolist() == [1, 2]
    assert suppress(np.empty((0, 4)), np.empty(0), 0.5).tolist() == []
