"""SCRFD and YuNet: boxes from outputs that encode them, and graphs that find bright spots."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs the extra onnx")
pytest.importorskip("onnxruntime", reason="needs the extra onnx")

from idsim.errors import MatcherError
from idsim.matchers.faces.anchors import decode_scrfd, decode_yunet
from idsim.matchers.faces.onnx_detector import OnnxDetectorOptions, ScrfdDetector, YunetDetector
from support.onnx_detectors import KEY_POINTS, scrfd, yunet

LOOK = OnnxDetectorOptions(sizes=(256,), threshold=0.7, pad=False)


def spot(height, width, top, left, side, colour=(255, 255, 255)):
    picture = np.zeros((height, width, 3), np.uint8)
    picture[top : top + side, left : left + side] = colour
    return picture


# --- outputs that encode boxes --------------------------------------------------------------------


def encoded_scrfd(faces, size, anchors, strides):
    """Return SCRFD's outputs in which each face stands at one cell: stride, row, column, anchor, box, points, score."""
    outputs = {}
    for stride in strides:
        rows = (size[0] // stride) * (size[1] // stride) * anchors
        for kind, columns in (("s", 1), ("b", 4), ("p", 10)):
            outputs[f"{kind}{stride}"] = np.full((rows, columns), 0.01, np.float32)
    for stride, row, column, anchor, box, points, score in faces:
        index = (row * (size[1] // stride) + column) * anchors + anchor
        x, y = column * stride, row * stride
        outputs[f"s{stride}"][index] = score
        outputs[f"b{stride}"][index] = np.array([x - box[0], y - box[1], box[2] - x, box[3] - y]) / stride
        outputs[f"p{stride}"][index] = ((points - (x, y)) / stride).ravel()
    return outputs


@pytest.mark.parametrize("anchors", [1, 2])
@pytest.mark.parametrize(("size", "strides"), [((256, 320), (8, 16, 32)), ((256, 256), (8, 16, 32, 64, 128))])
def test_scrfd_boxes_come_back(anchors, size, strides):
    random = np.random.default_rng(anchors)
    faces = []
    for stride in strides:
        row, column = random.integers(size[0] // stride), random.integers(size[1] // stride)
        box = random.uniform(0, 256, 4).astype(np.float32)
        points = random.uniform(0, 256, (5, 2)).astype(np.float32)
        faces.append((stride, row, column, anchors - 1, box, points, 0.5 + stride / 1000))
    outputs = encoded_scrfd(faces, size, anchors, strides)
    outputs = {name: outputs[name] for name in sorted(outputs)}  # the order does not matter
    outputs["s8"] = outputs["s8"][None]  # nor does a batch of one
    found = decode_scrfd(outputs, size, 0.5)
    np.testing.assert_allclose(found.scores, [face[6] for face in faces], rtol=1e-6)
    np.testing.assert_allclose(found.boxes, [face[4] for face in faces], atol=1e-3)
    np.testing.assert_allclose(found.points, [face[5] for face in faces], atol=1e-3)


def test_scrfd_without_landmarks():
    outputs = encoded_scrfd([(8, 3, 4, 0, (1, 2, 30, 40), np.zeros((5, 2)), 0.9)], (64, 64), 2, (8, 16, 32))
    found = decode_scrfd({name: array for name, array in outputs.items() if name[0] != "p"}, (64, 64), 0.5)
    assert found.points is None
    np.testing.assert_allclose(found.boxes, [[1, 2, 30, 40]], atol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda o: o.pop("s8"), "none of SCRFD's for 64 x 64"),
        (lambda o: [o.pop(n) for n in ("s8", "b8", "p8")], "three or five"),
        (lambda o: o.update(s8=np.zeros((128, 3), np.float32)), "shape"),
        (lambda o: o.update(x=np.zeros((128, 4), np.float32)), "'x'"),
        (lambda o: o.pop("p16"), "some strides have landmarks"),
        (lambda o: o.update({n: o[n][:-1] for n in ("s32", "b32", "p32")}), "in cells of 32"),
    ],
)
def test_other_outputs_than_scrfd_are_refused(change, message):
    outputs = encoded_scrfd([], (64, 64), 2, (8, 16, 32))
    change(outputs)
    with pytest.raises(ValueError, match=message):
        decode_scrfd(outputs, (64, 64), 0.5)


def test_yunet_boxes_come_back():
    size, outputs, faces = (160, 96), {}, []
    random = np.random.default_rng(5)
    for stride in (8, 16, 32):
        rows, columns = size[0] // stride, size[1] // stride
        for kind, width in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            outputs[f"{kind}_{stride}"] = np.full((1, rows * columns, width), 0.1, np.float32)
        row, column = random.integers(rows), random.integers(columns)
        middle, sides, points = (
            random.uniform(5, 90, 2),
            random.uniform(5, 90, 2),
            random.uniform(0, 90, (5, 2)),
        )
        index, corner = row * columns + column, np.array([column, row])
        outputs[f"cls_{stride}"][0, index], outputs[f"obj_{stride}"][0, index] = 0.9, 1.2  # held to 1
        outputs[f"bbox_{stride}"][0, index] = [*(middle / stride - corner), *np.log(sides / stride)]
        outputs[f"kps_{stride}"][0, index] = (points / stride - corner).ravel()
        faces.append((np.concatenate([middle - sides / 2, middle + sides / 2]), points))
    found = decode_yunet(outputs, size, 0.6)
    np.testing.assert_allclose(found.scores, [0.9**0.5] * 3, rtol=1e-6)
    np.testing.assert_allclose(found.boxes, [box for box, _ in faces], atol=1e-3)
    np.testing.assert_allclose(found.points, [points for _, points in faces], atol=1e-3)
    del outputs["kps_16"]
    with pytest.raises(ValueError, match="kps_16"):
        decode_yunet(outputs, size, 0.6)


# --- graphs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [None, (256, 256), (320, 288)])
@pytest.mark.parametrize(("write", "detector"), [(scrfd, ScrfdDetector), (yunet, YunetDetector)])
def test_a_spot_is_found_where_it_is(tmp_path, write, detector, size):
    network = detector(write(tmp_path / "net.onnx", size), LOOK)
    # Half as large in the network's eyes: the cell there begins at column 96 and row 48.
    (face,) = network.find(spot(384, 512, 96, 192, 16))
    np.testing.assert_allclose(face.box, (168, 72, 232, 136), atol=1e-4)
    np.testing.assert_allclose(face.landmarks, (96, 48) * np.array([2]) + KEY_POINTS * 16, atol=1e-4)
    assert face.route == "side 256"
    # 1 - 1/25, of which YuNet's score is the root.
    assert face.confidence == pytest.approx(0.96 ** (0.5 if detector is YunetDetector else 1), abs=1e-5)


def test_scrfd_may_have_no_landmarks(tmp_path):
    (face,) = ScrfdDetector(scrfd(tmp_path / "net.onnx", points=False), LOOK).find(spot(256, 256, 64, 64, 8))
    assert face.landmarks is None


def test_yunet_is_fed_blue_green_red(tmp_path):
    network = YunetDetector(yunet(tmp_path / "net.onnx"), LOOK)
    assert network.find(spot(256, 256, 64, 64, 8, (255, 255, 0)))
    assert not network.find(spot(256, 256, 64, 64, 8, (0, 0, 255)))


@pytest.mark.parametrize("size", [None, (640, 640)])
def test_a_face_too_large_for_one_size_is_found_at_a_smaller_one(tmp_path, size):
    """The known trap: at 640 pixels, what fills the frame has no score."""
    file = scrfd(tmp_path / "net.onnx", size)
    picture = spot(1024, 1024, 512, 512, 64)
    assert not ScrfdDetector(file, OnnxDetectorOptions(sizes=(640,), threshold=0.9, pad=False)).find(picture)
    network = ScrfdDetector(file, OnnxDetectorOptions(sizes=(640, 256, 128), threshold=0.9, pad=False))
    (face,) = network.find(picture)
    assert face.route == "side 128"
    assert face.box == (416, 416, 672, 672)


def test_sizes_join_and_a_face_found_twice_is_one(tmp_path):
    picture = spot(640, 640, 320, 320, 32)
    picture[64:72, 64:72] = 255  # at 256 pixels, too small for a cell
    network = ScrfdDetector(
        scrfd(tmp_path / "net.onnx"), OnnxDetectorOptions(sizes=(256, 640), threshold=0.75, pad=False)
    )
    routes = {face.box[0] < 200: face.route for face in network.find(picture)}
    assert routes == {True: "side 640", False: "side 256"}


def test_a_face_that_fills_the_frame_is_found_with_padding(tmp_path):
    file, picture = scrfd(tmp_path / "net.onnx"), spot(48, 48, 18, 18, 12)
    look = {"sizes": (128,), "threshold": 0.8}
    assert not ScrfdDetector(file, OnnxDetectorOptions(pad=False, **look)).find(picture)
    face = ScrfdDetector(file, OnnxDetectorOptions(**look)).find(picture)[0]
    assert face.route == "padded, side 128"
    np.testing.assert_allclose(face.landmarks[2], (24, 24), atol=4)
    assert face.box[0] < 18
    assert face.box[2] > 30


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (3, 3), (640, 31)])
def test_odd_pictures_have_no_faces(tmp_path, shape):
    for network in (
        ScrfdDetector(scrfd(tmp_path / "s.onnx")),
        YunetDetector(yunet(tmp_path / "y.onnx", (320, 320))),
    ):
        assert network.find(np.zeros((*shape, 3), np.uint8)) == []


def test_what_it_depends_on_is_described(tmp_path):
    network = ScrfdDetector(scrfd(tmp_path / "net.onnx"), OnnxDetectorOptions(licence="MIT"))
    told = network.describe()
    assert (told["name"], told["licence"], told["threshold"], told["sizes"]) == (
        "scrfd", "MIT", 0.5, [640, 256, 128],
    )  # fmt: skip
    assert len(told["files"]["net.onnx"]) == 64
    assert YunetDetector(yunet(tmp_path / "y.onnx")).describe()["threshold"] == 0.9


def test_the_wrong_network_is_named(tmp_path):
    with pytest.raises(MatcherError, match="cls_8 is None"):
        YunetDetector(scrfd(tmp_path / "net.onnx")).find(np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(MatcherError, match="sha256"):
        ScrfdDetector(tmp_path / "net.onnx", OnnxDetectorOptions(sha256="0" * 64))
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(MatcherError, match=r"bad\.onnx"):
        ScrfdDetector(tmp_path / "bad.onnx")


@pytest.mark.parametrize("options", [{"sizes": ()}, {"sizes": (16,)}, {"threshold": 1.0}, {"overlap": -0.1}])
def test_options_are_checked(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        OnnxDetectorOptions(**options)
