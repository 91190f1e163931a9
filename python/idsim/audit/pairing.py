"""The comparisons of one matcher: ranges of sets against whole sets, each kept as soon as it is there."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np

from idsim.audit.compared import Compared
from idsim.audit.evaluation import require_faces, without_shared
from idsim.audit.levels import listing_level
from idsim.audit.pair_names import sets_of
from idsim.audit.pair_shards import NOTHING_LISTED, joined, read_pairs, write_pairs
from idsim.audit.parts import GivenPart
from idsim.audit.tails import TooLooseError, reaching_pairs
from idsim.audit.work import pair_tasks
from idsim.index import Index
from idsim.results import Pairs
from idsim.search import search

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from idsim.audit.faces import FaceSet
    from idsim.audit.parts import Part
    from idsim.audit.work import PairTask, Work
    from idsim.options import Metric

__all__ = ["Pairing"]


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
        self.holdout_checks = without_shared(work.config, real["training"], real["holdout"])
        self.real: dict[str, FaceSet] = real | {"holdout": self.holdout_checks[0]}
        for faces in self.real.values():
            require_faces(faces)
        totals = {name: len(faces.items) for name, faces in self.real.items()}
        self.tasks = list(pair_tasks(work, totals))
        self._parts: dict[str, Part] = {
            name: GivenPart(faces, f"{work.real[name].identity} {totals[name]}")
            for name, faces in self.real.items()
        }
        self._indexes: dict[tuple[str, str], Index] = {}
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
        part = self._part(rows, task.variant)
        queries = part.vectors(task.start, task.stop)
        index = self._index(columns, task.variant)
        own = rows == columns
        persons = self._faces(columns, task.variant).codes()[0] if own else None
        first = 0
        if own:
            first = int(np.searchsorted(self._faces(rows, task.variant).rows, task.start))
        compared = self._compare(queries, index, persons, first)
        path = self.work.folder / task.name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_pairs(path, self._key(task), compared)

    def compared(self, pair: str, variant: str = "") -> Compared | None:
        """Return a whole comparison; None where it is not made, or a shard is missing."""
        variant = variant if "S" in pair else ""
        tasks = [task for task in self.tasks if (task.pair, task.variant) == (pair, variant)]
        parts = [part for part in map(self.read, tasks) if part is not None]
        return joined(parts, self.metric) if tasks and len(parts) == len(tasks) else None

    def _compare(
        self, queries: NDArray[np.float32], index: Index, persons: NDArray[np.int64] | None, first: int
    ) -> Compared:
        k = min(self.work.config.output.matches, len(index))
        level = self.level()
        if not len(queries) or not k:
            nothing = Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
            shape = (len(queries), k)
            return Compared(
                self.metric, np.empty(shape, np.float32), np.empty(shape, np.int64), level, nothing
            )
        groups = None if persons is None else (persons[first : first + len(queries)], persons)
        scores, ids = search(queries, index, k, metric=self.metric, exclude=groups)
        try:
            tail = reaching_pairs(queries, index, level, self.metric, groups)
        except TooLooseError:
            level = float(NOTHING_LISTED.get(self.metric, np.inf))
            tail = Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
        if persons is not None:
            keep = tail.rows + first < tail.columns
            tail = Pairs(tail.rows[keep], tail.columns[keep], tail.scores[keep])
        return Compared(self.metric, np.asarray(scores), np.asarray(ids), level, tail)

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
