"""Networks of the public state dicts: names, sizes, arithmetic, and the way from crops to vectors."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import idsim  # noqa: E402
from idsim.errors import MatcherError  # noqa: E402
from idsim.matchers.architectures import ARCHITECTURES  # noqa: E402
from idsim.matchers.torch_module import (  # noqa: E402
    TorchEmbedder,
    TorchOptions,
    load_network,
    network_shapes,
)
from matchers import plain_networks, public_names  # noqa: E402
from support.torch_threads import one_thread  # noqa: E402, F401 - a fixture

PUBLIC = {
    "iresnet18": public_names.iresnet((2, 2, 2, 2)),
    "iresnet50": public_names.iresnet((3, 4, 14, 3)),
    "iresnet100": public_names.iresnet((3, 13, 30, 3)),
    "inception_resnet_v1": public_names.inception_resnet(),
    "sphere20a": public_names.sphere20(),
}

PLAIN = {
    "iresnet18": plain_networks.iresnet,
    "inception_resnet_v1": plain_networks.inception_resnet,
    "sphere20a": plain_networks.sphere20,
}


def random_arrays(name, seed=5):
    """Weights with which the signal neither dies nor overflows, and all statistics differ from their defaults."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for key, shape in network_shapes(name).items():
        if key.endswith("running_var"):
            values = rng.uniform(0.5, 2.0, shape)
        elif len(shape) > 1:
            values = rng.standard_normal(shape) / np.sqrt(prod(shape[1:]))
        elif key.endswith("weight"):
            values = rng.uniform(0.2, 1.2, shape)
        else:
            values = rng.uniform(-0.2, 0.2, shape)
        arrays[key] = values.astype(np.float32)
    return arrays


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The file of a sphere20a as clcarwin's script saves it: with its head."""
    arrays = random_arrays("sphere20a")
    state = {key: torch.from_numpy(array) for key, array in arrays.items()}
    state["fc6.weight"] = torch.zeros(512, 7)
    path = tmp_path_factory.mktemp("weights") / "sphere20a.pth"
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def crops():
    return np.random.default_rng(3).integers(0, 256, (5, 112, 96, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", PUBLIC)
def test_names_are_those_of_the_public_files(name):
    assert sorted(network_shapes(name)) == sorted(PUBLIC[name])


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("iresnet18", 24.0),
        ("iresnet50", 43.6),
        ("iresnet100", 65.2),
        ("inception_resnet_v1", 23.5),
        ("sphere20a", 22.7),
    ],
)
def test_networks_have_the_published_sizes(name, millions):
    shapes = network_shapes(name)
    trained = sum(prod(shape) for key, shape in shapes.items() if "running" not in key)
    assert round(trained / 1e6, 1) == millions


@pytest.mark.parametrize("name", PLAIN)
def test_forward_equals_a_plain_statement(name):
    arrays = random_arrays(name)
    network = load_network(name, arrays)
    height, width = ARCHITECTURES[name].size
    x = torch.from_numpy(np.random.default_rng(1).standard_normal((2, 3, height, width)).astype(np.float32))
    with torch.inference_mode():
        found = network(x).double()
        state = {key: torch.from_numpy(array).double() for key, array in arrays.items()}
        expected = PLAIN[name](state, x.double())
    assert found.shape == (2, 512)
    assert float((found - expected).norm() / expected.norm()) < 1e-5
    assert float((found[0] - found[1]).norm()) > 1e-3 * float(found[0].norm())


def test_crops_become_vectors_by_the_networks_own_input(weights, crops):
    embedder = TorchEmbedder("sphere20a", weights)
    found = embedder.embed(crops)
    state = {key: value.double() for key, value in torch.load(weights, weights_only=True).items()}
    pixels = (torch.from_numpy(crops[..., ::-1].copy()).double() - 127.5) / 128
    expected = plain_networks.sphere20(state, pixels.permute(0, 3, 1, 2)).numpy()
    assert found.dtype == np.float32
    assert found.shape == (5, embedder.dim) == (5, 512)
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


def test_vectors_do_not_depend_on_their_neighbours(weights, crops):
    embedder = TorchEmbedder("sphere20a", weights, TorchOptions(batch=4))
    together = embedder.embed(crops)
    for row in (0, 3, 4):
        alone = embedder.embed(crops[row : row + 1])
        assert np.abs(alone[0] - together[row]).max() <= 1e-5 * np.abs(together[row]).max()
    assert np.array_equal(embedder.embed(crops), together)
    one = TorchEmbedder("sphere20a", weights, TorchOptions(batch=1))
    assert np.array_equal(one.embed(crops)[2], one.embed(crops[2:3])[0])


def test_flips_are_summed_or_put_side_by_side(weights, crops):
    plain = TorchEmbedder("sphere20a", weights)
    straight, mirrored = plain.embed(crops), plain.embed(crops[:, :, ::-1])
    summed = TorchEmbedder("sphere20a", weights, TorchOptions(flip="sum")).embed(crops)
    beside = TorchEmbedder("sphere20a", weights, TorchOptions(flip="concat"))
    assert np.array_equal(summed, straight + mirrored)
    assert beside.dim == 1024
    assert np.array_equal(beside.embed(crops), np.concatenate([straight, mirrored], axis=1))


def test_the_description_names_what_the_vectors_depend_on(weights):
    options = TorchOptions(colour="RGB", mean=0.0, scale=255.0, licence="MIT")
    described = TorchEmbedder("sphere20a", weights, options).describe()
    assert described["colour"] == "RGB"
    assert (described["mean"], described["scale"]) == (0.0, 255.0)
    assert described["licence"] == "MIT"
    assert len(described["sha256"]) == 64


def test_vectors_on_the_device_go_into_a_search(weights, crops):
    vectors = TorchEmbedder("sphere20a", weights).embed_on_device(torch.from_numpy(crops))
    assert isinstance(vectors, torch.Tensor)
    found = idsim.search(vectors, vectors, 1)
    assert np.asarray(found.ids)[:, 0].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        (np.zeros((1, 112, 112, 3), np.uint8), ValueError, r"\[n, 112, 96, 3\]"),
        (np.zeros((112, 96, 3), np.uint8), ValueError, r"\[112, 96, 3\]"),
        (np.zeros((1, 112, 96, 3), np.float32), ValueError, "float32"),
        ([[1, 2]], TypeError, "list"),
    ],
)
def test_other_crops_are_refused(weights, given, error, words):
    with pytest.raises(error, match=words):
        TorchEmbedder("sphere20a", weights).embed(given)


def test_no_crops_give_no_vectors(weights):
    assert TorchEmbedder("sphere20a", weights).embed(np.zeros((0, 112, 96, 3), np.uint8)).shape == (0, 512)


def test_the_file_of_another_network_is_refused_with_names(weights):
    with pytest.raises(MatcherError, match=r"lacks conv1\.weight, .* and \d+ more; it has conv1_1\.weight"):
        TorchEmbedder("iresnet18", weights)


def test_an_unknown_architecture_is_answered_with_the_known_ones(weights):
    with pytest.raises(ValueError, match="iresnet100"):
        TorchEmbedder("iresnet101", weights)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"colour": "GBR"}, "colour"),
        ({"flip": "both"}, "flip"),
        ({"scale": 0.0}, "scale"),
        ({"scale": float("nan")}, "scale"),
        ({"batch": -1}, "batch"),
    ],
)
def test_bad_options_are_named(options, words):
    with pytest.raises(ValueError, match=words):
        TorchOptions(**options)
