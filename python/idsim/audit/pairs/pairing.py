"""The comparisons of one matcher: ranges of sets against whole sets, each kept as soon as it is there."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from idsim.audit.diagnostics.inputs import without_shared
from idsim.audit.faces import require_faces
from idsim.audit.pairs.compared import Compared
from idsim.audit.pairs.pair_names import sets_of
from idsim.audit.pairs.pair_shards import NOTHING_LISTED, best_of_tail, joined, read_pairs, write_pairs
from idsim.audit.pairs.tails import TooLooseError, refuse_loose
from idsim.audit.parts import GivenPart
from idsim.audit.thresholds.levels import listing_level
from idsim.audit.work import pair_tasks
from idsim.comparison import compare
from idsim.index import Index
from idsim.results import Pairs
from idsim.tails import pairs_above
from idsim.topk import search

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from idsim.audit.faces import FaceSet
    from idsim.audit.parts import Part
    from idsim.audit.work import PairTask, Work
    from idsim.options import Metric

__all__ = ["Pairing"]

# Rows of a set that are compared with what follows them at a time: few pairs twice, and few preparations of the rest.
# A device takes more, since the rest is copied to it each time.
STRIP = 1 << 12
DEVICE_STRIP = 1 << 15

NOTHING = Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))


class Pairing:
    """What compares the sets of one matcher, once the real ones are embedded.

    Parameters
    ----------
    work : Work
        The matcher's work; shards of its real sets must be there.

    Raises
    ------
    ValueError
        A real set has no embedding at all.
    """

    def __init__(self, work: Work) -> None:
        self.work = work
        self.metric: Metric = work.matcher["metric"]
        real = {name: part.faces() for name, part in work.real.items()}
        holdout, _ = without_shared(work.config, real["training"], real["holdout"])
        self.real: dict[str, FaceSet] = real | {"holdout": holdout}
        for faces in self.real.values():
            require_faces(faces)
        totals = {name: len(faces.items) for name, faces in self.real.items()}
        self.tasks = list(pair_tasks(work, totals))
        self._parts: dict[str, Part] = {
            name: GivenPart(faces, f"{work.real[name].identity} {totals[name]}")
            for name, faces in self.real.items()
        }
        self._indexes: dict[tuple[str, str], Index] = {}
        self._whole: dict[str, Compared] = {}
        self._level: float | None = None

    def level(self) -> float:
        """Return the score from which on pairs are listed."""
        if self._level is None:
            holdout = self.real["holdout"]
            sizes = {name: len(faces.rows) for name, faces in self.real.items()}
            sizes["synthetic"] = max((part.total for part in self.work.series.values()), default=0)
            largest = max(
                (sizes[rows] * sizes[columns] for rows, columns in map(sets_of, self.work.pairs())), default=0
            )
            targets = self.work.config.calibration.targets()
            self._level = listing_level(holdout.vectors, holdout.codes()[0], targets, self.metric, largest)
        return self._level

    def read(self, task: PairTask) -> Compared | None:
        """Return what a task gave, or None where it must be done (again)."""
        return read_pairs(self.work.folder / task.name, self._key(task))

    def run(self, task: PairTask) -> None:
        """Compare a range, and keep the result."""
        rows, columns = sets_of(task.pair)
        if rows == columns:
            compared = self._compare_own(self._faces(rows, task.variant), task)
        else:
            queries = self._part(rows, task.variant).vectors(task.start, task.stop)
            compared = self._compare(queries, self._index(columns, task.variant))
        path = self.work.folder / task.name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_pairs(path, self._key(task), compared)

    def compared(self, pair: str, variant: str = "") -> Compared | None:
        """Return a whole comparison; None where it is not made, or a shard is missing.

        Those of the real sets are kept in memory: every synthetic set of a series asks for them.
        """
        if "S" in pair:
            return self._joined(pair, variant)
        if pair not in self._whole:
            found = self._joined(pair, "")
            if found is None:
                return None
            self._whole[pair] = found
        return self._whole[pair]

    def _joined(self, pair: str, variant: str) -> Compared | None:
        tasks = [task for task in self.tasks if (task.pair, task.variant) == (pair, variant)]
        parts = [part for part in map(self.read, tasks) if part is not None]
        if not tasks or len(parts) < len(tasks):
            return None
        whole = joined(parts, self.metric)
        rows, columns = sets_of(pair)
        if rows != columns:
            return whole
        count = len(self._faces(rows, variant).rows)
        scores, ids = best_of_tail(whole.tail, count, self.work.config.output.matches, self.metric)
        return replace(whole, scores=scores, ids=ids)

    def _compare(self, queries: NDArray[np.float32], index: Index) -> Compared:
        k = min(self.work.config.output.matches, len(index))
        if not len(queries) or not k:
            shape = (len(queries), k)
            empty = np.empty(shape, np.float32), np.empty(shape, np.int64)
            return Compared(self.metric, *empty, self.level(), NOTHING)
        level = self.level()
        try:
            refuse_loose(queries, index, level, self.metric)
        except TooLooseError:
            scores, ids = search(queries, index, k, metric=self.metric)
            return Compared(self.metric, np.asarray(scores), np.asarray(ids), self._nothing_listed, NOTHING)
        found = compare(queries, index, k, threshold=level, metric=self.metric)
        return Compared(self.metric, np.asarray(found.scores), np.asarray(found.ids), level, found.pairs)

    def _compare_own(self, faces: FaceSet, task: PairTask) -> Compared:
        """Compare a range of a set with what follows it, and with itself: every pair once."""
        first, last = (int(row) for row in np.searchsorted(faces.rows, [task.start, task.stop]))
        persons = faces.codes()[0]
        level, tail = self.level(), NOTHING
        if first < last:
            try:
                refuse_loose(faces.vectors[first:last], faces.vectors[first:], level, self.metric)
                tail = self._own_tail(faces.vectors, persons, (first, last), level)
            except TooLooseError:
                level = self._nothing_listed
        empty = np.empty((last - first, 0), np.float32), np.empty((last - first, 0), np.int64)
        return Compared(self.metric, *empty, level, tail)

    def _own_tail(
        self,
        vectors: NDArray[np.float32],
        persons: NDArray[np.int64],
        rows: tuple[int, int],
        level: float,
    ) -> Pairs:
        """List the pairs of rows of a set with what follows them: strip by strip, as a strip meets itself twice."""
        device = self.work.config.comparisons.device or None
        found = []
        for start in range(*rows, DEVICE_STRIP if device else STRIP):
            stop = min(start + (DEVICE_STRIP if device else STRIP), rows[1])
            pairs = pairs_above(
                vectors[start:stop],
                vectors[start:],
                level,
                metric=self.metric,
                exclude=(persons[start:stop], persons[start:]),
                device=device,
            )
            keep = pairs.rows < pairs.columns
            found.append(
                Pairs(pairs.rows[keep] + (start - rows[0]), pairs.columns[keep] + start, pairs.scores[keep])
            )
        return Pairs(*map(np.concatenate, zip(*found, strict=True)))

    @property
    def _nothing_listed(self) -> float:
        """The level of a comparison of which so many pairs reach the level that none is listed."""
        return float(NOTHING_LISTED.get(self.metric, np.inf))

    def _part(self, name: str, variant: str) -> Part:
        return self.work.series[variant] if name == "synthetic" else self._parts[name]

    def _faces(self, name: str, variant: str) -> FaceSet:
        return self._part(name, variant).faces()

    def _index(self, name: str, variant: str) -> Index:
        key = (name, variant if name == "synthetic" else "")
        if key not in self._indexes:
            if name == "synthetic":  # those of other variants are not needed again
                self._indexes = {other: index for other, index in self._indexes.items() if other[0] != name}
            device = self.work.config.comparisons.device or "cpu"
            self._indexes[key] = Index(self._faces(name, variant).vectors, metric=self.metric, device=device)
        return self._indexes[key]

    def _key(self, task: PairTask) -> str:
        rows, columns = (self._part(name, task.variant).identity for name in sets_of(task.pair))
        what = [rows, columns, task.pair, task.start, task.stop, self.metric, repr(self.level())]
        return hashlib.sha256(json.dumps([*what, self.work.config.output.matches]).encode()).hexdigest()
