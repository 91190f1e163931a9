"""Functions that a user names: ``module:function`` or ``path/to/file.py:function``."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

__all__ = ["NAME_PREFIX", "load_function", "source_sha256"]

NAME_PREFIX = "idsim_function_"  # of the modules of files that a user named


def load_function(place: str) -> Callable[..., Any]:
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
    found: Callable[..., Any] = function
    return found


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    # The name under which the module can be found again while its functions are inspected.
    name = f"{NAME_PREFIX}{hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:16]}"
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


def source_sha256(function: Callable[..., Any]) -> str:
    """Return the SHA-256 of the file that a function stands in; of nothing for one typed into an interpreter."""
    wrapped = inspect.unwrap(function)
    try:
        file = inspect.getsourcefile(wrapped if inspect.isfunction(wrapped) else type(wrapped))
    except TypeError:
        file = None
    data = Path(file).read_bytes() if file and Path(file).is_file() else b""
    return hashlib.sha256(data).hexdigest()
