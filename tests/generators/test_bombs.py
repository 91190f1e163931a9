"""Small files that ask for much memory or much time."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from support import fuzz_checkpoints
from support.checkpoints import Shape, persisted
from support.pickles import Call, Symbol, dumps, nested, numpy_array, raw, storage_stream

ELEMENTS = np.arange(10, dtype=np.float32)


def shared_names() -> dict[str, object]:
    names = dict.fromkeys(map(str, range(90_000)))
    return {f"k{n}": names for n in range(9_000)}


def shared_variables() -> Call:
    """Networks that share their components, and a long list of variables."""
    name = Symbol("dnnlib.tflib.network", "Network")
    array = numpy_array(np.ones(1, np.float32))
    variables = [(f"v{n}", array) for n in range(9_000)]
    parts: dict[str, Call] = {}
    for _ in range(3):
        state = {"static_kwargs": {}, "variables": variables, "components": parts}
        parts = dict.fromkeys("abcdefghijklmnop", Call(name, state=state, new=True))
    return parts["a"]


def shared_parameters() -> Call:
    """Nine hundred modules with one dictionary of parameters."""
    inner = persisted(Shape(), {"a": ELEMENTS})
    state = inner.arguments[0]["state"]
    value = state["_parameters"]["a"]
    state["_parameters"] = {f"p{n}": value for n in range(9_000)}
    outer = persisted(Shape(), {})
    outer.arguments[0]["state"]["_modules"] = {f"m{n}": inner for n in range(900)}
    return outer


def with_header(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


BOMBS: dict[str, bytes] = {
    "opcodes": raw(b"N" + b"\x85" * 3_000_000 + b"."),
    "lists": raw(b"(" + b"]" * 3_000_000 + b"t."),
    "dictionaries": raw(b"(" + b"}" * 3_000_000 + b"t."),
    "sets": raw(b"(" + b"cbuiltins\nset\n]\x85R" * 100_000 + b"t."),
    "memo": raw(b"N" + b"".join(b"r" + struct.pack("<I", n) for n in range(900_000)) + b"."),
    "texts": raw(b"(" + (b"X\x00\x00\x02\x00" + b"a" * 131_068 + "\U0001f600".encode()) * 100 + b"t."),
    "long text": raw(b"X" + struct.pack("<I", 8 << 20) + b"a" * (8 << 20) + b"."),
    "encoded": raw(
        b"(c_codecs\nencode\nq\x00X\x06\x00\x00\x00latin1q\x01X\x00\x00\x08\x00"
        + b"a" * (8 << 16) + b"q\x02" + b"h\x00h\x02h\x01\x86R" * 1000 + b"t."
    ),
    "nested memo": nested(raw(b"Nr\x80\xc3\xc9\x01.")),
    "nested memo, later": nested(storage_stream(ELEMENTS)[:30] + raw(b"Nr\xff\xff\xff\x7f.")),
    "shared names": dumps(shared_names(), 4),
    "shared variables": dumps((shared_variables(),) * 3, 4),
    "shared parameters": dumps({"G_ema": shared_parameters()}, 4),
    "extents of JSON": with_header(
        '{"a":{"dtype":"F32","data_offsets":[0,4],"shape":[' + "9223372036854775807," * 52_000 + "1]}}"
    ),
    "deep dictionaries": raw(b"}X\1\0\0\0a" * 90_000 + b"N" + b"s" * 90_000 + b"."),
    "deep mappings": raw(b"ccollections\nOrderedDict\n)RX\1\0\0\0a" * 70_000 + b"N" + b"s" * 70_000 + b"."),
    "deep networks": raw(
        b"cdnnlib.tflib.network\nNetwork\n)\x81}X\1\0\0\0a" * 50_000 + b"N" + b"sb" * 50_000 + b"."
    ),
    "deep lists": raw(b"]" * 150_000 + b"N" + b"a" * 150_000 + b"."),
    "deep option": raw(
        b"cdnnlib.tflib.network\nNetwork\nq\0)\x81q\1}(X\x0d\0\0\0static_kwargs}X\x0c\0\0\0nonlinearityN"
        + b"\x85" * 300_000 + b"sX\x09\0\0\0variables]X\x0a\0\0\0components}ubh\1h\1\x87."
    ),
    "values of JSON": with_header('{"a":[' + "{}," * 340_000 + "{}]}"),
    "depth of JSON": struct.pack("<Q", 100_004) + b'{"a":' + b"[" * 99_999,
}  # fmt: skip


def test_bombs_are_small_and_short(tmp_path: Path):
    """No more memory than the file and 64 MiB, no more than 2 seconds: the limits of the fuzzer."""
    for name, data in BOMBS.items():
        Path(tmp_path, f"{name}.pkl").write_bytes(data)
    outcomes = fuzz_checkpoints.examine_apart(sorted(tmp_path.glob("*.pkl")))
    assert {name: outcome for name, (outcome, _) in outcomes.items()} == {
        str(tmp_path / f"{name}.pkl"): "refused" for name in BOMBS
    }
