"""Pickles of any protocol that name what is not there: the writer knows names only."""

from __future__ import annotations

import io
import pickle
import struct
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C


@dataclass(frozen=True)
class Symbol:
    """A global."""

    module: str
    name: str

    def __call__(self) -> None:
        raise AssertionError("a symbol is only written")


@dataclass(eq=False)
class Call:
    """What REDUCE or NEWOBJ makes, with items of a dictionary and a state."""

    function: Symbol
    arguments: tuple[Any, ...] = ()
    state: Any = None
    items: dict[Any, Any] = field(default_factory=dict)
    new: bool = False


@dataclass(eq=False)
class StorageId:
    """A persistent id of a storage; `array` are its elements."""

    key: str
    array: np.ndarray
    kind: str = "FloatStorage"


@dataclass(eq=False)
class Identity:
    """Any value as a persistent id."""

    value: object


class Writer(pickle._Pickler):
    dispatch: ClassVar[dict[Any, Any]] = dict(pickle._Pickler.dispatch)

    def persistent_id(self, value: object) -> object:
        if isinstance(value, StorageId):
            count = value.array.size
            return ("storage", Symbol("torch", value.kind), value.key, "cpu", count)
        return None

    def save_symbol(self, symbol: Symbol) -> None:
        if self.proto >= 4:
            self.save(symbol.module)
            self.save(symbol.name)
            self.write(pickle.STACK_GLOBAL)
        else:
            self.write(pickle.GLOBAL + f"{symbol.module}\n{symbol.name}\n".encode())

    def save_call(self, call: Call) -> None:
        self.save(call.function)
        self.save(call.arguments)
        self.write(pickle.NEWOBJ if call.new else pickle.REDUCE)
        self.memoize(call)
        if call.items:
            self._batch_setitems(call.items.items())
        if call.state is not None:
            self.save(call.state)
            self.write(pickle.BUILD)

    def save_identity(self, identity: Identity) -> None:
        self.save(identity.value)
        self.write(pickle.BINPERSID)

    dispatch[Symbol] = save_symbol
    dispatch[Call] = save_call
    dispatch[Identity] = save_identity


def dumps(value: object, protocol: int) -> bytes:
    file = io.BytesIO()
    Writer(file, protocol).dump(value)
    return file.getvalue()


def ordered(items: dict[str, Any] | None = None, state: Any = None) -> Call:
    return Call(Symbol("collections", "OrderedDict"), items=items or {}, state=state)


def storage_stream(array: np.ndarray, key: str = "94000", kind: str = "FloatStorage") -> bytes:
    """The bytes of a storage as they stand in NVlabs' pickles."""
    return torch_stream(StorageId(key, array, kind), [StorageId(key, array, kind)])


def torch_stream(value: object, storages: list[StorageId]) -> bytes:
    """What `torch.save` wrote before its zip files."""
    sizes = {"short": 2, "int": 4, "long": 4}
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": sizes}
    keys = sorted({storage.key for storage in storages})
    head = [dumps(part, 2) for part in (MAGIC, 1001, system)]
    body = io.BytesIO()

    class Legacy(Writer):
        def persistent_id(self, value: object) -> object:
            identity = super().persistent_id(value)
            return identity if identity is None else (*identity, None)

    Legacy(body, 2).dump(value)
    arrays = {storage.key: storage.array for storage in storages}
    tails = [struct.pack("<q", arrays[key].size) + arrays[key].tobytes() for key in keys]
    return b"".join([*head, body.getvalue(), dumps(keys, 2), *tails])


def tensor(storage: object, array: np.ndarray, **changes: Any) -> Call:
    """A tensor over a storage; `changes` replace offset, size or stride."""
    strides = tuple(step // array.itemsize for step in array.strides)
    parts = {"offset": 0, "size": array.shape, "stride": strides} | changes
    return Call(
        Symbol("torch._utils", "_rebuild_tensor_v2"),
        (storage, parts["offset"], parts["size"], parts["stride"], False, ordered()),
    )


def embedded_tensor(array: np.ndarray, **changes: Any) -> Call:
    """A tensor as NVlabs' pickles hold it."""
    flat = np.ascontiguousarray(array).reshape(-1)
    storage = Call(Symbol("torch.storage", "_load_from_bytes"), (storage_stream(flat),))
    return tensor(storage, array, **changes)


def parameter(value: Call) -> Call:
    return Call(Symbol("torch._utils", "_rebuild_parameter"), (value, True, ordered()))


def double(value: float) -> Call:
    """A NumPy float64 scalar."""
    return Call(Symbol("numpy.core.multiarray", "scalar"), (dtype("f8"), struct.pack("<d", value)))


def dtype(code: str) -> Call:
    return Call(Symbol("numpy", "dtype"), (code, False, True), (3, "<", None, None, None, -1, -1, 0))


def numpy_array(array: np.ndarray, code: str = "f4") -> Call:
    state = (1, array.shape, dtype(code), False, array.tobytes())
    start = (Symbol("numpy", "ndarray"), (0,), b"b")
    return Call(Symbol("numpy.core.multiarray", "_reconstruct"), start, state)
