"""A Python function as a generator: the shortest way to plug in another model.

The function takes a list of seeds and yields one picture, uint8 ``[height, width, 3]`` RGB, for each. Where it has
parameters ``psi``, ``label``, ``device`` or ``noise``, it is given them.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idsim.generators.base import Drawn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import ModuleType

    import numpy as np
    from numpy.typing import NDArray

    from idsim.generators.base import Pictures

    Draw = Callable[..., Iterable[NDArray[np.uint8]]]

__all__ = ["FunctionGenerator", "load_function"]


class FunctionGenerator:
    """A generator that calls a function.

    Parameters
    ----------
    draw : callable
        ``draw(seeds)``, or ``draw(seeds, psi=..., label=..., device=..., noise=...)`` with any of these. Equal
        arguments must give equal pictures, and a picture must not depend on the other seeds of a call. An
        attribute ``description`` of the function, a dict of plain JSON values, becomes part of `describe`:
        the licence, and the hashes of what the function loads.
    device, noise : str, optional
        Passed on to a function that has these parameters; refused otherwise.
    """

    def __init__(self, draw: Draw, *, device: str | None = None, noise: str | None = None) -> None:
        if not callable(draw):
            raise TypeError(f"a generator function must be callable, not {type(draw).__name__}")
        self._draw = draw
        self._known = _parameters(draw)
        self.name = str(getattr(draw, "__name__", type(draw).__name__)).lower()
        self._fixed = self._accepted({"device": device, "noise": noise})

    def _accepted(self, values: dict[str, Any]) -> dict[str, Any]:
        given = {key: value for key, value in values.items() if value is not None}
        for key, value in given.items():
            if key not in self._known:
                raise ValueError(f"the function {self.name} has no parameter {key}, and {key} is {value!r}")
        return given

    def describe(self) -> dict[str, Any]:
        """Return the name of the function, the hash of the file it stands in, and its own `description`."""
        code = {"name": self.name, "sha256": hashlib.sha256(_source(self._draw)).hexdigest()}
        noise = {key: value for key, value in self._fixed.items() if key != "device"}
        return {**code, "licence": "not stated", **noise, **getattr(self._draw, "description", {})}

    def sample(self, seeds: Sequence[int], *, psi: float | None = None, label: int | None = None) -> Pictures:
        """Return the pictures that the function draws for these seeds."""
        given = self._accepted({"psi": psi, "label": label})
        return Drawn(len(seeds), lambda: self._draw(list(seeds), **given, **self._fixed))


def _source(draw: Draw) -> bytes:
    """Return the file that a function stands in; empty for one that was typed into an interpreter."""
    function = inspect.unwrap(draw)
    try:
        file = inspect.getsourcefile(function if inspect.isfunction(function) else type(function))
    except TypeError:
        file = None
    return Path(file).read_bytes() if file and Path(file).is_file() else b""


def _parameters(draw: Draw) -> set[str]:
    parameters = inspect.signature(draw).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return {"psi", "label", "device", "noise"}
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {parameter.name for parameter in parameters if parameter.kind in named}


def load_function(place: str) -> Draw:
    """Return the function of ``module:function`` or ``path/to/file.py:function``; this runs the module's code.

    Raises
    ------
    ValueError
        There is no such module, file or function.
    """
    where, _, name = place.rpartition(":")
    if not where or not name.isidentifier():
        raise ValueError(f"a function is written module:function or file.py:function, not {place!r}")
    module = _load_file(Path(where)) if where.endswith(".py") else _import(where)
    function = getattr(module, name, None)
    if not callable(function):
        raise ValueError(f"{where} has no function {name}")
    draw: Draw = function
    return draw


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    # The name under which the module can be found again while its functions are inspected.
    name = f"idsim_generator_{hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(error.name + ".")):
            raise  # a module that this one needs
        raise ValueError(
            f"there is no module {name} where Python looks (PYTHONPATH); a file is written path/to/file.py:function"
        ) from error
