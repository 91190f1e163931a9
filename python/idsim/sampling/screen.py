"""A screen at work: pictures are embedded, searched for in a gallery, and taken or turned down."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from idsim.audit.faces import encode_labels
from idsim.audit.folder import difference
from idsim.audit.pairs.compared import reaches
from idsim.audit.pairs.comparing import VectorImpostors
from idsim.audit.representing import Stages, represent_all
from idsim.audit.thresholds.calibration import Calibrator, OperatingPoint
from idsim.audit.thresholds.calibration_set import read_calibration_set
from idsim.gallery import open_source
from idsim.gallery.sources.detect import GallerySource
from idsim.images import Picture
from idsim.index import Index
from idsim.matchers.opening import open_matcher
from idsim.matchers.options import RunOptions
from idsim.sources.decoding import Content
from idsim.topk import search

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from idsim.audit.thresholds.calibration_set import CalibrationSet
    from idsim.matchers.base import Matcher
    from idsim.options import Metric
    from idsim.sampling.screen_config import ScreenConfig

__all__ = [
    "ACCEPTED",
    "FACELESS",
    "REJECTED",
    "Calibrated",
    "Screen",
    "Verdict",
    "calibrate_screen",
    "open_screen",
]

ACCEPTED, REJECTED, FACELESS = "accepted", "rejected", "no face"

# What a matcher runs on changes the last bits of an embedding, not whose face it is.
MACHINERY = ("device", "provider", "runtime", "library", "package", "batch")


class Verdict(NamedTuple):
    """What the screen says of one picture.

    Attributes
    ----------
    outcome : str
        `ACCEPTED`, `REJECTED` or `FACELESS`.
    released : bool
        Whether the picture passes: accepted, or without a face where those are kept.
    score : float or None
        Its best match in the gallery; None without a face.
    """

    outcome: str
    released: bool
    score: float | None


class Screen:
    """A gallery that is searched for every picture.

    Parameters
    ----------
    config : ScreenConfig
        What it is.
    matcher : Matcher
        What represents a picture.
    gallery : CalibrationSet
        The people whom no picture may resemble.
    threshold : float
        Pictures whose best match has this score (``l2``: distance) or a better one are turned down.
    """

    def __init__(
        self, config: ScreenConfig, matcher: Matcher, gallery: CalibrationSet, threshold: float
    ) -> None:
        self.config, self.matcher, self.gallery, self.threshold = config, matcher, gallery, threshold
        self.metric = cast("Metric", matcher.metric)
        self._index = Index(gallery.faces.vectors, metric=self.metric)

    def judge(self, pictures: Sequence[NDArray[np.uint8]]) -> list[Verdict]:
        """Return what becomes of each picture, uint8 ``[height, width, 3]`` RGB."""
        contents = (Content("", Picture(pixels, "")) for pixels in pictures)
        found = [vector for _, vector in represent_all(contents, self.matcher, len(pictures), Stages())]
        vectors = [vector for vector in found if vector is not None]
        scores = iter(())
        if vectors:
            best, _ = search(np.array(vectors, np.float32), self._index, 1, metric=self.metric)
            scores = iter(np.asarray(best)[:, 0].tolist())
        return [self._faceless() if vector is None else self._verdict(next(scores)) for vector in found]

    def _faceless(self) -> Verdict:
        return Verdict(FACELESS, self.config.no_face == "keep", None)

    def _verdict(self, score: float) -> Verdict:
        reached = bool(reaches(score, self.threshold, self.metric))
        return Verdict(REJECTED if reached else ACCEPTED, not reached, score)


def open_screen(config: ScreenConfig, device: str = "") -> tuple[Matcher, CalibrationSet]:
    """Open the matcher and the gallery of a screen.

    Parameters
    ----------
    config : ScreenConfig
        The screen.
    device : str
        The one that draws; empty: the CPU.

    Raises
    ------
    ValueError
        A text means nothing, or the gallery does not fit the matcher.
    GalleryError, MatcherError, CudaError, ModuleNotFoundError, OSError
        Something cannot be used.
    """
    options = RunOptions(config.device or device or "cpu")
    matcher = open_matcher(
        config.matcher, model=config.model, detector=config.detector, align=config.align, options=options
    )
    return matcher, _read(config.gallery, matcher)


def _read(path: Path, matcher: Matcher) -> CalibrationSet:
    """Return the embeddings at a path, after a look whether they are of this matcher."""
    source = open_source(path)
    if source.dim != matcher.dim:
        raise ValueError(
            f"{path} has embeddings of {source.dim} numbers, and those of {matcher.name} have {matcher.dim}"
        )
    if isinstance(source, GallerySource):
        made_by = source.gallery.manifest.metadata.get("matcher")
        if isinstance(made_by, str):
            now = json.loads(json.dumps(matcher.describe()))
            changed = difference(_essence(json.loads(made_by)), _essence(now))
            if changed:
                raise ValueError(f"{path} was embedded by another matcher: {changed}")
    return read_calibration_set(path, "group" if _has_groups(path) else "each")


def _has_groups(path: Path) -> bool:
    batch = next(iter(open_source(path).batches(1)), None)
    return batch is not None and batch.table is not None and "group" in batch.table.column_names


def _essence(description: Any) -> Any:
    if isinstance(description, dict):
        return {name: _essence(value) for name, value in description.items() if name not in MACHINERY}
    return description


# --- the threshold --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Calibrated:
    """The threshold of a screen, and what is known of it.

    Attributes
    ----------
    point : OperatingPoint
        With a threshold.
    people : CalibrationSet or None
        Those whose searches measured it; None: it is fixed, and nothing is known.
    shared : int
        Persons that calibration and gallery both name; they were left out.
    """

    point: OperatingPoint
    people: CalibrationSet | None
    shared: int


def calibrate_screen(config: ScreenConfig, matcher: Matcher, gallery: CalibrationSet) -> Calibrated:
    """Return the threshold of a screen, measured by searches for people who are not in the gallery.

    Raises
    ------
    ValueError
        The people are too few for the target, or the gallery names all of them too.
    GalleryError, OSError
        The calibration cannot be read.
    """
    persons = len(gallery.names)
    if config.calibration is None:
        fixed = OperatingPoint(config.target, config.threshold, "", None, None, persons)
        return Calibrated(fixed, None, 0)
    people = _read(config.calibration, matcher)
    named = gallery.rule == people.rule == "group"
    shared = set(gallery.names) & set(people.names) if named else set()
    faces = people.faces.without(shared)
    if not len(faces.rows):
        raise ValueError(f"{config.calibration}: every person is in {config.gallery} too")
    labels = [f"c:{faces.labels[row]}" for row in faces.rows.tolist()]
    enrolled = [f"g:{gallery.names[code]}" for code in gallery.persons.tolist()]
    codes = encode_labels(labels + enrolled)[0]
    impostors = VectorImpostors(
        faces.vectors,
        codes[: len(labels)],
        cast("Metric", matcher.metric),
        (gallery.faces.vectors, codes[len(labels) :]),
    )
    point = Calibrator(impostors).point(config.target)
    if point.threshold is None:
        raise ValueError(f"{config.calibration} gives no threshold for {config.target.name}: {point.refusal}")
    return Calibrated(point, people, len(shared))


def gallery_entry(data: CalibrationSet) -> dict[str, Any]:
    """Return what tells a gallery from another, as plain JSON values; no name of anybody."""
    return {
        "rows": len(data.faces.items),
        "embeddings": len(data.faces.rows),
        "persons": len(data.names),
        "labels": data.rule,
        "sha256": data.sha256,
    }


def matcher_sha256(matcher: Matcher) -> str:
    """Return the hash of a matcher's description."""
    return hashlib.sha256(json.dumps(matcher.describe(), sort_keys=True).encode()).hexdigest()
