"""What the tests of training share: the trainer's modules, which live among the examples."""

from __future__ import annotations

from pathlib import Path

import pytest

TRAINER = Path(__file__).parents[2] / "examples" / "train_stylegan2"


@pytest.fixture
def trainer_folder(monkeypatch):
    """The folder of the trainer, importable."""
    monkeypatch.syspath_prepend(str(TRAINER))
    return TRAINER
