"""The residual discriminator of StyleGAN2, with the tensor names of NVlabs' PyTorch code."""

from __future__ import annotations

import math

import torch  # noqa: TID253 - a script
from torch import Tensor, nn  # noqa: TID253
from torch.nn import functional as F  # noqa: N812, TID253


def lrelu(x: Tensor) -> Tensor:
    """Leaky ReLU at unit variance."""
    return F.leaky_relu(x, 0.2) * math.sqrt(2)


def blur_taps() -> Tensor:
    """The filter [1, 3, 3, 1] in both directions, with sum 1, as a kernel ``[1, 1, 4, 4]``."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    return (torch.outer(taps, taps) / 64)[None, None]


def blur(x: Tensor, taps: Tensor, padding: int) -> Tensor:
    """Filter every channel; each side grows by 2 * padding - 3."""
    channels = x.shape[1]
    return F.conv2d(x, taps.expand(channels, -1, -1, -1), padding=padding, groups=channels)


class Linear(nn.Module):
    """Fully connected, at equalised learning rate: unit weights in store, scaled when they are used."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight / math.sqrt(self.weight.shape[1]), self.bias)


class Conv(nn.Module):
    """Convolution at equalised learning rate that keeps the sides, or halves them behind a blur."""

    def __init__(
        self, inputs: int, outputs: int, size: int, *, down: bool = False, bias: bool = True
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, size, size))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.down = down
        self.register_buffer("taps", blur_taps() if down else None, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight / math.sqrt(self.weight[0].numel())
        half = self.weight.shape[2] // 2
        if self.down:
            return F.conv2d(blur(x, self.taps, half + 1), weight, self.bias, stride=2)
        return F.conv2d(x, weight, self.bias, padding=half)


class Block(nn.Module):
    """Halve the sides; the shortcut is linear."""

    def __init__(self, inputs: int, outputs: int, img_channels: int | None) -> None:
        super().__init__()
        self.fromrgb = None if img_channels is None else Conv(img_channels, inputs, 1)
        self.conv0 = Conv(inputs, inputs, 3)
        self.conv1 = Conv(inputs, outputs, 3, down=True)
        self.skip = Conv(inputs, outputs, 1, down=True, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.fromrgb is not None:
            x = lrelu(self.fromrgb(x))
        return (self.skip(x) + lrelu(self.conv1(lrelu(self.conv0(x))))) * math.sqrt(0.5)


def with_deviation(x: Tensor, group: int) -> Tensor:
    """Append the minibatch standard deviation: one channel, constant over each picture, shared by its group.

    The groups are interleaved: pictures i, i + n / group, ... are together. Karras et al., ICLR 2018
    (arXiv:1710.10196), section 3.
    """
    n, _, height, width = x.shape
    group = next(size for size in range(min(group, n), 0, -1) if n % size == 0)
    spread = (x.reshape(group, n // group, -1).var(0, correction=0) + 1e-8).sqrt().mean(1)
    return torch.cat([x, spread.repeat(group).reshape(n, 1, 1, 1).expand(n, 1, height, width)], dim=1)


class Head(nn.Module):
    """From 4 x 4 to one logit."""

    def __init__(self, channels: int, group: int) -> None:
        super().__init__()
        self.group = group
        self.conv = Conv(channels + 1, channels, 3)
        self.fc = Linear(channels * 16, channels)
        self.out = Linear(channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = lrelu(self.conv(with_deviation(x, self.group)))
        return self.out(lrelu(self.fc(x.flatten(1))))


class Discriminator(nn.Module):
    """Logits ``[n, 1]`` for pictures ``[n, img_channels, resolution, resolution]``.

    Parameters
    ----------
    channels : dict of int to int
        Channels of the block of every resolution, 4 first.
    img_channels : int
        Channels of a picture.
    group : int
        Pictures that share a minibatch standard deviation, where the batch allows.
    """

    def __init__(self, channels: dict[int, int], img_channels: int = 3, group: int = 4) -> None:
        super().__init__()
        self.resolution = max(channels)
        for side in sorted(channels, reverse=True)[:-1]:
            colours = img_channels if side == self.resolution else None
            self.add_module(f"b{side}", Block(channels[side], channels[side // 2], colours))
        self.b4 = Head(channels[4], group)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-2:] != (self.resolution, self.resolution):
            raise ValueError(
                f"pictures of {list(x.shape[-2:])} for a discriminator of {self.resolution} pixels"
            )
        if x.device.type == "cpu":  # Convolutions are faster with the channels last: 8 % of a training step.
            x = x.contiguous(memory_format=torch.channels_last)
        for block in self.children():
            x = block(x)
        return x
