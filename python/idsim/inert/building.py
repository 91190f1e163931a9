"""What REDUCE, NEWOBJ and BUILD make: records, after their arguments were checked. Nothing is called."""

from __future__ import annotations

import codecs
import struct
from math import prod
from typing import TYPE_CHECKING, Any

from idsim.inert.blobs import Blob, MemoryFile
from idsim.inert.geometry import checked_shape, checked_tensor
from idsim.inert.names import ELEMENTS
from idsim.inert.records import (
    Array,
    Element,
    Mapping,
    Namespace,
    Network,
    Persistent,
    Symbol,
    Tensor,
    Text,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from idsim.inert.machine import Machine

__all__ = ["call", "create", "scalars", "set_state"]

_SCALAR_LAYOUTS = {
    "f2": "<e", "f8": "<d", "i1": "<b", "i2": "<h", "i4": "<i", "i8": "<q", "u1": "<B", "b1": "<?",
}  # fmt: skip
_PIECE_BYTES = 1 << 16


def call(machine: Machine, what: object, arguments: object) -> object:
    """Return what a function or class of the table would make of its arguments."""
    maker = _CALLS.get(what) if isinstance(what, Symbol) else None
    if maker is None:
        machine.refuse("what is called here is no function of a checkpoint")
    if type(arguments) is not tuple:
        machine.refuse("the arguments are not a tuple")
    return maker(machine, arguments)


def create(machine: Machine, what: object, arguments: object) -> object:
    """Return a new object of a class of the table."""
    if arguments != ():
        machine.refuse("an object is created with arguments")
    maker = _CLASSES.get(what) if isinstance(what, Symbol) else None
    if maker is None:
        machine.refuse("what is created here is no class of a checkpoint")
    return maker()


def set_state(machine: Machine, target: object, state: object) -> None:
    """Give an object of a known kind its state."""
    match target:
        case Network() | Namespace():
            if type(state) is not dict or target.state is not None:
                machine.refuse("the state is not one dictionary")
            target.state = state
        case Array():
            _set_array(machine, target, state)
        case Element():
            _check_dtype_state(machine, target, state)
        case Mapping():
            # Attributes of an OrderedDict: torch keeps versions of modules there.
            if type(state) is not dict:
                machine.refuse("the attributes are not a dictionary")
        case _:
            machine.refuse("a state is set on what has none")


def scalars(machine: Machine, values: list[Any]) -> set[Any]:
    """Return the members of a set, all of them scalars."""
    for value in values:
        if type(value) not in (str, int, float, bool, type(None)):
            machine.refuse(f"a member of a set is {type(value).__name__}, not a scalar")
    return set(values)


def _persistent(machine: Machine, arguments: tuple[Any, ...]) -> Persistent:
    meta = arguments[0] if len(arguments) == 1 else None
    if not isinstance(meta, dict):
        machine.refuse("a persistent object is not described by one dictionary")
    kind, name, source, state = (meta.get(key) for key in ("type", "class_name", "module_src", "state"))
    if kind != "class" or type(name) is not str or type(source) is not str or type(state) is not dict:
        machine.refuse("a persistent object lacks its class, its source or its state")
    return Persistent(name, source, state)


def _tensor(machine: Machine, arguments: tuple[Any, ...]) -> Tensor:
    if not 6 <= len(arguments) <= 7:
        machine.refuse(f"a tensor is made of {len(arguments)} arguments")
    return checked_tensor(machine.refuse, *arguments[:4])


def _parameter(machine: Machine, arguments: tuple[Any, ...]) -> Tensor:
    if len(arguments) != 3 or type(arguments[0]) is not Tensor:
        machine.refuse("a parameter is not made of a tensor")
    return arguments[0]


def _storage(machine: Machine, arguments: tuple[Any, ...]) -> object:
    if len(arguments) != 1 or type(arguments[0]) is not Blob:
        machine.refuse("a storage is not made of bytes")
    assert machine.read_storage is not None, "whose names hold storages, it reads them"
    return machine.read_storage(arguments[0], machine.budget)


def _ordered_dict(machine: Machine, arguments: tuple[Any, ...]) -> Mapping:
    if arguments:
        machine.refuse("a dictionary is made with arguments")
    return Mapping()


def _set(machine: Machine, arguments: tuple[Any, ...]) -> set[Any]:
    if len(arguments) != 1 or type(arguments[0]) is not list:
        machine.refuse("a set is not made of a list")
    return scalars(machine, arguments[0])


def _size(machine: Machine, arguments: tuple[Any, ...]) -> tuple[int, ...]:
    if len(arguments) != 1:
        machine.refuse("a size is not made of one tuple")
    return checked_shape(machine.refuse, arguments[0])


def _encode(machine: Machine, arguments: tuple[Any, ...]) -> Blob:
    """Undo what pickle protocol 2 does to bytes: each is a character of a text."""
    if len(arguments) != 2 or arguments[1] not in ("latin1", "latin-1"):
        machine.refuse("only latin-1 is an encoding of bytes")
    text = arguments[0]
    if type(text) is str:
        pieces: Iterable[str] = [text]
    elif type(text) is Text:
        pieces = _decoded(machine, text.blob)
    else:
        machine.refuse("what is encoded here is no text")
    data = bytearray()
    for piece in pieces:
        machine.budget.copied_bytes -= len(piece)
        if machine.budget.copied_bytes < 0:
            machine.refuse("texts are encoded to more bytes than the file has")
        try:
            data += piece.encode("latin-1")
        except UnicodeEncodeError:
            machine.refuse("a text that stands for bytes has characters over 255")
    return Blob(MemoryFile(data, machine.window.blob.file), 0, len(data))


def _decoded(machine: Machine, blob: Blob) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(blob.start, blob.stop, _PIECE_BYTES):
        stop = min(start + _PIECE_BYTES, blob.stop)
        try:
            yield decoder.decode(blob.file.read(start, stop - start), final=stop == blob.stop)
        except UnicodeDecodeError:
            machine.refuse("a text that stands for bytes is not UTF-8")


def _dtype(machine: Machine, arguments: tuple[Any, ...]) -> Element:
    code = arguments[0] if 1 <= len(arguments) <= 3 else None
    element = ELEMENTS.get(code) if type(code) is str else None
    if element is None:
        machine.refuse("the type of an array is not one of " + ", ".join(ELEMENTS))
    return element


def _check_dtype_state(machine: Machine, element: Element, state: object) -> None:
    if type(state) is not tuple or not 5 <= len(state) <= 9 or any(part is not None for part in state[2:5]):
        machine.refuse("the type of an array is not a simple one")
    # pickle writes "<" for little-endian and "|" for single bytes.
    if state[1] != ("|" if element.size == 1 else "<"):
        machine.refuse("the elements of an array are not little-endian")


def _reconstruct(machine: Machine, arguments: tuple[Any, ...]) -> Array:
    if len(arguments) != 3 or arguments[0] is not Symbol.ARRAY or arguments[1] != (0,):
        machine.refuse("an array does not begin as an empty one")
    return Array()


def _set_array(machine: Machine, array: Array, state: object) -> None:
    if array.blob is not None or type(state) is not tuple or len(state) != 5:
        machine.refuse("the state of an array is not one tuple of five")
    _, shape, element, fortran, data = state
    if type(element) is not Element or type(fortran) is not bool or type(data) is not Blob:
        machine.refuse("the state of an array is not shape, type, order and bytes")
    array.shape = checked_shape(machine.refuse, shape)
    count = prod(array.shape)
    if count * element.size != len(data):
        machine.refuse(f"an array of {count} elements of {element.size} bytes has {len(data)} bytes")
    array.element, array.fortran, array.blob = element, fortran, data


def _scalar(machine: Machine, arguments: tuple[Any, ...]) -> object:
    """Return a number; a float32 is kept as an array without dimensions, so that it may be a tensor."""
    element, data = arguments if len(arguments) == 2 else (None, None)
    if type(element) is not Element or type(data) is not Blob or len(data) != element.size:
        machine.refuse("a scalar is not made of its type and its bytes")
    if element.code == "f4":
        array = Array()
        array.element, array.blob = element, data
        return array
    return struct.unpack(_SCALAR_LAYOUTS[element.code], data.read())[0]


_CLASSES: dict[Symbol, Callable[[], object]] = {
    Symbol.EASY_DICT: Mapping,
    Symbol.ORDERED_DICT: Mapping,
    Symbol.NETWORK: Network,
    Symbol.NAMESPACE: Namespace,
}
_CALLS: dict[Symbol, Callable[[Machine, tuple[Any, ...]], object]] = {
    Symbol.DTYPE: _dtype,
    Symbol.ENCODE: _encode,
    Symbol.ORDERED_DICT: _ordered_dict,
    Symbol.PARAMETER: _parameter,
    Symbol.PERSISTENT: _persistent,
    Symbol.RECONSTRUCT: _reconstruct,
    Symbol.SCALAR: _scalar,
    Symbol.SET: _set,
    Symbol.SIZE: _size,
    Symbol.STORAGE_BYTES: _storage,
    Symbol.TENSOR: _tensor,
}
