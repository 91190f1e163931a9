"""ONNX files that are not what they should be: each is refused with a sentence, within 5 seconds."""

from __future__ import annotations

import os
import time
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from idsim.errors import MatcherError
from idsim.matchers import onnx_trial
from idsim.matchers.catalogue import catalogue_spec
from idsim.matchers.onnx import OnnxEmbedder
from idsim.matchers.onnx_file import read_onnx
from idsim.matchers.onnx_graph import fold
from support.onnx_networks import Net, projection

SPEC = replace(catalogue_spec("arcface-w600k-r50"), sha256="")
OUTSIDE = replace(SPEC, external_data=True)
FLOAT = TensorProto.FLOAT


@pytest.fixture(autouse=True)
def within_five_seconds():
    started = time.monotonic()
    yield
    assert time.monotonic() - started < 5


def save(folder, model):
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def put_outside(model, location="weights.bin", **entries):
    """Move the last tensor of a model into a file; returns its bytes."""
    tensor = max(model.graph.initializer, key=lambda entry: len(entry.raw_data))
    data = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=str(value))
    return data


def refused(path, says, spec=SPEC):
    with pytest.raises(MatcherError, match=says) as error:
        OnnxEmbedder(spec, path)
    assert error.value.path == str(path)


# --- tensors in other files ----------------------------------------------------------------------------


def test_tensors_outside_need_leave(tmp_path):
    model = projection()
    plain = OnnxEmbedder(SPEC, save(tmp_path, model))
    data = put_outside(model)
    (tmp_path / "weights.bin").write_bytes(data)
    path = save(tmp_path, model)
    refused(path, "values lie in another file; external_data = true")
    embedder = OnnxEmbedder(OUTSIDE, path)
    crops = np.random.default_rng(0).integers(0, 256, (2, 112, 112, 3), dtype=np.uint8)
    assert embedder.embed(crops).tobytes() == plain.embed(crops).tobytes()
    assert set(embedder.describe()["files"]) == {"model.onnx", "weights.bin"}


@pytest.mark.parametrize(
    "location", ["../weights.bin", "/etc/passwd", "sub/weights.bin", "..", "", "a\\b", "a\0b"]
)
def test_only_files_beside_the_model_are_read(tmp_path, location):
    model = projection()
    put_outside(model, location)
    refused(save(tmp_path, model), "not a plain name", OUTSIDE)


@pytest.mark.parametrize("kind", ["symlink", "hard link", "fifo", "folder", "missing"])
def test_only_plain_files_are_read(tmp_path, kind):
    model = projection()
    data = put_outside(model)
    other, weights = tmp_path / "other.bin", tmp_path / "weights.bin"
    other.write_bytes(data)
    make = {
        "symlink": lambda: weights.symlink_to(other), "hard link": lambda: weights.hardlink_to(other),
        "fifo": lambda: os.mkfifo(weights), "folder": weights.mkdir, "missing": lambda: None,
    }  # fmt: skip
    make[kind]()
    says = {"symlink": "symbolic link", "hard link": "2 names", "missing": "No such file"}.get(
        kind, "not a regular file"
    )
    refused(save(tmp_path, model), says, OUTSIDE)


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ({"offset": 1 << 40}, "bytes are expected"),
        ({"length": 1 << 40}, "bytes are expected"),
        ({"length": 8}, "bytes are expected"),
        ({"offset": -1}, "no count of bytes"),
        ({"length": "9" * 40}, "no count of bytes"),
        ({"offset": "0x10"}, "no count of bytes"),
    ],
)
def test_ranges_outside_a_file(tmp_path, entries, says):
    model = projection()
    (tmp_path / "weights.bin").write_bytes(put_outside(model, **entries))
    refused(save(tmp_path, model), says, OUTSIDE)


def test_sizes_that_are_no_sizes(tmp_path):
    model = projection()
    (tmp_path / "weights.bin").write_bytes(put_outside(model))
    tensor = max(model.graph.initializer, key=lambda entry: entry.data_location)
    for dims in ([-1, -1], [1 << 62, 1 << 62]):
        del tensor.dims[:]
        tensor.dims.extend(dims)
        refused(save(tmp_path, model), "bytes are expected", OUTSIDE)
    tensor.data_type = 99
    refused(save(tmp_path, model), "type is not known", OUTSIDE)


def test_a_tensor_of_a_node_counts_too(tmp_path):
    model = projection()
    value = numpy_helper.from_array(np.ones(4, np.float32))
    value.data_location = TensorProto.EXTERNAL
    value.external_data.add(key="location", value="../secret")
    model.graph.node.append(helper.make_node("Constant", [], ["unused"], value=value))
    refused(save(tmp_path, model), "values lie in another file")


def test_a_trial_run_reads_no_other_file(tmp_path, monkeypatch):
    """ONNX Runtime would read tensors from files of the folder that it runs in: the kernel must not let it."""
    monkeypatch.chdir(tmp_path)
    folded = onnx.ModelProto.FromString(
        fold(read_onnx(save(tmp_path, projection())), SPEC, "model.onnx").data
    )
    (tmp_path / "weights.bin").write_bytes(put_outside(folded))
    data = folded.SerializeToString()
    crops = np.zeros((1, 112, 112, 3), np.uint8)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    assert session.run(None, {"idsim_crops": crops})[0].shape == (1, 512)
    answers = []

    def ask(*arguments):
        answers.append(asked(*arguments))
        return answers[-1]

    asked = onnx_trial._ask
    monkeypatch.setattr(onnx_trial, "_ask", ask)
    try:
        onnx_trial.try_model(data, (112, 112), 512, "model.onnx")
    except MatcherError as error:
        assert "ONNX Runtime says" in str(error)
    if not answers[0]["landlock"]:
        pytest.skip("this kernel has no Landlock: a trial run is not kept from files")
    assert "refused" in answers[0]


# --- the file itself -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["symlink", "hard link", "fifo", "folder", "missing"])
def test_the_model_must_be_a_plain_file(tmp_path, kind):
    real, path = tmp_path / "real.onnx", tmp_path / "link.onnx"
    real.write_bytes(projection().SerializeToString())
    make = {
        "symlink": lambda: path.symlink_to(real), "hard link": lambda: path.hardlink_to(real),
        "fifo": lambda: os.mkfifo(path), "folder": path.mkdir, "missing": lambda: None,
    }  # fmt: skip
    make[kind]()
    says = {"symlink": "symbolic link", "hard link": "2 names", "missing": "No such file"}.get(
        kind, "not a regular file"
    )
    refused(path, says)


@pytest.mark.parametrize(
    "data", [b"", b"\x00", b"hello, this is no model", b"\x0a" * 1000, b"PK\x03\x04" + bytes(100)]
)
def test_files_that_are_no_models(tmp_path, data):
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    refused(path, "it is no ONNX model")


def test_a_model_cut_short_or_damaged_gives_this_error_only(tmp_path):
    data = projection(dim=16).SerializeToString()
    random = np.random.default_rng(0)
    path = tmp_path / "model.onnx"
    for _ in range(200):
        damaged = bytearray(data[: random.integers(1, len(data))] if random.random() < 0.5 else data)
        for position in random.integers(0, len(damaged), 4):
            damaged[position] = random.integers(256)
        path.write_bytes(damaged)
        try:
            read_onnx(path)
        except MatcherError:
            pass


# --- graphs --------------------------------------------------------------------------------------------


def endless(kind):
    """Return a network with an operator at its end that runs a graph of its own, 2^62 times."""
    model = projection()
    values = {"i": (TensorProto.INT64, []), "go": (TensorProto.BOOL, []), "v": (FLOAT, None)}
    results = {"on": (TensorProto.BOOL, []), "w": (FLOAT, None)}
    same = [helper.make_node("Identity", [a], [b]) for a, b in (("go", "on"), ("v", "w"))]
    infos = [
        [helper.make_tensor_value_info(name, *form) for name, form in part.items()]
        for part in (values, results)
    ]
    body = helper.make_graph(same, "body", *infos)
    rounds = numpy_helper.from_array(np.array(1 << 62, np.int64), "rounds")
    model.graph.initializer.extend([rounds, numpy_helper.from_array(np.array(True), "yes")])
    bodies = {"then_branch": body, "else_branch": body} if kind == "If" else {"body": body}
    model.graph.node.append(helper.make_node(kind, ["rounds", "yes", "683"], ["looped"], **bodies))
    model.graph.output[0].name = "looped"
    return model


@pytest.mark.parametrize("kind", ["Loop", "Scan", "If", "SequenceMap"])
def test_loops_and_branches_are_refused(tmp_path, kind):
    refused(save(tmp_path, endless(kind)), f"{kind} is refused")


def test_foreign_operators_and_versions_are_refused(tmp_path):
    model = projection()
    model.graph.node[0].domain = "com.microsoft"
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    refused(save(tmp_path, model), r"com\.microsoft\.AveragePool is not standard ONNX")
    for version in (6, 27, 1 << 40):
        refused(save(tmp_path, projection(opset=version)), "opset: must be one from 7 to 26")
    model = projection()
    del model.opset_import[:]
    refused(save(tmp_path, model), "opset")
    model = projection()
    body = [helper.make_node("Identity", ["a"], ["b"])]
    model.functions.append(
        helper.make_function("own", "Same", ["a"], ["b"], body, [helper.make_opsetid("", 13)])
    )
    refused(save(tmp_path, model), "operators of its own")


def test_operators_that_do_not_exist(tmp_path):
    model = projection()
    model.graph.node[0].op_type = "Abracadabra"
    refused(save(tmp_path, model), "ONNX Runtime says")


@pytest.mark.parametrize("shape", [[1 << 42], [1 << 20, 1 << 14]])
def test_memory_bombs_go_off_elsewhere(tmp_path, shape):
    net = Net()
    x = net.add("ReduceMean", net.add("ConstantOfShape", net.constant(np.array(shape, np.int64))), keepdims=0)
    y = net.dense(net.add("Flatten", net.add("GlobalAveragePool", "x"), axis=1), 3, 512)
    net.add("Add", y, x, output="y")
    model = net.model([("x", FLOAT, ["n", 3, 112, 112])], [("y", FLOAT, ["n", 512])])
    refused(save(tmp_path, model), r"ONNX Runtime says|its first run ended|longer than")


def test_a_run_that_takes_too_long_is_ended(tmp_path, monkeypatch):
    # A product of large matrices again and again: no loop, and hours of work.
    net = Net()
    x = net.add("Flatten", net.add("GlobalAveragePool", "x"), axis=1)
    wide = net.dense(x, 3, 4096)
    square = net.add("MatMul", net.add("Transpose", wide, perm=[1, 0]), wide)
    for _ in range(2000):
        square = net.add("Sin", net.add("MatMul", square, square))
    net.add("Slice", net.add("MatMul", wide, square),
            *(net.constant(np.array([value], np.int64)) for value in (0, 512, 1)), output="y")  # fmt: skip
    model = net.model([("x", FLOAT, ["n", 3, 112, 112])], [("y", FLOAT, ["n", 512])])
    monkeypatch.setattr(onnx_trial, "RUN_SECONDS", 1.0)
    refused(save(tmp_path, model), "its first run takes longer than 1.0 seconds")
