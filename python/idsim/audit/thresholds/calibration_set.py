"""A gallery as a calibration set: its faces and persons, and what comparing it with itself gives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from idsim.audit.faces import FaceSet
from idsim.audit.inputs import StoredVectors, content_hash, read_vectors
from idsim.audit.pairs.compared import Compared
from idsim.audit.pairs.comparing import VectorImpostors
from idsim.audit.pairs.tails import MAX_PAIRS
from idsim.audit.rates.dependence import pairs_of
from idsim.audit.strata_files import one_per_item
from idsim.audit.thresholds.calibration import strictest
from idsim.audit.thresholds.roc import ImpostorScores
from idsim.audit.thresholds.sampled_impostors import BINS, binned_with_sample, sample_impostors
from idsim.distribution import score_distribution
from idsim.tails import pairs_above
from idsim.topk import search

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from idsim.audit.thresholds.calibration import Target
    from idsim.options import Metric

__all__ = ["CalibrationSet", "SelfComparison", "compare_with_itself", "read_calibration_set"]

MATCHES = 4  # kept per face: with persons taken out, the next best is still there
LEAST_LISTED = 20_000  # pairs: enough to see a valley of the tail, or to fit it


class Tell(Protocol):
    """Is told of the progress of a stage."""

    def __call__(self, done: int, total: int, note: str = "") -> bool:
        """Take what is done of all, and what is being done."""


@dataclass(frozen=True)
class CalibrationSet:
    """The faces of a gallery that have an embedding.

    Attributes
    ----------
    faces : FaceSet
        Items, labels and embeddings.
    persons : ndarray
        int64 ``[n]``: person of every embedding, codes 0 .. k-1, each present.
    names : list of str
        Labels of the persons.
    rule : str
        Where the labels come from: ``each``, ``group`` or ``file``.
    sha256 : str
        Of embeddings, labels and items.
    """

    faces: FaceSet
    persons: NDArray[np.int64]
    names: list[str]
    rule: str
    sha256: str


@dataclass(frozen=True)
class SelfComparison:
    """A calibration set compared with itself.

    Attributes
    ----------
    compared : Compared
        Best matches, and the tail.
    impostors : ImpostorScores
        All impostor scores in bins, and the tail.
    sampled : int
        Pairs by which the bins below the tail are estimated; 0 where all pairs are counted.
    """

    compared: Compared
    impostors: ImpostorScores
    sampled: int


def read_calibration_set(path: Path, labels: str = "group", key: str | None = None) -> CalibrationSet:
    """Read a gallery into memory, from any format that galleries are built from.

    Parameters
    ----------
    path : Path
        File or folder.
    labels : str
        Who is in every row: ``group`` (the column of that name), ``each`` (nobody twice), or a ``.npy`` file of
        integers or strings.
    key : str, optional
        Which matrix, where there are several.

    Raises
    ------
    GalleryError
        The files are damaged, or of no format that is read.
    ValueError
        There is no row with numbers, or the labels do not fit the rows.
    """
    stored = read_vectors(path, key=key)
    given, rule = _labels(path, labels, stored)
    rows = np.flatnonzero(stored.finite).astype(np.int64)
    if not len(rows):
        raise ValueError(f"{path} has {len(stored.vectors)} rows, and none of them is an embedding")
    digest = content_hash(stored.vectors, given, stored.items)
    vectors = stored.vectors if stored.finite.all() else stored.vectors[rows]
    faces = FaceSet("calibration", stored.items, given, vectors, rows)
    persons, names = faces.codes()
    return CalibrationSet(faces, persons, names, rule, digest)


def _labels(path: Path, labels: str, stored: StoredVectors) -> tuple[list[str], str]:
    if labels == "each":
        return stored.items, "each"
    if labels != "group":
        return one_per_item("labels", Path(labels), len(stored.items)), "file"
    if len(stored.groups) != len(stored.items):
        raise ValueError(
            f"{path} has no group column that says who is in its rows: give labels as a .npy file, or 'each' if no "
            "person is there twice"
        )
    return stored.groups, "group"


# --- comparing ------------------------------------------------------------------------------------


def compare_with_itself(
    data: CalibrationSet,
    metric: Metric,
    targets: Sequence[Target],
    tell: Tell,
    *,
    wanted: int = 0,
    threads: int | None = None,
    device: str | None = None,
) -> SelfComparison:
    """Compare all faces of different persons.

    The tail is listed down to what the targets need, and at least to the best 20,000 pairs; at most to the best
    50 million.

    Parameters
    ----------
    data : CalibrationSet
        The faces.
    metric : {"cosine", "l2"}
        How they are compared.
    targets : sequence of Target
        Operating points that will be asked for.
    tell : callable
        Is told of the progress.
    wanted : int
        How many of the best pairs to list at least.
    threads, device
        As of `idsim.search`.

    Raises
    ------
    ValueError
        All faces are of one person.
    """
    vectors, persons = data.faces.vectors, data.persons
    comparisons = pairs_of(np.bincount(persons).astype(np.int64))
    if not comparisons:
        raise ValueError("all embeddings are of one person: there is no impostor comparison")
    engine: dict[str, Any] = {"threads": threads, "device": device}
    best = search(
        vectors,
        vectors,
        min(MATCHES, len(vectors)),
        metric=metric,
        exclude=(persons, persons),
        progress=lambda done, total: tell(done, total, "best matches"),
        **engine,
    )
    scores, ids = np.asarray(best.scores), np.asarray(best.ids)
    count = max(wanted, LEAST_LISTED, *(_pairs_needed(target, comparisons) for target in targets))
    count = min(count, comparisons, MAX_PAIRS)
    bins = _distribution(data, tell, engine) if metric == "cosine" else None
    sample = sample_impostors(vectors, persons, metric) if bins is None else np.empty(0, np.float32)
    level = _level(data, metric, count, bins)
    for target in targets:
        level = _looser(level, _needed(target, scores[:, 0], metric), metric)
    expected = float((sample <= level).mean()) * comparisons if bins is None else _above(bins, level)
    if expected > MAX_PAIRS:
        level = _level(data, metric, MAX_PAIRS, bins)
    tail = pairs_above(
        vectors,
        None,
        level,
        metric=metric,
        exclude=(persons, persons),
        progress=lambda done, total: tell(done, total, "pairs of the tail"),
        **engine,
    )
    compared = Compared(metric, scores, ids, level, tail)
    if bins is not None:
        edges, counts, slack = bins
        return SelfComparison(compared, ImpostorScores(edges, counts, tail.scores, level, metric, slack), 0)
    return SelfComparison(compared, *binned_with_sample(compared, sample, comparisons))


def _pairs_needed(target: Target, comparisons: int) -> int:
    return int(target.value * comparisons) + 1 if target.kind == "fmr" else 0


def _needed(target: Target, best: NDArray[np.float32], metric: str) -> float | None:
    """Return the threshold that a target will have, where that is known before the tail is."""
    if target.kind == "threshold":
        return target.value
    allowed = int(target.value * len(best))
    if target.kind != "fpir" or allowed >= len(best):
        return None
    ascending = np.sort(best)
    return strictest(ascending if metric == "l2" else ascending[::-1], allowed, metric)


def _looser(level: float, needed: float | None, metric: str) -> float:
    if needed is None or not np.isfinite(needed):
        return level
    return max(level, needed) if metric == "l2" else min(level, needed)


def _distribution(
    data: CalibrationSet, tell: Tell, engine: dict[str, Any]
) -> tuple[NDArray[np.float64], NDArray[np.int64], float]:
    """Return bins, impostor comparisons in them, and by how much a score may be off its bin."""
    found = score_distribution(
        data.faces.vectors,
        groups=data.persons,
        bins=BINS,
        progress=lambda done, total: tell(done, total, "distribution of all pairs"),
        **engine,
    )
    assert found.non_mated is not None
    return found.edges, found.non_mated.astype(np.int64), found.max_error


def _level(
    data: CalibrationSet,
    metric: Metric,
    count: int,
    bins: tuple[NDArray[np.float64], NDArray[np.int64], float] | None,
) -> float:
    """Return a threshold that at least `count` impostor comparisons reach, and not many more."""
    if bins is None:
        return float(VectorImpostors(data.faces.vectors, data.persons, metric).tail(count)[count - 1])
    edges, counts, slack = bins
    reached = np.cumsum(counts[::-1])[::-1]
    return float(edges[np.flatnonzero(reached >= count)[-1]] - slack)


def _above(bins: tuple[NDArray[np.float64], NDArray[np.int64], float], level: float) -> int:
    edges, counts, slack = bins
    return int(counts[np.searchsorted(edges[:-1], level + slack) :].sum())
