"""Checkpoints read in a process of their own, which hands back a file of the project's own format."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idsim.errors import CheckpointError
from idsim.files import InputFile
from idsim.generators.stylegan2.checkpoint import Checkpoint, NetworkName, Provenance, read_checkpoint
from idsim.generators.stylegan2.limits import limits_of
from idsim.walls import FORBIDDEN_STATUS, child_environment, module_command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from idsim.walls import Limits

__all__ = ["load_isolated"]

READING_PROCESS = "idsim.generators.stylegan2.reading_process"
START_SECONDS = 60  # to start Python and NumPy on a busy machine
MAX_ANSWER_BYTES = 1 << 20


def load_isolated(path: str | os.PathLike[str], network: NetworkName) -> Checkpoint:
    """Load a checkpoint as `load_checkpoint` does, in a confined process.

    A fresh interpreter, never a fork: threads and CUDA of this process do not matter.

    Raises
    ------
    CheckpointError
        The file is refused, or the process broke a limit.
    """
    with InputFile(path, CheckpointError) as file:
        limits = limits_of(file.size)
    with _memory_file() as descriptor:
        answer = _ask(path, network, descriptor, limits)
        if not answer.get("landlock", True):
            logging.getLogger("idsim").warning(
                "Landlock is not available: files are not denied by the kernel"
            )
        if "refused" in answer:
            raise CheckpointError(path, *answer["refused"])
        with InputFile(f"/proc/self/fd/{descriptor}", CheckpointError) as image:
            image.path = Path(path)
            checkpoint = read_checkpoint(image, network)
    fields = answer["provenance"]
    for name in ("source_sha256", "warnings"):
        fields[name] = tuple(fields[name])
    return Checkpoint(checkpoint.config, checkpoint.weights, Provenance(**fields), answer["stated_sha256"])


@contextlib.contextmanager
def _memory_file() -> Iterator[int]:
    descriptor = os.memfd_create("idsim-checkpoint", os.MFD_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _ask(path: str | os.PathLike[str], network: str, descriptor: int, limits: Limits) -> dict[str, Any]:
    """Run the reading process and return its answer."""
    command = module_command(READING_PROCESS, os.fspath(path), network, str(descriptor))
    try:
        done = subprocess.run(  # noqa: S603 - the interpreter itself
            command,
            check=False,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            env=child_environment(),
            pass_fds=[descriptor],
            timeout=START_SECONDS + 4 * limits.seconds,
        )
    except subprocess.TimeoutExpired:
        raise CheckpointError(
            path, "time", "reading it takes longer than a file of this size should"
        ) from None
    if done.returncode == FORBIDDEN_STATUS:
        raise CheckpointError(path, "process", "reading it led to something that is forbidden")
    if done.returncode != 0 or len(done.stdout) > MAX_ANSWER_BYTES:
        detail = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise CheckpointError(
            path, "process", f"the reading process ended with {done.returncode}: {detail[:200]}"
        )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
