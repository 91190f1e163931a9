"""The matchers that come with the package: two small networks that know drawn people, and nobody else.

Trained, exported and measured by the scripts in ``examples/demo_world``. The files carry their specification.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

__all__ = ["MATCHERS", "write_matchers"]

MATCHERS = ("drawn-arcface", "drawn-sphereface")


def write_matchers(folder: str | os.PathLike[str]) -> list[Path]:
    """Write the matchers' ONNX files into a folder, which must be there.

    Models are read from plain files alone, and those of an installed package may be hard links (uv makes them).

    Returns
    -------
    list of Path
        ``FOLDER/NAME.onnx`` for every name in `MATCHERS`.

    Raises
    ------
    FileExistsError
        A file is there already and holds something else.
    """
    written = []
    for name in MATCHERS:
        data = files(__package__).joinpath(f"{name}.onnx").read_bytes()
        path = Path(folder) / f"{name}.onnx"
        if not path.exists():
            path.write_bytes(data)
        elif path.read_bytes() != data:
            raise FileExistsError(f"{path} is there already and is another file")
        written.append(path)
    return written
