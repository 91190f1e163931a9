"""From a text to an embedder: a name of the catalogue, a specification, a model, a pack, a function, a plug-in.

Other packages add matchers by entry points of the group ``idsim.matchers``. The name is the matcher's; the object is a
specification (its path), a function with an attribute ``spec``, or a function without arguments that returns an
`Embedder`. It is imported when the matcher is opened, so that a broken one harms nobody else.
"""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.errors import CudaError, MatcherError
from idsim.functions import load_function, source_sha256
from idsim.matchers.catalogue import catalogue_names, catalogue_spec, known_hashes
from idsim.matchers.embedder import SpecifiedEmbedder
from idsim.matchers.insightface_pack import PREFIX, read_pack
from idsim.matchers.options import RunOptions
from idsim.matchers.spec import MatcherSpec, read_spec, spec_from_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from idsim.matchers.base import Embedder

__all__ = [
    "GROUP",
    "find_spec",
    "is_function",
    "known_matchers",
    "open_embedder",
    "open_specified",
    "plugged_in",
    "refuse_gpu_of_dlib",
]

GROUP = "idsim.matchers"
ATTRIBUTES = ("name", "metric", "dim", "size", "describe", "embed")
FUNCTION = r"(.+\.py|[A-Za-z_][\w.]*):[A-Za-z_]\w*"


def is_function(place: str) -> bool:
    """Return whether a text names a function: ``file.py:function`` or ``module:function``."""
    return not place.startswith(PREFIX) and re.fullmatch(FUNCTION, place) is not None


def plugged_in() -> dict[str, str]:
    """Return the matchers that other packages add: name and object; none of them is imported."""
    return {entry.name: entry.value for entry in metadata.entry_points(group=GROUP)}


def known_matchers() -> list[str]:
    """Return the names of the matchers of the catalogue and of other packages, ascending."""
    return sorted({*catalogue_names(), *plugged_in()})


def find_spec(place: str, *, base: str | Path = "") -> MatcherSpec:
    """Return the specification that a text means; see `open_embedder`. Functions are imported.

    Raises
    ------
    ValueError
        The text means nothing, or a matcher that has no specification.
    MatcherError
        The specification cannot be used.
    """
    found = _find(place, Path(base))
    if isinstance(found, MatcherSpec):
        return found
    if hasattr(found, "spec"):
        return _spec_of(found, place)
    raise ValueError(f"{place} is a plug-in without a specification")


def open_embedder(
    place: str,
    *,
    model: str | os.PathLike[str] = "",
    base: str | Path = "",
    options: RunOptions | None = None,
) -> Embedder:
    """Open an embedder.

    Parameters
    ----------
    place : str
        A name of the catalogue or of another package's matcher; ``spec.toml``; ``model.onnx`` with ``model.toml``
        beside it or a specification inside; ``insightface:FOLDER``, a model pack; or ``file.py:function`` or
        ``module:function``, whose code is run.
    model : path-like
        The model file, where the specification names none or another one.
    base : path-like
        Where relative paths start from.
    options : RunOptions, optional
        Where and how its network runs.

    Raises
    ------
    ValueError
        The text means nothing, or a model file is missing or not wanted.
    MatcherError
        The specification or the model cannot be used.
    CudaError
        A GPU is asked for and cannot be used.
    ModuleNotFoundError
        The library that runs the model is not installed.
    """
    options = options or RunOptions()
    base = Path(base)
    found = _find(place, base)
    file: Path | None = base / Path(model).expanduser() if os.fspath(model) else None
    if isinstance(found, MatcherSpec):
        return _open_spec(found, file, options, known_hashes())
    if file is not None:
        raise ValueError(f"{place} brings its own network, and the model file {file} is given")
    if hasattr(found, "spec"):
        spec = _spec_of(found, place)
        if options.require_gpu:
            raise CudaError(f"a GPU is required, and where {place} runs is not known: it is a function")
        return SpecifiedEmbedder(spec, found, {"runtime": "callable", "code_sha256": source_sha256(found)})
    embedder = found()
    missing = [name for name in ATTRIBUTES if not hasattr(embedder, name)]
    if missing:
        raise MatcherError(
            place, "plug-in", f"what it returns is no embedder: it has no {', '.join(missing)}"
        )
    plugged: Embedder = embedder
    return plugged


def _find(place: str, base: Path) -> MatcherSpec | Callable[..., Any]:
    """Return a specification, or a function that is an embedder or makes one."""
    if place in catalogue_names():
        return catalogue_spec(place)
    entries = metadata.entry_points(group=GROUP, name=place)
    if entries:
        loaded: Any = next(iter(entries)).load()
        if isinstance(loaded, (str, os.PathLike)):
            return read_spec(loaded)
        if isinstance(loaded, MatcherSpec):
            return loaded
        if callable(loaded):
            return loaded  # type: ignore[no-any-return]
        raise MatcherError(
            place, "plug-in", f"is a {type(loaded).__name__}, no path, specification or function"
        )
    if place.startswith(PREFIX):
        return read_pack(base / Path(place.removeprefix(PREFIX)).expanduser()).spec
    if is_function(place):
        where, _, name = place.rpartition(":")
        function = load_function(
            f"{base / Path(where).expanduser()}:{name}" if where.endswith(".py") else place
        )
        if not hasattr(function, "spec"):
            raise MatcherError(
                place, "spec", "is missing: the function needs an attribute spec, see docs/matchers.md"
            )
        return function
    path = base / Path(place).expanduser()
    if path.suffix == ".toml":
        return read_spec(path)
    if path.suffix == ".onnx":
        return _spec_beside(path)
    close = difflib.get_close_matches(place, known_matchers(), n=3)
    near = f" (did you mean {' or '.join(close)}?)" if close else ""
    raise ValueError(
        f"{place!r} is no matcher{near}: it is no .toml, no .onnx with a .toml beside it, no insightface:FOLDER, no "
        f"file.py:function or module:function, and none of {', '.join(known_matchers())}"
    )


def _spec_beside(path: Path) -> MatcherSpec:
    beside = path.with_suffix(".toml")
    if beside.is_file():
        return replace(read_spec(beside), file=path.name)
    from idsim.matchers.onnx_spec import KEY, spec_inside  # noqa: PLC0415 - needs the extra onnx

    spec = spec_inside(path)
    if spec is None:
        raise MatcherError(
            path, "specification",
            f"there is no {beside.name} beside it and no {KEY} inside: an ONNX file does not say its colour order, "
            "pixel map or alignment. Name a matcher of the catalogue and give this file as its model",
        )  # fmt: skip
    return spec


def _spec_of(function: Any, place: str) -> MatcherSpec:
    """Return the specification of a function: its attribute `spec`, a MatcherSpec, a table or a path."""
    spec = function.spec
    if isinstance(spec, MatcherSpec):
        return spec
    if isinstance(spec, dict):
        # The order of channels and the pixel map are the function's own affair.
        given = spec.get("input")
        fed = {"color": "RGB", "embedded": True, **given} if isinstance(given, dict) else given
        return spec_from_table({"kind": "callable", **spec, "input": fed}, place)
    if isinstance(spec, (str, os.PathLike)):
        return read_spec(spec)
    raise MatcherError(place, "spec", f"must be a table, a MatcherSpec or a path, not {type(spec).__name__}")


def open_specified(
    spec: MatcherSpec,
    *,
    model: str | os.PathLike[str] = "",
    base: str | Path = "",
    options: RunOptions,
    trusted: frozenset[str] = frozenset(),
) -> Embedder:
    """Open the embedder of a specification; see `open_embedder`.

    Parameters
    ----------
    trusted : frozenset of str
        SHA-256 of model files that need no trial run, beside those of the catalogue.
    """
    file = Path(base) / Path(model).expanduser() if os.fspath(model) else None
    return _open_spec(spec, file, options, known_hashes() | trusted)


def _open_spec(
    spec: MatcherSpec, file: Path | None, options: RunOptions, trusted: frozenset[str]
) -> Embedder:
    named = file if file is not None else spec.beside(spec.file) if spec.file else None
    if spec.kind == "dlib":
        refuse_gpu_of_dlib(options)
        return _dlib(spec, named)
    if spec.kind == "callable":
        raise ValueError(
            f"{spec.name} is a specification of kind callable: name its function, file.py:function"
        )
    if named is None:
        raise ValueError(
            f"{spec.name} needs a model file: none comes with this package ({spec.title or spec.licence}). "
            "Name it with --model, or as model beside kind in a scan"
        )
    # An ONNX export of a network whose weights are otherwise PyTorch's has the same specification.
    if named.suffix.lower() == ".onnx" or spec.kind == "onnx":
        from idsim.matchers.onnx import OnnxEmbedder  # noqa: PLC0415 - only where it is used

        return OnnxEmbedder(spec, named, options, trusted=trusted)
    return _torch(spec, named, options)


def refuse_gpu_of_dlib(options: RunOptions) -> None:
    """Raise CudaError where a GPU is asked for: dlib's network runs on the CPU here."""
    if options.require_gpu or options.device.startswith("cuda"):
        raise CudaError("a GPU is asked for, and dlib's network runs on the CPU here")


def _torch(spec: MatcherSpec, file: Path, options: RunOptions) -> Embedder:
    from idsim.matchers.torch_module import TorchEmbedder, TorchOptions  # noqa: PLC0415 - only where it is used

    place = spec.path or spec.name
    given = spec.input
    if not spec.architecture:
        raise MatcherError(place, "architecture", f"is missing: {file.name} holds weights and no graph")
    if given.prewhiten or len(given.mean) != 1 or len(given.std) != 1 or given.layout != "NCHW":
        raise MatcherError(
            place, "input", "weights of PyTorch take NCHW and one mean and std; export the network to ONNX"
        )
    settings = TorchOptions(
        colour=given.color, mean=given.mean[0], scale=given.std[0], batch=options.batch, sha256=spec.sha256,
        licence=spec.licence,
    )  # fmt: skip
    network = TorchEmbedder(spec.architecture, file, settings, device=_torch_device(options))
    if network.size != given.size or network.dim != spec.output.dim:
        raise MatcherError(
            place, "architecture",
            f"{spec.architecture} takes {list(network.size)} and gives {network.dim} elements; the specification says "
            f"{list(given.size)} and {spec.output.dim}",
        )  # fmt: skip
    described = network.describe()
    kept = {key: described[key] for key in ("library", "device", "batch")} | {
        "files": {file.name: network.sha256}
    }
    return SpecifiedEmbedder(spec, network.embed, {"runtime": "torch"} | kept)


def _torch_device(options: RunOptions) -> str:
    import torch

    if options.device == "auto" and not options.require_gpu and not torch.cuda.is_available():
        return "cpu"
    device = "cuda" if options.device == "auto" else options.device
    if device != "cpu" and not torch.cuda.is_available():
        raise CudaError(f"a GPU is asked for, and this PyTorch {torch.__version__} has none it can use")
    return device


def _dlib(spec: MatcherSpec, file: Path | None) -> Embedder:
    from idsim.matchers.dlib import load_network  # noqa: PLC0415 - only where it is used

    network, description = load_network(file)

    def describe(crops: NDArray[np.uint8]) -> NDArray[np.float64]:
        found = [np.asarray(network.compute_face_descriptor(np.ascontiguousarray(crop))) for crop in crops]
        return np.array(found, dtype=np.float64).reshape(len(crops), spec.output.dim)

    return SpecifiedEmbedder(spec, describe, {"runtime": "dlib"} | description)
