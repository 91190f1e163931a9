"""Embedding and comparing, side by side: synthetic pictures are searched for as soon as a range of them is embedded."""

from __future__ import annotations

import time
from collections import Counter, deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from idsim.audit.embedding import compute_for_all, compute_shards
from idsim.audit.pairs.pair_names import sets_of
from idsim.audit.pairs.pairing import Pairing
from idsim.audit.parts import PicturePart

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from idsim.audit.parts import Part
    from idsim.audit.shards import Shard
    from idsim.audit.times import Times
    from idsim.audit.work import Job, PairTask, Work
    from idsim.sources.decoding import Content

__all__ = ["Execution", "Unfinished"]


class Unfinished(Exception):  # noqa: N818 - no error: other jobs have not done their part yet
    """Shards of other jobs are missing; the message counts them."""


class Execution:
    """What is left to do of a scan, for one job.

    Parameters
    ----------
    works : list of Work
        By matcher.
    job : Job
        Which of the shards are computed here.
    tell : callable
        Told how far each stage is: its name, what is done, what there is to do.
    times : Times
        Takes note of the time that each stage needs.
    """

    def __init__(
        self, works: list[Work], job: Job, tell: Callable[[str, int, int], None], times: Times
    ) -> None:
        self.works, self.job, self.tell, self.times = works, job, tell, times
        self.pairings: dict[str, Pairing] = {}
        self._waiting: list[tuple[Pairing, PairTask]] = []
        self._totals: Counter[str] = Counter()
        self._done: Counter[str] = Counter()

    def run(self) -> dict[str, Pairing]:
        """Do this job's part, and return the comparisons by matcher once the parts of all jobs are there.

        Raises
        ------
        Unfinished
            Other jobs have not done theirs.
        ValueError
            A file changed while the scan ran, or a real set has no face.
        """
        self.read()
        for name in self.works[0].real:
            for _ in self.embed(name, ""):
                pass
        with _in_thread() as submit:
            if self.start_pairing():
                self._submit_ready(submit)
            for variant in self.variants():
                for _ in self.embed("synthetic", variant):
                    self._submit_ready(submit)
            self.read()
            if self.pairings or self.start_pairing():
                self._submit_ready(submit)
        self._require_all()
        return self.pairings

    def variants(self) -> list[str]:
        """Return the names of the synthetic sets."""
        return list(dict.fromkeys(variant for work in self.works for variant in work.series))

    # --- embedding --------------------------------------------------------------------------------

    def read(self) -> None:
        """Read the embeddings that are there."""
        for part in self._picture_parts():
            part.read()

    def missing(self, name: str, variant: str) -> list[int]:
        """Return the numbers of this job's shards of a set that some matcher lacks."""
        lacking = {number for part in self._parts_of(name, variant) for number in part.unfinished()}
        return [number for number in sorted(lacking) if self.job.takes(number)]

    def embed(self, name: str, variant: str, numbers: Sequence[int] | None = None) -> Iterator[None]:
        """Embed shards of a set, by default all that are missing, and come back after each."""
        parts = [part for part in self._parts_of(name, variant) if part.unfinished()]
        if not parts:
            return
        stage = f"embed {variant or name}"
        total = sum(part.total for part in parts)
        done = total - sum(
            stop - start for part in parts for start, stop in map(part.plan.bounds, part.unfinished())
        )
        self.tell(stage, done, total)

        def count() -> None:
            nonlocal done
            done += 1
            self.tell(stage, done, total)

        wanted = self.missing(name, variant) if numbers is None else list(numbers)
        started = time.perf_counter()
        for part, number, shard in self._computed(parts, wanted, count):
            part.add(number, shard)
            if part is parts[-1]:
                yield
        pictures = sum(stop - start for start, stop in map(parts[0].plan.bounds, wanted))
        self.times.add(stage, time.perf_counter() - started, pictures * len(parts))

    def _computed(
        self, parts: list[PicturePart], numbers: list[int], count: Callable[[], None]
    ) -> Iterator[tuple[PicturePart, int, Shard]]:
        stages = self.times.stages
        if len(parts) == 1:
            (part,) = parts
            for number, shard in compute_shards(part.plan, numbers, part.matcher, stages, count):
                yield part, number, shard
            return
        source, bounds = parts[0].plan.source, parts[0].plan.bounds
        with ThreadPoolExecutor(1, "idsim-pictures") as ahead:  # the pictures of the next shard
            coming: deque[Future[list[Content]]] = deque()

            def fetch(place: int) -> None:
                if place < len(numbers):
                    coming.append(ahead.submit(lambda: list(source.pictures(*bounds(numbers[place])))))

            fetch(0)
            for place, number in enumerate(numbers):
                contents = coming.popleft().result()
                fetch(place + 1)
                lacking = [part for part in parts if number in part.unfinished()]
                plans = [(part.plan, part.matcher) for part in lacking]
                shards = compute_for_all(plans, number, contents, stages, count)
                for part, shard in zip(lacking, shards, strict=True):
                    yield part, number, shard

    def _parts_of(self, name: str, variant: str) -> list[PicturePart]:
        parts: list[Part | None] = [
            work.series.get(variant) if name == "synthetic" else work.real[name] for work in self.works
        ]
        return [part for part in parts if isinstance(part, PicturePart)]

    def _picture_parts(self) -> list[PicturePart]:
        every = [part for work in self.works for part in (*work.real.values(), *work.series.values())]
        return [part for part in every if isinstance(part, PicturePart)]

    # --- comparing --------------------------------------------------------------------------------

    def start_pairing(self) -> bool:
        """Make the comparisons ready where all real sets are embedded; return whether they are."""
        if any(part.unfinished() for work in self.works for part in work.real.values()):
            return False
        self.pairings = {work.label: Pairing(work) for work in self.works if work.comparisons is None}
        for index, (pairing, task) in enumerate(self.tasks()):
            stage = _stage(task)
            self._totals[stage] += 1
            if pairing.read(task) is not None:
                self._done[stage] += 1
            elif self.job.takes(index):
                self._waiting.append((pairing, task))
        return True

    def waiting(self) -> list[PairTask]:
        """Return this job's comparisons that are not made."""
        return [task for _, task in self._waiting]

    def tasks(self) -> list[tuple[Pairing, PairTask]]:
        """Return all comparisons of the scan, in their order."""
        return [(pairing, task) for pairing in self.pairings.values() for task in pairing.tasks]

    def compare(self, pairing: Pairing, task: PairTask) -> None:
        """Make one comparison."""
        started = time.perf_counter()
        pairing.run(task)
        rows, columns = sets_of(task.pair)
        others: float = pairing.work.part(columns, task.variant).total
        if rows == columns:  # every pair once: a row with those behind it
            others -= (task.start + task.stop + 1) / 2
        pairs = round((task.stop - task.start) * others)
        self.times.add(_stage(task), time.perf_counter() - started, pairs)
        self._done[_stage(task)] += 1
        self.tell(_stage(task), self._done[_stage(task)], self._totals[_stage(task)])

    def _submit_ready(self, submit: Callable[[Callable[[], None]], None]) -> None:
        """Hand over the comparisons whose embeddings are there."""
        late = []
        for pairing, task in self._waiting:
            if _ready(pairing, task):
                submit(lambda pairing=pairing, task=task: self.compare(pairing, task))  # type: ignore[misc]
            else:
                late.append((pairing, task))
        self._waiting = late

    def _require_all(self) -> None:
        shards = sum(len(part.unfinished()) for part in self._picture_parts())
        if shards:
            raise Unfinished(f"{shards} shards of embeddings are left")
        tasks = self.tasks()
        missing = sum(pairing.read(task) is None for pairing, task in tasks)
        if missing:
            raise Unfinished(f"{missing} of {len(tasks)} shards of comparisons are left")


def _stage(task: PairTask) -> str:
    return f"compare {task.pair}"


def _ready(pairing: Pairing, task: PairTask) -> bool:
    """Whether the embeddings of a comparison are there."""
    rows, columns = sets_of(task.pair)
    queries, gallery = (pairing.work.part(name, task.variant) for name in (rows, columns))
    if columns == "synthetic" and gallery.unfinished():
        return False
    return rows != "synthetic" or queries.holds(task.start, task.stop)


@contextmanager
def _in_thread() -> Iterator[Callable[[Callable[[], None]], None]]:
    """Yield what hands work over to one thread; at the end it is waited for, after an error it is dropped."""
    futures: list[Future[None]] = []
    with ThreadPoolExecutor(1, "idsim-compare") as thread:

        def submit(work: Callable[[], None]) -> None:
            for future in futures:
                if future.done():
                    future.result()  # an error stops the scan now, not at its end
            futures.append(thread.submit(work))

        try:
            yield submit
            for future in futures:
                future.result()
        except BaseException:
            for future in futures:
                future.cancel()
            raise
