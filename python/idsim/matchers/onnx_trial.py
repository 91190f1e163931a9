"""The first run of a model from a stranger, in a process of its own with limits on time and memory.

A crash, a bomb or an endless run there is an error here. The process is a fresh interpreter that gets the model in an
anonymous file, gives up files, processes and privileges (`idsim.walls`) before it reads it, and answers with one line
of JSON.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.errors import MatcherError
from idsim.matchers.onnx_runtime import import_onnxruntime
from idsim.walls import Limits, child_environment, confine, module_command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["try_model"]

START_SECONDS = 60  # to start Python and ONNX Runtime on a busy machine
RUN_SECONDS = 4.0  # of a small model, which takes milliseconds
BYTES_PER_SECOND = 10e6  # more for a large one: ten times what two busy cores need
BASE_MEMORY = 4 << 30
TOLERANCE = 1e-3  # between a crop alone and in a batch, relative; rounding gives some 1e-6
READY = b"ready\n"


def try_model(data: bytes, size: tuple[int, int], dim: int, path: str, seconds: float | None = None) -> None:
    """Run a folded model on made-up crops in a process of its own.

    Parameters
    ----------
    data : bytes
        The model.
    size : tuple of int
        Height and width of a crop.
    dim : int
        Elements of an embedding.
    path : str
        The model file, for messages.
    seconds : float, optional
        Limit of the run; by default 4 seconds and 0.1 more for each megabyte.

    Raises
    ------
    MatcherError
        The model cannot be run, takes too long or too much memory, gives another shape, or gives a crop another
        vector in a batch than alone.
    """
    limit = RUN_SECONDS + len(data) / BYTES_PER_SECOND if seconds is None else seconds
    descriptor = os.memfd_create("idsim-matcher", os.MFD_CLOEXEC)
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(data)
        answer = _ask([descriptor, *size, dim, ceil(limit)], path, limit)
    finally:
        os.close(descriptor)
    if "refused" in answer:
        raise MatcherError(path, *answer["refused"])


def _ask(arguments: Sequence[int], path: str, limit: float) -> dict[str, Any]:
    with subprocess.Popen(  # noqa: S603 - the interpreter itself
        module_command("idsim.matchers.onnx_trial", *map(str, arguments)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=child_environment(),
        pass_fds=[arguments[0]],
    ) as process:
        try:
            assert process.stdout is not None
            select.select([process.stdout], [], [], START_SECONDS)
            output, errors = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise MatcherError(path, "time", f"its first run takes longer than {limit:.1f} seconds") from None
    if process.returncode != 0 or not output.startswith(READY):
        detail = errors.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise MatcherError(path, "process", f"its first run ended with {process.returncode}: {detail[:200]}")
    answer: dict[str, Any] = json.loads(output.removeprefix(READY))
    return answer


def main(descriptor: int, height: int, width: int, dim: int, seconds: int) -> None:
    """Run the model of a descriptor and answer; ``landlock`` in it: whether the kernel denies all files."""
    onnxruntime = import_onnxruntime()
    length = os.fstat(descriptor).st_size
    # NumPy loads its random numbers when they are first used, and nothing can be loaded behind the walls.
    crops = np.random.default_rng(0).integers(0, 256, (3, height, width, 3), dtype=np.uint8)
    os.write(1, READY)
    used = ceil(time.process_time())
    answer: dict[str, Any] = {"landlock": confine(Limits(BASE_MEMORY + 8 * length, 0, used + seconds + 1))}
    try:
        refused = _refusal(onnxruntime, os.pread(descriptor, length, 0), crops, dim)
        if refused is not None:
            answer["refused"] = refused
    except Exception as error:  # noqa: BLE001 - whatever the runtime raises is the answer
        answer["refused"] = ["model", f"ONNX Runtime says: {error}"[:500]]
    os.write(1, json.dumps(answer).encode())


def _refusal(runtime: Any, data: bytes, crops: NDArray[np.uint8], dim: int) -> tuple[str, str] | None:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    together = session.run(None, {"idsim_crops": crops})[0]
    alone = session.run(None, {"idsim_crops": crops[1:2]})[0]
    for count, found in ((3, together), (1, alone)):
        if found.shape != (count, dim):
            return "output", f"{count} crops give vectors of shape {list(found.shape)}, not {[count, dim]}"
        if not np.isfinite(found).all():
            return "output", "the vector of a made-up crop is not finite"
    difference = float(np.abs(together[1] - alone[0]).max() / max(float(np.abs(alone).max()), 1e-30))
    if difference > TOLERANCE:
        return "output", (
            f"a crop has another vector in a batch than alone (relative difference {difference:.2g}): the graph "
            "holds a fixed batch; export it with a free one"
        )
    return None


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
