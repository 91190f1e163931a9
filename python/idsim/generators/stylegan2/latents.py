"""What a seed stands for: a latent code and, where noise is drawn, the noise of every layer.

Both conventions draw the code from NumPy's ``RandomState(seed)``, as the original scripts do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from idsim.generators.stylegan2.config import GeneratorConfig

__all__ = ["NOISE_MODES", "NoiseMode", "latent_code", "noise_maps"]

NoiseMode = Literal["const", "none", "random", "seeded-tf"]
NOISE_MODES: tuple[NoiseMode, ...] = get_args(NoiseMode)


def latent_code(config: GeneratorConfig, seed: int) -> NDArray[np.float32]:
    """Return the code of a seed, float32 ``[z_dim]``."""
    return np.random.RandomState(seed).randn(config.z_dim).astype(np.float32)


def noise_maps(config: GeneratorConfig, seed: int, mode: NoiseMode) -> list[NDArray[np.float32]]:
    """Return the noise ``[r, r]`` that a seed stands for, one map for each layer, lowest resolution first.

    Parameters
    ----------
    config : GeneratorConfig
        The generator.
    seed : int
        0 to 2^32 - 1.
    mode : {"random", "seeded-tf"}
        "seeded-tf": what the TensorFlow scripts of 2019 and 2020 draw after the code, from the same stream.
        "random": from a stream of its own, NumPy's PCG64 of this seed.
    """
    sides = [side for side in config.block_resolutions for _ in range(1 if side == 4 else 2)]
    if mode == "seeded-tf":
        stream = np.random.RandomState(seed)
        stream.randn(config.z_dim)
        return [stream.randn(side, side).astype(np.float32) for side in sides]
    if mode == "random":
        rng = np.random.default_rng(seed)
        return [rng.standard_normal((side, side), dtype=np.float32) for side in sides]
    raise ValueError(f"noise {mode!r} is not drawn by seed")
