"""Changes of pictures that a matcher must not mind: mirroring, place, colour cast, blur, noise, compression.

Pictures of a small generator are smoother and noisier than the drawn ones that it learned from.
"""

from __future__ import annotations

import math

import torch  # noqa: TID253 - a script
from torch import Tensor  # noqa: TID253
from torch.nn import functional as F  # noqa: N812, TID253

# Standard deviations: radians, of the logarithm, and of halves of a side.
TURN, ZOOM, SHIFT = 0.06, 0.05, 0.05
# Standard deviations, of every channel for itself: of the logarithm, and in levels of 255.
GAIN, OFFSET = 0.08, 8.0
GREY = 0.25  # Share of the pictures that lose some of their colours.
BLURRED, NOISY, QUANTISED = 0.5, 0.5, 0.25  # Shares of the pictures.
# Largest standard deviation, and largest step of the amplitudes of frequencies, in levels.
NOISE, STEP = 10.0, 24.0


def augmented(pictures: Tensor, random: torch.Generator) -> Tensor:
    """Return changed copies of pictures, uint8 ``[n, 3, side, side]``, as float32 levels from 0 to 255."""
    x = placed(pictures.float(), random)
    x = recoloured(x, random)
    x = torch.where(chosen(x, BLURRED, random), blurred(x, random), x)
    noise = torch.randn(x.shape, generator=random) * uniform(x, 0, NOISE, random)
    x = torch.where(chosen(x, NOISY, random), x + noise, x)
    x = torch.where(chosen(x, QUANTISED, random), quantised(x, uniform(x, 2, STEP, random)), x)
    return x.clamp(0, 255).round()


def uniform(x: Tensor, low: float, high: float, random: torch.Generator) -> Tensor:
    """Return a number for every picture, ``[n, 1, 1, 1]``."""
    return low + (high - low) * torch.rand(len(x), 1, 1, 1, generator=random)


def chosen(x: Tensor, share: float, random: torch.Generator) -> Tensor:
    return torch.rand(len(x), 1, 1, 1, generator=random) < share


def placed(x: Tensor, random: torch.Generator) -> Tensor:
    """Turn, zoom and move pictures a little, and mirror half of them."""
    count = len(x)
    angle = TURN * torch.randn(count, generator=random)
    zoom = torch.exp(ZOOM * torch.randn(count, generator=random))
    mirror = 1 - 2 * torch.randint(0, 2, (count,), generator=random).float()
    rows = torch.stack(
        [
            torch.stack([mirror * zoom * angle.cos(), -zoom * angle.sin()], 1),
            torch.stack([mirror * zoom * angle.sin(), zoom * angle.cos()], 1),
        ],
        1,
    )
    shift = SHIFT * torch.randn(count, 2, 1, generator=random)
    grid = F.affine_grid(torch.cat([rows, shift], 2), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def recoloured(x: Tensor, random: torch.Generator) -> Tensor:
    """Give every picture a colour cast, and take some of the colours from a part of them."""
    grey = x.mean(1, keepdim=True)
    kept = torch.where(chosen(x, GREY, random), uniform(x, 0, 1, random), torch.ones(1))
    gain = torch.exp(GAIN * torch.randn(len(x), 3, 1, 1, generator=random))
    return (grey + kept * (x - grey)) * gain + OFFSET * torch.randn(len(x), 3, 1, 1, generator=random)


def blurred(x: Tensor, random: torch.Generator) -> Tensor:
    """Filter with [a, 1 - 2 a, a] in both directions, a from 0 to 1 / 3."""
    a = uniform(x, 0, 1 / 3, random)
    wide = F.pad(x, (1, 1, 1, 1), mode="replicate")
    across = a * (wide[..., :-2] + wide[..., 2:]) + (1 - 2 * a) * wide[..., 1:-1]
    return a * (across[..., :-2, :] + across[..., 2:, :]) + (1 - 2 * a) * across[..., 1:-1, :]


def cosines_of_8() -> Tensor:
    """The orthonormal discrete cosine transform of eight values, ``[8, 8]``."""
    place = torch.arange(8, dtype=torch.float32)
    matrix = torch.cos(math.pi / 8 * (place[None] + 0.5) * place[:, None]) / 2
    matrix[0] /= math.sqrt(2)
    return matrix


def quantised(x: Tensor, step: Tensor) -> Tensor:
    """Round the amplitudes of blocks of 8 x 8 pixels to multiples of a step, coarser for high frequencies, as JPEG."""
    matrix = cosines_of_8()
    count, channels, height, width = x.shape
    blocks = x.reshape(count, channels, height // 8, 8, width // 8, 8).transpose(3, 4)
    place = torch.arange(8, dtype=torch.float32)
    steps = step[..., None, None] * (1 + (place[:, None] + place[None]) / 4)
    rounded = torch.round(matrix @ blocks @ matrix.T / steps) * steps
    return (matrix.T @ rounded @ matrix).transpose(3, 4).reshape(x.shape)
