"""Faces in pictures: detectors, alignment, and the matcher made of a detector, an alignment and a network."""

from __future__ import annotations

from idsim.matchers.faces.align import Alignment
from idsim.matchers.faces.matcher import AlignedMatcher

__all__ = ["AlignedMatcher", "Alignment"]
