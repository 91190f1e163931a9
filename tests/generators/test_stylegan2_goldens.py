"""What the original code drew from small random networks, and how near the pictures come to it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from idsim.generators.stylegan2 import load_checkpoint
from idsim.generators.stylegan2.generator import StyleGan2
from idsim.generators.stylegan2.latents import latent_code
from idsim.generators.stylegan2.network import load_network
from support.torch_threads import one_thread  # noqa: F401 - a fixture

DATA = Path(__file__).parents[1] / "data" / "stylegan2"
FILES = {
    "g64": "g64_stripped.pkl",
    "g64c3": "g64c3_stripped.pkl",
    "g64clamp": "g64clamp_stripped.pkl",
    "g32orig": "g32orig_stripped.pkl",
    "g32resnet": "g32resnet_stripped.pkl",
    "ros32": "ros32.pt",
    "tf64": "tf64.pkl",
    "tf32c": "tf32c.pkl",
}
PSI = ("1", "0.7", "0.5")
SEEDS = range(4)
STEP = 7  # of the values that are kept
STYLE, PICTURE = 1e-5, 5e-5  # tolerances
OFF_BY_ONE = 0.001  # share of the uint8 values


def expected(name: str) -> dict[str, np.ndarray]:
    with np.load(DATA / f"{name}_expected.npz", allow_pickle=False) as file:
        return dict(file)


@cache
def opened(name: str, **options) -> StyleGan2:
    return StyleGan2.open(DATA / FILES[name], device="cpu", **options)


def label(generator: StyleGan2) -> int | None:
    return 1 if generator.config.c_dim else None


def codes(generator: StyleGan2) -> np.ndarray:
    return np.stack([latent_code(generator.config, seed) for seed in SEEDS])


def styles(generator: StyleGan2, psi: str) -> list[torch.Tensor]:
    """One by one, as pictures are drawn."""
    return [generator.map(z[None], psi=float(psi), label=label(generator)) for z in codes(generator)]


def drawn(generator: StyleGan2, psi: str) -> torch.Tensor:
    pairs = zip(SEEDS, styles(generator, psi), strict=True)
    return torch.cat([generator.synthesize(ws, seeds=[seed]) for seed, ws in pairs])


def distance(found: torch.Tensor, wanted: np.ndarray) -> float:
    """Largest difference to the values that are kept."""
    values = found.numpy().reshape(-1)[::STEP]
    assert values.shape == wanted.shape
    return float(np.abs(values - wanted).max())


@pytest.mark.parametrize("psi", PSI)
@pytest.mark.parametrize("name", FILES)
def test_styles_and_pictures(name, psi):
    generator, wanted = opened(name), expected(name)
    w = torch.cat(styles(generator, psi))
    assert np.abs(w[:, 0].numpy() - wanted[f"w_psi{psi}"]).max() <= STYLE
    assert (w == w[:, :1]).all()
    assert distance(drawn(generator, psi), wanted[f"img_psi{psi}"]) <= PICTURE


@pytest.mark.parametrize("psi", PSI)
@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("g")])
def test_levels(name, psi):
    generator, wanted = opened(name), expected(name)[f"u8_psi{psi}"].astype(int)
    pictures = generator.sample(SEEDS, psi=float(psi), label=label(generator))
    off = np.abs(np.stack(list(pictures)).astype(int) - wanted)
    assert off.max() <= 1
    assert off.mean() <= OFF_BY_ONE


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("g")])
def test_cutoff_and_no_noise(name):
    wanted, generator = expected(name), opened(name, cutoff=3)
    ws = torch.cat(styles(generator, "0.7"))
    assert np.abs(ws.numpy() - wanted["ws_psi0.7_cutoff3"]).max() <= STYLE
    assert distance(generator.synthesize(ws), wanted["img_psi0.7_cutoff3"]) <= PICTURE
    assert distance(drawn(opened(name, noise="none"), "1"), wanted["img_nonoise"]) <= PICTURE


@pytest.mark.parametrize("name", ["tf64", "tf32c"])
def test_the_noise_of_the_tensorflow_scripts(name):
    wanted, generator = expected(name)["img_tfnoise_psi0.5"], opened(name, noise="seeded-tf")
    assert generator.default_psi == 0.5
    assert distance(drawn(generator, "0.5"), wanted) <= PICTURE
    assert distance(drawn(opened(name), "0.5"), wanted) > 0.5


@pytest.mark.parametrize("name", ["g64", "g64c3", "g32orig", "g32resnet"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_block(name, dtype):
    generator, wanted, found = opened(name), expected(name), {}
    network = load_network(generator.config, load_checkpoint(DATA / FILES[name]).weights).to(dtype)

    def keep(side: int) -> None:
        def hook(module, inputs, outputs) -> None:
            for kind, value in zip(("x", "img"), outputs, strict=True):
                if value is not None:
                    found[f"block_{kind}_b{side}"] = value.clone()

        network.synthesis.get_submodule(f"b{side}").register_forward_hook(hook)

    for side in generator.config.block_resolutions:
        keep(side)
    network(*one(generator, dtype))
    blocks = {key: array for key, array in wanted.items() if key.startswith("block_")}
    assert blocks.keys() == found.keys()
    assert max(distance(found[key], blocks[key]) for key in blocks) <= PICTURE


def one(generator: StyleGan2, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Code and class of seed 0."""
    z = torch.from_numpy(codes(generator)[:1]).to(dtype)
    classes = torch.nn.functional.one_hot(torch.tensor([1]), max(generator.config.c_dim, 2))
    return z, classes[:, : generator.config.c_dim].to(dtype)


@pytest.mark.parametrize("name", FILES)
def test_the_state_is_the_canonical_weights(name):
    checkpoint = load_checkpoint(DATA / FILES[name])
    state = load_network(checkpoint.config, checkpoint.weights).state_dict()
    assert state.keys() == checkpoint.weights.keys()
    for key, array in checkpoint.weights.items():
        np.testing.assert_array_equal(state[key].numpy(), array, strict=True)
