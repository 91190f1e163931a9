from __future__ import annotations

import signal
import subprocess
import sys

import numpy as np
import pytest

from support.guard import both_sides, guarded

TOUCH = """
import ctypes, sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from support.guard import guarded
array = guarded(np.arange(3, dtype=np.float32), sys.argv[2])
at = array.ctypes.data + (array.nbytes if sys.argv[2] == "after" else -1)
ctypes.string_at(at, 1)
"""


@pytest.mark.parametrize("shape", [(0, 4), (1, 1), (5, 3), (1024, 1), (1025, 7)])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int64])
def test_copies_hold_the_same_values_and_can_be_written(shape, dtype):
    source = np.arange(int(np.prod(shape))).reshape(shape).astype(dtype)
    for copy in both_sides(source):
        assert copy.tobytes() == source.tobytes()
        copy[...] = 0
        assert not copy.any()


@pytest.mark.parametrize("side", ["before", "after"])
def test_one_byte_beyond_is_a_crash(side, pytestconfig):
    run = subprocess.run(
        [sys.executable, "-c", TOUCH, str(pytestconfig.rootpath / "tests"), side],
        capture_output=True,
        check=False,
    )
    assert run.returncode == -signal.SIGSEGV, run.stderr.decode()


def test_side_is_checked():
    with pytest.raises(ValueError, match="side"):
        guarded(np.zeros(1), "left")
