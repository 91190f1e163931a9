"""What `idsim matcher` says of crops: of right and wrong specifications, in words, in JSON, by its exit status."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from idsim.cli.matcher import app
from idsim.matchers import RunOptions, open_embedder, pixel_maps
from idsim.matchers.catalogue import catalogue_file, catalogue_names, catalogue_spec
from idsim.matchers.check import Pair, check_embedder, judge
from idsim.matchers.embedder import SpecifiedEmbedder
from idsim.matchers.spec import spec_from_table
from support.onnx_networks import FLOAT, Net

PEOPLE, PICTURES = 6, 4
MANY = 20  # people, where one setting must be seen to be better than another


def face(person, picture):
    """A made-up face: who it is shows in red, symmetric from left to right; blue is another each time."""
    who, now = np.random.default_rng(person), np.random.default_rng([person, picture])
    half = np.kron(who.normal(size=(7, 4)), np.ones((16, 14)))
    red = np.hstack([half, half[:, ::-1]]) * 40 + now.normal(size=(112, 112)) * 10
    blue = np.kron(now.normal(size=(7, 7)), np.ones((16, 16))) * 40
    return (128 + np.stack([red, red / 2 + blue / 2, blue], axis=2)).clip(0, 255).astype(np.uint8)


def save_faces(root, people, pictures):
    for person in range(people):
        (root / str(person)).mkdir()
        for picture in range(pictures):
            Image.fromarray(face(person, picture)).save(
                root / str(person) / f"{picture}.png", compress_level=1
            )
    return root


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return save_faces(tmp_path_factory.mktemp("faces"), PEOPLE, PICTURES)


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    """A network that looks at the first channel."""
    net = Net(1)
    first = net.add("Gather", "x", net.constant(np.array([0], np.int64)), axis=1)
    pooled = net.add("AveragePool", first, kernel_shape=[8, 8], strides=[8, 8])
    net.dense(net.add("Flatten", pooled, axis=1), 196, 512, output="y")
    path = tmp_path_factory.mktemp("net") / "net.onnx"
    model = net.model([("x", FLOAT, ["n", 3, 112, 112])], [("y", FLOAT, ["n", 512])])
    path.write_bytes(model.SerializeToString())
    return path


def open_function(function, size, dim):
    """Return an embedder made of a function."""
    table = {
        "name": "f", "kind": "callable", "licence": "CC0",
        "input": {"size": list(size), "color": "RGB", "embedded": True},
        "align": {"mode": "none"}, "output": {"dim": dim, "normalise": False}, "score": {"metric": "l2"},
    }  # fmt: skip
    return SpecifiedEmbedder(spec_from_table(table, "test"), function, {})


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def check(*arguments):
    """Check a matcher with pictures that are crops."""
    return run("check", *arguments, "--align", "none")


def spec_file(folder, net, old="", new=""):
    path = folder / "spec.toml"
    text = catalogue_file("auraface").read_text()
    assert old in text
    path.write_text(f'file = "{net}"\n' + text.replace(old, new))
    return path


def test_a_right_specification_looks_right(tmp_path, net, faces):
    done = check(spec_file(tmp_path, net), faces, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    assert found["verdict"] == "looks right"
    assert {entry["check"]: entry["ok"] for entry in found["findings"]} == dict.fromkeys(
        ["pictures", "vectors", "batch", "norm", "flip", "pairs", "colour", "pixels", "align"], True
    )
    assert found["severity"] == "none"
    assert (found["matcher"]["name"], found["without_face"]) == ("auraface", [])
    pairs = next(entry["values"] for entry in found["findings"] if entry["check"] == "pairs")
    for name in ("mean_same", "mean_different", "auc", "separation"):
        assert pairs[name]["low"] <= pairs[name]["value"] <= pairs[name]["high"]
    assert pairs["mean_same"]["low"] > pairs["mean_different"]["high"]
    assert (pairs["mean_same"]["n"], pairs["mean_different"]["n"]) == (36, 240)
    words = check("auraface", faces, "--model", net)
    assert words.exit_code == 0
    assert "licence of the weights: Apache-2.0" in words.output
    assert "The specification looks right." in words.output


def test_a_wrong_colour_order_is_seen(tmp_path, net, faces):
    done = check(spec_file(tmp_path, net, '"RGB"', '"BGR"'), faces)
    assert done.exit_code == 1
    assert "WRONG  colour" in done.output
    assert "the other order looks right" in done.output
    assert "The specification looks wrong, severity major (" in done.output
    assert "colour): try the other order of the channels." in done.output


@pytest.fixture(scope="module")
def saturating(tmp_path_factory):
    """A network that looks at the first channel and sees no more than -1 to 1."""
    net = Net(1)
    first = net.add("Gather", "x", net.constant(np.array([0], np.int64)), axis=1)
    ends = [net.constant(np.float32(end)) for end in (-1, 1)]
    pooled = net.add("AveragePool", net.add("Clip", first, *ends), kernel_shape=[8, 8], strides=[8, 8])
    net.dense(net.add("Flatten", pooled, axis=1), 196, 512, output="y")
    path = tmp_path_factory.mktemp("net") / "saturating.onnx"
    model = net.model([("x", FLOAT, ["n", 3, 112, 112])], [("y", FLOAT, ["n", 512])])
    path.write_bytes(model.SerializeToString())
    return path


def test_a_pixel_map_that_does_better_is_named(tmp_path, saturating):
    (tmp_path / "faces").mkdir()
    faces = save_faces(tmp_path / "faces", MANY, 3)
    path = spec_file(tmp_path, saturating, "mean = 127.5\nstd = 127.5", "mean = 220\nstd = 10")
    done = check(path, faces, "--json")
    assert done.exit_code == 1, done.output
    found = json.loads(done.output)
    pixels = next(entry for entry in found["findings"] if entry["check"] == "pixels")
    assert (pixels["ok"], pixels["values"]["better"]) == (False, "(x - 127.5) / 127.5")
    assert set(pixels["values"]["others"]) == {
        name + order
        for name in ("(x - 127.5) / 127.5", "x / 255", "x, 0 to 255", "each crop whitened")
        for order in ("", ", red and blue exchanged")
    }
    assert "try the pixel map (x - 127.5) / 127.5" in found["sentence"]


@pytest.mark.parametrize(
    ("name", "others"),
    [
        ("arcface-w600k-r50", ["x / 255", "x, 0 to 255", "each crop whitened"]),
        ("ghostfacenets", ["x / 255", "x, 0 to 255", "each crop whitened"]),  # 128 is no other map than 127.5
        ("magface", ["(x - 127.5) / 127.5", "x, 0 to 255", "each crop whitened"]),
        ("sface", ["(x - 127.5) / 127.5", "x / 255", "each crop whitened"]),
        ("facenet-tf-2017", ["(x - 127.5) / 127.5", "x / 255", "x, 0 to 255"]),
        ("facenet-pytorch", ["x / 255", "x, 0 to 255"]),
    ],
)
def test_other_pixel_maps_are_those_that_are_not_stated(monkeypatch, name, others):
    opened = []
    monkeypatch.setattr(pixel_maps, "open_specified", lambda spec, **_: opened.append(spec.input))
    assert [label for label, _ in pixel_maps.other_pixel_maps(name, options=RunOptions())] == others
    assert len(set(opened)) == len(others)
    assert catalogue_spec(name).input not in opened
    assert list(pixel_maps.other_pixel_maps("dlib", options=RunOptions())) == []


def test_crops_that_lie_elsewhere_are_seen():
    def embed(crops):
        return crops[:, :14, :, 0].reshape(len(crops), 2, 7, 16, 7).mean(axis=(2, 4)).reshape(len(crops), -1)

    rng = np.random.default_rng(7)
    who = np.kron(rng.integers(40, 216, (MANY, 1, 2, 16)), np.ones((1, 1, 7, 7)))[:, 0]
    crops = rng.integers(0, 256, (MANY * 3, 112, 112, 3), dtype=np.uint8)
    people = np.arange(len(crops)) // 3
    noise = rng.integers(-20, 21, (len(crops), 14, 112))
    crops[:, 7:21, :, 0] = who[people] + noise  # the network looks at the rows above
    pairs = [Pair(a, b, people[a] == people[b]) for a in range(len(crops)) for b in range(a)]
    embedder = open_function(embed, crops.shape[1:3], 32)
    by_name = {entry.check: entry for entry in check_embedder(embedder, crops, pairs)}
    assert by_name["align"].ok is False
    assert by_name["align"].values["others"]["moved up"] > 1.4 * by_name["align"].values["separation"]
    right = {entry.check: entry for entry in check_embedder(embedder, np.roll(crops, -7, axis=1), pairs)}
    assert right["align"].ok is True
    assert judge([by_name["pairs"], by_name["align"]])[:2] == (False, "minor")
    assert judge([right["pairs"], right["align"]])[:2] == (True, "none")


def test_a_network_that_sees_nobody_is_seen(tmp_path, faces):
    (tmp_path / "m.py").write_text(
        "import zlib\nimport numpy as np\n"
        "def f(crops): return np.random.default_rng(zlib.crc32(crops.tobytes())).normal(size=(len(crops), 8))\n"
        'f.spec = {"name": "r", "licence": "CC0", "input": {"size": [112, 112]}, "align": {"mode": "none"},'
        '"output": {"dim": 8, "normalise": True}, "score": {"metric": "l2"}}\n'
    )
    done = check(tmp_path / "m.py:f", faces)
    assert done.exit_code == 1
    for name in ("batch", "flip", "pairs"):
        assert f"WRONG  {name}" in done.output


def test_a_list_of_pairs(tmp_path, net, faces):
    lines = [f"{p}/0.png, {p}/1.png, same\n{p}/0.png,{(p + 1) % PEOPLE}/1.png,0\n\n" for p in range(PEOPLE)]
    path = faces / "pairs.csv"
    for header in ("", "left,right,same\n"):
        path.write_text(header + "".join(lines))
        assert check(spec_file(tmp_path, net), path).exit_code == 0
    path.write_text("".join(lines[:2]))
    done = check(spec_file(tmp_path, net), path)
    assert done.exit_code == 3
    assert "cannot be judged: 2 same and 2 different pairs: at least 5 of each are needed." in done.output
    path.unlink()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a.png,b.png\n", "line 1"),
        ("0/0.png,0/1.png,maybe\n", "line 1"),
        ("", "pictures"),
        ("0/0.png,x.png,same", "x.png"),
        ("0/0.png,small.png,same", "size"),
        ("0/0.png,bad.png,same", "picture"),
    ],
)
def test_pairs_that_cannot_be_used(tmp_path, net, faces, text, says):
    Image.new("RGB", (50, 60)).save(tmp_path / "small.png")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    (tmp_path / "0").symlink_to(faces / "0")
    (tmp_path / "pairs.csv").write_text(text)
    done = check(spec_file(tmp_path, net), tmp_path / "pairs.csv")
    assert done.exit_code != 0
    assert says in str(done.exception)


def test_vectors_that_are_all_the_same(tmp_path):
    (tmp_path / "m.py").write_text(
        "import numpy as np\ndef f(crops): return np.ones((len(crops), 8))\n"
        'f.spec = {"name": "r", "licence": "CC0", "input": {"size": [8, 8]}, "align": {"mode": "none"},'
        '"output": {"dim": 8, "normalise": False}, "score": {"metric": "cosine"}}\n'
    )
    crops = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    findings = check_embedder(open_embedder(f"{tmp_path / 'm.py'}:f"), crops, [Pair(0, 1, True)])
    by_name = {entry.check: entry for entry in findings}
    assert by_name["vectors"].ok is False
    assert (by_name["norm"].ok, by_name["pairs"].ok, by_name["flip"].ok) == (None, None, None)
    with pytest.raises(ValueError, match="no crops"):
        check_embedder(open_embedder(f"{tmp_path / 'm.py'}:f"), crops[:0], [])


def test_list_and_show():
    listed = json.loads(run("list", "--json").output)
    assert [entry["name"] for entry in listed["matchers"]] == catalogue_names()
    assert all(entry["licence"] for entry in listed["matchers"])
    assert "sphereface-caffe" in run("list").output
    shown = json.loads(run("show", "sphereface-caffe", "--json").output)
    assert (shown["input"]["color"], shown["dim"], shown["flip"]) == ("BGR", 1024, "concat")
    for name in catalogue_names():
        assert run("show", name).exit_code == 0
    assert "each crop whitened" in run("show", "facenet-tf-2017").output
    assert run("show", "magface", "--toml").output == catalogue_file("magface").read_text()


@pytest.mark.parametrize("arguments", [["--require-gpu"], ["--device", "cuda"]])
def test_a_missing_gpu_is_never_a_silent_run_on_the_cpu(tmp_path, net, faces, arguments):
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("has a GPU")
    done = check(spec_file(tmp_path, net), faces, *arguments)
    assert "a GPU is asked for" in str(done.exception)
