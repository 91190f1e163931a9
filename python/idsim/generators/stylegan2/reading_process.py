"""The process that reads a checkpoint on behalf of another: ``python -m``, path, network, file descriptor.

It confines itself, writes the generator as safetensors to the descriptor and one JSON line to the standard
output.
"""

from __future__ import annotations

import encodings.latin_1  # noqa: F401 - loaded before imports are forbidden
import json
import os
import sys
from typing import TYPE_CHECKING

from idsim.errors import CheckpointError
from idsim.files import InputFile
from idsim.generators.stylegan2.checkpoint import read_checkpoint
from idsim.generators.stylegan2.limits import limits_of
from idsim.generators.stylegan2.native import write_image
from idsim.walls import confine

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["main"]


def main(path: str, network: str, descriptor: int) -> None:
    """Read a checkpoint and answer."""
    answer: dict[str, object] = {}
    try:
        with InputFile(path, CheckpointError) as file:
            answer["landlock"] = confine(limits_of(file.size))
            checkpoint = read_checkpoint(file, network)  # type: ignore[arg-type]
            write_image(checkpoint, lambda data: _write_all(descriptor, data))
            answer["provenance"] = checkpoint.provenance.as_dict()
            answer["stated_sha256"] = checkpoint.stated_sha256
    except CheckpointError as error:
        answer["refused"] = [error.place, error.reason]
    except MemoryError:
        answer["refused"] = ["memory", "reading it takes more memory than a file of this size should"]
    except Exception as error:  # noqa: BLE001 - its traceback would be read from files, which is forbidden
        answer["refused"] = ["process", f"the reader failed with {type(error).__name__}: {error}"[:500]]
    _write_all(1, json.dumps(answer).encode())


def _write_all(descriptor: int, data: Buffer) -> None:
    view = memoryview(data).cast("B")
    while view:
        view = view[os.write(descriptor, view) :]


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
