"""State dicts of PyTorch files, read without PyTorch and without running anything that they name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from idsim.errors import MatcherError
from idsim.files import InputFile
from idsim.inert.containers import header_arrays, read_content, sniff
from idsim.inert.geometry import EXACT_ELEMENTS, elements, read_float32
from idsim.inert.records import Array, Mapping, Tensor
from idsim.safetensors import read_header

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping as MappingType
    from typing import Any

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["StateDict", "read_state_dict"]

MAX_TENSORS = 10_000
SHOWN = 5

# Where training scripts put the network beside their own state.
_PLACES = ("state_dict", "model_state_dict", "model", "net", "backbone")
# What wrappers put before the names.
_PREFIX = re.compile(r"(?:(?:module|model|backbone|net)\.)*")
_COUNTER = "num_batches_tracked"


class StateDict(NamedTuple):
    """The arrays of a network, float32 by name, and the SHA-256 of their file."""

    arrays: dict[str, NDArray[np.float32]]
    sha256: str


def read_state_dict(
    path: str | os.PathLike[str],
    shapes: MappingType[str, tuple[int, ...]],
    *,
    heads: tuple[str, ...] = (),
    sha256: str = "",
) -> StateDict:
    """Read the weights of a network from a `torch.save` or safetensors file.

    Parameters
    ----------
    path : path-like
        The file. Nothing that it names is imported or called.
    shapes : mapping
        Shape of every array of the network, by name.
    heads : tuple of str
        Beginnings of names that may be in the file and are not read.
    sha256 : str
        What the file must hash to, in hexadecimal; empty: anything.

    Returns
    -------
    StateDict
        Just the arrays of `shapes`; float16 and bfloat16 are widened exactly.

    Raises
    ------
    MatcherError
        The file is missing, damaged or hostile, hashes to something else, or its names, shapes or element types
        are not those of the network; what differs is named.
    """
    with InputFile(path, MatcherError) as file:
        found = file.hash().sha256
        if sha256 and found != sha256.lower():
            raise MatcherError(path, "sha256", f"it is {found}, where {sha256.lower()} is expected")
        container = sniff(file)
        if container == "safetensors":
            content: object = header_arrays(file, read_header(file))
        else:
            content = read_content(file, container)
        named = _without_prefix(_find_names(content, path), shapes)
        _compare(path, named, shapes, heads)
        return StateDict({name: _read(path, name, named[name]) for name in shapes}, found)


def _refuse(path: str | os.PathLike[str], place: str, reason: str) -> NoReturn:
    raise MatcherError(path, place[:200], reason)


def _find_names(content: object, path: str | os.PathLike[str]) -> dict[str, object]:
    for _ in _PLACES:
        if type(content) not in (dict, Mapping):
            _refuse(path, "content", f"it is a {type(content).__name__}, not a state dict")
        assert isinstance(content, dict)
        inner = next((content[key] for key in _PLACES if type(content.get(key)) in (dict, Mapping)), None)
        if inner is None:
            break
        content = inner
    assert isinstance(content, dict)
    if len(content) > MAX_TENSORS or not all(type(name) is str for name in content):
        _refuse(path, "names", f"the keys are not up to {MAX_TENSORS:,} texts")
    return {
        name: value
        for name, value in content.items()
        if isinstance(value, Tensor | Array) and not name.endswith(_COUNTER)
    }


def _without_prefix(names: dict[str, object], shapes: MappingType[str, Any]) -> dict[str, object]:
    """Return the arrays below the prefix that has most of the network's names, by their names without it."""
    below: dict[str, dict[str, object]] = {"": {}}
    for name, value in names.items():
        prefix = _PREFIX.match(name).group()  # type: ignore[union-attr]  # it matches the empty text too
        below.setdefault(prefix, {})[name[len(prefix) :]] = value
    return max(below.values(), key=lambda group: len(group.keys() & shapes.keys()))


def _compare(
    path: str | os.PathLike[str],
    named: dict[str, Any],
    shapes: MappingType[str, tuple[int, ...]],
    heads: tuple[str, ...],
) -> None:
    missing = [name for name in shapes if name not in named]
    unknown = [name for name in named if name not in shapes and not name.startswith(heads)]
    if missing or unknown:
        parts = [f"it lacks {_some(missing)}"] if missing else []
        parts += [f"it has {_some(unknown)}, which the network has not"] if unknown else []
        _refuse(path, "names", "; ".join(parts))
    for name, shape in shapes.items():
        if named[name].shape != shape:
            _refuse(path, name, f"its shape is {list(named[name].shape)}, the network's is {list(shape)}")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(name[:80] for name in names[:SHOWN]) + more


def _read(path: str | os.PathLike[str], name: str, value: Any) -> NDArray[np.float32]:
    if isinstance(value, Array) and value.blob is None:
        _refuse(path, name, "it is not a tensor")
    blob, element, order = elements(value)
    if element.code not in EXACT_ELEMENTS:
        _refuse(path, name, f"its elements are {element.code}, where float32, float16 or bfloat16 are read")
    return read_float32(blob, element.code, value.shape, order)
