"""Weaponised pickles: each is refused, or read as inert records that form no generator; none runs."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from idsim import CheckpointError
from idsim.generators.stylegan2 import load_checkpoint
from support import fuzz_checkpoints
from support.checkpoints import SOURCE, Shape, Storages, make_weights, persisted, snapshot, torch_zip
from support.pickles import (
    Call,
    Identity,
    StorageId,
    Symbol,
    dtype,
    dumps,
    numpy_array,
    ordered,
    storage_stream,
    tensor,
)
from support.watch import watched

ELEMENTS = np.arange(10, dtype=np.float32)
STORAGE = Call(Symbol("torch.storage", "_load_from_bytes"), (storage_stream(ELEMENTS),))


def call(module: str, name: str, *arguments: object) -> Call:
    return Call(Symbol(module, name), arguments)


def raw(text: bytes, protocol: int = 2) -> bytes:
    return bytes([0x80, protocol]) + text


def short(text: str) -> bytes:
    return b"\x8c" + bytes([len(text)]) + text.encode()


def stack_global(module: str, name: str) -> bytes:
    return short(module) + short(name) + b"\x93"


def nested(stream: bytes) -> bytes:
    return dumps({"G_ema": call("torch.storage", "_load_from_bytes", stream)}, 3)


def touch(marker: Path) -> str:
    return f"open({str(marker)!r}, 'w').close()"


NAMES: dict[str, Callable[[Path], bytes]] = {
    "reduce_exec": lambda m: dumps(call("builtins", "exec", touch(m)), 2),
    "os_system": lambda m: dumps(call("posix", "system", f"touch {m}"), 2),
    "subprocess": lambda m: dumps(call("subprocess", "check_output", ["touch", str(m)]), 4),
    "getattr": lambda m: dumps(Symbol("builtins", "getattr"), 2),
    "eval": lambda m: dumps(call("builtins", "eval", touch(m)), 2),
    "torch_load": lambda m: dumps(call("torch.serialization", "load", str(m)), 2),
    "pkgutil_resolve": lambda m: dumps(call("pkgutil", "resolve_name", "os:system"), 4),
    "importlib": lambda m: dumps(call("importlib", "import_module", "os"), 4),
    "numpy_runstring": lambda m: dumps(call("numpy.testing._private.utils", "runstring", touch(m), {}), 2),
    "numpy_load": lambda m: dumps(call("numpy", "load", str(m)), 2),
    "dotted_ordered_dict": lambda m: raw(stack_global("collections", "OrderedDict.__class__") + b".", 4),
    "dotted_system": lambda m: raw(stack_global("numpy", "f2py.os.system") + short(f"touch {m}") + b"\x85R.", 4),
    "dotted_module": lambda m: raw(stack_global("numpy.lib._utils_impl", "os.system") + b".", 4),
    "dotted_modules": lambda m: raw(stack_global("collections", "_sys.modules") + b".", 4),
    "numpy_builtins": lambda m: raw(stack_global("numpy", "__builtins__") + b".", 4),
    "real_scalar_setstate": lambda m: dumps(call("numpy", "void", 8), 2),
    "rebuild_v1": lambda m: dumps(call("torch._utils", "_rebuild_tensor", STORAGE, 0, (1,), (1,)), 3),
    "load_in_torch_zip": lambda m: torch_zip(
        {"g_ema": call("torch.storage", "_load_from_bytes", dumps(call("builtins", "exec", touch(m)), 2))},
        Storages(),
    ),
    "exec_in_torch_zip": lambda m: torch_zip(call("builtins", "exec", touch(m)), Storages()),
    "nested_load_from_bytes": lambda m: nested(dumps(call("builtins", "exec", touch(m)), 2)),
    "nested_after_header": lambda m: nested(
        storage_stream(ELEMENTS).partition(b"\x80\x02(X\x07")[0] + dumps(call("builtins", "exec", touch(m)), 2)
    ),
    "twice_nested": lambda m: nested(nested(storage_stream(ELEMENTS))),
}  # fmt: skip

OPCODES: dict[str, bytes] = {
    "inst": raw(b"(S'true'\niposix\nsystem\n."),
    "obj": raw(b"(cbuiltins\nset\no."),
    "ext1": raw(b"\x82\x01."),
    "ext2": raw(b"\x83\x01\x00."),
    "ext4": raw(b"\x84\x01\x00\x00\x00."),
    "persid": raw(b"Pstorage\n."),
    "binpersid": raw(b"NQ."),
    "newobj_ex": raw(stack_global("collections", "OrderedDict") + b")}\x92.", 4),
    "bytearray8": raw(b"\x96" + struct.pack("<Q", 1 << 40) + b".", 5),
    "next_buffer": raw(b"\x97.", 5),
    "readonly_buffer": raw(b"N\x98.", 5),
    "dup": raw(b"N2."),
    "pop": raw(b"NN0."),
    "int": raw(b"I1\n."),
    "long": raw(b"L1L\n."),
    "string": raw(b"S'a'\n."),
    "unicode": raw(b"Va\n."),
    "binstring": raw(b"U\x01a."),
    "list": raw(b"(l."),
    "dict": raw(b"(d."),
    "frozenset": raw(b"(\x91.", 4),
    "proto1": raw(b"", 2) + b"\x80\x01.",
    "no_such_opcode": raw(b"\xff."),
    "empty": raw(b""),
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_names_are_refused(tmp_path: Path, name: str):
    marker, path = tmp_path / "marker", tmp_path / "file.pkl"
    path.write_bytes(NAMES[name](marker))
    for isolate in (False, True):
        with watched(path) as seen, pytest.raises(CheckpointError) as caught:
            load_checkpoint(path, isolate=isolate)
        assert isolate or seen == []
        assert not marker.exists()
        assert "the file names " in caught.value.reason
        assert caught.value.place.startswith("byte ")


@pytest.mark.parametrize("name", OPCODES)
def test_opcodes_are_refused(tmp_path: Path, name: str):
    path = tmp_path / "file.pkl"
    path.write_bytes(OPCODES[name])
    with watched(path) as seen, pytest.raises(CheckpointError, match="opcode|protocol|bytes are expected"):
        load_checkpoint(path)
    assert seen == []


@pytest.mark.parametrize("source", [SOURCE, "import os; os.system('true')"])
def test_embedded_source_is_hashed_and_never_executed(load, refused, source: str):
    shape = Shape()
    network = persisted(shape, make_weights(shape), source=source)
    assert len(load(snapshot(network)).provenance.source_sha256) == 1
    empty = persisted(shape, {"a": ELEMENTS}, source=source)
    assert "not a StyleGAN2 generator" in refused(snapshot(empty))
    assert "no such network" in refused(dumps({"x": empty}, 3))


def key_bomb(levels: int) -> bytes:
    return b"N" + b"".join(b"q" + bytes([level]) + b"h" + bytes([level]) + b"\x86" for level in range(levels))


SYMBOLS = [
    b"ctorch_utils.persistence\n_reconstruct_persistent_obj\n",
    b"ccollections\nOrderedDict\n",
    b"cdnnlib.tflib.network\nNetwork\n",
    b"cnumpy\ndtype\n",
    b"cbuiltins\nset\n",
]


@pytest.mark.parametrize("symbol", SYMBOLS)
@pytest.mark.parametrize("state", [b"}X\x01\x00\x00\x00aNs", b"N}X\x08\x00\x00\x00__init__Ns\x86"])
def test_states_are_set_on_instances_only(refused, symbol: bytes, state: bytes):
    assert "a state is set on what has none" in refused(raw(symbol + state + b"b."))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (Call(Symbol("dnnlib.tflib.network", "Network"), state=(None, {"a": 1}), new=True), "one dictionary"),
        (
            Call(Symbol("dnnlib.tflib.network", "Network"), state={}, new=True, items={"a": 1}),
            "no dictionary",
        ),
        (Call(Symbol("dnnlib.tflib.network", "Network"), (1,), new=True), "created with arguments"),
        (Call(Symbol("dnnlib.tflib.network", "Network")), "no function of a checkpoint"),
        (Call(Symbol("numpy", "ndarray"), ((2**50,), dtype("f8"), b"", 0, (0,))), "no function"),
        (Call(Symbol("numpy", "ndarray"), new=True), "no class of a checkpoint"),
        (Call(Symbol("builtins", "set"), ([(1, 2)],)), "a member of a set is tuple"),
        (Call(Symbol("builtins", "set"), ("abc",)), "not made of a list"),
        (ordered({}, (None, {"move_to_end": 1})), "not a dictionary"),
        (Call(Symbol("collections", "OrderedDict"), ([["a", 1]],)), "made with arguments"),
        (Call(Symbol("_codecs", "encode"), ("abc", "rot13")), "only latin-1"),
        (Call(Symbol("_codecs", "encode"), (b"abc", "latin1")), "is no text"),
        (Call(Symbol("_codecs", "encode"), ("\u0394", "latin1")), "characters over 255"),
        (Call(Symbol("numpy", "dtype"), ("V2147483647",)), "the type of an array"),
        (Call(Symbol("numpy", "dtype"), ("O8",)), "the type of an array"),
        (Call(Symbol("numpy", "dtype"), ([("a", "f4")],)), "the type of an array"),
        (Call(Symbol("numpy", "dtype"), ("f4",), (3, ">", None, None, None, -1, -1, 0)), "little-endian"),
        (
            Call(Symbol("numpy", "dtype"), ("f4",), (3, "<", ("f4", (9,)), None, None, -1, -1, 0)),
            "simple one",
        ),
        (Call(Symbol("numpy", "dtype"), ("f4",), (3, "|", None, ("a",), {"a": 1}, 4, 1, 27)), "simple one"),
        (
            Call(
                Symbol("numpy.core.multiarray", "_reconstruct"), (Symbol("numpy", "ndarray"), (2**29,), b"f8")
            ),
            "does not begin as an empty one",
        ),
        (
            Call(
                Symbol("numpy.core.multiarray", "_reconstruct"),
                (Symbol("numpy", "ndarray"), (0,), b"b"),
                (1, (2**40,), dtype("f4"), False, b""),
            ),
            "has 0 bytes",
        ),
        (
            Call(
                Symbol("numpy.core.multiarray", "_reconstruct"),
                (Symbol("numpy", "ndarray"), (0,), b"b"),
                (1, (-1,), dtype("f4"), False, b"abcd"),
            ),
            "a shape or its strides",
        ),
        (
            Call(
                Symbol("numpy.core.multiarray", "_reconstruct"),
                (Symbol("numpy", "ndarray"), (0,), b"b"),
                (1, (1,), dtype("f4"), False, [Symbol("numpy", "ndarray")]),
            ),
            "not shape, type, order and bytes",
        ),
        (Call(Symbol("numpy.core.multiarray", "scalar"), (dtype("f8"), b"1234")), "its type and its bytes"),
        (Call(Symbol("torch._utils", "_rebuild_parameter"), (1, True, ordered())), "not made of a tensor"),
        (Call(Symbol("torch_utils.persistence", "_reconstruct_persistent_obj"), ({},)), "lacks its class"),
        (Call(Symbol("torch_utils.persistence", "_reconstruct_persistent_obj"), (3,)), "one dictionary"),
        ({(1, 2): 3}, "a key of a dictionary is tuple"),
        ({None: 3}, "a key of a dictionary is NoneType"),
        ({True: 3}, "a key of a dictionary is bool"),
        ({1.5: 3}, "a key of a dictionary is float"),
    ],
)
@pytest.mark.parametrize("protocol", [3, 4])
def test_arguments_are_checked(refused, value: object, reason: str, protocol: int):
    assert reason in refused(dumps({"G_ema": value}, protocol))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"R.", "the stack is empty"),
        (b"NR.", "the stack is empty"),
        (b"NNR.", "no function of a checkpoint"),
        (b"]NR.", "no function of a checkpoint"),
        (b"NN\x81.", "created with arguments"),
        (b"N)\x81.", "no class of a checkpoint"),
        (b"ccollections\nOrderedDict\nNR.", "the arguments are not a tuple"),
        (b"t.", "no mark"),
        (b"(N.", "the stack is empty|left on the stack"),
        (b"NN.", "left on the stack"),
        (b"h\x05.", "nothing is remembered under 5"),
        (b"q\x05.", "the stack is empty"),
        (b"NNa.", "appended to what is no list"),
        (b"](a.", "the stack is empty"),
        (b"}(Nu.", "has no value"),
        (b"NNNs.", "what is no dictionary"),
        (b"(N\x90.", "the stack is empty"),
        (b"N(N\x90.", "what is no set"),
        (b"Nb.", "the stack is empty"),
        (b"NNb.", "a state is set on what has none"),
        (b"NN\x93.", "not made of two texts"),
        (b"cos\n", "a line of more than"),
        (b"c" + b"a" * 300 + b"\nb\n.", "a line of more than"),
        (b"c\xff\nb\n.", "not UTF-8"),
        (b"X\x02\x00\x00\x00\xff\xff.", "not UTF-8"),
        (b"\x8a\xff" + bytes(255) + b".", "an integer of 255 bytes"),
        (b"(" * 300 + b".", "marks are open"),
        (b"N.N", "bytes after the end of the pickle"),
        (b"N", "1 bytes are expected here"),
        (b"\x95" + struct.pack("<Q", 1 << 60) + b"N.", "bytes are expected here"),
        (b"\x8e" + struct.pack("<Q", 1 << 62) + b".", "bytes are expected here"),
        (b"\x8d" + struct.pack("<Q", (1 << 64) - 1) + b".", "bytes are expected here"),
        (b"B\xff\xff\xff\xff.", "bytes are expected here"),
        (b"X\xff\xff\xff\xff.", "bytes are expected here"),
        (b"Nr\xff\xff\xff\x7f.", "memo index 2147483647"),
        (b"N" + b"r" + struct.pack("<I", 30_000_000) + b".", "memo index 30000000"),
        (b"}" + key_bomb(40) + b"Ns.", "a key of a dictionary is tuple"),
        (b"\x8f(" + key_bomb(40) + b"\x90.", "a member of a set is tuple"),
    ],
)
def test_malformed_pickles(refused, text: bytes, reason: str):
    assert re.search(reason, refused(raw(text)))


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


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [
        (0, (11,), (1,)),
        (5, (6,), (1,)),
        (0, (3, 3), (4, 2)),
        (-1, (1,), (1,)),
        (0, (2,), (-1,)),
        (0, (2**40,), (0,)),
        (0, (2,), (0,)),
        (0, (2, 2), (1, 1)),
        (0, (2, 2), (1,)),
        (0, (1,) * 9, (1,) * 9),
        (0, (True,), (1,)),
        (0, (1.0,), (1,)),
        (0, 3, 1),
        (0, None, None),
        ("0", (1,), (1,)),
        (2**63, (0,), (1,)),
        (0, (2**62, 2**62), (1, 1)),
    ],
)
def test_geometry_of_tensors(refused, offset: object, size: object, stride: object):
    value = tensor(STORAGE, ELEMENTS, offset=offset, size=size, stride=stride)
    assert "byte " in refused(dumps({"G_ema": value}, 3))


@pytest.mark.parametrize("value", [None, 1, (), (STORAGE,), b"bytes"])
def test_what_is_no_storage(refused, value: object):
    assert "a tensor has no storage" in refused(dumps(tensor(value, ELEMENTS), 3))


def test_shared_elements_do_not_multiply_memory(refused):
    """Many tensors over one storage: together they would be larger than the file."""
    shape = Shape(layers=40, width=64, z_dim=64, w_dim=64)
    weights = make_weights(shape)
    storages = Storages()
    names = {name: storages.tensor(array) for name, array in weights.items()}
    for layer in range(1, 40):
        names[f"mapping.fc{layer}.weight"] = names["mapping.fc0.weight"]
    used = Storages()
    first, rest = storages.made[0], [storage for storage in storages.made if storage.array.size < 4096]
    used.made = [first, *rest]
    assert "they share elements" in refused(torch_zip(names, used))


@pytest.mark.parametrize(
    ("identity", "reason"),
    [
        (("module", 1, 2, 3, 4), "not that of a storage"),
        ("storage", "not that of a storage"),
        (("storage", "FloatStorage", "0", "cpu", 1), "no type"),
        (("storage", Symbol("torch", "FloatStorage"), "../../etc/passwd", "cpu", 1), "not a number"),
        (("storage", Symbol("torch", "FloatStorage"), 0, "cpu", 1), "not a number"),
        (("storage", Symbol("torch", "FloatStorage"), "0", "cpu", -1), "no number of elements"),
        (("storage", Symbol("torch", "FloatStorage"), "0", "cpu", 2**60), "no number of elements"),
        (("storage", Symbol("torch", "FloatStorage"), "0", "cpu", 11), "has 40 bytes, not 11 times 4"),
        (("storage", Symbol("torch", "DoubleStorage"), "0", "cpu", 10), "has 40 bytes, not 10 times 8"),
        (("storage", Symbol("torch", "FloatStorage"), "1", "cpu", 10), "no such member"),
        (("storage", Symbol("torch", "FloatStorage"), "0", "cpu", 10, ("0", 0, 1)), "is a view"),
    ],
)
def test_persistent_ids(refused, identity: object, reason: str):
    storages = Storages()
    storages.made.append(StorageId("0", ELEMENTS))
    assert reason in refused(torch_zip([Identity(identity)], storages))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda s: s[:-1], "elements follow|bytes"),
        (lambda s: s + b"x", "bytes are left after the stream"),
        (lambda s: s.replace(struct.pack("<q", 10), struct.pack("<q", 11)), "where 10 are expected"),
        (lambda s: s.replace(struct.pack("<q", 10), struct.pack("<q", -1)), "where 10 are expected"),
        (lambda s: s.replace(b"little_endian", b"little_Endian"), "not little-endian"),
        (lambda s: s.replace(b"\x8a\x0al", b"\x8a\x0am"), "magic number"),
        (lambda s: s.replace(b"M\xe9\x03", b"M\xea\x03"), "magic number and protocol"),
        (lambda s: s.replace(b"94000", b"94001", 1), "list of storages"),
    ],
)
def test_streams_of_storages(refused, change: Callable[[bytes], bytes], reason: str):
    assert re.search(reason, refused(nested(change(storage_stream(ELEMENTS)))))


def test_a_memoised_module_cannot_repeat_itself(refused):
    """A module that holds itself, and a diamond of modules that would be walked exponentially."""
    shape = Shape()
    inner = persisted(shape, {"a": ELEMENTS})
    state = inner.arguments[0]["state"]
    for _ in range(30):
        outer = persisted(shape, {})
        outer.arguments[0]["state"]["_modules"] = {"left": inner, "right": inner}
        inner = outer
    assert "nested too deeply" in refused(snapshot(inner))
    assert state["_parameters"].keys() == {"a"}


def test_inert_values_do_not_depend_on_earlier_files(load, refused):
    """What a hostile file did leaves nothing behind."""
    shape = Shape()
    good = snapshot(persisted(shape, make_weights(shape)))
    digest = load(good).weights_sha256
    for symbol in SYMBOLS:
        refused(raw(symbol + b"N}X\x08\x00\x00\x00__init__Ns\x86b."))
    assert load(good).weights_sha256 == digest
