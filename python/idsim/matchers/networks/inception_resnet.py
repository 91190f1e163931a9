"""Inception-ResNet v1, the network of FaceNet's public models, with the names of facenet-pytorch.

Sources: Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual Connections" (2017); scales of the
residuals, the epsilon of 0.001 and the last normalisation as in facenet-pytorch ``models/inception_resnet_v1.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn

from idsim.matchers.networks.layers import BatchNorm

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["InceptionResnetV1"]

EPSILON = 1e-3


class Conv(NamedTuple):
    """A convolution: output channels, kernel height and width, stride, and whether zeros keep the size."""

    channels: int
    kernel: tuple[int, int]
    stride: int = 1
    padded: bool = True


class ConvUnit(nn.Module):
    """Convolution, normalisation, ReLU."""

    def __init__(self, channels: int, conv: Conv) -> None:
        super().__init__()
        height, width = conv.kernel
        padding = (height // 2, width // 2) if conv.padded else (0, 0)
        self.conv = nn.Conv2d(channels, conv.channels, conv.kernel, conv.stride, padding, bias=False)
        self.bn = BatchNorm(conv.channels, EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        """Return the maps of the unit."""
        return torch.relu(self.bn(self.conv(x)))


def _branch(channels: int, convs: tuple[Conv, ...]) -> nn.Module:
    """Return units one after the other; a single one has no number in its name."""
    units = []
    for conv in convs:
        units.append(ConvUnit(channels, conv))
        channels = conv.channels
    return units[0] if len(units) == 1 else nn.Sequential(*units)


class Residual(nn.Module):
    """Branches side by side, a 1x1 convolution of them all, scaled and added to the input.

    Parameters
    ----------
    channels : int
        Of input and output.
    branches : tuple
        The convolutions of each branch.
    scale : float
        Of what is added.
    final_relu : bool
        Whether a ReLU follows the sum.
    """

    def __init__(
        self, channels: int, branches: tuple[tuple[Conv, ...], ...], scale: float, *, final_relu: bool = True
    ) -> None:
        super().__init__()
        self.scale, self.final_relu, self.count = scale, final_relu, len(branches)
        for number, convs in enumerate(branches):
            self.add_module(f"branch{number}", _branch(channels, convs))
        self.conv2d = nn.Conv2d(sum(convs[-1].channels for convs in branches), channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return maps of the input's shape."""
        sides = torch.cat([getattr(self, f"branch{number}")(x) for number in range(self.count)], dim=1)
        x = self.conv2d(sides) * self.scale + x
        return torch.relu(x) if self.final_relu else x


class Reduction(nn.Module):
    """Branches that halve the size, beside a maximum over 3x3."""

    def __init__(self, channels: int, branches: tuple[tuple[Conv, ...], ...]) -> None:
        super().__init__()
        self.count = len(branches)
        for number, convs in enumerate(branches):
            self.add_module(f"branch{number}", _branch(channels, convs))

    def forward(self, x: Tensor) -> Tensor:
        """Return the maps of the branches, then the maxima."""
        sides = [getattr(self, f"branch{number}")(x) for number in range(self.count)]
        return torch.cat([*sides, nn.functional.max_pool2d(x, 3, 2)], dim=1)


def _point(channels: int) -> Conv:
    return Conv(channels, (1, 1))


def _square(channels: int) -> Conv:
    return Conv(channels, (3, 3))


def _halving(channels: int) -> Conv:
    return Conv(channels, (3, 3), 2, padded=False)


def _separable(channels: int, side: int) -> tuple[Conv, ...]:
    """Return a 1x1 convolution, then a square one as a row and a column."""
    return _point(channels), Conv(channels, (1, side)), Conv(channels, (side, 1))


BLOCK_35 = ((_point(32),), (_point(32), _square(32)), (_point(32), _square(32), _square(32)))
BLOCK_17 = ((_point(128),), _separable(128, 7))
BLOCK_8 = ((_point(192),), _separable(192, 3))
REDUCTION_A = ((_halving(384),), (_point(192), _square(192), _halving(256)))
REDUCTION_B = (
    (_point(256), _halving(384)),
    (_point(256), _halving(256)),
    (_point(256), _square(256), _halving(256)),
)


class InceptionResnetV1(nn.Module):
    """Inception-ResNet v1 with the embedding layer of FaceNet.

    Parameters
    ----------
    dim : int
        Elements of an embedding.
    """

    def __init__(self, dim: int = 512) -> None:
        super().__init__()
        self.conv2d_1a = ConvUnit(3, _halving(32))
        self.conv2d_2a = ConvUnit(32, Conv(32, (3, 3), padded=False))
        self.conv2d_2b = ConvUnit(32, _square(64))
        self.conv2d_3b = ConvUnit(64, _point(80))
        self.conv2d_4a = ConvUnit(80, Conv(192, (3, 3), padded=False))
        self.conv2d_4b = ConvUnit(192, _halving(256))
        self.repeat_1 = nn.Sequential(*(Residual(256, BLOCK_35, 0.17) for _ in range(5)))
        self.mixed_6a = Reduction(256, REDUCTION_A)
        self.repeat_2 = nn.Sequential(*(Residual(896, BLOCK_17, 0.10) for _ in range(10)))
        self.mixed_7a = Reduction(896, REDUCTION_B)
        self.repeat_3 = nn.Sequential(*(Residual(1792, BLOCK_8, 0.20) for _ in range(5)))
        self.block8 = Residual(1792, BLOCK_8, 1.0, final_relu=False)
        self.last_linear = nn.Linear(1792, dim, bias=False)
        self.last_bn = BatchNorm(dim, EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        """Return embeddings ``[n, dim]`` of unit length of pictures ``[n, 3, 160, 160]``."""
        x = self.conv2d_2b(self.conv2d_2a(self.conv2d_1a(x)))
        x = self.conv2d_3b(nn.functional.max_pool2d(x, 3, 2))
        x = self.repeat_1(self.conv2d_4b(self.conv2d_4a(x)))
        x = self.repeat_2(self.mixed_6a(x))
        x = self.block8(self.repeat_3(self.mixed_7a(x)))
        x = self.last_bn(self.last_linear(x.mean(dim=(2, 3))))
        return nn.functional.normalize(x, dim=1)
