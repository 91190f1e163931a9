"""The same network with the pixel maps that others have, to see whether one of them suits it better."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from idsim.matchers.registry import find_spec, open_specified

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator
    from pathlib import Path

    from idsim.matchers.base import Embedder
    from idsim.matchers.options import RunOptions
    from idsim.matchers.spec import InputSpec, MatcherSpec

__all__ = ["other_pixel_maps"]

NEAR = 0.02  # relative; 127.5 for 128 cannot be told apart by what pairs say


def other_pixel_maps(
    place: str,
    *,
    model: str | os.PathLike[str] = "",
    base: str | Path = "",
    options: RunOptions,
    trusted: frozenset[str] = frozenset(),
) -> Iterator[tuple[str, Embedder]]:
    """Yield the pixel maps that a matcher's specification does not state, and the matcher's network with them.

    Parameters
    ----------
    place, model, base, options
        As of `open_embedder`. Functions and dlib map pixels themselves: for them there is nothing to yield.
    trusted : frozenset of str
        SHA-256 of model files that were run before.
    """
    spec = find_spec(place, base=base)
    if spec.kind not in ("onnx", "torch"):
        return
    for name, given in _candidates(spec):
        # What a graph says of its own pixel map was said when the matcher was opened.
        log = logging.getLogger("idsim")
        log.addFilter(_silent)
        try:
            embedder = open_specified(
                replace(spec, input=given), model=model, base=base, options=options, trusted=trusted
            )
        finally:
            log.removeFilter(_silent)
        yield name, embedder


def _silent(_: logging.LogRecord) -> bool:
    return False


def _candidates(spec: MatcherSpec) -> Iterator[tuple[str, InputSpec]]:
    """Yield names and inputs of other pixel maps: those of the catalogue."""
    own = spec.input
    plain = replace(own, embedded=False, prewhiten=False)
    for name, mean, std in (("(x - 127.5) / 127.5", 127.5, 127.5), ("x / 255", 0.0, 255.0)):
        if own.embedded or own.prewhiten or not _near(own, mean, std):
            yield name, replace(plain, mean=(mean,), std=(std,))
    if not (own.embedded or _near(own, 0.0, 1.0)):
        yield "x, 0 to 255", replace(plain, mean=(0.0,), std=(1.0,))
    # Weights of PyTorch are run with one mean and one deviation.
    if spec.kind == "onnx" and not own.prewhiten:
        yield "each crop whitened", replace(plain, mean=(0.0,), std=(1.0,), prewhiten=True)


def _near(own: InputSpec, mean: float, std: float) -> bool:
    if own.embedded or own.prewhiten:
        return False
    return all(abs(value - mean) <= NEAR * std for value in own.mean) and all(
        abs(value - std) <= NEAR * std for value in own.std
    )
