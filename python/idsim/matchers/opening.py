"""From texts to a matcher: an embedder, a detector and the alignment that the embedder wants."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idsim.errors import CudaError, MatcherError
from idsim.functions import load_function
from idsim.matchers.dlib import DlibMatcher
from idsim.matchers.faces import AlignedMatcher, Alignment
from idsim.matchers.insightface_pack import PREFIX, read_pack
from idsim.matchers.options import RunOptions
from idsim.matchers.registry import (
    find_spec,
    is_function,
    open_embedder,
    open_specified,
    refuse_gpu_of_dlib,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from idsim.matchers.base import Detector, Matcher
    from idsim.matchers.insightface_pack import Pack
    from idsim.matchers.spec import AlignSpec

__all__ = ["DETECTORS", "open_detector", "open_matcher"]

DETECTORS = ("dlib", "dlib68", "mtcnn", "scrfd", "yunet")

# The detector that belongs to an alignment where none is named. Landmarks of another one give other crops.
USUAL = {"dlib_chip": "dlib", "similarity5": "mtcnn", "box_margin": "mtcnn"}


def open_matcher(
    place: str,
    *,
    model: str | os.PathLike[str] = "",
    detector: str = "",
    align: str = "",
    base: str | Path = "",
    options: RunOptions | None = None,
) -> Matcher:
    """Open a matcher.

    Parameters
    ----------
    place : str
        What `open_embedder` opens; ``dlib`` without a detector is `DlibMatcher`, as in scans. A function without an
        attribute ``spec`` is called with the device and returns a `Matcher` of its own.
    model : path-like
        The model file, where the specification names none or another one.
    detector : str
        ``dlib``, ``dlib68``, ``mtcnn``, ``scrfd:FILE`` or ``yunet:FILE``; empty: dlib for dlib's chips, the one of
        the pack for ``insightface:FOLDER``, else mtcnn.
    align : {"", "ffhq_fixed", "none"}
        Crops without a detector, instead of the specification's alignment: a fixed part of pictures that are aligned
        as FFHQ is, or whole pictures that are crops already.
    base : path-like
        Where relative paths start from.
    options : RunOptions, optional
        Where and how the network runs.

    Raises
    ------
    ValueError
        A text means nothing, or a detector is named that nothing uses.
    MatcherError
        A specification or model cannot be used.
    CudaError
        A GPU is asked for and cannot be used.
    ModuleNotFoundError
        A library or a package with weights is not installed.
    """
    options = options or RunOptions()
    if place == "dlib" and not (model or detector or align):
        refuse_gpu_of_dlib(options)
        return DlibMatcher()
    own = _own(place, Path(base))
    if own is not None:
        if model or detector or align:
            raise ValueError(f"{place} is a whole matcher: model, detector and align do not apply to it")
        return _call(own, place, options)
    pack = None
    if place.startswith(PREFIX):
        if model:
            raise ValueError(f"{place} holds its own model, and the model file {os.fspath(model)} is given")
        pack = read_pack(Path(base) / Path(place.removeprefix(PREFIX)).expanduser())
    spec = pack.spec if pack else find_spec(place, base=base)
    rule = _ruled(spec.align, align)
    alignment = Alignment(rule.mode, spec.input.size, rule.template, rule.margin, rule.antialias)
    if detector and not alignment.needs_face:
        raise ValueError(f"the alignment {alignment.mode} uses no detector, and {detector} is given")
    chosen = detector or (_detector_of(pack) if pack and alignment.needs_face else USUAL.get(rule.mode, ""))
    finder = open_detector(chosen, base=base) if alignment.needs_face else None
    if pack:
        return AlignedMatcher(finder, alignment, open_specified(spec, options=options))
    return AlignedMatcher(finder, alignment, open_embedder(place, model=model, base=base, options=options))


def _detector_of(pack: Pack) -> str:
    if pack.detector is None:
        raise MatcherError(
            pack.spec.file, "pack",
            f"it must hold one detector, or one must be named (--detector); found: {pack.found}",
        )  # fmt: skip
    return f"scrfd:{pack.detector}"


def _ruled(rule: AlignSpec, align: str) -> AlignSpec:
    """Return the alignment of a specification, or the one that is asked for instead."""
    if align not in ("", "ffhq_fixed", "none"):
        raise ValueError(f"align must be 'ffhq_fixed' or 'none', not {align!r}")
    if not align:
        return replace(rule, template=rule.template or "arcface112")
    return replace(rule, mode=align, template=rule.template or "arcface112", margin=0)


def _own(place: str, base: Path) -> Callable[..., Any] | None:
    """Return a function that makes a whole matcher, if `place` names one."""
    if not is_function(place):
        return None
    where, _, name = place.rpartition(":")
    function: Any = load_function(
        f"{base / Path(where).expanduser()}:{name}" if where.endswith(".py") else place
    )
    return None if hasattr(function, "spec") else function


def _call(function: Callable[..., Any], place: str, options: RunOptions) -> Matcher:
    matcher: Matcher = function(options.device)
    if not all(hasattr(matcher, name) for name in ("name", "metric", "dim", "describe", "represent")):
        raise MatcherError(
            place, "function", "what it returns is no matcher: see idsim.matchers.base.Matcher"
        )
    if not str(matcher.describe().get("device", "cpu")).startswith("cuda"):
        _refuse_gpu(place, options)
    return matcher


def _refuse_gpu(place: str, options: RunOptions) -> None:
    if options.require_gpu:
        raise CudaError(f"a GPU is required, and the matcher {place} runs on the CPU")


def open_detector(text: str, *, base: str | Path = "") -> Detector:
    """Open a detector: one of `DETECTORS`, with a model file behind a colon for ``scrfd`` and ``yunet``.

    Raises
    ------
    ValueError
        There is no such detector, or its file is missing or not wanted.
    MatcherError, ModuleNotFoundError
        It cannot be used.
    """
    kind, _, file = text.partition(":")
    if kind not in DETECTORS:
        raise ValueError(f"the detector must be one of {', '.join(DETECTORS)}, not {text!r}")
    if (kind in ("scrfd", "yunet")) != bool(file):
        raise ValueError(f"the detector {text!r} must have a model file if it is scrfd or yunet: scrfd:FILE")
    # Only what is used is imported: dlib and ONNX Runtime are extras.
    if kind in ("dlib", "dlib68"):
        from idsim.matchers.faces.dlib_hog import DlibDetector, DlibDetectorOptions  # noqa: PLC0415

        return DlibDetector(DlibDetectorOptions(landmarks=68 if kind == "dlib68" else 5))
    if kind == "mtcnn":
        from idsim.matchers.faces.mtcnn import MtcnnDetector  # noqa: PLC0415

        return MtcnnDetector()
    from idsim.matchers.faces.onnx_detector import ScrfdDetector, YunetDetector  # noqa: PLC0415

    path = Path(base) / Path(file).expanduser()
    return ScrfdDetector(path) if kind == "scrfd" else YunetDetector(path)
