"""What every generator offers. It knows latent codes, pixels and its own files, nothing of faces or searches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

__all__ = ["Drawn", "Generator", "Pictures", "checked"]


class Pictures(Protocol):
    """Pictures that are drawn when they are asked for, in order."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        """Yield uint8 ``[height, width, 3]`` RGB."""


class Generator(Protocol):
    """A generator of pictures. One over stored pictures also has a length: how many there are.

    Attributes
    ----------
    name : str
        Lower-case name, used in folder names.
    """

    name: str

    def describe(self) -> dict[str, Any]:
        """Return everything that the pixels depend on, and the licence, as plain JSON values.

        Two generators with equal descriptions draw equal pictures for equal arguments, up to the rounding of
        another device. ``sha256`` is the hash of the file of weights, or of what stands in its place.
        """

    def sample(self, seeds: Sequence[int], *, psi: float | None = None, label: int | None = None) -> Pictures:
        """Return one picture for every seed, whatever the batch.

        Bad arguments are refused by the call, before anything is drawn.

        Parameters
        ----------
        seeds : sequence of int
            0 to 2^32 - 1; of a generator over stored pictures, their numbers.
        psi : float, optional
            Truncation; None: the generator's own default. Refused by one that has none.
        label : int, optional
            Class of a conditional generator.
        """


@dataclass(frozen=True)
class Drawn:
    """Pictures of a function that draws them: ``draw()`` yields `count` pictures."""

    count: int
    draw: Callable[[], Iterable[NDArray[np.uint8]]]

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return iter(self.draw())


def checked(name: str, pictures: Pictures, count: int) -> Iterator[NDArray[np.uint8]]:
    """Yield the pictures of a generator, C-contiguous, and see that they are what the protocol promises.

    Raises
    ------
    TypeError
        One is no uint8 array ``[height, width, 3]``.
    ValueError
        There are more or fewer than `count`.
    """
    drawn = 0
    for picture in pictures:
        pixels = np.asarray(picture)
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
            raise TypeError(
                f"the generator {name} drew {pixels.dtype} {list(pixels.shape)}, "
                "and pictures are uint8 [height, width, 3]"
            )
        drawn += 1
        if drawn > count:
            break
        yield np.ascontiguousarray(pixels)
    if drawn != count:
        more = "more" if drawn > count else f"only {drawn}"
        raise ValueError(f"the generator {name} was asked for {count} pictures and drew {more}")
