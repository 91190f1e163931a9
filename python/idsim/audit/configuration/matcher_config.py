"""``[matcher]``: what turns pictures into embeddings, or what the given embeddings or scores are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from idsim.audit.scores.score_config import ScoresConfig  # noqa: TC001 - its hints are read
from idsim.matchers.dlib import DlibMatcher, DlibOptions
from idsim.matchers.opening import open_matcher
from idsim.matchers.options import RunOptions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from idsim.matchers.base import Matcher

__all__ = ["MatcherConfig", "matcher_of"]

OF_DLIB = ("upsample", "detect_side", "pad", "whole_image", "mirror", "models")
OF_NETWORKS = ("model", "detector", "align", "device")


@dataclass(frozen=True)
class MatcherConfig:
    """``[matcher]`` of a scan, or one ``[[matcher]]`` of several.

    Attributes
    ----------
    kind : str
        Of pictures: ``dlib``, or what `idsim.matchers.opening.open_matcher` opens; of the others ``embeddings`` or
        ``scores``.
    name, metric, licence : str
        Of given embeddings; name and licence also of given scores. Of several matchers each has a name, the folder of
        its results; default: its kind.
    upsample, detect_side, pad, whole_image, mirror, models
        As in `idsim.matchers.dlib.DlibOptions`.
    model, detector, align, device : str
        As in `idsim.matchers.opening.open_matcher`; of every matcher but ``dlib``.
    synthetic, training, holdout, probes : str
        Of several matchers, one that gives embeddings or scores: its embeddings of the sets, or files of their ids.
    scores : ScoresConfig or None
        Of several matchers, one that gives scores.
    """

    kind: str = ""
    name: str = ""
    metric: str = ""
    licence: str = ""
    upsample: int = 0
    detect_side: int = 0
    pad: bool = True
    whole_image: bool = False
    mirror: bool = False
    models: str = ""
    model: str = ""
    detector: str = ""
    align: str = ""
    device: str = ""
    synthetic: str = ""
    training: str = ""
    holdout: str = ""
    probes: str = ""
    scores: ScoresConfig | None = None

    @property
    def label(self) -> str:
        """What results are filed under."""
        return self.name or self.kind or ("scores" if self.scores else "")

    @property
    def gives_vectors(self) -> bool:
        """Whether it has embeddings of its own, where there are several matchers."""
        return self.kind == "embeddings"

    @property
    def gives_scores(self) -> bool:
        """Whether it has scores of its own, where there are several matchers."""
        return self.kind == "scores"

    def alone(self) -> MatcherConfig:
        """Return the matcher as a scan with this one alone describes it."""
        given = self.gives_vectors or self.gives_scores
        own: dict[str, Any] = dict.fromkeys(("synthetic", "training", "holdout", "probes"), "")
        return replace(self, name=self.name if given else "", scores=None, **own)

    @property
    def is_dlib(self) -> bool:
        """Whether pictures are for `DlibMatcher`."""
        return self.kind in ("", "dlib")

    def check_for_pictures(self, refuse: Callable[[str], None]) -> None:
        """Refuse keys that pictures with this matcher have no use for."""
        if self.name or self.metric or self.licence:
            refuse(
                "[matcher] name, metric and licence belong to embeddings: the matcher of images knows its own"
            )
        if self.kind in ("embeddings", "scores"):
            refuse(f"[matcher] kind must be 'dlib' or another matcher for images, not {self.kind!r}")
        for key in OF_NETWORKS if self.is_dlib else OF_DLIB:
            if getattr(self, key) != getattr(MatcherConfig, key):
                owner = "a matcher other than dlib" if self.is_dlib else "dlib"
                refuse(f"[matcher] {key} belongs to {owner}, and kind is {self.kind or 'dlib'!r}")

    def check_for_vectors(self, refuse: Callable[[str], None]) -> None:
        """Refuse keys that given embeddings have no use for."""
        for key in (*OF_DLIB, *OF_NETWORKS):
            if getattr(self, key) != getattr(MatcherConfig, key):
                refuse(f"[matcher] {key} belongs to images, and the sets are embeddings")
        if self.kind not in ("", "embeddings"):
            refuse(f"[matcher] kind must be 'embeddings' where the sets are embeddings, not {self.kind!r}")
        if self.metric not in ("", "cosine", "l2"):
            refuse(f"[matcher] metric must be 'cosine' or 'l2', not {self.metric!r}")


def matcher_of(config: MatcherConfig, base: Path) -> Matcher:
    """Open the matcher of pictures; relative paths start from `base`.

    Raises
    ------
    ValueError, MatcherError, CudaError, ModuleNotFoundError
        As `open_matcher`.
    """
    if not config.is_dlib:
        return open_matcher(
            config.kind,
            model=str(base / config.model) if config.model else "",
            detector=config.detector,
            align=config.align,
            base=base,
            options=RunOptions(config.device or "cpu"),
        )
    models = str(base / config.models) if config.models else ""
    return DlibMatcher(
        DlibOptions(
            config.upsample, config.detect_side, config.pad, config.whole_image, config.mirror, models
        )
    )
