"""What the readers of all formats share: tensors that are read later, and what a reader finds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from idsim.inert.geometry import EXACT_ELEMENTS, elements, read_float32
from idsim.inert.records import Array, Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from idsim.files import InputFile

__all__ = ["MAX_TENSORS", "Findings", "LazyTensor", "Reader", "fp16_resolutions"]


# Of one network. A file may name one dictionary many times, so what is walked through is counted.
MAX_TENSORS = 10_000


@dataclass(frozen=True, slots=True)
class LazyTensor:
    """A tensor whose shape is known and whose elements are still in the file.

    Attributes
    ----------
    shape : tuple of int
        The shape.
    stored_bytes : int
        Bytes of the file that it is made from; 0 for constants.
    read : callable
        Returns a C-contiguous float32 array.
    """

    shape: tuple[int, ...]
    stored_bytes: int
    read: Callable[[], NDArray[np.float32]]

    def changed(
        self, shape: tuple[int, ...], change: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    ) -> LazyTensor:
        """Return the tensor that `change` makes of this one; it has the given shape."""
        return LazyTensor(shape, self.stored_bytes, lambda: change(self.read()).reshape(shape).copy("C"))

    def reshaped(self, shape: tuple[int, ...]) -> LazyTensor:
        """Return the same elements in another shape."""
        return LazyTensor(shape, self.stored_bytes, lambda: self.read().reshape(shape))


@dataclass(slots=True)
class Findings:
    """A generator as a reader finds it, before its structure is checked.

    Attributes
    ----------
    layout : str
        The family of files, for people.
    network : str
        Which network of the file it is; empty where the file holds one without a name.
    tensors : dict of str to LazyTensor
        By NVlabs' names.
    lr_multiplier, activation, conv_clamp, fp16_resolutions
        What does not follow from the tensors, as in `GeneratorConfig`.
    sources : list of str
        SHA-256 of the module sources that are embedded.
    kimg : float or None
        Thousands of images seen in training, where the file says so.
    warnings : list of str
        What the user should know.
    """

    layout: str
    network: str
    tensors: dict[str, LazyTensor]
    lr_multiplier: float = 0.01
    activation: str = "lrelu"
    conv_clamp: float | None = None
    fp16_resolutions: tuple[int, ...] = ()
    sources: list[str] = field(default_factory=list)
    kimg: float | None = None
    warnings: list[str] = field(default_factory=list)


class Reader:
    """The file that is read, as the formats see it.

    Parameters
    ----------
    file : InputFile
        The file.
    """

    def __init__(self, file: InputFile) -> None:
        self.file = file

    def refuse(self, place: str, reason: str) -> NoReturn:
        """Raise the file's error."""
        raise self.file.error(self.file.path, place[:200], reason)

    def tensor(self, name: str, value: object) -> LazyTensor:
        """Return a tensor of the file that float32 holds exactly."""
        if not isinstance(value, Tensor | Array) or (isinstance(value, Array) and value.blob is None):
            self.refuse(name, "it is not a tensor")
        blob, element, order = elements(value)
        if element.code not in EXACT_ELEMENTS:
            self.refuse(name, f"its elements are {element.code}, where float32, float16 or bfloat16 are read")
        shape = value.shape
        return LazyTensor(shape, len(blob), lambda: read_float32(blob, element.code, shape, order))

    def check_count(self, place: str, count: int) -> None:
        """Refuse a network of too many tensors."""
        if count > MAX_TENSORS:
            self.refuse(place, f"more than {MAX_TENSORS:,} tensors")

    def number(self, place: str, value: object) -> float:
        """Return a finite number from a file."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e30:
            self.refuse(place, "it is not a number")
        return float(value)

    def clamp(self, place: str, value: object) -> float | None:
        """Return the bound of the layers' outputs."""
        if value is None:
            return None
        bound = self.number(place, value)
        if bound <= 0:
            self.refuse(place, f"the bound {bound} is not positive")
        return bound

    def kimg(self, content: dict[object, object]) -> float | None:
        """Return how long the network was trained, where a snapshot says so."""
        for key, unit in (("cur_nimg", 1e-3), ("kimg", 1.0), ("cur_kimg", 1.0)):
            if key in content:
                return self.number(key, content[key]) * unit
        return None


def fp16_resolutions(resolution: int, count: int) -> tuple[int, ...]:
    """Return the blocks that run in half precision, from how many NVlabs' option ``num_fp16_res`` names."""
    if count <= 0:
        return ()
    first = max(resolution * 2 >> min(count, 63), 8)
    return tuple(1 << power for power in range(2, resolution.bit_length()) if 1 << power >= first)
