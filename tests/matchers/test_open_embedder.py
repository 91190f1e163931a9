"""From a text to an embedder: catalogue, files, functions, plug-ins, dlib and PyTorch weights."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from idsim.errors import CudaError, MatcherError
from idsim.functions import load_function
from idsim.matchers import RunOptions, find_spec, known_matchers, open_embedder
from idsim.matchers.catalogue import catalogue_file
from idsim.matchers.opening import open_matcher
from support.onnx_networks import projection

EXAMPLE = Path(__file__).parents[2] / "examples" / "matchers" / "other_matcher.py"
CROPS = np.random.default_rng(5).integers(0, 256, (3, 112, 112, 3), dtype=np.uint8)
SPEC = catalogue_file("auraface").read_text()


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(projection().SerializeToString())
    return path


def test_a_name_of_the_catalogue_and_a_model(tmp_path, model):
    embedder = open_embedder("auraface", model="net.onnx", base=tmp_path, options=RunOptions(batch=2))
    assert (embedder.name, embedder.metric, embedder.dim, embedder.size) == (
        "auraface",
        "cosine",
        512,
        (112, 112),
    )
    assert embedder.embed(CROPS).shape == (3, 512)
    assert embedder.describe()["batch"] == 2
    # Weights of PyTorch have the same specification as their export.
    assert open_embedder("arcface-torch", model=model).describe()["runtime"] == "onnx"


def test_a_specification_and_a_model_beside_it(tmp_path, model):
    (tmp_path / "net.toml").write_text(SPEC)
    expected = open_embedder("auraface", model=model).embed(CROPS)
    assert open_embedder(str(model)).embed(CROPS).tobytes() == expected.tobytes()
    (tmp_path / "named.toml").write_text('file = "net.onnx"\n' + SPEC)
    assert open_embedder("named.toml", base=tmp_path).embed(CROPS).tobytes() == expected.tobytes()


def test_a_model_alone_is_not_guessed_at(model):
    with pytest.raises(
        MatcherError,
        match=r"there is no net\.toml beside it and no idsim\.spec inside: an ONNX file does not say its",
    ):
        open_embedder(str(model))


def test_the_example_plugs_in_a_matcher_in_ten_lines():
    code = re.sub(r'""".*?"""', "", EXAMPLE.read_text(), flags=re.DOTALL).strip().splitlines()
    assert len([line for line in code if line.strip()]) <= 10
    embedder = open_embedder(f"{EXAMPLE}:embed")
    vectors = embedder.embed(CROPS)
    blocks = CROPS.reshape(3, 14, 8, 14, 8, 3).mean(axis=(2, 4)).reshape(3, -1) - 127.5
    assert vectors.dtype == np.float32
    assert np.abs(vectors - blocks / np.linalg.norm(blocks, axis=1, keepdims=True)).max() < 1e-6
    description = embedder.describe()
    assert (description["name"], description["licence"], description["dim"]) == ("blocks", "CC0", 588)
    assert re.fullmatch("[0-9a-f]{64}", description["code_sha256"])


MODULE = """
import numpy as np
def embed(crops):
    return np.stack([crops[:, 0, 0], crops[:, 0, -1]], axis=1).reshape(len(crops), -1).astype(np.float32)
embed.spec = {"name": "corner", "licence": "CC0", "input": {"size": [4, 6]}, "align": {"mode": "none"},
    "output": {"dim": 6, "normalise": False}, "score": {"metric": "l2"}, "tta": {"flip": "FLIP"}}
def wrong(crops):
    return np.zeros((len(crops), 5), np.float32)
wrong.spec = embed.spec
def whole(crops):
    return np.zeros((len(crops), 6), int)
whole.spec = embed.spec
def nan(crops):
    return np.full((len(crops), 6), np.nan)
nan.spec = embed.spec
def bare(crops):
    return crops
def make():
    return Made()
class Made:
    name, metric, dim, size = "made", "cosine", 2, (4, 6)
    def describe(self): return {"name": "made"}
    def embed(self, crops): return np.ones((len(crops), 2), np.float32)
def half(): return object()
"""


@pytest.fixture
def small():
    return np.random.default_rng(6).integers(0, 256, (3, 4, 6, 3), dtype=np.uint8)


@pytest.mark.parametrize("flip", ["none", "sum", "concat"])
def test_a_function_gets_mirrored_crops_too(tmp_path, small, flip):
    (tmp_path / "m.py").write_text(MODULE.replace("FLIP", flip))
    embedder = open_embedder("m.py:embed", base=tmp_path)
    left, right = small[:, 0, 0].astype(float), small[:, 0, -1].astype(float)
    plain, mirrored = np.hstack([left, right]), np.hstack([right, left])
    expected = {"none": plain, "sum": plain + mirrored, "concat": np.hstack([plain, mirrored])}[flip]
    assert (embedder.embed(small) == expected).all()
    assert embedder.dim == expected.shape[1]
    _, norms = embedder.embed_with_norms(small)
    assert np.allclose(norms, np.linalg.norm(expected, axis=1))


def test_functions_that_are_no_matchers(tmp_path, small):
    (tmp_path / "m.py").write_text(MODULE.replace("FLIP", "none"))
    for name, says in (
        ("wrong", r"floats \[3, 6\], not float32 \[3, 5\]"),
        ("whole", "not int64"),
        ("nan", "not finite"),
    ):
        with pytest.raises(MatcherError, match=says):
            open_embedder(f"m.py:{name}", base=tmp_path).embed(small)
    with pytest.raises(MatcherError, match="needs an attribute spec"):
        open_embedder("m.py:bare", base=tmp_path)
    with pytest.raises(ValueError, match="has no function nothing"):
        open_embedder("m.py:nothing", base=tmp_path)
    with pytest.raises(ValueError, match="brings its own network"):
        open_embedder("m.py:embed", base=tmp_path, model="x.onnx")
    function = load_function(f"{tmp_path / 'm.py'}:bare")
    function.spec = {"name": "bare"}
    assert function.spec  # of another import than the one below
    (tmp_path / "n.py").write_text('def f(crops): return crops\nf.spec = {"name": "bare", "input": 3}\n')
    with pytest.raises(MatcherError, match=r"input: must be a table \[input\]"):
        open_embedder("n.py:f", base=tmp_path)


def test_plug_ins_of_other_packages(tmp_path, monkeypatch, model, small):
    (tmp_path / "plugged.py").write_text(
        MODULE.replace("FLIP", "none") + f"\nplace = {str(tmp_path / 'p.toml')!r}\nnumber = 3\n"
    )
    (tmp_path / "p.toml").write_text('file = "net.onnx"\n' + SPEC)
    monkeypatch.syspath_prepend(tmp_path)
    targets = {"zz-f": "plugged:embed", "zz-made": "plugged:make", "zz-half": "plugged:half",
               "zz-spec": "plugged:place", "zz-number": "plugged:number", "zz-broken": "no_such_module:x"}  # fmt: skip
    entries = [metadata.EntryPoint(name, value, "idsim.matchers") for name, value in targets.items()]

    def entry_points(group, name=None):
        return [entry for entry in entries if name in (None, entry.name)] if group == "idsim.matchers" else []

    monkeypatch.setattr(metadata, "entry_points", entry_points)
    assert set(targets) < set(known_matchers())
    assert open_embedder("zz-f").embed(small).shape == (3, 6)
    assert open_embedder("zz-made").name == "made"
    assert open_embedder("zz-spec").embed(CROPS).shape == (3, 512)
    assert find_spec("zz-spec").name == "auraface"
    with pytest.raises(MatcherError, match="it has no name, metric, dim, size, describe, embed"):
        open_embedder("zz-half")
    with pytest.raises(MatcherError, match="is a int, no path"):
        open_embedder("zz-number")
    with pytest.raises(ValueError, match="without a specification"):
        find_spec("zz-made")
    with pytest.raises(ModuleNotFoundError):
        open_embedder("zz-broken")


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("", "is no matcher"),
        ("arcfce", "none of adaface, arcface-glintr100"),
        ("net.pt", "is no matcher"),
        ("auraface", "needs a model file: none comes with this package"),
        ("facenet-pytorch", "needs a model file"),
        ("no.such.module:f", "there is no module no"),
        ("none.py:f", "there is no file"),
    ],
)
def test_texts_that_mean_nothing(place, says):
    with pytest.raises(ValueError, match=says):
        open_embedder(place)


def test_dlib_describes_chips():
    dlib = pytest.importorskip("dlib")
    pytest.importorskip("skimage")
    from skimage.data import astronaut

    from idsim.matchers.dlib import DlibMatcher

    matcher = DlibMatcher()
    image = np.ascontiguousarray(astronaut())
    found = matcher.represent(image)
    left, top, right, bottom = found.box
    shape = matcher._landmarks(image, dlib.rectangle(left, top, right, bottom))
    chip = dlib.get_face_chip(image, shape, size=150, padding=0.25)
    embedder = open_embedder("dlib")
    assert (embedder.metric, embedder.dim, embedder.size) == ("l2", 128, (150, 150))
    assert embedder.embed(chip[None])[0].tobytes() == found.vector.tobytes()
    assert embedder.embed(chip[None][:0]).shape == (0, 128)
    assert list(embedder.describe()["files"]) == ["dlib_face_recognition_resnet_model_v1.dat"]


@pytest.mark.parametrize("options", [RunOptions("cuda"), RunOptions("auto", require_gpu=True)])
def test_dlib_never_runs_on_the_cpu_where_a_gpu_is_asked_for(options):
    for opened in (open_embedder, open_matcher):
        with pytest.raises(CudaError, match="dlib's network runs on the CPU here"):
            opened("dlib", options=options)


def test_weights_of_pytorch(tmp_path):
    torch = pytest.importorskip("torch")
    from idsim.matchers.torch_module import TorchEmbedder, network_shapes

    random = torch.Generator().manual_seed(1)
    state = {
        key: torch.rand(shape, generator=random) * 0.02 + (0.9 if "var" in key else 0)
        for key, shape in network_shapes("sphere20a").items()
    }
    torch.save(state, tmp_path / "sphere20a.pth")
    crops = np.random.default_rng(2).integers(0, 256, (2, 112, 96, 3), dtype=np.uint8)
    embedder = open_embedder("sphereface-torch", model="sphere20a.pth", base=tmp_path)
    raw = TorchEmbedder("sphere20a", tmp_path / "sphere20a.pth").embed(crops).astype(np.float64)
    assert np.abs(embedder.embed(crops) - raw / np.linalg.norm(raw, axis=1, keepdims=True)).max() < 1e-6
    assert embedder.describe()["runtime"] == "torch"
    with pytest.raises(MatcherError, match="takes .112, 96. and gives 512"):
        text = catalogue_file("arcface-torch").read_text().replace("iresnet50", "sphere20a")
        (tmp_path / "other.toml").write_text(text)
        open_embedder("other.toml", model="sphere20a.pth", base=tmp_path)
    if not torch.cuda.is_available():
        for options in (RunOptions("cuda"), RunOptions("auto", require_gpu=True)):
            with pytest.raises(CudaError, match="a GPU is asked for"):
                open_embedder("sphereface-torch", model=tmp_path / "sphere20a.pth", options=options)
