"""From a spec to a generator: ``network.pkl``, ``pictures/``, ``model.py:draw``, ``KIND:ARGUMENT``.

Other packages add kinds by entry points of the group ``idsim.generators``: the name is the kind, the object is called
with the argument and with those options of the run that were given.
"""

from __future__ import annotations

import inspect
import re
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idsim.functions import load_function
from idsim.generators.folder import FolderGenerator
from idsim.generators.function import FunctionGenerator

if TYPE_CHECKING:
    from collections.abc import Callable

    from idsim.generators.base import Generator

    Factory = Callable[..., Generator]

__all__ = ["GROUP", "generator_kind", "known_generators", "open_generator"]

GROUP = "idsim.generators"
CHECKPOINTS = (".pkl", ".pt", ".pth", ".bin", ".safetensors")
MAX_BATCH = 64
BATCH_PIXELS = 8 << 20  # 8 pictures of 1024 x 1024, which take some 6 GB while they are drawn


def _function(place: str, **options: Any) -> Generator:
    return FunctionGenerator(load_function(place), **options)


def _stylegan2(path: str, **options: Any) -> Generator:
    from idsim.generators.stylegan2 import StyleGan2, load_checkpoint  # noqa: PLC0415 - only where it is used

    checkpoint = load_checkpoint(path, isolate=True)
    # The batch follows the network alone: free memory is another at every start, and on a GPU the batch can
    # change a byte.
    batch = max(1, min(MAX_BATCH, BATCH_PIXELS // checkpoint.config.resolution**2))
    return StyleGan2(checkpoint, **{"batch": batch, **options})


BUILT_IN: dict[str, Factory] = {"folder": FolderGenerator, "function": _function, "stylegan2": _stylegan2}


def known_generators() -> list[str]:
    """Return the kinds of generators that can be opened, ascending."""
    return sorted({*BUILT_IN, *(entry.name for entry in metadata.entry_points(group=GROUP))})


def generator_kind(spec: str, base: str | Path = "") -> str:
    """Return the kind of generator that a spec means, without opening it; only ``function`` runs code of a file.

    Raises
    ------
    ValueError
        The spec means nothing.
    """
    return _parse(spec, Path(base))[0]


def open_generator(spec: str, *, base: str | Path = "", **options: Any) -> Generator:
    """Open a generator.

    Parameters
    ----------
    spec : str
        A checkpoint of StyleGAN2; a folder or zip of pictures; ``file.py:function`` or ``module:function``, whose
        code is run; or ``kind:argument`` with one of `known_generators`.
    base : path-like
        Where relative paths start from. Arguments of kinds from entry points are handed over as they are.
    **options
        ``device`` and ``noise``; None is left out. Which ones a kind knows, it says itself.

    Raises
    ------
    ValueError
        The spec means nothing, or the kind does not know an option.
    CheckpointError, OSError
        The file cannot be used.
    """
    kind, argument = _parse(spec, Path(base))
    factory = BUILT_IN.get(kind) or _entry_point(kind)
    given = {key: value for key, value in options.items() if value is not None}
    known = inspect.signature(factory).parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values()):
        for key, value in given.items():
            if key not in known:
                raise ValueError(f"{spec}: a generator of kind {kind} has no {key}, and {key} is {value!r}")
    return factory(argument, **given)


def _parse(spec: str, base: Path) -> tuple[str, str]:
    kind, colon, argument = spec.partition(":")
    if colon and kind in BUILT_IN:
        return kind, argument if kind == "function" and ".py:" not in argument else _place(base, argument)
    if colon and kind in known_generators():
        return kind, argument
    if re.search(r"\.py:\w+$", spec):
        return "function", _place(base, spec)
    path = Path(_place(base, spec))
    if (spec and path.is_dir()) or path.suffix.lower() == ".zip":
        return "folder", str(path)
    if path.suffix.lower() in CHECKPOINTS:
        return "stylegan2", str(path)
    if re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", spec):
        return "function", spec
    raise ValueError(
        f"{spec!r} is no generator: it is no folder, no .zip, no checkpoint ({', '.join(CHECKPOINTS)}), no "
        f"file.py:function or module:function, and no KIND:ARGUMENT with one of {', '.join(known_generators())}"
    )


def _place(base: Path, path: str) -> str:
    return str(base / Path(path).expanduser())


def _entry_point(kind: str) -> Factory:
    entries = metadata.entry_points(group=GROUP, name=kind)
    factory: Factory = next(iter(entries)).load()
    return factory
