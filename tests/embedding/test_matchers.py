"""Matchers put together from a specification, a detector and an alignment; and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from embedding.test_embed import GRID, config, tree
from idsim.embedding import embed
from idsim.errors import CudaError, MatcherError
from idsim.gallery import Gallery
from idsim.matchers.dlib import DlibMatcher
from idsim.matchers.opening import open_detector, open_matcher
from idsim.matchers.options import RunOptions

SPEC = """
name = "toy"
kind = "onnx"
licence = "none"
file = "toy.onnx"
[input]
size = [112, 112]
color = "RGB"
mean = 127.5
std = 127.5
[align]
mode = "similarity5"
template = "arcface112"
[output]
dim = 512
normalise = true
[score]
metric = "cosine"
default_threshold = 0.4
"""


@pytest.fixture
def spec(tmp_path):
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    from support.onnx_networks import projection

    onnx.save(projection(), tmp_path / "toy.onnx")
    (tmp_path / "toy.toml").write_text(SPEC)
    return tmp_path / "toy.toml"


def crops(root, count=70):
    rng = np.random.default_rng(3)
    root.mkdir()
    for number in range(count):
        Image.fromarray(rng.integers(0, 256, (112, 112, 3), dtype=np.uint8)).save(root / f"{number:03d}.png")
    return root


def test_crops_through_onnx_in_two_stages(spec, tmp_path):
    images = crops(tmp_path / "images")
    result = embed(config(images, tmp_path / "a", matcher=str(spec), align="none", workers=1))
    assert {"decode", "detect", "embed"} <= set(result.times)
    vectors = Gallery.open(tmp_path / "a").vectors()
    matcher = open_matcher(str(spec), align="none")
    pixels = np.stack([np.asarray(Image.open(path)) for path in sorted(images.iterdir())])
    for start in (0, 64):
        np.testing.assert_array_equal(vectors[start : start + 64], matcher.embed(pixels[start : start + 64]))
    described = json.loads(Gallery.open(tmp_path / "a").info()["metadata"]["matcher"])
    assert (described["name"], described["alignment"]["mode"], described["detector"]) == ("toy", "none", None)
    embed(config(images, tmp_path / "b", matcher=str(spec), align="none", devices=("cpu", "cpu"), workers=3))
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_a_detector_is_found_by_the_alignment(spec):
    pytest.importorskip("dlib")
    matcher = open_matcher("toy.toml", base=spec.parent, detector="dlib68")
    data = pytest.importorskip("skimage.data")
    found = matcher.represent(data.astronaut())
    assert found.vector.shape == (512,)
    assert found.faces == 1
    assert matcher.describe()["detector"]["name"] == "dlib68" or "68" in json.dumps(
        matcher.describe()["detector"]
    )


def test_dlib_is_the_matcher_of_scans():
    pytest.importorskip("dlib")
    assert isinstance(open_matcher("dlib"), DlibMatcher)
    with pytest.raises(CudaError, match="runs on the CPU"):
        open_matcher("dlib", options=RunOptions("cuda", require_gpu=True))


def test_what_means_nothing(spec, tmp_path):
    with pytest.raises(ValueError, match="uses no detector, and mtcnn is given"):
        open_matcher(str(spec), align="none", detector="mtcnn")
    with pytest.raises(ValueError, match="'ffhq_fixed' or 'none'"):
        open_matcher(str(spec), align="eyes")
    with pytest.raises(ValueError, match="one of dlib, dlib68"):
        open_detector("eyes")
    for text in ("scrfd", "mtcnn:file.onnx"):
        with pytest.raises(ValueError, match="must have a model file if"):
            open_detector(text)
    with pytest.raises(ValueError, match="is a whole matcher"):
        open_matcher(GRID + "grid", detector="dlib")
    (tmp_path / "odd.py").write_text("def make(device):\n    return 3\n")
    with pytest.raises(MatcherError, match="is no matcher"):
        open_matcher("odd.py:make", base=tmp_path)
