"""A scan that is killed, refused by the disk, damaged or shared out ends in the bytes of an undisturbed one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

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
    outcome = found(tmp_path, kind, "points", 45)
    assert outcome["points"] > 150
    assert outcome["cases"] >= 15


@KINDS
def test_some_damage(tmp_path, kind):
    outcome = found(tmp_path, kind, "damage", 37)
    assert outcome["shards"] > 20
    assert outcome["recomputed"] > outcome["cases"] >= 8


@KINDS
def test_some_jobs(tmp_path, kind):
    assert found(tmp_path, kind, "jobs", 9)["commands"] > 3


def test_some_kills(tmp_path):
    assert found(tmp_path, "pictures", "kills", 40)["kills"] == 5


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
