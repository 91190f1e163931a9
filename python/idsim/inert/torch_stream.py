"""Streams of `torch.save` before its zip files: five pickles, then the elements of all storages.

The bytes of every tensor in NVlabs' pickles are such a stream too.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from idsim.inert.blobs import Blob
from idsim.inert.machine import Budget, Machine
from idsim.inert.names import STORAGES, TORCH
from idsim.inert.records import Element, Storage

if TYPE_CHECKING:
    from collections.abc import Callable

    from idsim.inert.names import Names

__all__ = ["MAGIC_PICKLE", "PersistentStorages", "read_storage", "read_stream"]

MAGIC = 0x1950A86A20F9469CFC6C
MAGIC_PICKLE = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
PROTOCOL = 1001
NESTED_WINDOW_BYTES = 1 << 10

_KEY = re.compile(r"[0-9]{1,20}\Z")  # of zip files: numbers from 0 on; of older streams: addresses


class PersistentStorages:
    """Makes storages of persistent ids, the same one for the same key.

    Parameters
    ----------
    find : callable, optional
        Returns the bytes of a storage by its key, where they are known already.
    """

    def __init__(self, find: Callable[[Machine, str], Blob] | None = None) -> None:
        self.found: dict[str, Storage] = {}
        self._find = find

    def __call__(self, machine: Machine, identity: object) -> Storage:
        """Return the storage of a persistent id."""
        if type(identity) is not tuple or not 5 <= len(identity) <= 6 or identity[0] != "storage":
            machine.refuse("a persistent id is not that of a storage")
        _, element, key, location, count, *view = identity
        if type(element) is not Element or type(location) is not str:
            machine.refuse("a storage has no type or no device")
        if type(key) is not str or not _KEY.match(key):
            machine.refuse("the key of a storage is not a number")
        if type(count) is not int or not 0 <= count < 2**48 or view not in ([], [None]):
            machine.refuse("a storage has no number of elements, or is a view of another one")
        known = self.found.get(key)
        if known is not None:
            if (known.element, known.count) != (element, count):
                machine.refuse(f"the storage {key} is described in two ways")
            return known
        blob = None
        if self._find is not None:
            blob = self._find(machine, key)
            if len(blob) != count * element.size:
                machine.refuse(f"storage {key} has {len(blob)} bytes, not {count} times {element.size}")
        storage = self.found[key] = Storage(element, count, blob)
        return storage


def read_storage(blob: Blob, budget: Budget) -> Storage:
    """Read the stream of one storage, which stands inside another pickle."""
    value, end = _read(blob, budget, STORAGES, NESTED_WINDOW_BYTES)
    if type(value) is not Storage:
        blob.refuse("the stream does not hold a storage")
    if end != blob.stop:
        blob.refuse(f"{blob.stop - end} bytes are left after the stream of a storage")
    return value


def read_stream(blob: Blob, budget: Budget) -> Any:
    """Return the value of a file that is such a stream."""
    value, end = _read(blob, budget, TORCH)
    if end != blob.stop:
        blob.refuse("there are bytes after the last storage", end - blob.start)
    return value


def _read(blob: Blob, budget: Budget, names: Names, window: int = 1 << 16) -> tuple[Any, int]:
    place = blob.start

    def run(names: Names, storages: PersistentStorages | None = None) -> Any:
        nonlocal place
        rest = Blob(blob.file, place, blob.stop)
        machine = Machine(rest, budget, names, persistent=storages, window=window)
        value = machine.run()
        place = machine.window.place
        return value

    if run({}) != MAGIC or run({}) != PROTOCOL:
        blob.refuse("the stream does not begin with torch's magic number and protocol")
    system = run({})
    if type(system) is not dict or system.get("little_endian") is not True:
        blob.refuse("the stream is not little-endian")
    storages = PersistentStorages()
    value = run(names, storages)
    keys = run({})
    if type(keys) is not list or sorted(storages.found) != _sorted_texts(keys):
        blob.refuse("the list of storages is not that of the tensors", place - blob.start)
    for key in keys:
        place = _fill(storages.found[key], Blob(blob.file, place, blob.stop))
    return value, place


def _sorted_texts(keys: list[Any]) -> list[str] | None:
    return sorted(keys) if all(type(key) is str for key in keys) else None


def _fill(storage: Storage, rest: Blob) -> int:
    """Give a storage its bytes, which follow their number, and return the byte after them."""
    if len(rest) < 8:
        rest.refuse("the number of elements is missing")
    count = int.from_bytes(rest.file.read(rest.start, 8), "little")
    size = count * storage.element.size
    if count != storage.count or size > len(rest) - 8:
        rest.refuse(f"{count} elements follow, where {storage.count} are expected and {len(rest) - 8} bytes")
    start = rest.start + 8
    storage.blob = Blob(rest.file, start, start + size)
    return start + size
