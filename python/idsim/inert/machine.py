"""An interpreter for the opcodes of pickles that checkpoints use; everything else is refused.

It builds plain values and the records of `records`; a name in the file selects an entry of a table and
nothing else. Byte strings are left in the file as ranges, so memory follows the number of opcodes, which is
limited. Nested streams are read by the same machine.
"""

from __future__ import annotations

import pickletools
import struct
from typing import TYPE_CHECKING, Any, NoReturn

from idsim.inert import building
from idsim.inert.blobs import Blob, Window
from idsim.inert.names import advice
from idsim.inert.records import Element, Mapping, Symbol, Text

if TYPE_CHECKING:
    from collections.abc import Callable

    from idsim.inert.names import Names

__all__ = ["Budget", "Machine"]

# The largest public checkpoints have about 55,000 opcodes with their nested streams. An opcode costs about
# 100 bytes of memory and 1 microsecond.
MAX_OPCODES = 400_000
MAX_TEXT_BYTES = 4 << 20  # of all texts together; decoded, one byte becomes up to four
LONG_TEXT_BYTES = 1 << 18  # longer texts are left in the file
MAX_MEMO = 1_000_000
MAX_MARKS = 200
MAX_LONG_BYTES = 16
MAX_NAME_BYTES = 256
WINDOW_BYTES = 1 << 16


class Budget:
    """What is left to all pickles of one file.

    Parameters
    ----------
    file_bytes : int
        Size of the file; bytes that are spelled as text may be copied up to this amount.
    """

    def __init__(self, file_bytes: int) -> None:
        self.opcodes = MAX_OPCODES
        self.text_bytes = MAX_TEXT_BYTES
        self.copied_bytes = file_bytes


class Machine:
    """Runs one pickle.

    Parameters
    ----------
    blob : Blob
        Where the pickle begins; it may end earlier than the range.
    budget : Budget
        Shared by all pickles of a file.
    names : Names
        What the pickle may name.
    persistent : callable, optional
        Makes a value of a persistent id; without it, persistent ids are refused.
    read_storage : callable, optional
        Reads a storage that stands in the pickle as the bytes of a stream of its own.
    window : int
        Bytes that are read at once.
    """

    def __init__(
        self,
        blob: Blob,
        budget: Budget,
        names: Names,
        *,
        persistent: Callable[[Machine, object], object] | None = None,
        read_storage: Callable[[Blob, Budget], object] | None = None,
        window: int = WINDOW_BYTES,
    ) -> None:
        self.budget = budget
        self.persistent = persistent
        self.read_storage = read_storage
        self.window = Window(blob, window)
        self.place = blob.start
        self._names = names
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:
        """Return the value of the pickle; `window.place` is then the byte after it."""
        actions, take, budget = _ACTIONS, self.window.take, self.budget
        while True:
            self.place = self.window.place
            code = take(1)[0]
            budget.opcodes -= 1
            if budget.opcodes < 0:
                self.refuse(f"more than {MAX_OPCODES:,} opcodes")
            if code == _STOP:
                break
            action = actions.get(code)
            if action is None:
                self.refuse(f"the opcode {_opcode_name(code)} is not one that checkpoints use")
            action(self)
        value = self.pop()
        if self._stack or self._marks:
            self.refuse("values are left on the stack at the end of the pickle")
        return value

    def refuse(self, reason: str) -> NoReturn:
        """Raise the file's error about the opcode that is running."""
        self.window.refuse(reason, self.place)

    def push(self, value: object) -> None:
        """Put a value on the stack."""
        self._stack.append(value)

    def pop(self) -> Any:
        """Take the topmost value above the last mark."""
        if len(self._stack) <= (self._marks[-1] if self._marks else 0):
            self.refuse("the stack is empty here")
        return self._stack.pop()

    def pop_many(self) -> list[Any]:
        """Take all values above the last mark, and the mark."""
        if not self._marks:
            self.refuse("there is no mark on the stack")
        start = self._marks.pop()
        values = self._stack[start:]
        del self._stack[start:]
        return values

    def top(self) -> Any:
        """Return the topmost value above the last mark."""
        value = self.pop()
        self._stack.append(value)
        return value

    def mark(self) -> None:
        """Put a mark on the stack."""
        if len(self._marks) >= MAX_MARKS:
            self.refuse(f"more than {MAX_MARKS} marks are open")
        self._marks.append(len(self._stack))

    def put(self, index: int) -> None:
        """Remember the topmost value."""
        if index >= MAX_MEMO:
            self.refuse(f"the memo index {index} is over {MAX_MEMO:,}")
        self._memo[index] = self.top()

    def memoize(self) -> None:
        """Remember the topmost value under the next index."""
        self.put(len(self._memo))

    def get(self, index: int) -> None:
        """Put a remembered value on the stack."""
        if index not in self._memo:
            self.refuse(f"nothing is remembered under {index}")
        self.push(self._memo[index])

    def number(self, layout: struct.Struct) -> Any:
        """Read an argument of fixed width."""
        return layout.unpack(self.window.take(layout.size))[0]

    def text(self, count: int) -> str | Text:
        """Read a text of `count` bytes."""
        if count > LONG_TEXT_BYTES:
            return Text(self.window.skip(count))
        self.budget.text_bytes -= count
        if self.budget.text_bytes < 0:
            self.refuse(f"more than {MAX_TEXT_BYTES:,} bytes of text")
        return self.decode(self.window.take(count))

    def decode(self, data: bytes) -> str:
        """Decode UTF-8, with lone surrogates as pickles have them."""
        try:
            return data.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            self.refuse("a text is not UTF-8")

    def symbol(self, module: object, name: object) -> Symbol | Element:
        """Return what stands for a name."""
        if not isinstance(module, str) or not isinstance(name, str):
            self.refuse("a name is not made of two texts")
        found = self._names.get((module, name))
        if found is None:
            shown = f"{module[:MAX_NAME_BYTES]}.{name[:MAX_NAME_BYTES]}"
            self.refuse(f"the file names {shown!r}, which is not a part of checkpoints{advice(module)}")
        return found


def _opcode_name(code: int) -> str:
    known = {op.code: op.name for op in pickletools.opcodes}.get(chr(code))
    return f"0x{code:02x}" if known is None else known


def _scalar(layout: struct.Struct) -> Callable[[Machine], None]:
    return lambda machine: machine.push(machine.number(layout))


def _constant(value: object) -> Callable[[Machine], None]:
    return lambda machine: machine.push(value)


def _with_count(layout: struct.Struct, action: Callable[[Machine, int], object]) -> Callable[[Machine], None]:
    def run(machine: Machine) -> None:
        value = action(machine, machine.number(layout))
        machine.push(value)

    return run


def _memo(layout: struct.Struct, action: Callable[[Machine, int], None]) -> Callable[[Machine], None]:
    return lambda machine: action(machine, machine.number(layout))


def _bytes(machine: Machine, count: int) -> Blob:
    return machine.window.skip(count)


def _long(machine: Machine) -> None:
    count = machine.number(_U1)
    if count > MAX_LONG_BYTES:
        machine.refuse(f"an integer of {count} bytes")
    machine.push(int.from_bytes(machine.window.take(count), "little", signed=True))


def _tuple_of(count: int) -> Callable[[Machine], None]:
    def run(machine: Machine) -> None:
        values = [machine.pop() for _ in range(count)]
        machine.push(tuple(reversed(values)))

    return run


def _tuple(machine: Machine) -> None:
    machine.push(tuple(machine.pop_many()))


def _proto(machine: Machine) -> None:
    protocol = machine.number(_U1)
    if not 2 <= protocol <= 5:
        machine.refuse(f"pickle protocol {protocol}, where 2 to 5 are read")


def _frame(machine: Machine) -> None:
    machine.window.require(machine.number(_U8))


def _append(machine: Machine) -> None:
    _extend(machine, [machine.pop()])


def _appends(machine: Machine) -> None:
    _extend(machine, machine.pop_many())


def _extend(machine: Machine, values: list[Any]) -> None:
    target = machine.top()
    if type(target) is not list:
        machine.refuse("values are appended to what is no list")
    target.extend(values)


def _set_item(machine: Machine) -> None:
    value = machine.pop()
    _update(machine, [machine.pop(), value])


def _set_items(machine: Machine) -> None:
    _update(machine, machine.pop_many())


def _update(machine: Machine, values: list[Any]) -> None:
    target = machine.top()
    if type(target) not in (dict, Mapping):
        machine.refuse("items are set in what is no dictionary")
    if len(values) % 2:
        machine.refuse("a key of a dictionary has no value")
    for key, value in zip(values[::2], values[1::2], strict=True):
        # Other keys would be hashed, and nested tuples take exponential time for that.
        if type(key) not in (str, int):
            machine.refuse(f"a key of a dictionary is {type(key).__name__}, not text or an integer")
        target[key] = value


def _add_items(machine: Machine) -> None:
    values = machine.pop_many()
    target = machine.top()
    if type(target) is not set:
        machine.refuse("members are added to what is no set")
    target.update(building.scalars(machine, values))


def _global(machine: Machine) -> None:
    module = machine.decode(machine.window.take_line(MAX_NAME_BYTES))
    machine.push(machine.symbol(module, machine.decode(machine.window.take_line(MAX_NAME_BYTES))))


def _stack_global(machine: Machine) -> None:
    name = machine.pop()
    machine.push(machine.symbol(machine.pop(), name))


def _reduce(machine: Machine) -> None:
    arguments = machine.pop()
    machine.push(building.call(machine, machine.pop(), arguments))


def _new(machine: Machine) -> None:
    arguments = machine.pop()
    machine.push(building.create(machine, machine.pop(), arguments))


def _build(machine: Machine) -> None:
    state = machine.pop()
    building.set_state(machine, machine.top(), state)


def _persistent(machine: Machine) -> None:
    if machine.persistent is None:
        machine.refuse("the opcode BINPERSID is not one that this kind of checkpoint uses")
    machine.push(machine.persistent(machine, machine.pop()))


_U1, _U2, _U4, _U8, _I4 = (struct.Struct(f"<{code}") for code in "BHIQi")
_STOP = ord(".")
_ACTIONS: dict[int, Callable[[Machine], None]] = {
    ord(opcode): action
    for opcode, action in {
        "\x80": _proto,
        "\x95": _frame,
        "(": Machine.mark,
        "N": _constant(None),
        "\x88": _constant(True),
        "\x89": _constant(False),
        "J": _scalar(_I4),
        "K": _scalar(_U1),
        "M": _scalar(_U2),
        "\x8a": _long,
        "G": _scalar(struct.Struct(">d")),
        "\x8c": _with_count(_U1, Machine.text),
        "X": _with_count(_U4, Machine.text),
        "\x8d": _with_count(_U8, Machine.text),
        "C": _with_count(_U1, _bytes),
        "B": _with_count(_U4, _bytes),
        "\x8e": _with_count(_U8, _bytes),
        ")": lambda machine: machine.push(()),
        "\x85": _tuple_of(1),
        "\x86": _tuple_of(2),
        "\x87": _tuple_of(3),
        "t": _tuple,
        "]": lambda machine: machine.push([]),
        "a": _append,
        "e": _appends,
        "}": lambda machine: machine.push({}),
        "s": _set_item,
        "u": _set_items,
        "\x8f": lambda machine: machine.push(set()),
        "\x90": _add_items,
        "q": _memo(_U1, Machine.put),
        "r": _memo(_U4, Machine.put),
        "\x94": Machine.memoize,
        "h": _memo(_U1, Machine.get),
        "j": _memo(_U4, Machine.get),
        "c": _global,
        "\x93": _stack_global,
        "R": _reduce,
        "\x81": _new,
        "b": _build,
        "Q": _persistent,
    }.items()
}
