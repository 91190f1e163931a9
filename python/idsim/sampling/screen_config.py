"""What a screen of drawn pictures compares them with, and what becomes of those that it turns down."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from idsim.audit.thresholds.calibration import Target
from idsim.generators.seeds import parse_seeds

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["NO_FACE", "ScreenConfig"]

NO_FACE = ("reject", "keep")
MOST_REDRAWS = 10_000


@dataclass(frozen=True)
class ScreenConfig:
    """A screen: every picture is drawn, embedded and searched for in a gallery before it is released.

    Attributes
    ----------
    gallery : Path
        Embeddings of the people whom no picture may resemble, in any format that galleries are built from.
    matcher, model, detector, align : str
        What represents a picture, see `idsim.matchers.opening.open_matcher`; the gallery must be embedded by it.
    device : str
        Of the matcher; empty: the one that draws.
    fpir : float
        Share of searches for people who are not in the gallery that may return a match. It needs `calibration`.
    threshold : float or None
        Fixed score (``l2``: distance) from which on a picture is turned down, instead of `fpir`.
    calibration : Path or None
        Embeddings of real people who are not in the gallery, from the same matcher. With a fixed threshold they only
        tell its error rate.
    no_face : {"reject", "keep"}
        What becomes of a picture in which the matcher finds no face.
    max_redraws : int
        How often a picture may be drawn again. It decides whether a run ends, not what it draws.
    reserve : str
        Seeds that take the place of those turned down, like ``100000-199999``, after the last of the others; empty:
        those that follow it.
    """

    gallery: Path
    matcher: str
    model: str = ""
    detector: str = ""
    align: str = ""
    device: str = ""
    fpir: float | None = None
    threshold: float | None = None
    calibration: Path | None = None
    no_face: str = "reject"
    max_redraws: int = 20
    reserve: str = ""

    def __post_init__(self) -> None:
        if not self.matcher:
            raise ValueError("a screen needs a matcher (--matcher)")
        if self.fpir is not None and self.threshold is not None:
            raise ValueError("a screen has a target FPIR or a fixed threshold, not both")
        if self.threshold is None and self.calibration is None:
            raise ValueError(
                "a screen needs embeddings of real people who are not in its gallery (--calibration), or a fixed "
                "threshold (--threshold)"
            )
        if self.threshold is not None and not math.isfinite(self.threshold):
            raise ValueError(f"threshold must be a finite number, not {self.threshold}")
        if self.fpir is not None and not 0 < self.fpir < 1:
            raise ValueError(f"fpir must be between 0 and 1, not {self.fpir:g}")
        if self.no_face not in NO_FACE:
            raise ValueError(f"no_face must be 'reject' or 'keep', not {self.no_face!r}")
        if not 1 <= self.max_redraws <= MOST_REDRAWS:
            raise ValueError(f"max_redraws must be from 1 to {MOST_REDRAWS}, not {self.max_redraws}")
        if self.reserve:
            parse_seeds(self.reserve)

    @property
    def target(self) -> Target:
        """What the threshold is to fulfil."""
        if self.threshold is not None:
            return Target("threshold", self.threshold)
        return Target("fpir", 0.01 if self.fpir is None else self.fpir)

    def resolved(self) -> dict[str, Any]:
        """Return what the pictures depend on, as plain values: galleries and matcher are told by their content."""
        return {
            "matcher": self.matcher,
            "detector": self.detector,
            "align": self.align,
            "device": self.device.partition(":")[0],
            "target": self.target.name,
            "no_face": self.no_face,
            "reserve": self.reserve,
        }
