"""Networks of true size with random weights, exported by PyTorch: both runtimes agree on one specification."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

from idsim.matchers import open_embedder
from idsim.matchers.catalogue import catalogue_spec
from idsim.matchers.onnx import OnnxEmbedder
from idsim.matchers.options import RunOptions

torch = pytest.importorskip("torch")
BYTES = {"arcface-torch": 174e6, "facenet-pytorch": 94e6, "sphereface-torch": 91e6}


@pytest.mark.slow
@pytest.mark.parametrize("name", BYTES)
def test_an_export_gives_the_vectors_of_its_weights(tmp_path, name):
    from idsim.matchers.torch_module import load_network, network_shapes

    spec = catalogue_spec(name)
    random = np.random.default_rng(4)
    arrays = {}
    for key, shape in network_shapes(spec.architecture).items():
        scale = float(np.prod(shape[1:])) ** -0.5 if len(shape) > 1 else 0.1
        values = random.standard_normal(shape, dtype=np.float32) * np.float32(scale)
        arrays[key] = np.abs(values) + np.float32(0.5) if "var" in key else values
    torch.save({key: torch.from_numpy(value) for key, value in arrays.items()}, tmp_path / "weights.pth")
    height, width = spec.input.size
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # this exporter is deprecated, and the other one needs one package more
        torch.onnx.export(
            load_network(spec.architecture, arrays), torch.zeros(1, 3, height, width), tmp_path / "net.onnx",
            dynamo=False, input_names=["x"], output_names=["y"], dynamic_axes={"x": {0: "n"}, "y": {0: "n"}},
        )  # fmt: skip
    size = (tmp_path / "net.onnx").stat().st_size
    assert 0.75 * BYTES[name] < size < 1.1 * BYTES[name]
    crops = random.integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    for flip in ("none", "sum"):
        exported = OnnxEmbedder(replace(spec, flip=flip), tmp_path / "net.onnx", RunOptions(batch=2))
        found = exported.embed(crops)
        assert np.abs(np.linalg.norm(found, axis=1) - 1).max() < 1e-5
        if flip == spec.flip:
            own = open_embedder(name, model=tmp_path / "weights.pth").embed(crops)
            assert np.abs(found - own).max() <= 1e-5
