"""StyleGAN2's synthesis in the plainest formulation: a rival for timings and a second opinion for tests.

Every sample convolves weights of its own in groups, the filters run over pixels with zeros between them, and every
step makes a new tensor. In float64 it is the truth that the fast formulation is held to.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from idsim.generators.stylegan2.config import GeneratorConfig

__all__ = ["synthesize"]


def filtered(x: Tensor, taps: Tensor, pads: Sequence[int]) -> Tensor:
    from torch.nn import functional

    kernel = taps.flip(0, 1).to(x.dtype).expand(x.shape[1], 1, -1, -1)
    return functional.conv2d(functional.pad(x, pads), kernel, groups=x.shape[1])


def doubled(x: Tensor, taps: Tensor) -> Tensor:
    n, channels, height, width = x.shape
    wide = x.new_zeros(n, channels, height, 2, width, 2)
    wide[:, :, :, 0, :, 0] = x
    rows, columns = taps.shape
    pads = [(columns + 1) // 2, (columns - 2) // 2, (rows + 1) // 2, (rows - 2) // 2]
    return filtered(wide.reshape(n, channels, 2 * height, 2 * width), 4 * taps, pads)


def affine(weights: Mapping[str, Tensor], name: str, w: Tensor) -> Tensor:
    matrix = weights[f"{name}.affine.weight"]
    return w @ (matrix / math.sqrt(matrix.shape[1])).T + weights[f"{name}.affine.bias"]


def convolved(x: Tensor, weight: Tensor, taps: Tensor | None) -> Tensor:
    """Convolve every sample with its own weight, ``[n, out, in, k, k]``."""
    from torch.nn import functional

    n, outputs, inputs, size, _ = weight.shape
    x = x.reshape(1, n * inputs, *x.shape[2:])
    if taps is None:
        x = functional.conv2d(x, weight.reshape(n * outputs, inputs, size, size), padding=size // 2, groups=n)
        return x.reshape(n, outputs, *x.shape[2:])
    kernel = weight.transpose(1, 2).reshape(n * inputs, outputs, size, size)
    x = functional.conv_transpose2d(x, kernel, stride=2, groups=n)
    rows, columns = taps.shape
    pads = [(columns - 1) // 2, (columns - 2) // 2, (rows - 1) // 2, (rows - 2) // 2]
    return filtered(x.reshape(n, outputs, *x.shape[2:]), 4 * taps, pads)


def layer(
    config: GeneratorConfig, weights: Mapping[str, Tensor], name: str, x: Tensor, w: Tensor,
    noise: Tensor | None, *, gain: float = 1.0,
) -> Tensor:  # fmt: skip
    from torch.nn import functional

    weight = weights[f"{name}.weight"] * affine(weights, name, w)[:, None, :, None, None]
    weight = weight * (weight.square().sum(dim=(2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    x = convolved(x, weight, weights[f"{name}.resample_filter"] if name.endswith("conv0") else None)
    if noise is not None and config.use_noise:
        x = x + noise * weights[f"{name}.noise_strength"]
    x = x + weights[f"{name}.bias"][:, None, None]
    if config.activation == "lrelu":
        x = functional.leaky_relu(x, 0.2) * math.sqrt(2)
    x = x * gain
    return x if config.conv_clamp is None else x.clamp(-config.conv_clamp * gain, config.conv_clamp * gain)


def to_rgb(config: GeneratorConfig, weights: Mapping[str, Tensor], name: str, x: Tensor, w: Tensor) -> Tensor:
    weight = weights[f"{name}.weight"]
    styles = affine(weights, name, w) / math.sqrt(weight.shape[1])
    x = convolved(x, weight * styles[:, None, :, None, None], None) + weights[f"{name}.bias"][:, None, None]
    return x if config.conv_clamp is None else x.clamp(-config.conv_clamp, config.conv_clamp)


def synthesize(
    config: GeneratorConfig,
    weights: Mapping[str, Tensor],
    ws: Tensor,
    noise: str | Sequence[Tensor] = "const",
) -> Tensor:
    """Return pictures ``[n, img_channels, resolution, resolution]`` of styles ``[n, num_ws, w_dim]``.

    ``noise``: "const", "none", or a map for every layer.
    """
    from torch.nn import functional

    x: Any = weights["synthesis.b4.const"].expand(len(ws), -1, -1, -1)
    image: Any = None
    index = 0
    for side in config.block_resolutions:
        block = f"synthesis.b{side}"
        taps = weights[f"{block}.resample_filter"]
        before = x
        for name in ("conv1",) if side == 4 else ("conv0", "conv1"):
            key = f"{block}.{name}"
            stored = weights.get(f"{key}.noise_const") if noise == "const" else None
            drawn = stored if isinstance(noise, str) else noise[index]
            residual = config.architecture == "resnet" and side > 4 and name == "conv1"
            gain = math.sqrt(0.5) if residual else 1.0
            x = layer(config, weights, key, x, ws[:, index], drawn, gain=gain)
            index += 1
        if config.architecture == "resnet" and side > 4:
            weight = weights[f"{block}.skip.weight"]
            past = functional.conv2d(before, weight / math.sqrt(weight.shape[1]))
            x = x + doubled(past, weights[f"{block}.skip.resample_filter"]) * math.sqrt(0.5)
        if f"{block}.torgb.weight" in weights:
            rgb = to_rgb(config, weights, f"{block}.torgb", x, ws[:, index])
            image = rgb if image is None else doubled(image, taps) + rgb
    return image
