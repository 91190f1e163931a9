"""Small sets with a known truth."""

from __future__ import annotations

import numpy as np

from idsim.audit.faces import FaceSet

# The files of a finished run.
FINAL = [
    "config.resolved.toml",
    "provenance.json",
    "summary.json",
    "curves.json",
    "pairs.parquet",
    "images.parquet",
    "failures.jsonl",
]


def contents(folder):
    return {name: (folder / name).read_bytes() for name in FINAL}


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def face_set(name, vectors, labels=None, missing=0):
    """A set whose last `missing` items have no face."""
    count = len(vectors) + missing
    items = [f"{name}-{row}" for row in range(count)]
    given = [str(label) for label in labels] if labels is not None else list(items)
    records = [{"status": "ok" if row < len(vectors) else "no_face"} for row in range(count)]
    return FaceSet(name, items, given, np.asarray(vectors, np.float32), np.arange(len(vectors)), records)
