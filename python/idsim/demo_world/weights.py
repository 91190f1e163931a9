"""Weights that come with the package, as plain files that anything can open."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

__all__ = ["GENERATORS", "write_generators", "write_weights"]

GENERATORS = ("few", "many")


def write_generators(folder: str | os.PathLike[str]) -> list[Path]:
    """Write the two generators of drawn people into a folder, which must be there.

    ``few.safetensors`` has seen few people again and again, and repeats some of them; ``many.safetensors`` has seen
    many people once. docs/demo-world.md says how both were trained.

    Returns
    -------
    list of Path
        ``FOLDER/NAME.safetensors`` for every name in `GENERATORS`.

    Raises
    ------
    FileExistsError
        A file is there already and holds something else.
    """
    return write_weights(folder, [f"{name}.safetensors" for name in GENERATORS])


def write_weights(folder: str | os.PathLike[str], names: Iterable[str]) -> list[Path]:
    """Write files of this package's folder into another folder, which must be there.

    Models are read from plain files alone, and those of an installed package may be hard links (uv makes them).

    Parameters
    ----------
    folder : path
        Where they go.
    names : iterable of str
        Names of files beside this module.

    Returns
    -------
    list of Path
        The files, in order of `names`.

    Raises
    ------
    FileExistsError
        A file is there already and holds something else.
    """
    written = []
    for name in names:
        content = files(__package__).joinpath(name).read_bytes()
        path = Path(folder) / name
        if not path.exists():
            path.write_bytes(content)
        elif path.read_bytes() != content:
            raise FileExistsError(f"{path} is there already and is another file")
        written.append(path)
    return written
