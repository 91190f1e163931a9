"""A canvas with one kind of shape, enough for everything in a portrait, at exact arithmetic.

Only sums, products, quotients and square roots of float32 are used, which IEEE 754 rounds in one way: a portrait has
the same bytes on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from idsim.demo_world.chance import Colour

FINER = 2  # Painted at twice the size, with edges one fine pixel wide: smooth at 32 pixels, and fast.
ZERO, HALF, ONE = np.float32(0), np.float32(0.5), np.float32(1)
TINY = np.float32(1e-6)  # Keeps the middle of a blob from being divided by 0.
Window = tuple[slice, slice]


@dataclass(frozen=True)
class Blob:
    """An ellipse that can be tilted, bent, tapered and squared. Lengths are halves of the picture's side.

    Parameters
    ----------
    x, y : float
        The centre, right and down of the face's origin.
    across, down : float
        Half-axes.
    tilt : float
        Tangent of half of the angle by which it is turned clockwise.
    bend : float
        Lowers what is x beside the centre by bend · x²: positive arches, negative sags.
    taper : float
        Relative narrowing at the lower end, and widening at the upper.
    square : bool
        A superellipse of exponent 4.
    soft : float
        Width of the edge beyond one fine pixel.
    """

    x: float
    y: float
    across: float
    down: float
    tilt: float = 0.0
    bend: float = 0.0
    taper: float = 0.0
    square: bool = False
    soft: float = 0.0


def turn(tilt: float) -> tuple[float, float]:
    """Cosine and sine of twice the angle whose tangent is given, without a library's trigonometry."""
    return (1 - tilt * tilt) / (1 + tilt * tilt), 2 * tilt / (1 + tilt * tilt)


class Canvas:
    """A square picture in the coordinates of a face that is moved, scaled and turned in it.

    Parameters
    ----------
    size : int
        Pixels of a side of the finished picture.
    x, y : float
        Where the face's origin lies, right and down of the picture's centre, in halves of its side.
    scale : float
        Size of the face.
    roll : float
        Tangent of half of the angle by which the face is turned clockwise.
    """

    def __init__(
        self, size: int, x: float = 0.0, y: float = 0.0, scale: float = 1.0, roll: float = 0.0
    ) -> None:
        self.side = size * FINER
        self.colours = np.zeros((3, self.side, self.side), np.float32)
        self._pixel = 2 / self.side / scale  # In the face's lengths.
        self._origin, self._scale, self._turn = (x, y), scale, turn(roll)
        cos, sin = (np.float32(part / scale) for part in self._turn)
        places = (np.arange(self.side, dtype=np.float32) + np.float32(0.5)) * np.float32(2 / self.side)
        right, down = places - np.float32(1 + x), (places - np.float32(1 + y))[:, None]
        self._across, self._down = cos * right + sin * down, cos * down - sin * right

    def window(self, blob: Blob) -> Window:
        """Return the rows and columns that a blob can touch."""
        (cos, sin), half = self._turn, self.side / 2
        reach = max(
            blob.across * (1 + abs(blob.taper)), blob.down + abs(blob.bend) * blob.across * blob.across
        )
        around = (1.42 * reach if blob.tilt or blob.taper or blob.square else reach) + blob.soft
        radius = around * self._scale * half + 2
        column = (1 + self._origin[0] + self._scale * (cos * blob.x - sin * blob.y)) * half
        row = (1 + self._origin[1] + self._scale * (sin * blob.x + cos * blob.y)) * half
        low, high = (max(0, int(place - radius)) for place in (row, column))
        return slice(low, max(low, int(row + radius))), slice(high, max(high, int(column + radius)))

    def cover(self, blob: Blob, window: Window) -> np.ndarray:
        """Share of each fine pixel of the window that the blob covers, float32 in [0, 1]."""
        right, down = self._across[window] - np.float32(blob.x), self._down[window] - np.float32(blob.y)
        if blob.tilt:
            cos, sin = (np.float32(part) for part in turn(blob.tilt))
            right, down = cos * right + sin * down, cos * down - sin * right
        if blob.bend:
            down = down - np.float32(blob.bend) * right * right
        x, y = right * np.float32(1 / blob.across), down * np.float32(1 / blob.down)
        if blob.taper:
            x = x / np.maximum(
                ONE - np.float32(blob.taper) * np.minimum(np.maximum(y, -ONE), ONE), np.float32(0.1)
            )
        u, v = x * x, y * y
        # A first-order distance from the edge: (r - 1) / |grad r|, with r = (x^p + y^p)^(1/p) and p = 2 or 4.
        if blob.square:
            radius = np.sqrt(np.sqrt(u * u + v * v)) + TINY
            u, v, fall = u * u * u, v * v * v, radius * radius * radius
        else:
            radius = np.sqrt(u + v) + TINY
            fall = radius
        slope = (
            np.sqrt(
                u * np.float32(1 / (blob.across * blob.across)) + v * np.float32(1 / (blob.down * blob.down))
            )
            + TINY
        )
        distance = (radius - ONE) * fall / slope
        edge = np.float32(1 / (self._pixel + blob.soft))
        return np.asarray(np.minimum(np.maximum(HALF - distance * edge, ZERO), ONE))

    def paint(
        self,
        blob: Blob,
        colour: Colour,
        *,
        within: Blob | None = None,
        without: Blob | None = None,
        strength: float = 1.0,
    ) -> None:
        """Lay a colour over what the blob covers, within one other blob and without another."""
        if strength <= 0:
            return
        window = self.window(blob)
        mask = self.cover(blob, window) * np.float32(strength)
        if within is not None:
            mask *= self.cover(within, window)
        if without is not None:
            mask *= ONE - self.cover(without, window)
        under = self.colours[:, window[0], window[1]]
        under += mask * (np.array(colour, np.float32)[:, None, None] - under)

    def finished(self) -> np.ndarray:
        """Return the picture at its size, float32 ``[3, size, size]`` in [0, 1]."""
        rows = self.colours[:, 0::2] + self.colours[:, 1::2]
        return np.asarray((rows[:, :, 0::2] + rows[:, :, 1::2]) * np.float32(0.25))
