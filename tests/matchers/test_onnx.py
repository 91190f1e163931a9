"""ONNX matchers: vectors against a statement of the preprocessing in NumPy; models that do not fit."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from itertools import pairwise

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from idsim.errors import MatcherError
from idsim.matchers.catalogue import catalogue_names, catalogue_spec
from idsim.matchers.onnx import OnnxEmbedder
from idsim.matchers.options import RunOptions
from support.onnx_networks import Net, crops_of, iresnet, projection, save, sphere20

RUN = [name for name in catalogue_names() if name not in ("dlib", "cvlface-kprpe")]
ARC = replace(catalogue_spec("arcface-w600k-r50"), sha256="")


def network_of(spec, seed=0):
    """A small network with the inputs and outputs of a matcher of the catalogue."""
    return projection(
        spec.input.size, spec.output.dim, layout=spec.input.layout, seed=seed, embedded=spec.input.embedded,
        norms=spec.output.norm_output != "", unit=spec.name == "facenet-pytorch",
    )  # fmt: skip


def stated(spec, model, crops, center=None):
    """What a specification means, in NumPy; the network itself is run crop by crop on what it is fed."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def raw(crop):
        pixels = crop.astype(np.float64)
        if spec.input.color == "BGR":
            pixels = pixels[:, :, ::-1]
        if spec.input.prewhiten:
            pixels = (pixels - pixels.mean()) / max(pixels.std(), 1 / np.sqrt(pixels.size))
        elif not spec.input.embedded:
            pixels = (pixels - np.array(spec.input.mean)) / np.array(spec.input.std)
        if spec.input.layout == "NCHW":
            pixels = pixels.transpose(2, 0, 1)
        outputs = session.run(None, {name: pixels[None].astype(np.float32)})
        vector = outputs[spec.output.index][0].astype(np.float64)
        return vector * outputs[1][0] if spec.output.norm_output != "" else vector

    rows = []
    for crop in crops:
        vector = raw(crop)
        if spec.flip != "none":
            mirrored = raw(crop[:, ::-1])
            vector = vector + mirrored if spec.flip == "sum" else np.concatenate([vector, mirrored])
        rows.append(vector if center is None else vector - center)
    vectors = np.array(rows)
    norms = np.linalg.norm(vectors, axis=1)
    return (vectors / norms[:, None] if spec.output.normalise else vectors), norms


# --- the preprocessing of every matcher --------------------------------------------------------------


@pytest.mark.parametrize("name", RUN)
def test_vectors_are_what_the_specification_says(tmp_path, name):
    spec = replace(catalogue_spec(name), sha256="")
    model = network_of(spec)
    embedder = OnnxEmbedder(spec, save(tmp_path, model), RunOptions(batch=3))
    crops = crops_of(spec.input.size, 7)
    found = embedder.embed(crops)
    expected, norms = stated(spec, model, crops)
    assert (found.dtype, found.shape) == (np.float32, (7, embedder.dim))
    assert np.abs(found - expected).max() <= 1e-5
    assert (embedder.name, embedder.metric, embedder.size) == (name, spec.score.metric, spec.input.size)
    if spec.output.keep_norm:
        vectors, lengths = embedder.embed_with_norms(crops)
        assert vectors.tobytes() == found.tobytes()
        assert np.abs(lengths / norms - 1).max() <= 1e-5


@pytest.mark.parametrize(
    ("change", "dim"),
    [
        ({"color": "BGR"}, 512),
        ({"mean": (100.0, 120.0, 130.0), "std": (50.0, 60.0, 70.0)}, 512),
        ({"layout": "NHWC"}, 512),
    ],
)
@pytest.mark.parametrize("flip", ["none", "sum", "concat"])
@pytest.mark.parametrize("opset", [7, 13, 21])
def test_every_choice_of_a_specification(tmp_path, change, dim, flip, opset):
    spec = replace(ARC, input=replace(ARC.input, **change), flip=flip)
    model = projection(layout=spec.input.layout, opset=opset)
    crops = crops_of((112, 112), 4)
    found = OnnxEmbedder(spec, save(tmp_path, model)).embed(crops)
    assert np.abs(found - stated(spec, model, crops)[0]).max() <= 1e-5


@pytest.mark.parametrize("normalise", [True, False])
def test_centring_comes_before_the_length(tmp_path, normalise):
    center = np.random.default_rng(3).normal(size=1024).astype(np.float32)
    np.save(tmp_path / "mean.npy", center)
    output = replace(ARC.output, center="mean.npy", normalise=normalise, keep_norm=True)
    spec = replace(ARC, output=output, flip="concat", path=str(tmp_path / "spec.toml"))
    model = projection()
    crops = crops_of((112, 112), 3)
    embedder = OnnxEmbedder(spec, save(tmp_path, model))
    found, norms = embedder.embed_with_norms(crops)
    expected, lengths = stated(spec, model, crops, center)
    assert np.abs(found - expected).max() <= 1e-5 * max(1, np.abs(expected).max())
    assert np.abs(norms / lengths - 1).max() <= 1e-5
    digest = hashlib.sha256((tmp_path / "mean.npy").read_bytes()).hexdigest()
    assert embedder.describe()["center_sha256"] == digest
    for values, says in ((center[:5], r"must be floats \[1024\]"), (np.full(1024, np.nan), "not finite")):
        np.save(tmp_path / "mean.npy", values)
        with pytest.raises(MatcherError, match=says):
            OnnxEmbedder(spec, tmp_path / "model.onnx")


@pytest.mark.parametrize("kind", [TensorProto.UINT8, TensorProto.FLOAT16, TensorProto.DOUBLE])
def test_networks_that_take_other_numbers(tmp_path, kind):
    spec = replace(ARC, input=replace(ARC.input, mean=(0.0,), std=(1.0,)))
    path = save(tmp_path, projection(kind=kind))
    crops = crops_of((112, 112), 3)
    expected, _ = stated(spec, projection(), crops)
    assert np.abs(OnnxEmbedder(spec, path).embed(crops) - expected).max() <= 1e-5


# --- networks of the true architecture --------------------------------------------------------------


def check_network(tmp_path, spec, model, count=2):
    crops = crops_of(spec.input.size, count)
    embedder = OnnxEmbedder(spec, save(tmp_path, model), RunOptions(batch=2, threads=1))
    assert np.abs(embedder.embed(crops) - stated(spec, model, crops)[0]).max() <= 1e-5


@pytest.mark.parametrize("name", ["arcface-w600k-r50", "arcface-torch", "adaface", "magface"])
def test_an_iresnet_of_true_depth(tmp_path, name):
    spec = replace(catalogue_spec(name), sha256="")
    spec = replace(spec, output=replace(spec.output, norm_output=""))
    check_network(tmp_path, spec, iresnet(width=1 / 8))


@pytest.mark.parametrize("name", ["sphereface-caffe", "sphereface-torch"])
def test_the_network_of_sphereface(tmp_path, name):
    check_network(tmp_path, catalogue_spec(name), sphere20(width=1 / 4))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "build"), [("arcface-w600k-r50", iresnet), ("sphereface-torch", sphere20)])
def test_networks_of_true_size(tmp_path, name, build):
    model = build()
    assert {"arcface-w600k-r50": 170e6, "sphereface-torch": 85e6}[name] < model.ByteSize() < 180e6
    check_network(tmp_path, replace(catalogue_spec(name), sha256=""), model)


# --- batches ----------------------------------------------------------------------------------------


def test_a_declared_batch_of_one_is_patched(tmp_path):
    path = save(tmp_path, projection(batch=(1, 1)))
    crops = crops_of((112, 112), 5)
    assert OnnxEmbedder(ARC, path).embed(crops).shape == (5, 512)


def test_bytes_do_not_depend_on_what_a_crop_comes_with(tmp_path):
    path = save(tmp_path, iresnet(layers=(1, 1, 1, 1), width=1 / 8))
    crops = crops_of((112, 112), 11)
    embedder = OnnxEmbedder(ARC, path, RunOptions(batch=4))
    together = embedder.embed(crops)
    for parts in ([1] * 11, [5, 6], [4, 4, 3]):
        edges = np.cumsum([0, *parts])
        found = np.concatenate([embedder.embed(crops[a:b]) for a, b in pairwise(edges)])
        assert found.tobytes() == together.tobytes()
    assert embedder.embed(crops[:0]).shape == (0, 512)
    for threads in (1, 2, 3):
        other = OnnxEmbedder(ARC, path, RunOptions(batch=4, threads=threads))
        assert other.embed(crops).tobytes() == together.tobytes()


def test_a_batch_inside_the_graph_is_found_out(tmp_path):
    net = Net()
    x = net.add("AveragePool", "x", kernel_shape=[8, 8], strides=[8, 8])
    flat = net.add("Reshape", x, net.constant(np.array([1, -1], np.int64)))
    sliced = net.add("Slice", flat, *(net.constant(np.array([v], np.int64)) for v in (0, 588, 1)))
    net.dense(sliced, 588, 512, output="y")
    model = net.model([("x", TensorProto.FLOAT, [1, 3, 112, 112])], [("y", TensorProto.FLOAT, [1, 512])])
    with pytest.raises(MatcherError, match=r"3 crops give vectors of shape \[1, 512\]"):
        OnnxEmbedder(ARC, save(tmp_path, model))


def test_memory_that_is_there_is_written_in_place(tmp_path):
    torch = pytest.importorskip("torch")
    embedder = OnnxEmbedder(ARC, save(tmp_path, projection()), RunOptions(batch=4))
    crops = crops_of((112, 112), 11)
    expected = embedder.embed(crops)
    gallery = np.zeros((20, 512), np.float32)
    embedder.embed_into(crops, gallery[3:14])
    assert gallery[3:14].tobytes() == expected.tobytes()
    assert not gallery[:3].any()
    assert not gallery[14:].any()
    out = torch.zeros((11, 512))
    embedder.embed_into(torch.from_numpy(crops), out)
    assert out.numpy().tobytes() == expected.tobytes()
    keeps = replace(ARC, output=replace(ARC.output, keep_norm=True))
    again = np.zeros_like(expected)
    OnnxEmbedder(keeps, tmp_path / "model.onnx", RunOptions(batch=4)).embed_into(crops, again)
    assert again.tobytes() == expected.tobytes()
    few = np.zeros((2, 512), np.float32)
    embedder.embed_into(crops[:2], few)
    assert np.abs(few - expected[:2]).max() < 1e-6
    embedder.embed_into(crops[:0], few[:0])


@pytest.mark.parametrize(
    ("crops", "out", "error", "says"),
    [
        (
            np.zeros((2, 112, 112, 3), np.uint8),
            np.zeros((3, 512), np.float32),
            ValueError,
            "3 rows, and there are 2",
        ),
        (np.zeros((2, 112, 112, 3), np.uint8), np.zeros((2, 512)), ValueError, "out must be float32"),
        (
            np.zeros((2, 112, 112, 3), np.uint8),
            np.zeros((2, 1024), np.float32)[:, ::2],
            ValueError,
            "C-contiguous",
        ),
        (
            np.zeros((2, 112, 96, 3), np.uint8),
            np.zeros((2, 512), np.float32),
            ValueError,
            "crops must be uint8",
        ),
        ([1], np.zeros((2, 512), np.float32), TypeError, "DLPack, not list"),
    ],
)
def test_memory_of_another_form_is_refused(tmp_path, crops, out, error, says):
    embedder = OnnxEmbedder(ARC, save(tmp_path, projection()))
    with pytest.raises(error, match=says):
        embedder.embed_into(crops, out)


# --- what does not fit ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("crops", "error", "says"),
    [
        (np.zeros((2, 112, 112, 3), np.float32), TypeError, r"uint8 \[n, 112, 112, 3\] RGB, not float32"),
        (np.zeros((2, 112, 96, 3), np.uint8), ValueError, r"not \[2, 112, 96, 3\]"),
        (np.zeros((2, 3, 112, 112), np.uint8), ValueError, r"not \[2, 3, 112, 112\]"),
        (np.zeros((112, 112, 3), np.uint8), ValueError, r"not \[112, 112, 3\]"),
        ([[1]], TypeError, "not list"),
    ],
)
def test_crops_of_another_form(tmp_path, crops, error, says):
    with pytest.raises(error, match=says):
        OnnxEmbedder(ARC, save(tmp_path, projection())).embed(crops)


def two_inputs():
    model = projection()
    model.graph.input.append(helper.make_tensor_value_info("keypoints", TensorProto.FLOAT, ["n", 5, 2]))
    return model


INPUT, OUTPUT = ARC.input, ARC.output
MISFITS = {
    "size": (
        lambda: projection((112, 96)),
        {},
        "input 'input.1'",
        r"takes \[n, 3, 112, 96\], and the specification says",
    ),
    "layout": (lambda: projection(layout="NHWC"), {}, "input 'input.1'", r"takes \[n, 112, 112, 3\]"),
    "dim": (
        lambda: projection(dim=256),
        {},
        "output '683'",
        r"gives \[n, 256\], and the specification says 512",
    ),
    "input": (
        projection,
        {"input": replace(INPUT, name="data")},
        "input.name",
        "no input 'data'; its inputs: input.1",
    ),
    "inputs": (two_inputs, {}, "input", "has 2: input.1, keypoints"),
    "points": (two_inputs, {"input": replace(INPUT, extra=("keypoints",))}, "input.extra", "cannot be fed"),
    "output": (
        projection,
        {"output": replace(OUTPUT, name="fc1")},
        "output.name",
        "no output 'fc1'; the model's outputs: 683",
    ),
    "index": (projection, {"output": replace(OUTPUT, index=1)}, "output.index", "no output 1"),
    "norms": (projection, {"output": replace(OUTPUT, norm_output=1)}, "output.norm_output", "no output 1"),
    "same": (
        projection,
        {"output": replace(OUTPUT, norm_output=0)},
        "output.norm_output",
        "with the vectors too",
    ),
    "numbers": (lambda: projection(kind=TensorProto.INT32), {}, "input 'input.1'", "takes int32"),
    "hash": (projection, {"sha256": "0" * 64}, "sha256", "and the specification says 0000"),
}


@pytest.mark.parametrize("case", MISFITS)
def test_a_model_that_does_not_fit_its_specification(tmp_path, case):
    build, change, place, says = MISFITS[case]
    with pytest.raises(MatcherError, match=says) as refused:
        OnnxEmbedder(replace(ARC, **change), save(tmp_path, build()))
    assert refused.value.place == place


@pytest.mark.parametrize(
    ("dim", "says"), [(256, "ONNX Runtime says: .*Reshape"), (1024, r"of shape \[6, 512\], not")]
)
def test_an_undeclared_length_is_found_by_the_first_run(tmp_path, dim, says):
    model = projection(dim=dim)
    model.graph.output[0].type.tensor_type.ClearField("shape")
    with pytest.raises(MatcherError, match=says):
        OnnxEmbedder(ARC, save(tmp_path, model))


def test_vectors_that_are_not_finite(tmp_path):
    # Finite for made-up noise, and a division by zero for a black crop.
    net = Net()
    x = net.add("GlobalAveragePool", "x")
    dark = net.add("Add", net.add("Flatten", x, axis=1), net.constant(np.float32(1)))
    net.dense(net.add("Reciprocal", dark), 3, 512, output="y")
    model = net.model([("x", TensorProto.FLOAT, ["n", 3, 112, 112])], [("y", TensorProto.FLOAT, ["n", 512])])
    spec = replace(ARC, output=replace(OUTPUT, normalise=False))
    embedder = OnnxEmbedder(spec, save(tmp_path, model))
    crops = crops_of((112, 112), 3)
    crops[1] = 0
    with pytest.raises(MatcherError, match="crop 1: its embedding is not finite"):
        embedder.embed(crops)


def test_a_pixel_map_in_the_graph_is_warned_of(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "idsim"):
        embedder = OnnxEmbedder(ARC, save(tmp_path, projection(embedded=True)))
        assert "input.embedded must be true" in caplog.text
        assert len(embedder.warnings) == 1
        caplog.clear()
        other = replace(ARC, input=replace(INPUT, embedded=True, mean=(0.0,), std=(1.0,)))
        assert not OnnxEmbedder(other, save(tmp_path, projection(embedded=True))).warnings
        assert "no pixel map" in OnnxEmbedder(other, save(tmp_path, projection())).warnings[0]


def test_lengths_are_kept_only_where_the_specification_says_so(tmp_path):
    with pytest.raises(ValueError, match="keep_norm is false"):
        OnnxEmbedder(ARC, save(tmp_path, projection())).embed_with_norms(crops_of((112, 112), 1))
