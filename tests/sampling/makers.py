"""A made-up model for the tests of sampling, in a file of its own so that workers can open it."""

from __future__ import annotations

MODEL = """
import os, signal
import numpy as np

def draw(seeds, psi=1.0, label=None, device=None):
    for seed in seeds:
        stop = os.environ.get("IDSIM_TEST_STOP_AT")
        if stop == str(seed):
            os.kill(os.getpid(), signal.SIGKILL)
        colours = np.random.RandomState(seed).randint(0, 256, (4, 4, 3))
        picture = np.kron(colours * psi + 16 * (label or 0), np.ones((4, 4, 1)))
        yield picture.clip(0, 255).astype(np.uint8)
"""


def write_model(folder):
    path = folder / "model.py"
    path.write_text(MODEL)
    return f"{path}:draw"


def contents(folder):
    """Every file of a run but the lock."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
