"""Damaged and weaponised checkpoints, each a function of one number."""

from __future__ import annotations

import io
import json
import pickletools
import random
import struct
import zipfile
from collections.abc import Callable
from functools import cache

from support.checkpoints import Shape, every_format, make_weights, persisted, safetensors, snapshot, zip_file
from support.mutations import edits

# Opcodes that run something in an ordinary unpickler, or ask for much memory.
SNIPPETS = [
    b"cposix\nsystem\nX\x04\x00\x00\x00true\x85R",
    b"\x8c\x08builtins\x8c\x04exec\x93\x8c\x011\x85R",
    b"\x8c\x0bcollections\x8c\x0c_sys.modules\x93",
    b"(S'true'\niposix\nsystem\n",
    b"(cbuiltins\nset\no",
    b"\x82\x01",
    b"\x84\xff\xff\xff\x7f",
    b"r\xff\xff\xff\x7f",
    b"r\x80\xc3\xc9\x01",
    b"\x96\xff\xff\xff\xff\xff\x00\x00\x00",
    b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"X\xff\xff\xff\xff",
    b"c_codecs\nencode\nX\x03\x00\x00\x00abcX\x05\x00\x00\x00rot13\x86R",
    b"cnumpy\ndtype\nX\x0b\x00\x00\x00V2147483647\x89\x88\x87R",
    b"ctorch.storage\n_load_from_bytes\nC\x0e\x80\x02cos\nsystem\n.R",
    b"N}X\x08\x00\x00\x00__init__Ns\x86b",
    b"2" * 30,
    b"\x85" * 500,
    b"(" * 190,
    b"]" * 200,
    b"h\x00h\x00\x86",
]
OPCODES = [op.code.encode("latin-1") for op in pickletools.opcodes]
NUMBERS = [0, 1, 2, 255, 256, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1, 2**64 - 1]


@cache
def seeds() -> dict[str, bytes]:
    """Small files of every format, all of which load."""
    shape = Shape()
    files = every_format(shape, make_weights(shape))
    conditional = Shape(c_dim=2, architecture="resnet", resolution=16, use_noise=False, channels=2)
    weights = make_weights(conditional)
    files["conditional.pkl"] = snapshot(persisted(conditional, weights, clamp=256, half=(16,)), protocol=4)
    files["conditional.safetensors"] = safetensors(weights)
    return files


@cache
def boundaries(data: bytes) -> list[int]:
    """Where the opcodes of a pickle begin."""
    return [place for _, _, place in pickletools.genops(data)]


def mutate_pickle(data: bytes, random: random.Random) -> bytes:
    """Change a pickle at the borders of its opcodes."""
    places = boundaries(data)
    at = random.randrange(len(places) - 1)
    start, stop = places[at], places[at + 1]
    kind = random.randrange(8)
    if kind == 0:
        return data[:start] + data[stop:]
    if kind == 1:
        return data[:stop] + data[start:stop] + data[stop:]
    if kind == 2:
        return data[:start] + random.choice(SNIPPETS) + data[start:]
    if kind == 3:
        return data[:start] + random.choice(OPCODES) + data[start + 1 :]
    if kind == 4:
        other = random.randrange(len(places) - 1)
        return data[:start] + data[places[other] : places[other + 1]] + data[stop:]
    if kind == 5:
        number = random.choice(NUMBERS)
        long = number.to_bytes(9, "little")
        return data[:start] + b"\x8a\x09" + long + data[stop:]
    if kind == 6 and stop - start > 1:
        inside = random.randrange(start + 1, min(stop, start + 9))
        return data[:inside] + random.randbytes(1) + data[inside + 1 :]
    first, second = sorted(random.sample(range(len(places)), 2))
    return data[: places[first]] + data[places[second] :]


def mutate_nested(data: bytes, random: random.Random) -> bytes:
    """Change one of the streams inside a pickle, and its length with it."""
    found, start = [], 0
    while (start := data.find(b"B", start)) >= 0:
        if data[start + 5 : start + 9] == b"\x80\x02\x8a\x0a":
            found.append(start)
        start += 1
    if not found:
        return mutate_pickle(data, random)
    start = random.choice(found)
    (length,) = struct.unpack_from("<I", data, start + 1)
    stream = data[start + 5 : start + 5 + length]
    return data[:start] + _bytes_opcode(mutate_stream(stream, random)) + data[start + 5 + length :]


def _bytes_opcode(data: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(data)) + data


def mutate_stream(data: bytes, random: random.Random) -> bytes:
    """Change one of the five pickles of a stream."""
    stream, parts = io.BytesIO(data), []
    for _ in range(5):
        start = stream.tell()
        for _ in pickletools.genops(stream):
            pass
        parts.append(data[start : stream.tell()])
    at = random.choice((0, 1, 2, 3, 3, 3, 4))
    parts[at] = mutate_pickle(parts[at], random)
    return b"".join(parts) + data[stream.tell() :]


def mutate_zip(data: bytes, random: random.Random) -> bytes:
    """Change a member or the structure of a zip file."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    kind = random.randrange(7)
    name = random.choice(list(members))
    root = name.partition("/")[0]
    if kind <= 2:
        key = f"{root}/data.pkl"
        members[key] = mutate_pickle(members[key], random)
    elif kind == 3:
        new = random.choice(
            ["../x", f"{root}/code/a.py", "/etc/passwd", f"{root}/data/x", "b/data/1", "a\x1b/data/1"]
        )
        members = {new if key == name else key: value for key, value in members.items()}
    elif kind == 4:
        del members[name]
    elif kind == 5:
        members[name] = members[name] + random.randbytes(4) if random.random() < 0.5 else members[name][:-4]
    else:
        return zip_file(members, method=random.choice((8, 12, 14)), flags=random.choice((0, 1, 8, 0x41)))
    made = zip_file(members)
    if random.random() < 0.3:
        tail = len(made) - 22 - 46 * min(3, len(members))
        return next(edits(made[tail:], 1, random.randrange(1 << 30)), b"").join([made[:tail], b""])
    return made


def mutate_safetensors(data: bytes, random: random.Random) -> bytes:
    """Change the header of a safetensors file, and its length with it."""
    (length,) = struct.unpack_from("<Q", data)
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    name = random.choice(list(header))
    entry = header[name]
    kind = random.randrange(6)
    if kind == 0:
        entry["shape"] = [random.choice(NUMBERS) for _ in range(random.randrange(10))]
    elif kind == 1:
        entry["data_offsets"] = [random.choice(NUMBERS), random.choice(NUMBERS)]
    elif kind == 2:
        entry["dtype"] = random.choice(["F16", "BF16", "F64", "I64", "F8_E4M3", "", None, 3])
    elif kind == 3:
        header[random.choice(["x\x1b[0m", "synthesis.b64.conv1.weight", "__metadata__"])] = header.pop(name)
    elif kind == 4:
        header["__metadata__"] = {"format": "idsim-stylegan2-1", "config": "{}"}
    text = json.dumps(header)
    if kind == 5:
        text = random.choice(
            ["[" * 100_000, text[:-1] + "," + text[1:], '{"a":' * 5000, text.replace("[", "[NaN,", 1)]
        )
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw + body


def splice(data: bytes, random: random.Random) -> bytes:
    """Join the beginning of one file to the end of another."""
    other = random.choice(list(seeds().values()))
    first, second = random.randrange(len(data)), random.randrange(len(other))
    return data[:first] + other[second:]


def truncate(data: bytes, random: random.Random) -> bytes:
    return data[: random.randrange(len(data))]


def edit(data: bytes, random: random.Random) -> bytes:
    return next(edits(data, 1, random.randrange(1 << 30), head=3000), data)


def mutation(number: int) -> tuple[str, bytes]:
    """Return the name and the content of a damaged file."""
    rng = random.Random(number)
    name = rng.choice(list(seeds()))
    data = seeds()[name]
    general: list[Callable[[bytes, random.Random], bytes]] = [edit, edit, truncate, splice]
    if data.startswith(b"PK"):
        special = [mutate_zip] * 6
    elif data.startswith(b"\x80\x02\x8a\x0a"):
        special = [mutate_stream] * 6
    elif data.startswith(b"\x80"):
        special = [mutate_pickle] * 4 + [mutate_nested] * 2
    else:
        special = [mutate_safetensors] * 6
    for _ in range(rng.choice((1, 1, 1, 2))):
        change = rng.choice(general + special)
        try:
            data = change(data, rng)
        except Exception:  # noqa: BLE001 - a file that is damaged already, cannot be taken apart
            data = edit(data, rng) if data else b""
    return name, data
