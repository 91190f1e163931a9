"""``idsim search`` on a device, and its plan of the device's memory."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from idsim.cli import main


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(3)
    for name, count in (("queries", 20), ("gallery", 500)):
        np.save(tmp_path / f"{name}.npy", rng.standard_normal((count, 32), dtype=np.float32))
    return str(tmp_path / "queries.npy"), str(tmp_path / "gallery.npy")


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the program in this process; return its exit code, output and messages."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["idsim", *arguments])
        code = 0
        try:
            main.run()
        except SystemExit as stop:
            code = stop.code or 0
        return code, *capsys.readouterr()

    return call


def test_the_plan(files, run):
    code, out, _ = run("search", *files, "-k", "3", "--plan", "--memory-budget", "64")
    assert code == 0
    assert "500 rows of 32: rows from the host or from files, sent and coded in parts" in out
    assert "of a budget of 64.0 MiB" in out
    code, out, _ = run("search", *files, "-k", "3", "--plan", "--json")
    plan = json.loads(out)
    assert code == 0
    assert plan["query_chunk"] == 20
    assert sum(plan["buffers"].values()) <= plan["budget"]


@pytest.mark.gpu
def test_the_same_matches(files, run):
    code, out, _ = run("search", *files, "-k", "3", "--device", "cpu")
    assert code == 0
    assert run("search", *files, "-k", "3", "--device", "cuda", "--memory-budget", "64")[:2] == (0, out)


def test_no_such_device(files, run):
    code, _, text = run("search", *files, "--device", "gpu")
    assert code == 2
    assert "device must be 'cpu', 'cuda', 'cuda:N', 'cuda:N,M' or 'cuda:all', not 'gpu'" in text
