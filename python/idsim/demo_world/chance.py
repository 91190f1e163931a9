"""Random numbers that are a function of a name: the same with every version of Python and NumPy, on every machine."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")
Colour = tuple[float, float, float]


class Chance:
    """Independent draws from the extendable hash SHAKE-256 of a name.

    Parameters
    ----------
    name : str
        What the draws belong to. Different names give independent draws.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        # 53 bits each, so that every value is an exact float64 in [0, 1).
        words = np.frombuffer(hashlib.shake_256(name.encode()).digest(8 * 96), "<u8")
        self._values = iter(((words >> np.uint64(11)) * 2.0**-53).tolist())

    def unit(self) -> float:
        """Uniform in [0, 1)."""
        return float(next(self._values))

    def between(self, low: float, high: float) -> float:
        """Uniform in [low, high)."""
        return low + (high - low) * self.unit()

    def around(self, centre: float, reach: float) -> float:
        """Bell-shaped in centre ± reach: the mean of three uniform draws; standard deviation reach / 3."""
        return centre + reach * (2 * (self.unit() + self.unit() + self.unit()) / 3 - 1)

    def happens(self, probability: float) -> bool:
        """Return true with this probability."""
        return self.unit() < probability

    def pick(self, choices: Sequence[T]) -> T:
        """One of the choices, each as likely as any other."""
        return choices[int(self.unit() * len(choices))]

    def grain(self, *shape: int) -> np.ndarray:
        """Triangular noise in [-1, 1], float32 of this shape, standard deviation 0.41."""
        size = int(np.prod(shape))
        content = hashlib.shake_256(f"{self._name}/grain".encode()).digest(2 * size)
        levels = np.frombuffer(content, np.uint8).reshape(2, *shape).astype(np.float32)
        return np.asarray((levels[0] + levels[1]) / np.float32(255) - np.float32(1))


def mixed(first: Colour, second: Colour, share: float) -> Colour:
    """Return the colour this share of the way from the first to the second."""
    red, green, blue = (a + (b - a) * share for a, b in zip(first, second, strict=True))
    return red, green, blue


def along(colours: Sequence[Colour], place: float) -> Colour:
    """Return the colour at a place in [0, 1] of an evenly spaced scale."""
    position = place * (len(colours) - 1)
    step = min(int(position), len(colours) - 2)
    return mixed(colours[step], colours[step + 1], position - step)


def shaded(colour: Colour, factor: float) -> Colour:
    """Return the colour made darker (below 1) or lighter, at most white."""
    red, green, blue = (min(1.0, part * factor) for part in colour)
    return red, green, blue
