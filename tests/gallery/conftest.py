"""What the gallery tests share."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from idsim.gallery import Gallery

settings.register_profile("gallery", derandomize=True, deadline=None, max_examples=100)
settings.load_profile("gallery")


@pytest.fixture
def matrix() -> np.ndarray:
    return np.random.default_rng(7).standard_normal((101, 5)).astype(np.float32)


@pytest.fixture
def plain(tmp_path: Path, matrix: np.ndarray) -> Gallery:
    """A gallery of four shards without columns."""
    return Gallery.from_arrays(tmp_path / "plain", matrix, shard_rows=30)


@pytest.fixture
def people(tmp_path: Path, matrix: np.ndarray) -> Gallery:
    """A gallery of four shards with all kinds of columns."""
    rows = len(matrix)
    return Gallery.from_arrays(
        tmp_path / "people",
        matrix,
        ids=[f"face-{row}" for row in range(rows)],
        groups=[f"person-{row * 7 % 20}" for row in range(rows)],
        sources=[f"photos/{row}.jpg" for row in range(rows)],
        columns={
            "age": np.arange(rows, dtype=np.float32),
            "note": [None if row % 3 else "x" for row in range(rows)],
        },
        shard_rows=30,
        metadata={"matcher": "toy", "crop": 112, "flip": False},
    )


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most tests write small files by the dozen; that they are synced, and in which order, is one test's subject."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(autouse=True)
def _no_leftovers() -> object:
    """Fail where a test leaves a thread or a file open."""
    import threading

    before = set(os.listdir("/proc/self/fd"))
    yield
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("idsim")]
    assert len(os.listdir("/proc/self/fd")) <= len(before) + 1
