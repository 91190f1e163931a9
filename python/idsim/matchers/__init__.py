"""Face matchers: what turns a picture into an embedding, each with its metric, its files and its licence."""

from __future__ import annotations

from idsim.matchers.base import Detector, Embedder, Face, Matcher, Representation
from idsim.matchers.options import RunOptions
from idsim.matchers.registry import find_spec, known_matchers, open_embedder
from idsim.matchers.spec import MatcherSpec, read_spec

__all__ = [
    "Detector",
    "Embedder",
    "Face",
    "Matcher",
    "MatcherSpec",
    "Representation",
    "RunOptions",
    "find_spec",
    "known_matchers",
    "open_embedder",
    "read_spec",
]
