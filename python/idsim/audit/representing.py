"""Decoded pictures to embeddings: detection and embedding side by side where a matcher allows it."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.sources.decoding import in_order

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from idsim.matchers.base import Matcher, Representation, StagedMatcher
    from idsim.sources.decoding import Content

    Found = tuple[dict[str, Any], NDArray[np.float32] | None]
    Prepared = tuple[dict[str, Any], NDArray[np.uint8] | None]

__all__ = ["Stages", "represent_all"]


class Stages:
    """How long each stage worked, and on how many pictures. Stages run side by side: the times overlap."""

    def __init__(self) -> None:
        self._times: dict[str, list[float]] = {}
        self._lock = threading.Lock()

    def add(self, name: str, seconds: float, pictures: int, workers: int = 1) -> None:
        """Take note of work of one stage; `seconds` of all its workers together."""
        with self._lock:
            entry = self._times.setdefault(name, [0, 0.0, workers])
            entry[0] += pictures
            entry[1] += seconds

    def merge(self, others: dict[str, list[float]]) -> None:
        """Add what another process has noted."""
        for name, (pictures, seconds, workers) in others.items():
            self.add(name, seconds, int(pictures), int(workers))

    def times(self) -> dict[str, list[float]]:
        """Return pictures, seconds and workers of every stage."""
        with self._lock:
            return {name: list(entry) for name, entry in self._times.items()}

    def rates(self) -> dict[str, float]:
        """Return pictures per second that each stage could do alone, all its workers together."""
        return {
            name: pictures * workers / seconds
            for name, (pictures, seconds, workers) in self.times().items()
            if seconds > 0
        }

    @contextmanager
    def timed(self, name: str, pictures: int = 1) -> Iterator[None]:
        """Take note of the time that the block takes."""
        started = time.perf_counter()
        yield
        self.add(name, time.perf_counter() - started, pictures)


def represent_all(
    contents: Iterator[Content], matcher: Matcher, batch: int, stages: Stages
) -> Iterator[Found]:
    """Yield the record of every picture and its embedding, if it has one; in order.

    Parameters
    ----------
    contents : iterator of Content
        The pictures.
    matcher : Matcher
        Where it is a `StagedMatcher`, faces are found in a thread of their own while others are embedded.
    batch : int
        Pictures whose faces are embedded together. A batch never depends on what was done before, because it may
        change the last bits of an embedding.
    stages : Stages
        Takes note of the times.
    """
    if not hasattr(matcher, "prepare"):
        for content in contents:
            with stages.timed("represent"):
                found = _represent(content, matcher)
            yield found
        return
    staged: StagedMatcher = matcher  # type: ignore[assignment]
    prepared = _prepared(contents, staged, batch, stages)
    while group := list(islice(prepared, batch)):
        yield from _embed(group, staged, stages)


def _prepared(
    contents: Iterator[Content], matcher: StagedMatcher, ahead: int, stages: Stages
) -> Iterator[Prepared]:
    def prepare(content: Content) -> Prepared:
        with stages.timed("detect"):
            record = _record(content)
            if content.picture.pixels is None:
                return record, None
            found, crop = matcher.prepare(content.picture.pixels)
            return _described(record, found, crop is not None), crop

    with ThreadPoolExecutor(1, "idsim-detect") as thread:
        yield from in_order(thread, prepare, contents, ahead)


def _embed(group: list[Prepared], matcher: StagedMatcher, stages: Stages) -> Iterator[Found]:
    crops = [crop for _, crop in group if crop is not None]
    if crops:
        with stages.timed("embed", len(crops)):
            vectors = iter(matcher.embed(np.stack(crops)))
    for record, crop in group:
        yield (record, None) if crop is None else _judged(record, np.asarray(next(vectors), np.float32))


def _represent(content: Content, matcher: Matcher) -> Found:
    record = _record(content)
    if content.picture.pixels is None:
        return record, None
    found = matcher.represent(content.picture.pixels)
    record = _described(record, found, found.vector is not None)
    return (record, None) if found.vector is None else _judged(record, found.vector)


def _record(content: Content) -> dict[str, Any]:
    return {
        "status": "unreadable", "reason": content.picture.reason, "route": "", "faces": 0, "box": None,
        "confidence": None, "norm": None, "sha256": content.sha256,
    }  # fmt: skip


def _described(record: dict[str, Any], found: Representation, face: bool) -> dict[str, Any]:
    record |= {"route": found.route, "faces": found.faces, "confidence": found.confidence}
    record["box"] = list(found.box) if found.box else None
    return record if face else record | {"status": "no_face", "reason": "no face was found"}


def _judged(record: dict[str, Any], vector: NDArray[np.float32]) -> Found:
    if not np.isfinite(vector).all():
        return record | {"status": "no_face", "reason": "the embedding is not finite"}, None
    wide = vector.astype(np.float64)
    return record | {"status": "ok", "norm": float(np.sqrt(np.dot(wide, wide)))}, vector
