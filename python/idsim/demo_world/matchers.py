"""The matchers that come with the package: two small networks that know drawn people, and nobody else.

Trained, exported and measured by the scripts in ``examples/demo_world``. The files carry their specification.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from idsim.demo_world.weights import write_weights

if TYPE_CHECKING:
    import os
    from pathlib import Path

__all__ = ["MATCHERS", "write_matchers"]

MATCHERS = ("drawn-arcface", "drawn-sphereface")


def write_matchers(folder: str | os.PathLike[str]) -> list[Path]:
    """Write the matchers' ONNX files into a folder, which must be there.

    Returns
    -------
    list of Path
        ``FOLDER/NAME.onnx`` for every name in `MATCHERS`.

    Raises
    ------
    FileExistsError
        A file is there already and holds something else.
    """
    return write_weights(folder, [f"{name}.onnx" for name in MATCHERS])
