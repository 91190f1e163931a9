"""InsightFace's model packs: made-up files whose hashes take the place of the catalogue's."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from idsim.errors import MatcherError
from idsim.matchers import RunOptions, find_spec, insightface_pack, open_embedder
from idsim.matchers.catalogue import catalogue_spec
from idsim.matchers.opening import open_matcher
from support.onnx_detectors import scrfd
from support.onnx_networks import crops_of, projection, save

NAME = "arcface-w600k-r50"


@pytest.fixture
def pack(tmp_path, monkeypatch):
    """A folder like buffalo_l, and a catalogue that knows its recognition network."""
    folder = tmp_path / "buffalo_l"
    folder.mkdir()
    network = save(folder, projection(), "w600k_r50.onnx")
    save(folder, projection(seed=1), "genderage.onnx")
    scrfd(folder / "det_10g.onnx")
    digest = hashlib.sha256(network.read_bytes()).hexdigest()

    def known(name):
        spec = catalogue_spec(name)
        return replace(spec, sha256=digest) if name == NAME else spec

    monkeypatch.setattr(insightface_pack, "catalogue_spec", known)
    return folder


def test_the_recognition_network_is_told_by_its_hash(pack):
    embedder = open_embedder(f"insightface:{pack}")
    expected = open_embedder("auraface", model=pack / "w600k_r50.onnx").embed(crops_of((112, 112), 2))
    assert embedder.name == NAME
    assert np.array_equal(embedder.embed(crops_of((112, 112), 2)), expected)
    assert find_spec("insightface:buffalo_l", base=pack.parent).name == NAME
    # Its name does not matter.
    (pack / "w600k_r50.onnx").rename(pack / "other.onnx")
    assert find_spec(f"insightface:{pack}").file == str(pack / "other.onnx")


def test_the_detector_of_the_pack_comes_with_it(pack):
    matcher = open_matcher("insightface:buffalo_l", base=pack.parent)
    assert matcher.describe()["name"] == NAME
    assert list(matcher.detector.describe()["files"]) == ["det_10g.onnx"]
    assert matcher.alignment.template == "arcface112"
    assert open_matcher(f"insightface:{pack}", align="none").detector is None
    with pytest.raises(ValueError, match="holds its own model"):
        open_matcher(f"insightface:{pack}", model="x.onnx")
    with pytest.raises(ValueError, match="uses no detector"):
        open_matcher(f"insightface:{pack}", detector="mtcnn", align="none", options=RunOptions())


def test_a_pack_without_a_detector_says_what_it_has(pack):
    (pack / "det_10g.onnx").unlink()
    with pytest.raises(MatcherError, match=r"one must be named \(--detector\); found: genderage") as error:
        open_matcher(f"insightface:{pack}")
    assert f"w600k_r50.onnx ({NAME})" in str(error.value)


def test_networks_that_are_not_known_are_not_guessed_at(pack):
    save(pack, projection(seed=2), "w600k_r50.onnx")
    with pytest.raises(MatcherError, match="no recognition network of the catalogue is in it") as error:
        open_embedder(f"insightface:{pack}")
    assert "det_10g.onnx (a detector by its name), genderage.onnx (sha256 " in str(error.value)
    assert "w600k_r50.onnx (sha256 " in str(error.value)
    assert "-m NAME --model FILE" in str(error.value)


def test_two_networks_are_one_too_many(pack):
    (pack / "copy.onnx").write_bytes((pack / "w600k_r50.onnx").read_bytes())
    with pytest.raises(MatcherError, match="more than one recognition network"):
        open_embedder(f"insightface:{pack}")


def test_what_is_no_pack(tmp_path):
    for name, says in (("none", "it is no folder"), ("buffalo_l.zip", "unpack the zip first")):
        with pytest.raises(MatcherError, match=says):
            open_matcher(f"insightface:{tmp_path / name}")
    with pytest.raises(MatcherError, match=r"found: no \.onnx file"):
        open_matcher(f"insightface:{tmp_path}")
    for number in range(insightface_pack.MOST_FILES + 1):
        (tmp_path / f"{number}.onnx").touch()
    with pytest.raises(MatcherError, match="at most 32 are looked at"):
        open_matcher(f"insightface:{tmp_path}")
