"""A writer that is killed at any of its system calls leaves nothing, a named state, or the whole gallery."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = '''
import json, os, shutil, sys
from pathlib import Path
import numpy as np
from idsim.errors import GalleryError
from idsim.gallery import Gallery

folder, rows = Path(sys.argv[1]), np.arange(40, dtype=np.float32).reshape(10, 4)


def work():
    gallery = Gallery.from_arrays(folder, rows, shard_rows=8)
    gallery.prepare(threads=1)
    return gallery


def killing(function, point, after):
    """Count calls of all system calls together; die before or after number `point`."""

    def call(*arguments):
        state["calls"] += 1
        number = state["calls"]
        if number == point and not after:
            os._exit(9)
        try:
            return function(*arguments)
        finally:
            if number == point and after:
                os._exit(9)

    return call


names = ("write", "fsync", "mkdir", "rename", "unlink")
os.fsync = lambda descriptor: None  # a killed process loses nothing that it wrote; only its place in the order counts
real = {name: getattr(os, name) for name in names}
# What holds in any state: the files of the folder are those of a whole gallery, or not a gallery by name.
digest = work().digest
whole = {file.name: file.read_bytes() for file in folder.iterdir()}
shutil.rmtree(folder)
outcomes = []
point = 0
while True:
    point += 1
    finished = False
    for after in (False, True):
        child = os.fork()
        if child == 0:
            state = {"calls": 0}
            for name in names:
                setattr(os, name, killing(real[name], point, after))
            work()
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        finished = code == 0
        assert code in (0, 9), code
        try:
            gallery = Gallery.open(folder)
            gallery.verify()
            assert gallery.digest == digest
            assert gallery.vectors().tobytes() == rows.tobytes()
            outcome = "prepared" if gallery.is_prepared else "gallery"
            gallery.prepare(threads=1)
            assert {n: d for n, d in ((f.name, f.read_bytes()) for f in folder.iterdir()) if n in whole} == whole
        except GalleryError as error:
            outcome = error.reason
        outcomes.append(outcome)
        shutil.rmtree(folder, ignore_errors=True)
    if finished:
        break
print(json.dumps(outcomes))
'''


def test_every_point(tmp_path: Path) -> None:
    # One thread alone: forking is safe then.
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "g")],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
    )
    outcomes = json.loads(done.stdout)
    kinds = ["none", "unfinished", "gallery", "prepared"]

    def kind(outcome: str) -> str:
        if "no such folder" in outcome or "has no manifest" in outcome:
            return "none"
        return "unfinished" if "half-written" in outcome else outcome

    order = [kinds.index(kind(outcome)) for outcome in outcomes]
    assert len(order) > 130
    assert order == sorted(order)
    assert {kinds[number] for number in order} == set(kinds)
