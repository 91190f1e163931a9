"""Every container and layout, on small networks: the same weights come out, or a refusal by name."""

from __future__ import annotations

import os

import numpy as np
import pytest

from idsim import CheckpointError
from idsim.generators.stylegan2 import load_checkpoint
from support.checkpoints import (
    Shape,
    Storages,
    every_format,
    make_weights,
    persisted,
    rosinality,
    safetensors,
    snapshot,
    tensorflow_network,
    torch_zip,
)
from support.pickles import Call, Symbol, dumps, embedded_tensor, numpy_array, ordered

SHAPE = Shape()
WEIGHTS = make_weights(SHAPE)
FILES = every_format(SHAPE, WEIGHTS)
ODD = Shape(
    resolution=16, c_dim=2, layers=3, img_channels=1, use_noise=False, taps=(1, 4, 6, 4, 1), lr=0.02, embed=9
)


def same(found, expected, but_biases: bool = False) -> None:
    assert set(found) == set(expected)
    for name, given in expected.items():
        # TensorFlow's code stores these biases less 1.
        stored_less_1 = but_biases and name.endswith("affine.bias")
        array = (given - np.float32(1)) + np.float32(1) if stored_less_1 else given
        assert found[name].shape == array.shape, name
        assert found[name].tobytes() == array.tobytes(), name


@pytest.mark.parametrize("name", FILES)
def test_every_format(load, name: str):
    checkpoint = load(FILES[name])
    same(checkpoint.weights, WEIGHTS, but_biases=name.startswith("tensorflow"))
    config = checkpoint.config
    assert (config.resolution, config.z_dim, config.w_dim, config.c_dim) == (8, 6, 5, 0)
    assert (config.mapping_layers, config.architecture, config.use_noise) == (2, "skip", True)
    assert config.num_ws == 4


@pytest.mark.parametrize("architecture", ["skip", "resnet", "orig"])
@pytest.mark.parametrize("kind", ["nvlabs", "tensorflow"])
def test_architectures(load, architecture: str, kind: str):
    shape = Shape(architecture=architecture, resolution=32)
    weights = make_weights(shape)
    if kind == "nvlabs":
        data = snapshot(persisted(shape, weights))
    else:
        data = dumps((tensorflow_network(shape, weights),) * 3, 4)
    checkpoint = load(data)
    same(checkpoint.weights, weights, but_biases=kind == "tensorflow")
    assert checkpoint.config.architecture == architecture


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_odd_dimensions(load, protocol: int):
    weights = make_weights(ODD)
    checkpoint = load(snapshot(persisted(ODD, weights, clamp=3, half=(8, 16)), protocol=protocol))
    same(checkpoint.weights, weights)
    config = checkpoint.config
    assert (config.z_dim, config.c_dim, config.img_channels, config.use_noise) == (6, 2, 1, False)
    assert (config.lr_multiplier, config.conv_clamp, config.fp16_resolutions) == (0.02, 3.0, (8, 16))
    assert weights["synthesis.b8.conv0.resample_filter"].shape == (5, 5)


def test_options_of_tensorflow(load):
    shape = Shape(resolution=16, c_dim=3, taps=(1, 2, 1))
    weights = make_weights(shape)
    network = tensorflow_network(
        shape, weights, mapping_lrmul=0.02, conv_clamp=256, num_fp16_res=1, resample_kernel=[1, 2, 1]
    )
    checkpoint = load(dumps((network, network, network), 4))
    same(checkpoint.weights, weights, but_biases=True)
    config = checkpoint.config
    assert (config.lr_multiplier, config.conv_clamp, config.fp16_resolutions) == (0.02, 256.0, (16,))


def test_the_averaged_generator_is_the_one_taken(load):
    other = make_weights(SHAPE, seed=1)
    both = snapshot(persisted(SHAPE, WEIGHTS), persisted(SHAPE, other))
    same(load(both).weights, WEIGHTS)
    same(load(both, network="G").weights, other)
    three = (
        tensorflow_network(SHAPE, other),
        tensorflow_network(SHAPE, other),
        tensorflow_network(SHAPE, WEIGHTS),
    )
    same(load(dumps(three, 4)).weights, WEIGHTS, but_biases=True)
    same(load(dumps(three, 4), network="G").weights, other, but_biases=True)
    storages = Storages()
    content = {
        key: storages.state_dict(rosinality(SHAPE, w)) for key, w in (("g", other), ("g_ema", WEIGHTS))
    }
    checkpoint = load(torch_zip(content, storages))
    assert checkpoint.weights["synthesis.b4.const"].tobytes() == WEIGHTS["synthesis.b4.const"].tobytes()
    assert "the mean style is not in the file" in checkpoint.provenance.warnings
    assert "mapping.w_avg" not in checkpoint.weights


def test_training_length(load):
    assert load(snapshot(persisted(SHAPE, WEIGHTS), cur_nimg=25_000_000)).provenance.kimg == 25_000


@pytest.mark.parametrize(("kind", "dtype"), [("HalfStorage", "<f2"), ("BFloat16Storage", "<u2")])
def test_half_precision_is_widened_exactly(load, kind: str, dtype: str):
    storages, expected = Storages(), {}
    names = {}
    for name, array in WEIGHTS.items():
        if kind == "HalfStorage":
            stored = array.astype(dtype)
            expected[name] = stored.astype(np.float32)
        else:
            stored = (array.view("<u4") >> 16).astype(dtype) if array.ndim else np.zeros((), dtype)
            expected[name] = (stored.astype("<u4") << 16).view("<f4")
        names[name] = storages.tensor(stored, kind)
    same(load(torch_zip(names, storages)).weights, expected)


def test_half_precision_in_safetensors(load):
    names = {name: array.astype("<f2") for name, array in WEIGHTS.items()}
    same(load(safetensors(names, kind="F16")).weights, {k: v.astype(np.float32) for k, v in names.items()})


def test_channels_last(load):
    """Strides in any order are read; the values are the logical ones."""
    storages = Storages()
    names = {name: storages.tensor(array) for name, array in WEIGHTS.items()}
    weight = WEIGHTS["synthesis.b8.conv0.weight"]
    stored = np.ascontiguousarray(weight.transpose(0, 2, 3, 1))
    view = storages.tensor(stored)
    strides = tuple(step // 4 for step in stored.transpose(0, 3, 1, 2).strides)
    view.arguments = (view.arguments[0], 0, weight.shape, strides, *view.arguments[4:])
    names["synthesis.b8.conv0.weight"] = view
    same(load(torch_zip(names, storages)).weights, WEIGHTS)


def test_noise_maps_may_be_missing(load):
    storages = Storages()
    names = {k: v for k, v in rosinality(SHAPE, WEIGHTS).items() if not k.startswith("noises")}
    checkpoint = load(torch_zip({"g_ema": storages.state_dict(names)}, storages))
    assert not any("noise_const" in name for name in checkpoint.weights)
    assert "the constant noise maps are not in the file" in checkpoint.provenance.warnings
    assert checkpoint.config.use_noise


def changed(**changes: np.ndarray | None) -> dict[str, np.ndarray]:
    names = dict(WEIGHTS)
    for name, array in changes.items():
        key = name.replace("__", ".")
        names.pop(key, None)
        if array is not None:
            names[key] = array
    return names


ONE = np.ones(1, np.float32)


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (changed(synthesis__b4__conv1__weight=None), "synthesis.b4.conv1.weight: it is missing"),
        (changed(synthesis__b8__conv0__bias=ONE), "its shape is (1,), where (4,) is expected"),
        (changed(synthesis__b8__conv2__bias=ONE), "it is not a tensor of a StyleGAN2 generator"),
        (changed(synthesis__b12__conv1__bias=ONE), "a resolution that is no power of two"),
        (changed(mapping__fc1__weight=None), "its shape is (7, 6), where (5, 6) is expected"),
        (changed(mapping__fc0__weight=None, mapping__fc1__weight=None), "it has 0 layers"),
        (changed(synthesis__b8__conv1__noise_const=None), "noise_const: it is missing"),
        (changed(synthesis__b8__resample_filter=np.ones(12, np.float32)), "not that of a square filter"),
        (changed(synthesis__b4__const=None), "there is no tensor synthesis.b4.const"),
        ({"synthesis.input.affine.weight": ONE}, "a StyleGAN3 network"),
        ({"synthesis.L0_36_512.weight": ONE}, "a StyleGAN3 network"),
        ({"GAN.GE.blocks.0.conv1.weight": ONE}, "lucidrains"),
        ({"backbone.synthesis.b4.const": ONE}, "EG3D"),
        ({"generator_ema.style_mapping.1.linear.weight_orig": ONE}, "mmgeneration"),
        ({"truncation.w_avg": ONE, "mapping.dense0.weight": ONE}, "genforce"),
    ],
)  # fmt: skip
def test_structures_that_are_refused(refused, names: dict[str, np.ndarray], reason: str):
    assert reason in refused(safetensors(names))


def test_other_families_are_refused_by_name(refused):
    storages = Storages()
    nested = {"GAN": storages.state_dict({"GE.blocks.0.weight": ONE}), "version": "1.9.0"}
    assert "lucidrains" in refused(torch_zip(nested, storages))
    synthesis = persisted(SHAPE, {"synthesis.input.freqs": ONE, "synthesis.L0_36_512.bias": ONE})
    assert "StyleGAN3" in refused(snapshot(synthesis))
    module = Call(Symbol("torch.nn.modules.container", "Sequential"))
    assert "EG3D" in refused(dumps({"G_ema": module}, 4))
    assert "EG3D" in refused(dumps({"G_ema": Call(Symbol("training.triplane", "TriPlaneGenerator"))}, 4))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("8x8/ToRGB_lod3/weight", "configuration A to D"),
        ("LabelConcat/weight", "concatenates labels"),
        ("8x8/Conv2/weight", "it is not a variable of a StyleGAN2 generator"),
    ],
)
def test_tensorflow_networks_that_are_refused(refused, name: str, reason: str):
    network = tensorflow_network(SHAPE, WEIGHTS)
    network.state["components"]["synthesis"].state["variables"].append((name, numpy_array(ONE)))
    assert reason in refused(dumps((network,) * 3, 4))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"nonlinearity": "relu"}, "'relu' in the synthesis and 'lrelu' in the mapping"),
        ({"nonlinearity": "relu", "mapping_nonlinearity": "relu"}, "not one of lrelu, linear"),
        ({"normalize_latents": False}, "does not normalise"),
        ({"resample_kernel": [1, -1]}, "its sum is 0"),
        ({"num_fp16_res": 99}, "not an integer from 0 to 32"),
        ({"conv_clamp": -1}, "is not positive"),
        ({"mapping_lrmul": "x"}, "it is not a number"),
    ],
)
def test_options_that_are_refused(refused, options: dict[str, object], reason: str):
    assert reason in refused(dumps((tensorflow_network(SHAPE, WEIGHTS, **options),) * 3, 4))


@pytest.mark.parametrize(
    ("path", "attributes", "reason"),
    [
        ("synthesis.b8.conv0", {"conv_clamp": 7}, "where other layers have"),
        ("synthesis.b8.conv0", {"up": 1}, "conv0 doubles the resolution"),
        ("synthesis.b8.conv0.affine", {"weight_gain": 0.3}, "follows from the shape"),
        ("synthesis.b8.conv0.affine", {"activation": "relu"}, "affine.activation"),
        ("mapping.fc0", {"activation": "linear"}, "where other layers have"),
        ("mapping.fc0", {"bias_gain": 0.5}, "where other layers have"),
        ("synthesis.b8", {"use_fp16": 1}, "it is not true or false"),
        ("synthesis", {"_modules": {"b4": 3}}, "not a module of NVlabs' persistence"),
        ("synthesis", {"_buffers": None}, "synthesis._buffers: it is missing"),
        ("synthesis.b8", {"_buffers": {"resample filter": 1}}, "without a proper name"),
        ("synthesis.b8", {"_buffers": {"resample_filter": 1}}, "it is not a tensor"),
    ],
)
def test_attributes_that_change_the_maths_are_refused(refused, path: str, attributes: dict, reason: str):
    assert reason in refused(snapshot(persisted(SHAPE, WEIGHTS, changes={path: attributes})))


def test_doubles_are_refused(refused):
    doubles = {name: array.astype("<f8") for name, array in WEIGHTS.items()}
    assert "its elements are F64" in refused(safetensors(doubles, kind="F64"))


def test_further_buffers_are_refused(refused):
    network = persisted(SHAPE, WEIGHTS, changes={"": {"_buffers": {"x": embedded_tensor(ONE)}}})
    assert "x: it is not a tensor of a StyleGAN2 generator" in refused(snapshot(network))


def test_encoders_with_different_means_are_refused(refused):
    storages = Storages()
    decoder = {f"decoder.{name}": array for name, array in rosinality(SHAPE, WEIGHTS).items()}
    means = storages.tensor(np.arange(20, dtype=np.float32).reshape(4, 5))
    content = {"state_dict": storages.state_dict(decoder), "latent_avg": means}
    assert "different means" in refused(torch_zip(content, storages))


def test_what_is_no_regular_file(tmp_path):
    os.mkfifo(tmp_path / "fifo.pkl")
    for name in (".", "fifo.pkl"):
        with pytest.raises(CheckpointError, match="not a regular file"):
            load_checkpoint(tmp_path / name)
    with pytest.raises(CheckpointError, match="No such file"):
        load_checkpoint(tmp_path / "missing.pkl")


def test_files_without_a_network(refused):
    assert "it is a list" in refused(dumps([1, 2], 4))
    assert "there is no tensor synthesis.b4.const" in refused(dumps({}, 4))
    assert "there is no tensor synthesis.b4.const" in refused(dumps(ordered(), 2))
    assert "generator, discriminator and averaged" in refused(dumps((1, 2, 3), 4))


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b"", "no pickle"),
        (b"\x1f\x8b\x08", "a gzip file"),
        (b"\x89HDF\r\n", "an HDF5 file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        (b"<!doctype html>", "a web page"),
        (b"\x80\x06", "no pickle"),
        (bytes(257) + b"ustar" + bytes(250), "a tar file"),
    ],
)
def test_other_files_are_refused_by_name(refused, head: bytes, reason: str):
    assert reason in refused(head)
