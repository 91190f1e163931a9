"""ONNX Runtime reports to nobody, whoever loads it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("onnxruntime")
LOAD = "from idsim.matchers.onnx_runtime import import_onnxruntime; import os; import_onnxruntime()"


def left_behind(home, code, **more):
    """Return what code prints, and the files that it leaves in the user's folder."""
    home.mkdir()
    kept = {
        key: value
        for key, value in os.environ.items()
        if key not in ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")
    }
    environment = kept | {"HOME": str(home), "OPENBLAS_NUM_THREADS": "1"} | more
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip(), [path for path in home.rglob("*") if path.is_file()]


def test_loading_it_leaves_nothing_behind(tmp_path):
    shown = "print(os.environ['ORT_DISABLE_TELEMETRY'])"
    assert left_behind(tmp_path / "a", f"{LOAD}; {shown}") == ("1", [])
    # The user's own word stays.
    assert left_behind(tmp_path / "b", f"{LOAD}; {shown}", ORT_DISABLE_TELEMETRY="0")[0] == "0"


def test_one_that_is_loaded_already_is_told_too(tmp_path):
    code = f"""
import onnxruntime
calls = []
onnxruntime.disable_telemetry_events = lambda: calls.append(1)
{LOAD}
print(len(calls))
"""
    assert left_behind(tmp_path / "a", code)[0] == "1"
    assert left_behind(tmp_path / "b", code, ORT_DISABLE_TELEMETRY="1")[0] == "0"
