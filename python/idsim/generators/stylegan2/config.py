"""What a StyleGAN2 generator is beside its weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Architecture", "GeneratorConfig"]

Architecture = Literal["skip", "resnet", "orig"]


@dataclass(frozen=True, slots=True)
class GeneratorConfig:
    """The shape and the constants of a generator.

    Weights go by the names and shapes of NVlabs' PyTorch code (``mapping.fc0.weight``,
    ``synthesis.b8.conv0.affine.bias``, ...); what follows from their shapes, such as the
    channels of a block, is not repeated here.

    Attributes
    ----------
    resolution : int
        Pixels of a side; a power of two, 8 or more.
    img_channels : int
        Channels of a picture.
    z_dim, w_dim : int
        Dimensions of the latent code and of the style.
    c_dim : int
        Classes; 0: unconditional.
    mapping_layers : int
        Fully connected layers of the mapping network.
    lr_multiplier : float
        Gain of its weights and biases.
    architecture : {"skip", "resnet", "orig"}
        How the blocks reach the picture.
    activation : str
        Of the mapping and the synthesis layers: "lrelu" or "linear".
    conv_clamp : float or None
        Bound of the layers' outputs.
    use_noise : bool
        Whether the layers add noise.
    fp16_resolutions : tuple of int
        Blocks that the original runs in half precision on a GPU.
    """

    resolution: int
    img_channels: int
    z_dim: int
    w_dim: int
    c_dim: int
    mapping_layers: int
    lr_multiplier: float = 0.01
    architecture: Architecture = "skip"
    activation: str = "lrelu"
    conv_clamp: float | None = None
    use_noise: bool = True
    fp16_resolutions: tuple[int, ...] = ()

    @property
    def block_resolutions(self) -> tuple[int, ...]:
        """Resolutions of the blocks, 4 first."""
        return tuple(1 << power for power in range(2, self.resolution.bit_length()))

    @property
    def num_ws(self) -> int:
        """Styles of a picture."""
        return 2 * len(self.block_resolutions)
