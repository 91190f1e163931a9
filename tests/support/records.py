"""Writers of the containers that data sets of faces come in."""

from __future__ import annotations

import struct

MAGIC = 0xCED7230A


def packed(label, data, key):
    """A record's content: one label in the header, or several behind it."""
    labels = label if isinstance(label, tuple) else ()
    first = 0.0 if labels else float(label)
    return struct.pack("<IfQQ", len(labels), first, key, 0) + struct.pack(f"<{len(labels)}f", *labels) + data


def parts_of(content):
    """Cut a content where it spells the magic number at a multiple of four, as MXNet does."""
    magic = struct.pack("<I", MAGIC)
    parts, start = [], 0
    for place in range(0, len(content) - 3, 4):
        if content[place : place + 4] == magic:
            parts.append(content[start:place])
            start = place + 4
    return [*parts, content[start:]]


def write_records(path, records):
    """Write ``(key, label, data)`` as a record file with its index; return how many records are cut."""
    cut = 0
    with path.open("wb") as file, path.with_suffix(".idx").open("w") as index:
        for key, label, data in records:
            index.write(f"{key}\t{file.tell()}\n")
            parts = parts_of(packed(label, data, key))
            cut += len(parts) > 1
            for number, part in enumerate(parts):
                last = number == len(parts) - 1
                kind = 0 if len(parts) == 1 else 1 if number == 0 else 3 if last else 2
                file.write(
                    struct.pack("<II", MAGIC, kind << 29 | len(part)) + part + b"\0" * (-len(part) % 4)
                )
    return cut


def insightface_records(images):
    """Records as InsightFace writes them: pictures ``[(identity, data)]``, ordered, then one per identity."""
    first = len(images) + 1
    identities = sorted({identity for identity, _ in images})
    yield 0, (float(first), float(first + len(identities))), b""
    for key, (identity, data) in enumerate(images, 1):
        yield key, float(identity), data
    for number, identity in enumerate(identities):
        keys = [key for key, (other, _) in enumerate(images, 1) if other == identity]
        yield first + number, (float(keys[0]), float(keys[-1] + 1)), b""
