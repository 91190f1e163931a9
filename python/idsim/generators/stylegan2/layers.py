"""The operations of StyleGAN2 in plain torch; all can be differentiated twice.

Sources: Karras et al., "Analyzing and Improving the Image Quality of StyleGAN" (2020), and the constants of the
published networks. Filters are applied as convolutions, so an asymmetric one is flipped as it is there.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "activate", "convolve_up", "demodulation", "double", "filter_squares", "gain_of", "linear", "modulated_convolution",
    "same_maximum", "unit_rms",
]  # fmt: skip

EPSILON = 1e-8
SLOPE = 0.2


def unit_rms(x: Tensor) -> Tensor:
    """Return rows ``[n, features]`` divided by their root mean square."""
    return x * (x.square().mean(dim=1, keepdim=True) + EPSILON).rsqrt()


def linear(x: Tensor, weight: Tensor, bias: Tensor, multiplier: float = 1.0) -> Tensor:
    """Return a fully connected layer with an equalised learning rate: ``[n, in]`` to ``[n, out]``."""
    return functional.linear(x * (multiplier / math.sqrt(weight.shape[1])), weight, bias * multiplier)


def gain_of(activation: str) -> float:
    """Return the factor that keeps the variance through an activation."""
    return math.sqrt(2.0) if activation == "lrelu" else 1.0


def activate(x: Tensor, activation: str, clamp: float | None = None) -> Tensor:
    """Return ``x`` after the nonlinearity and between ``-clamp`` and ``clamp``, where possible in its place.

    The gain is no matter of this function: both nonlinearities let a factor pass, so it belongs to the layer
    before.
    """
    if activation == "lrelu":
        x = functional.leaky_relu(x, SLOPE, inplace=True)
    if clamp is None:
        return x
    # What autograd keeps of the step before must not be overwritten.
    return x.clamp(-clamp, clamp) if torch.is_grad_enabled() else x.clamp_(-clamp, clamp)


def filter_squares(weight: Tensor) -> Tensor:
    """Return the sums of squares ``[out, in]`` over the filters of ``[out, in, k, k]``."""
    return torch.einsum("oikl,oikl->oi", weight, weight)


def demodulation(squares: Tensor, styles: Tensor) -> Tensor:
    """Return the factors ``[n, out]`` that give every modulated filter the length 1.

    One product of two small matrices, `filter_squares` and the squared styles, in place of ``n`` modulated weights.
    """
    return (styles.square() @ squares.T + EPSILON).rsqrt()


def same_maximum(weight: Tensor, styles: Tensor) -> tuple[Tensor, Tensor]:
    """Return weight and styles scaled so that half precision holds what they make; demodulation undoes it."""
    largest = weight.abs().amax(dim=(1, 2, 3), keepdim=True)
    weight = weight / (largest * math.sqrt(weight[0].numel()))
    return weight, styles / styles.abs().amax(dim=1, keepdim=True)


def modulated_convolution(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    factors: Tensor | None,
    bias: Tensor,
    taps: Tensor | None = None,
) -> Tensor:
    """Return the convolution of ``x`` with a weight that is scaled for every sample.

    Parameters
    ----------
    x : Tensor
        ``[n, in, h, w]``; its dtype is that of the arithmetic.
    weight : Tensor
        ``[out, in, k, k]``, k = 1 or 3.
    styles, factors, bias : Tensor
        ``[n, in]``: scales of the inputs; ``[n, out]`` or None: scales of the outputs; ``[out]``.
    taps : Tensor, optional
        Low-pass filter: the result has twice the height and width.

    Notes
    -----
    Of one sample, the smaller of weight and activations is scaled; several share the weight, and their activations
    are scaled. No weight per sample is convolved in groups.
    """
    if len(x) == 1 and weight.numel() < x.numel():
        scales = styles[0] if factors is None else torch.outer(factors[0], styles[0])
        weight = weight * scales[..., None, None]
        return _convolve(x, weight.to(x.dtype), bias.to(x.dtype), taps)
    x = x * styles.to(x.dtype)[:, :, None, None]
    if factors is None:
        return _convolve(x, weight.to(x.dtype), bias.to(x.dtype), taps)
    x = _convolve(x, weight.to(x.dtype), None, taps)
    return torch.addcmul(bias.to(x.dtype)[:, None, None], x, factors.to(x.dtype)[:, :, None, None])


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None, taps: Tensor | None) -> Tensor:
    if taps is None:
        return functional.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)
    return convolve_up(x, weight, bias, taps)


def convolve_up(x: Tensor, weight: Tensor, bias: Tensor | None, taps: Tensor) -> Tensor:
    """Return ``[n, out, 2h, 2w]``: a 3 x 3 convolution of the doubled grid, then the low-pass filter."""
    x = functional.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
    height, width = taps.shape
    # The transposed convolution gives 2h + 1 rows, the first of which lies half a pixel before the picture.
    before, after = (height - 1) // 2, (height - 2) // 2
    left, right = (width - 1) // 2, (width - 2) // 2
    if (before, left) == (after, right):
        padding = (before, left)
    else:
        x, padding = functional.pad(x, (left, right, before, after)), (0, 0)
    channels = x.shape[1]
    kernel = (4 * taps.flip(0, 1)).to(x.dtype).expand(channels, 1, height, width)
    return functional.conv2d(x, kernel, bias, padding=padding, groups=channels)


def double(x: Tensor, taps: Tensor) -> Tensor:
    """Return ``x`` at twice its height and width: zeros between the pixels, then the low-pass filter.

    A transposed convolution of one channel writes neither zeros nor a kernel for every channel.
    """
    n, channels, height, width = x.shape
    rows, columns = taps.shape
    padding = ((rows - 1) - (rows + 1) // 2, (columns - 1) - (columns + 1) // 2)
    maps = x.reshape(n * channels, 1, height, width)
    maps = functional.conv_transpose2d(maps, (4 * taps).to(x.dtype)[None, None], stride=2, padding=padding)
    return maps[..., : 2 * height, : 2 * width].reshape(n, channels, 2 * height, 2 * width)
