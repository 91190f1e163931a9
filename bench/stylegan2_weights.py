"""Random weights of StyleGAN2 generators of any size, for tests and timings without a published file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.generators.stylegan2.checkpoint import Checkpoint, Provenance
from idsim.generators.stylegan2.config import GeneratorConfig

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Widths", "full_size", "random_checkpoint"]


@dataclass(frozen=True)
class Widths:
    """Channels, as the published configurations give them, and the widths inside the mapping network."""

    channel_base: int = 32768
    channel_max: int = 512
    embed_features: int | None = None
    layer_features: int | None = None

    def channels(self, config: GeneratorConfig) -> dict[int, int]:
        return {side: min(self.channel_base // side, self.channel_max) for side in config.block_resolutions}


def full_size(resolution: int) -> tuple[GeneratorConfig, Widths]:
    """Return the published shape: configuration F from 512 pixels on, half its channels below."""
    config = GeneratorConfig(
        resolution=resolution, img_channels=3, z_dim=512, w_dim=512, c_dim=0, mapping_layers=8,
        fp16_resolutions=tuple(side for side in (resolution >> n for n in (3, 2, 1, 0)) if side >= 8),
    )  # fmt: skip
    return config, Widths(channel_base=32768 if resolution >= 512 else 16384)


def random_checkpoint(
    config: GeneratorConfig, widths: Widths, *, seed: int = 0, taps: tuple[float, ...] = (1, 3, 3, 1)
) -> Checkpoint:
    """Return a checkpoint whose tensors are all different from their initial 0 or 1.

    Drawn name by name from NumPy's ``RandomState``, whose numbers do not change between versions.
    """
    import torch

    from idsim.generators.stylegan2.network import GeneratorNetwork

    with torch.device("meta"):
        network = GeneratorNetwork(
            config, widths.channels(config), embed_features=widths.embed_features,
            layer_features=widths.layer_features,
        )  # fmt: skip
    stream = np.random.RandomState(seed)
    kernel = np.outer(taps, taps).astype(np.float32) / np.float32(sum(taps) ** 2)
    weights = {
        name: kernel if name.endswith("resample_filter") else _drawn(stream, name, tuple(tensor.shape))
        for name, tensor in sorted(network.state_dict().items())
    }
    return Checkpoint(config, weights, Provenance("none", "random", "", 0, ""))


def _drawn(stream: np.random.RandomState, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    scale, shift = _distribution(name)
    values: Any = stream.standard_normal(shape)
    return np.array(shift + scale * values, dtype=np.float32)


def _distribution(name: str) -> tuple[float, float]:
    """Return scale and mean that keep the pictures in the range of a trained network's."""
    if name.startswith("mapping.fc"):
        return (100.0 if name.endswith("weight") else 20.0), 0.0
    endings = {
        "noise_strength": (0.3, 0.1),
        "affine.bias": (0.2, 1.0),
        ".bias": (0.2, 0.0),
        "w_avg": (0.3, 0.0),
        "torgb.weight": (0.25, 0.0),
    }
    return next((values for ending, values in endings.items() if name.endswith(ending)), (1.0, 0.0))
