"""The specification of a matcher: what is read, what is refused and how, and the catalogue against the facts."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from idsim.errors import MatcherError
from idsim.matchers.catalogue import catalogue_file, catalogue_names, catalogue_spec, known_hashes
from idsim.matchers.spec import parse_spec, read_spec

GOOD = """
name = "mine"
kind = "onnx"
licence = "CC0"
[input]
size = [112, 96]
color = "BGR"
mean = [1, 2, 3.5]
std = 128
[align]
mode = "similarity5"
template = "sphereface112x96"
[output]
dim = 512
norm_output = 1
normalise = true
[score]
metric = "cosine"
default_threshold = 0.4
[tta]
flip = "concat"
"""


def test_what_is_read():
    spec = parse_spec(GOOD, "folder/spec.toml")
    assert (spec.name, spec.kind, spec.licence, spec.version) == ("mine", "onnx", "CC0", 1)
    assert (spec.input.size, spec.input.color, spec.input.layout) == ((112, 96), "BGR", "NCHW")
    assert (spec.input.mean, spec.input.std) == ((1.0, 2.0, 3.5), (128.0,))
    assert (spec.align.template, spec.output.dim, spec.output.norm_output) == ("sphereface112x96", 512, 1)
    assert (spec.dim, spec.score.metric, spec.score.higher_is_better) == (1024, "cosine", True)
    assert spec.beside("net.onnx") == Path("folder/net.onnx")


def test_the_description_is_plain_and_ignores_what_no_embedding_depends_on():
    spec = parse_spec(GOOD, "a.toml")
    text = parse_spec('title = "T"\nsource = "S"\nnotes = ["N"]\n' + GOOD, "b.toml")
    assert spec.describe() == text.describe()
    assert spec.fingerprint == text.fingerprint
    other = parse_spec(GOOD.replace("3.5", "3.25"), "a.toml")
    assert other.fingerprint != spec.fingerprint


@pytest.mark.parametrize(
    ("old", "new", "place", "says"),
    [
        ('"BGR"', '"bgr"', "input.color", "one of RGB, BGR"),
        ('color = "BGR"\n', "", "input.color", "is missing; it must be one of RGB, BGR"),
        ("mean = [1, 2, 3.5]\n", "", "input.mean", "is missing"),
        ("mean = [1, 2, 3.5]\nstd = 128\n", "", "input.mean", "exactly one of"),
        ("std = 128", "std = 128\nembedded = true", "input.mean", "exactly one of"),
        ("std = 128", "std = 0", "input.std", "above 0"),
        ("std = 128", "std = nan", "input.std", "a number or an array of 1 or 3 numbers"),
        ("[1, 2, 3.5]", "[1, 2]", "input.mean", "1 or 3 numbers"),
        ("[112, 96]", "[112]", "input.size", "2 integers from 1 to 4096 (height and width"),
        ("[112, 96]", "[112, 112]", "align.template", "sphereface112x96 is for crops of 112 x 96"),
        ("[112, 96]", "[112, true]", "input.size", "2 integers"),
        (
            '"similarity5"',
            '"similarity"',
            "align.mode",
            "similarity5, box_margin, dlib_chip, ffhq_fixed, none",
        ),
        ('"similarity5"', '"none"', "align.template", "belongs to the mode similarity5"),
        ('template = "sphereface112x96"\n', "", "align.template", "arcface112, sphereface112x96"),
        ("dim = 512", "dim = 0", "output.dim", "an integer from 1 to 65536"),
        ("normalise = true", "normalise = 1", "output.normalise", "true or false"),
        ("normalise = true\n", "", "output.normalise", "is missing"),
        ("norm_output = 1", "norm_output = -1", "output.norm_output", "from 0 to 63"),
        ('"cosine"', '"dot"', "score.metric", "one of cosine, l2"),
        ("threshold = 0.4", "threshold = 1.4", "score.default_threshold", "from -1 to 1 for cosine"),
        ('"concat"', '"both"', "tta.flip", "one of none, sum, concat"),
        ('"mine"', '"My matcher"', "name", "lower-case letters"),
        ('"mine"', '"../x"', "name", "lower-case letters"),
        ('"CC0"', '" "', "licence", "must not be empty"),
        ('licence = "CC0"', 'licence = "CC0"\nsha256 = "abc"', "sha256", "64 hexadecimal digits"),
        (
            'licence = "CC0"',
            'licence = "CC0"\ncolour = "RGB"',
            "colour",
            "is not a key here; the keys are align,",
        ),
        ("dim = 512", "dim = 512\ndims = 3", "output.dims", "the keys are center, dim, index"),
        ('kind = "onnx"', 'kind = "tensorflow"', "kind", "one of onnx, torch, dlib, callable"),
        ("[score]", "[score", "text", "not the TOML that is expected"),
    ],
)
def test_a_refusal_names_the_key_and_what_is_allowed(old, new, place, says):
    assert old in GOOD
    with pytest.raises(MatcherError) as refused:
        parse_spec(GOOD.replace(old, new), "spec.toml")
    assert (refused.value.path, refused.value.place) == ("spec.toml", place)
    assert says in refused.value.reason


def test_files_that_are_no_specification(tmp_path):
    path = tmp_path / "spec.toml"
    for data, place in (
        (b"\xff", "byte 0"),
        (b"#" * 70_000, "size"),
        (b"a = " + b"[" * 60_000, "text"),
        (b"", "name"),
    ):
        path.write_bytes(data)
        with pytest.raises(MatcherError) as refused:
            read_spec(path)
        assert refused.value.place == place
    with pytest.raises(MatcherError, match="No such file"):
        read_spec(tmp_path / "none.toml")


# --- the catalogue ---------------------------------------------------------------------------------

HALF, BY_128, IN_GRAPH, WHITEN = ((127.5,), (127.5,)), ((127.5,), (128.0,)), "embedded", "prewhiten"
TO_ONE = ((0.0,), (255.0,))
A, S = "arcface112", "sphereface112x96"
CROP, WIDE, BOX, CHIP = (112, 112), (112, 96), (160, 160), (150, 150)

# The facts again, one line for each: size, channels, layout, pixel map, alignment, elements, flip, metric, normalised.
FACTS = {
    "adaface": (CROP, "BGR", "NCHW", HALF, A, 512, "sum", "cosine"),
    "arcface-glintr100": (CROP, "RGB", "NCHW", HALF, A, 512, "none", "cosine"),
    "arcface-mxnet-r100": (CROP, "RGB", "NCHW", IN_GRAPH, A, 512, "sum", "cosine"),
    "arcface-torch": (CROP, "RGB", "NCHW", HALF, A, 512, "sum", "cosine"),
    "arcface-w600k-mbf": (CROP, "RGB", "NCHW", HALF, A, 512, "none", "cosine"),
    "arcface-w600k-r50": (CROP, "RGB", "NCHW", HALF, A, 512, "none", "cosine"),
    "auraface": (CROP, "RGB", "NCHW", HALF, A, 512, "none", "cosine"),
    "curricularface": (CROP, "RGB", "NCHW", HALF, A, 512, "sum", "cosine"),
    "cvlface": (CROP, "RGB", "NCHW", HALF, A, 512, "sum", "cosine"),
    "cvlface-kprpe": (CROP, "RGB", "NCHW", HALF, A, 512, "sum", "cosine"),
    "dlib": (CHIP, "RGB", "NCHW", IN_GRAPH, "dlib_chip", 128, "none", "l2"),
    "edgeface": (CROP, "RGB", "NCHW", HALF, A, 512, "none", "cosine"),
    "elasticface": (CROP, "RGB", "NCHW", HALF, A, 512, "sum", "cosine"),
    "facenet-deepface": (BOX, "BGR", "NHWC", TO_ONE, 0, 128, "none", "cosine"),
    "facenet-pytorch": (BOX, "RGB", "NCHW", BY_128, 0, 512, "none", "cosine"),
    "facenet-tf-2017": (BOX, "RGB", "NHWC", WHITEN, 32, 128, "none", "cosine"),
    "facenet-tf-2018": (BOX, "RGB", "NHWC", BY_128, 32, 512, "none", "cosine"),
    "facenet512-deepface": (BOX, "BGR", "NHWC", TO_ONE, 0, 512, "none", "cosine"),
    "ghostfacenets": (CROP, "RGB", "NHWC", BY_128, A, 512, "sum", "cosine"),
    "magface": (CROP, "BGR", "NCHW", TO_ONE, A, 512, "none", "cosine"),
    "sface": (CROP, "RGB", "NCHW", IN_GRAPH, A, 128, "none", "cosine"),
    "sphereface-caffe": (WIDE, "BGR", "NCHW", BY_128, S, 512, "concat", "cosine"),
    "sphereface-opensphere": (CROP, "RGB", "NCHW", HALF, A, 512, "sum", "cosine"),
    "sphereface-torch": (WIDE, "BGR", "NCHW", BY_128, S, 512, "none", "cosine"),
    "sphereface-uniface": (CROP, "RGB", "NCHW", HALF, A, 512, "none", "cosine"),
    "transface": (CROP, "RGB", "NCHW", HALF, A, 512, "sum", "cosine"),
}
THRESHOLDS = {
    "dlib": 0.6,
    "sface": 0.363,
    "cvlface": 0.3,
    "arcface-w600k-r50": 0.4,
    "facenet512-deepface": 0.7,
}


def test_the_catalogue_is_the_table():
    assert catalogue_names() == sorted(FACTS)


@pytest.mark.parametrize("name", sorted(FACTS))
def test_facts_of_the_catalogue(name):
    spec = catalogue_spec(name)
    given, align = spec.input, spec.align
    pixels = IN_GRAPH if given.embedded else WHITEN if given.prewhiten else (given.mean, given.std)
    alignment = {"similarity5": align.template, "box_margin": align.margin}.get(align.mode, align.mode)
    found = (
        given.size,
        given.color,
        given.layout,
        pixels,
        alignment,
        spec.output.dim,
        spec.flip,
        spec.score.metric,
    )
    assert found == FACTS[name]
    assert spec.name == name
    assert spec.output.normalise == (name != "dlib")
    assert spec.output.keep_norm == (name in ("adaface", "magface"))
    assert spec.output.norm_output == (1 if name == "adaface" else "")
    assert given.extra == (("keypoints",) if name == "cvlface-kprpe" else ())
    if name in THRESHOLDS:
        assert spec.score.default_threshold == THRESHOLDS[name]
    assert spec.title
    assert spec.source
    assert not spec.file


def test_no_weights_come_with_the_catalogue():
    folder = catalogue_file("dlib").parent
    assert {path.suffix for path in folder.iterdir()} == {".toml"}
    assert sum(path.stat().st_size for path in folder.iterdir()) < 100_000
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in known_hashes())


def test_licences_are_stated():
    for name in catalogue_names():
        licence = tomllib.loads(catalogue_file(name).read_text())["licence"]
        if name.startswith("arcface"):
            assert "non-commercial" in licence
    assert "NC" in catalogue_spec("elasticface").licence


def test_the_page_repeats_the_catalogue():
    page = (Path(__file__).parents[2] / "docs" / "matchers.md").read_text()
    for name in catalogue_names():
        spec = catalogue_spec(name)
        (height, width), fed, dim = spec.input.size, spec.input.color, spec.output.dim
        (row,) = re.findall(rf"^\| `{name}` \| \d+ × .*$", page, re.MULTILINE)
        assert f"| {height} × {width} | {fed} | {spec.input.layout} |" in row
        assert row.endswith(f"| {dim} | {spec.flip} | {spec.score.metric} |")
        assert spec.align.template in row


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match="it has adaface, arcface-glintr100"):
        catalogue_spec("arcfce")
