"""What the tests of generators share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from idsim import CheckpointError
from idsim.generators.stylegan2 import Checkpoint, load_checkpoint


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Checkpoint]:
    """Load a checkpoint from bytes."""

    def call(data: bytes, **options: object) -> Checkpoint:
        path = tmp_path / "checkpoint"
        path.write_bytes(data)
        return load_checkpoint(path, **options)  # type: ignore[arg-type]

    return call


@pytest.fixture
def refused(load: Callable[..., Checkpoint]) -> Callable[..., str]:
    """Load a checkpoint that must be refused, and return the message."""

    def call(data: bytes, **options: object) -> str:
        with pytest.raises(CheckpointError) as caught:
            load(data, **options)
        assert caught.value.place
        assert caught.value.reason
        return str(caught.value)

    return call
