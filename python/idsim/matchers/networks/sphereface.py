"""The 20-layer network of SphereFace, with the names of the PyTorch port of 2017 (clcarwin ``net_sphere.py``).

Four stages; each starts with a convolution of stride 2 and goes on with pairs of convolutions beside the identity.
Every convolution has a bias and a PReLU; nothing is normalised. Source: Liu et al., "SphereFace" (2017), table 2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Sphere20"]

STAGES = ((64, 1), (128, 2), (256, 4), (512, 1))  # channels, and pairs of convolutions
FINAL_PIXELS = 7 * 6


class Sphere20(nn.Module):
    """The network of SphereFace with 20 layers.

    Parameters
    ----------
    dim : int
        Elements of an embedding.
    """

    def __init__(self, dim: int = 512) -> None:
        super().__init__()
        channels = 3
        for stage, (width, pairs) in enumerate(STAGES, 1):
            for number in range(1, 2 * pairs + 2):
                stride = 2 if number == 1 else 1
                self.add_module(f"conv{stage}_{number}", nn.Conv2d(channels, width, 3, stride, padding=1))
                self.add_module(f"relu{stage}_{number}", nn.PReLU(width))
                channels = width
        self.fc5 = nn.Linear(channels * FINAL_PIXELS, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return embeddings ``[n, dim]``, not of unit length, of pictures ``[n, 3, 112, 96]``."""
        for stage, (_, pairs) in enumerate(STAGES, 1):
            x = self._layer(x, stage, 1)
            for pair in range(pairs):
                x = x + self._layer(self._layer(x, stage, 2 * pair + 2), stage, 2 * pair + 3)
        return self.fc5(x.flatten(1))

    def _layer(self, x: Tensor, stage: int, number: int) -> Tensor:
        name = f"{stage}_{number}"
        return getattr(self, f"relu{name}")(getattr(self, f"conv{name}")(x))
