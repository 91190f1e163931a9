"""The golden checkpoints: every array byte for byte, and the configuration."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from idsim import CheckpointError
from idsim.generators.stylegan2 import GeneratorConfig, load_checkpoint

GOLDEN = Path(__file__).parents[1] / "data" / "stylegan2"
WEIGHTS = json.loads((GOLDEN / "weights.json").read_text())

LARGE = GeneratorConfig(64, 3, 64, 64, 0, 8)
CONFIGS = {
    "g64_stripped.pkl": LARGE,
    "g64c3_stripped.pkl": GeneratorConfig(
        64, 3, 64, 64, 3, 2, conv_clamp=256.0, fp16_resolutions=(8, 16, 32, 64)
    ),
    "g64clamp_stripped.pkl": GeneratorConfig(64, 3, 64, 64, 0, 2, conv_clamp=1.5),
    "g32orig_stripped.pkl": GeneratorConfig(32, 3, 64, 64, 0, 8, architecture="orig"),
    "g32resnet_stripped.pkl": GeneratorConfig(32, 3, 64, 64, 0, 8, architecture="resnet"),
    "tf64.pkl": LARGE,
    "tf32c.pkl": GeneratorConfig(32, 3, 40, 40, 3, 2, conv_clamp=256.0, fp16_resolutions=(8, 16, 32)),
    "ros32.pt": GeneratorConfig(32, 3, 48, 48, 0, 4),
    "ros32_legacy.pt": GeneratorConfig(32, 3, 48, 48, 0, 4),
    "ros32_train.pt": GeneratorConfig(32, 3, 48, 48, 0, 4),
}


def test_every_file_is_listed():
    found = {path.name for path in GOLDEN.iterdir() if path.suffix in (".pkl", ".pt")}
    assert found == set(CONFIGS)


@pytest.mark.parametrize("name", CONFIGS)
def test_configuration_and_arrays(name: str):
    checkpoint = load_checkpoint(GOLDEN / name)
    assert checkpoint.config == CONFIGS[name]
    assert all(a.dtype == np.float32 and a.flags.c_contiguous for a in checkpoint.weights.values())
    expected = WEIGHTS.get(name.split("_", maxsplit=1)[0].removesuffix(".pkl"))
    if expected is not None:
        found = {
            key: {"shape": list(array.shape), "sha256": hashlib.sha256(array.tobytes()).hexdigest()}
            for key, array in checkpoint.weights.items()
        }
        assert found == expected


@pytest.mark.parametrize("name", ["ros32.pt", "ros32_legacy.pt", "ros32_train.pt"])
def test_rosinality_tensors_as_torch_reads_them(name: str):
    import argparse

    import torch

    with torch.serialization.safe_globals([argparse.Namespace]):
        content = torch.load(GOLDEN / name, weights_only=True)
    names = {key: value.numpy() for key, value in content["g_ema"].items()}
    weights = load_checkpoint(GOLDEN / name).weights
    assert weights["mapping.w_avg"].tobytes() == content["latent_avg"].numpy().tobytes()
    assert weights["mapping.fc3.bias"].tobytes() == names["style.4.bias"].tobytes()
    for block, conv0, conv1, rgb in ((8, 0, 1, 0), (16, 2, 3, 1), (32, 4, 5, 2)):
        for layer, old in ((f"b{block}.conv0", f"convs.{conv0}"), (f"b{block}.conv1", f"convs.{conv1}")):
            new = f"synthesis.{layer}"
            assert weights[f"{new}.weight"].tobytes() == names[f"{old}.conv.weight"][0].tobytes()
            assert weights[f"{new}.bias"].tobytes() == names[f"{old}.activate.bias"].tobytes()
            assert weights[f"{new}.noise_strength"] == names[f"{old}.noise.weight"][0]
        noise = names[f"noises.noise_{conv1 + 1}"][0, 0]
        assert weights[f"synthesis.b{block}.conv1.noise_const"].tobytes() == noise.tobytes()
        torgb = weights[f"synthesis.b{block}.torgb.weight"]
        assert torgb.tobytes() == names[f"to_rgbs.{rgb}.conv.weight"][0].tobytes()


def test_one_network_has_one_hash_in_all_its_files():
    files = [load_checkpoint(GOLDEN / name) for name in ("ros32.pt", "ros32_legacy.pt", "ros32_train.pt")]
    assert len({checkpoint.weights_sha256 for checkpoint in files}) == 1
    assert len({checkpoint.provenance.file_sha256 for checkpoint in files}) == 3


def test_network_of_a_snapshot(tmp_path: Path):
    assert load_checkpoint(GOLDEN / "ros32_train.pt", network="G").provenance.network == "g"
    with pytest.raises(CheckpointError, match="G: the file holds no such network; it holds \\['G_ema'\\]"):
        load_checkpoint(GOLDEN / "g64_stripped.pkl", network="G")
    with pytest.raises(ValueError, match="network is 'D', not one of G_ema, G"):
        load_checkpoint(GOLDEN / "g64_stripped.pkl", network="D")  # type: ignore[arg-type]


def test_provenance():
    path = GOLDEN / "g64c3_stripped.pkl"
    provenance = load_checkpoint(path).provenance
    assert provenance.file_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (provenance.container, provenance.layout) == ("pickle", "stylegan2-ada-pytorch")
    placeholder = b'raise RuntimeError("embedded module source must never be executed")\n'
    assert provenance.source_sha256 == (hashlib.sha256(placeholder).hexdigest(),)
    assert "not a known one" in provenance.warnings[0]


def test_numpy_names_of_both_ages(tmp_path: Path):
    data = (GOLDEN / "g32orig_stripped.pkl").read_bytes()
    assert b"numpy._core.multiarray" in data
    old = tmp_path / "old.pkl"
    old.write_bytes(data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    digest = load_checkpoint(GOLDEN / "g32orig_stripped.pkl").weights_sha256
    assert load_checkpoint(old).weights_sha256 == digest
