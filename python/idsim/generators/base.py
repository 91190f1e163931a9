"""What every generator offers. It knows latent codes, pixels and its own files, nothing of faces or searches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Generator", "Pictures"]


class Pictures(Protocol):
    """Pictures that are drawn when they are asked for, in order."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        """Yield uint8 ``[height, width, 3]`` RGB."""


class Generator(Protocol):
    """A generator of pictures.

    Attributes
    ----------
    name : str
        Lower-case name, used in folder names.
    """

    name: str

    def describe(self) -> dict[str, Any]:
        """Return everything that the pixels depend on, and the licence, as plain JSON values.

        Two generators with equal descriptions draw equal pictures for equal arguments, up to the rounding of
        another device.
        """

    def sample(self, seeds: Sequence[int], *, psi: float | None = None, label: int | None = None) -> Pictures:
        """Return one picture for every seed, whatever the batch.

        Parameters
        ----------
        seeds : sequence of int
            0 to 2^32 - 1; of a generator over stored pictures, their numbers.
        psi : float, optional
            Truncation; None: the generator's own default. Refused by one that has none.
        label : int, optional
            Class of a conditional generator.
        """
