"""One commit under the clock: reads requests as JSON lines, answers with seconds.

Started by ``bench.compare`` with the commit's install folder and nothing else of this repository, so it
uses only what every commit has: ``idsim.search`` and ``idsim.Index``.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable


def load(idsim: Any, request: dict[str, Any], threads: int) -> Callable[[], Any]:
    """Return the search of a case as a function without arguments."""
    queries = np.load(request["queries"])
    gallery = np.load(request["gallery"], mmap_mode="r")
    k = request["k"]
    if request["mode"] == "one-shot":
        rows = np.asarray(gallery)
        return lambda: idsim.search(queries, rows, k, threads=threads)
    index = idsim.Index(np.asarray(gallery), threads=threads)
    return lambda: index.search(queries, k)


def timed(search: Callable[[], Any], repeat: int) -> tuple[float, Any]:
    """Return seconds per call, and the last answer."""
    answer = None
    start = time.perf_counter()
    for _ in range(repeat):
        answer = search()
    return (time.perf_counter() - start) / repeat, answer


def digest(answer: Any) -> str:
    """Return a checksum of the ids and scores."""
    return hashlib.sha256(answer.ids.tobytes() + answer.scores.tobytes()).hexdigest()


def main() -> None:
    """Answer requests until the input ends."""
    import idsim

    target, threads = Path(sys.argv[1]).resolve(), int(sys.argv[2])
    home = Path(idsim.__file__).resolve()
    if not home.is_relative_to(target):
        raise SystemExit(f"imported {home}, which does not lie in {target}")
    print(json.dumps({"ready": str(home)}), flush=True)
    search: Callable[[], Any] = lambda: None  # noqa: E731
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "load":
            search = load(idsim, request, threads)
            timed(search, 1)
            seconds, answer = timed(search, 1)
            print(json.dumps({"seconds": seconds, "digest": digest(answer)}), flush=True)
        else:
            print(json.dumps({"seconds": timed(search, request["repeat"])[0]}), flush=True)


if __name__ == "__main__":
    main()
