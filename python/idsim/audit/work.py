"""What there is to do in a scan, by matcher: the sets as it sees them, and the comparisons between them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from idsim.audit import embedding
from idsim.audit.pairs.pair_names import PAIRS, sets_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from idsim.audit.configuration.config import ScanConfig
    from idsim.audit.pairs.comparing import Comparisons
    from idsim.audit.parts import Part

__all__ = ["Job", "PairTask", "Work", "pair_tasks"]

# Comparisons of a shard: 10 s of two cores of a small machine at 512 dimensions, what a kill costs at most.
RANGE_PAIRS = 1 << 33


@dataclass(frozen=True)
class Job:
    """One of several jobs that share the shards of a scan: shard number s is done by job s % count."""

    number: int = 0
    count: int = 1

    def takes(self, index: int) -> bool:
        """Whether a shard is this job's; a job of none takes nothing."""
        return self.count > 0 and index % self.count == self.number

    @classmethod
    def parse(cls, text: str) -> Job:
        """Return the job of a text like ``3/8``, the third of eight.

        Raises
        ------
        ValueError
            The text is no such thing.
        """
        number, _, count = text.partition("/")
        if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
            raise ValueError(f"a shard must be given like 3/8, the third of eight, not {text!r}")
        return cls(int(number) - 1, int(count))


@dataclass
class Work:
    """A scan with one matcher.

    Attributes
    ----------
    label : str
        Of the matcher.
    config : ScanConfig
        The scan as this matcher alone would be scanned with.
    matcher : dict
        Description of the matcher.
    real : dict
        The real sets by name.
    series : dict
        The synthetic sets by name.
    folder : Path
        Where the comparisons are kept.
    skipped : dict
        What was left out of the sources of sets, and why.
    comparisons : Comparisons or None
        Of a matcher that gives scores: all of them.
    """

    label: str
    config: ScanConfig
    matcher: dict[str, Any]
    real: dict[str, Part]
    series: dict[str, Part]
    folder: Path
    skipped: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    comparisons: Comparisons | None = None

    def pairs(self) -> list[str]:
        """Return the names of the comparisons to make, those of the real sets first."""
        if self.comparisons is not None:
            return []
        known = set(self.real) | {"synthetic"}
        wanted = self.config.comparisons.sets or tuple(PAIRS)
        chosen = [pair for pair in PAIRS if pair in wanted and set(sets_of(pair)) <= known]
        return sorted(chosen, key=lambda pair: "S" in pair)

    def part(self, name: str, variant: str) -> Part:
        """Return a real set, or the synthetic one of a variant."""
        return self.series[variant] if name == "synthetic" else self.real[name]


@dataclass(frozen=True)
class PairTask:
    """A range of one set to be compared with the whole of another.

    Attributes
    ----------
    label : str
        Of the matcher.
    pair : str
        Like ``SxT``.
    variant : str
        Name of the synthetic set; empty where none takes part.
    start, stop : int
        Items.
    """

    label: str
    pair: str
    variant: str
    start: int
    stop: int

    @property
    def name(self) -> str:
        """File name of the shard, below the folder of the matcher's comparisons."""
        place = f"{self.pair}/{self.variant}" if self.variant else self.pair
        return f"{place}/items-{self.start:09d}.bin"


def pair_tasks(work: Work, totals: dict[str, int]) -> Iterator[PairTask]:
    """Yield the comparisons of a matcher; those of the real sets, then set by set of the series.

    Parameters
    ----------
    work : Work
        The matcher's work.
    totals : dict
        Items of each real set, without those that were taken out.
    """
    pairs = work.pairs()
    for pair in (pair for pair in pairs if "S" not in pair):
        yield from _ranges(work, pair, "", totals)
    for variant, part in work.series.items():
        for pair in (pair for pair in pairs if "S" in pair):
            yield from _ranges(work, pair, variant, totals | {"synthetic": part.total})


def _ranges(work: Work, pair: str, variant: str, totals: dict[str, int]) -> Iterator[PairTask]:
    rows, columns = (totals[name] for name in sets_of(pair))
    shard = embedding.shard_items()
    size = max(1, RANGE_PAIRS // max(1, columns) // shard) * shard
    for start in range(0, rows, size):
        yield PairTask(work.label, pair, variant, start, min(start + size, rows))
