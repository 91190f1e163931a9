"""IResNet, the residual network of ArcFace, with the names of insightface's PyTorch code.

A block is norm, 3x3, norm, PReLU, 3x3 with the stride, norm; nothing follows the sum. The stem keeps the size, each of
the four stages halves it: 112 pixels become 7. Sources: Deng et al., "ArcFace" (2019), section 3.1; Duta et al.,
"Improved Residual Networks" (2020); insightface ``recognition/arcface_torch/backbones/iresnet.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from idsim.matchers.networks.layers import BatchNorm

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["DEPTHS", "IResNet"]

DEPTHS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 14, 3), 100: (3, 13, 30, 3)}
WIDTHS = (64, 128, 256, 512)
FINAL_SIDE = 7


def _convolution(channels: int, out_channels: int, side: int, stride: int = 1) -> nn.Module:
    return nn.Conv2d(channels, out_channels, side, stride, padding=side // 2, bias=False)


class Block(nn.Module):
    """Two convolutions beside the identity, or beside a 1x1 convolution where the shape changes."""

    def __init__(self, channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.bn1 = BatchNorm(channels)
        self.conv1 = _convolution(channels, out_channels, 3)
        self.bn2 = BatchNorm(out_channels)
        self.prelu = nn.PReLU(out_channels)
        self.conv2 = _convolution(out_channels, out_channels, 3, stride)
        self.bn3 = BatchNorm(out_channels)
        self.downsample: nn.Module | None = None
        if stride != 1 or channels != out_channels:
            shortcut = _convolution(channels, out_channels, 1, stride)
            self.downsample = nn.Sequential(shortcut, BatchNorm(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[n, out_channels, h / stride, w / stride]``."""
        inner = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        inner = self.bn3(self.conv2(inner))
        return inner + (x if self.downsample is None else self.downsample(x))


class IResNet(nn.Module):
    """An IResNet of one of the `DEPTHS`.

    Parameters
    ----------
    depth : int
        Its number of layers.
    dim : int
        Elements of an embedding.
    """

    def __init__(self, depth: int, dim: int = 512) -> None:
        super().__init__()
        self.conv1 = _convolution(3, WIDTHS[0], 3)
        self.bn1 = BatchNorm(WIDTHS[0])
        self.prelu = nn.PReLU(WIDTHS[0])
        channels = WIDTHS[0]
        for stage, (width, count) in enumerate(zip(WIDTHS, DEPTHS[depth], strict=True), 1):
            blocks = [Block(channels, width, 2), *(Block(width, width, 1) for _ in range(count - 1))]
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
            channels = width
        self.bn2 = BatchNorm(channels)
        self.fc = nn.Linear(channels * FINAL_SIDE**2, dim)
        self.features = BatchNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return embeddings ``[n, dim]``, not of unit length, of pictures ``[n, 3, 112, 112]``."""
        x = self.prelu(self.bn1(self.conv1(x)))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        return self.features(self.fc(self.bn2(x).flatten(1)))
