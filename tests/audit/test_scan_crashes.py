"""A scan that is killed, refused by the disk, damaged or shared out ends in the bytes of an undisturbed one."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from idsim.cli.main import app

PROGRAM = Path(__file__).with_name("crashing_scans.py")
TESTS = str(PROGRAM.parent.parent)


def found(folder, kind, way, share):
    """What the program found in every `share`-th case; one thread of BLAS, because it forks."""
    done = subprocess.run(
        [sys.executable, PROGRAM, folder, kind, way, str(share)],
        check=False, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": TESTS, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["faults"] == []
    return outcome


KINDS = pytest.mark.parametrize("kind", ["embeddings", "pictures"])


@KINDS
def test_some_points(tmp_path, kind):
    outcome = found(tmp_path, kind, "points", 71)
    assert outcome["points"] > 150
    assert outcome["cases"] >= 10


@KINDS
def test_some_damage(tmp_path, kind):
    outcome = found(tmp_path, kind, "damage", 53)
    assert outcome["shards"] > 20
    assert outcome["recomputed"] > outcome["cases"] >= 5


def test_some_jobs(tmp_path):
    assert found(tmp_path, "pictures", "jobs", 9)["commands"] > 3


def test_some_kills(tmp_path):
    assert found(tmp_path, "pictures", "kills", 40)["kills"] == 5


def test_a_full_disk_leaves_a_merge_incomplete(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("idsim.audit.run.scan", full)
    shown = CliRunner().invoke(app, ["merge", str(tmp_path / "scan.toml"), "--quiet"])
    assert shown.exit_code == 4
    assert "the disk is full" in shown.stderr


@pytest.mark.slow
@KINDS
def test_every_point(tmp_path, kind):
    outcome = found(tmp_path, kind, "points", 1)
    assert outcome["cases"] > 600
    assert {"open", "write", "fsync", "mkdir", "rename"} <= set(outcome["calls"])


@pytest.mark.slow
@KINDS
def test_kills_at_random(tmp_path, kind):
    assert found(tmp_path, kind, "kills", 1)["kills"] == 200


@pytest.mark.slow
@KINDS
def test_every_damage(tmp_path, kind):
    outcome = found(tmp_path, kind, "damage", 1)
    assert outcome["cases"] > 13 * outcome["shards"]


@pytest.mark.slow
@KINDS
def test_jobs_in_any_order(tmp_path, kind):
    assert found(tmp_path, kind, "jobs", 1)["orders"] == 17
