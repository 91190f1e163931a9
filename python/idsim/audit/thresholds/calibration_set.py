"""A gallery as a calibration set: its faces and persons, and what comparing it with itself gives."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from idsim import reference
from idsim.audit.faces import FaceSet
from idsim.audit.pairs.compared import Compared
from idsim.audit.pairs.comparing import MAX_MATED_PAIRS, VectorImpostors, mated_pairs
from idsim.audit.pairs.tails import MAX_PAIRS
from idsim.audit.rates.dependence import pairs_of
from idsim.audit.thresholds.calibration import strictest
from idsim.audit.thresholds.roc import ImpostorScores
from idsim.distribution import score_distribution
from idsim.gallery import open_source
from idsim.gallery.elements import widen
from idsim.search import search
from idsim.tails import pairs_above

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from idsim.audit.thresholds.calibration import Target
    from idsim.options import Metric

__all__ = ["CalibrationSet", "SelfComparison", "compare_with_itself", "mated_scores", "read_calibration_set"]

MATCHES = 4  # kept per face: with persons taken out, the next best is still there
LEAST_LISTED = 20_000  # pairs: enough to see a valley of the tail, or to fit it
BINS = 1 << 14
SAMPLED_PAIRS = 1 << 18  # of distances, where nothing counts all pairs in bins
SAMPLE_BLOCK = 1 << 14


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
    source = open_source(path, key=key)
    vectors = np.empty((source.rows, source.dim), np.float32)
    columns: dict[str, list[str]] = {"id": [], "group": []}
    done = 0
    for batch in source.batches(65_536):
        block = widen(batch.stored, source.dtype)
        vectors[done : done + len(block)] = block
        done += len(block)
        for name, values in columns.items():
            if batch.table is not None and name in batch.table.column_names:
                values += [str(value) for value in batch.table.column(name).to_pylist()]
    items = columns["id"] if len(columns["id"]) == source.rows else [str(row) for row in range(source.rows)]
    given, rule = _labels(path, labels, items, columns["group"])
    rows = np.flatnonzero(np.all(np.isfinite(vectors), axis=1)).astype(np.int64)
    if not len(rows):
        raise ValueError(f"{path} has {source.rows} rows, and none of them is an embedding")
    digest = hashlib.sha256(np.ascontiguousarray(vectors).data)
    digest.update(json.dumps([given, items]).encode())
    faces = FaceSet("calibration", items, given, vectors[rows], rows)
    persons, names = faces.codes()
    return CalibrationSet(faces, persons, names, rule, digest.hexdigest())


def _labels(path: Path, labels: str, items: list[str], groups: list[str]) -> tuple[list[str], str]:
    if labels == "each":
        return items, "each"
    if labels == "group":
        if len(groups) != len(items):
            raise ValueError(
                f"{path} has no group column that says who is in its rows: give labels as a .npy file, or 'each' if "
                "no person is there twice"
            )
        return groups, "group"
    place = Path(labels)
    try:
        given = np.load(place, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{place} is no .npy file of labels ({error})") from error
    if not isinstance(given, np.ndarray) or given.shape != (len(items),) or given.dtype.kind not in "iuU":
        what = f"{given.dtype} {list(given.shape)}" if isinstance(given, np.ndarray) else "an archive"
        raise ValueError(f"{place} must hold {len(items)} integers or strings, not {what}")
    return [str(label) for label in given.tolist()], "file"


def mated_scores(data: CalibrationSet, metric: Metric) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the scores of up to 100,000 pairs of images of one person, and whose they are."""
    left, right, _ = mated_pairs(data.faces, MAX_MATED_PAIRS)
    if not len(left):
        return np.empty(0, np.float32), np.empty(0, np.int64)
    vectors = data.faces.vectors
    return reference.paired_scores(vectors[left], vectors[right], metric), data.persons[left]


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
    sample = _sample(data) if bins is None else np.empty(0, np.float32)
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
    return _with_sample(compared, sample, comparisons)


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


def _sample(data: CalibrationSet) -> NDArray[np.float32]:
    """Return the distances of pairs of different persons, drawn at random."""
    rng = np.random.default_rng(0)
    vectors, persons = data.faces.vectors, data.persons
    parts = []
    for _ in range(SAMPLED_PAIRS // SAMPLE_BLOCK):
        left, right = rng.integers(0, len(vectors), (2, SAMPLE_BLOCK))
        apart = persons[left] != persons[right]
        parts.append(reference.paired_scores(vectors[left[apart]], vectors[right[apart]], "l2"))
    return np.concatenate(parts)


def _with_sample(compared: Compared, sample: NDArray[np.float32], comparisons: int) -> SelfComparison:
    """Return distances in bins: the tail counted, the rest estimated by the sample."""
    listed = compared.tail.scores
    rest = sample[sample > compared.level]
    top = float(max(sample.max(initial=0), listed.max(initial=0)))
    counts, edges = np.histogram(listed, BINS, (0.0, top or 1.0))
    missing = comparisons - len(listed)
    if len(rest) and missing:
        # Cumulated shares, rounded once, so that the bins sum to the comparisons exactly.
        shares = np.cumsum(np.histogram(rest, edges)[0]) / len(rest)
        counts = counts + np.diff(np.round(shares * missing).astype(np.int64), prepend=0)
    impostors = ImpostorScores(edges, counts, listed, compared.level, compared.metric)
    return SelfComparison(compared, impostors, len(rest))
