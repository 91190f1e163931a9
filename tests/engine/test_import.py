"""What a search imports costs NumPy only and leaves the process as it was."""

from __future__ import annotations

import json
import subprocess
import sys

ALLOWED = {"idsim", "numpy"}
PROBE = """
import json, sys
import numpy as np
before = set(sys.modules)
threads = len(__import__("os").listdir("/proc/self/task"))
import idsim
idsim.search, idsim.compare, idsim.score_distribution, idsim.count_above, idsim.Index
new = sorted({name.partition(".")[0] for name in set(sys.modules) - before})
heavy = sorted(set(sys.modules) & set(%r))
grown = len(__import__("os").listdir("/proc/self/task")) - threads
print(json.dumps({"new": new, "heavy": heavy, "threads": grown}))
"""
HEAVY = ["torch", "pyarrow", "typer", "rich", "PIL", "dlib", "onnxruntime", "matplotlib", "ray", "scipy"]


def test_a_search_costs_numpy_only():
    run = subprocess.run([sys.executable, "-c", PROBE % HEAVY], capture_output=True, text=True, check=True)
    found = json.loads(run.stdout)
    assert found["heavy"] == []
    assert found["threads"] == 0
    foreign = set(found["new"]) - ALLOWED - set(sys.stdlib_module_names)
    assert {name for name in foreign if not name.startswith("_")} == set()
