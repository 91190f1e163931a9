"""The inert values that stand for what a pickle names: no behaviour, no attribute that a file could set."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from idsim.inert.blobs import Blob

__all__ = [
    "Array",
    "Element",
    "Mapping",
    "Namespace",
    "Network",
    "Persistent",
    "Storage",
    "Symbol",
    "Tensor",
    "Text",
]


class Element(NamedTuple):
    """The type of the elements of an array: NumPy's code, and the size in bytes. bfloat16 is ``bf2``."""

    code: str
    size: int


class Symbol(Enum):
    """What a file may name besides types of elements."""

    ARRAY = auto()
    DTYPE = auto()
    EASY_DICT = auto()
    ENCODE = auto()
    NAMESPACE = auto()
    NETWORK = auto()
    ORDERED_DICT = auto()
    PARAMETER = auto()
    PERSISTENT = auto()
    RECONSTRUCT = auto()
    SCALAR = auto()
    SET = auto()
    SIZE = auto()
    STORAGE_BYTES = auto()
    TENSOR = auto()


class Text:
    """A long text, left where it stands: decoded, it could take four times its bytes."""

    __slots__ = ("blob",)

    def __init__(self, blob: Blob) -> None:
        self.blob = blob


class Mapping(dict[Any, Any]):
    """An ``OrderedDict`` or an ``EasyDict``."""

    __slots__ = ()


class Persistent:
    """An object of NVlabs' persistence: its class by name, the source text of its module, its state."""

    __slots__ = ("class_name", "source", "state")

    def __init__(self, class_name: str, source: str, state: dict[Any, Any]) -> None:
        self.class_name = class_name
        self.source = source
        self.state = state


class Network:
    """A network of NVlabs' TensorFlow code."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state: dict[Any, Any] | None = None


class Namespace:
    """An ``argparse.Namespace``."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state: dict[Any, Any] | None = None


class Storage:
    """The elements behind tensors. `blob` is None until the part of the file that holds them is known."""

    __slots__ = ("blob", "count", "element")

    def __init__(self, element: Element, count: int, blob: Blob | None) -> None:
        self.element = element
        self.count = count
        self.blob = blob


class Tensor:
    """A dense view of a storage, its geometry checked."""

    __slots__ = ("offset", "shape", "storage", "strides")

    def __init__(
        self, storage: Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
    ) -> None:
        self.storage = storage
        self.offset = offset
        self.shape = shape
        self.strides = strides


class Array:
    """A NumPy array; its state comes after it."""

    __slots__ = ("blob", "element", "fortran", "shape")

    def __init__(self) -> None:
        self.element: Element | None = None
        self.shape: tuple[int, ...] = ()
        self.fortran = False
        self.blob: Blob | None = None
