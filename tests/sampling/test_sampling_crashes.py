"""A run that is killed before any of its system calls goes on, and ends in the bytes of an undisturbed one."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from sampling.makers import write_model

SCRIPT = """
import json, os, shutil, sys
from pathlib import Path
from idsim.sampling import SampleConfig, parts, sample

parts.PART_SEEDS = 3
folder, model, kind = Path(sys.argv[1]), sys.argv[2], sys.argv[3]


def work(place):
    sample(SampleConfig((model,), folder / place, "0-4", psi=(0.5, 1.0), format=kind))
    files = (path for path in (folder / place).rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder / place)): path.read_bytes() for path in files}


def counted(function):
    def call(*arguments, **options):
        state["calls"] += 1
        if state["calls"] == state["stop"]:
            os._exit(9)
        return function(*arguments, **options)

    return call


os.fsync = lambda descriptor: None  # a killed process loses nothing that it wrote
real = {name: getattr(os, name) for name in ("write", "fsync", "mkdir", "rename", "replace", "unlink", "rmdir")}
whole = work("whole")
points = different = 0
while True:
    state = {"calls": 0, "stop": points + 1}
    child = os.fork()
    if child == 0:
        for name, function in real.items():
            setattr(os, name, counted(function))
        work("killed")
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code == 0:
        break
    assert code == 9, code
    points += 1
    different += work("killed") != whole
    shutil.rmtree(folder / "killed")
print(json.dumps({"points": points, "different": different}))
"""


@pytest.mark.parametrize("kind", ["png", "zip"])
def test_every_point_of_a_run(tmp_path, kind):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, tmp_path, write_model(tmp_path), kind],
        check=False, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["points"] > 30
    assert outcome["different"] == 0
