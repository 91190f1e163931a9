"""A bundle read back: configuration, sets and scores of a run, all checked before anything is made of them."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idsim.audit.bundling import layout
from idsim.audit.bundling.names import number_name
from idsim.audit.bundling.reading_matchers import read_matcher
from idsim.audit.configuration.config import from_tables
from idsim.audit.persons.thumbnails import COPIES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from idsim.audit.bundling.archive import BundleArchive
    from idsim.audit.bundling.reading_matchers import BundledMatcher
    from idsim.audit.configuration.config import ScanConfig
    from idsim.audit.records import Key

__all__ = ["BundledRun", "bundled_scan", "read_run"]

# What a stranger's configuration may ask for: far above the defaults, and still done in hours.
MOST = {"bootstrap": 1_000_000, "permutations": 1_000_000, "draws": 10_000}
PSEUDONYM = re.compile(r"[STH]-[0-9a-f]{10}")
COUNTS = 1 << 62


def bundled_scan(text: str) -> ScanConfig:
    """Return the scan that the configuration in a bundle describes; it runs on the CPU.

    Raises
    ------
    ValueError
        It is none, or it asks for more resampling than a stranger may.
    """
    config = from_tables(tomllib.loads(text), Path(layout.CONFIG))
    for name, most in MOST.items():
        if getattr(config.statistics, name) > most:
            raise ValueError(
                f"{layout.CONFIG}: [statistics] {name} is above {most}, the most that is replicated"
            )
    return replace(config, comparisons=replace(config.comparisons, device=""))


@dataclass(frozen=True)
class BundledRun:
    """A run in a bundle.

    Attributes
    ----------
    config : ScanConfig
        The scan.
    about : dict
        The content of ``run.json``.
    matchers : list of BundledMatcher
        In order.
    copies : BundledMatcher or None
        Of thumbnails.
    key : bytes or mapping
        Of the pseudonyms.
    results : dict
        The final files of the run, by path.
    """

    config: ScanConfig
    about: dict[str, Any]
    matchers: list[BundledMatcher]
    copies: BundledMatcher | None
    key: Key
    results: dict[str, bytes]

    @property
    def summaries(self) -> dict[str, dict[str, Any]]:
        """The summaries among the results, by path."""
        return {name: json.loads(data) for name, data in self.results.items() if name.endswith(".json")}


def read_run(bundle: BundleArchive) -> BundledRun:
    """Return the run in a bundle.

    Raises
    ------
    BundleError
        A member is missing, damaged, or not what it should be.
    """
    try:
        config = bundled_scan(bundle.read(layout.CONFIG).decode())
    except ValueError as error:
        bundle.refuse(layout.CONFIG, str(error).removeprefix(f"{layout.CONFIG}: "))
    about = bundle.object(layout.DESCRIPTION)
    entries = about.get("matchers")
    holds = about.get("holds")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        bundle.refuse(layout.DESCRIPTION, "matchers is no list of objects")
    if not isinstance(holds, dict) or not all(
        type(holds.get(name)) is bool for name in ("names", "embeddings", "images")
    ):
        bundle.refuse(layout.DESCRIPTION, "holds does not say what is in the bundle")
    names, key = _names(bundle, about, holds["names"])
    alone = config.alone()
    copies = about.get("thumbnails") is True
    labels = [*alone, COPIES] if copies else list(alone)
    if [entry.get("label") for entry in entries] != labels:
        bundle.refuse(layout.DESCRIPTION, f"its matchers are not those of {layout.CONFIG}")
    matchers = [
        read_matcher(bundle, number, entry, alone.get(entry["label"], config), names)
        for number, entry in enumerate(entries)
    ]
    results = {
        name.removeprefix(f"{layout.RESULTS}/"): bundle.read(name) for name in bundle.below(layout.RESULTS)
    }
    for name in results:
        if name.endswith(".json"):
            bundle.object(f"{layout.RESULTS}/{name}")
    if "summary.json" not in results:
        bundle.refuse(f"{layout.RESULTS}/summary.json", "it is missing")
    return BundledRun(config, about, matchers[: len(alone)], matchers[-1] if copies else None, key, results)


# --- names ----------------------------------------------------------------------------------------


def _names(bundle: BundleArchive, about: dict[str, Any], shown: bool) -> tuple[Sequence[str], Key]:
    count = about.get("names")
    if type(count) is not int or not 0 <= count < COUNTS:
        bundle.refuse(layout.DESCRIPTION, "names is no number of names")
    if not shown:
        return _Numbers(count), _pseudonyms(bundle, count)
    names = bundle.object(layout.NAMES).get("names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        bundle.refuse(layout.NAMES, "it is no list of names")
    if len(names) != count or names != sorted(set(names)):
        bundle.refuse(layout.NAMES, "its names are not distinct, in order, and as many as the bundle has")
    return names, hashlib.sha256(bundle.read(layout.PROVENANCE)).digest()


class _Numbers(Sequence[str]):
    """The numbers that stand for names, as a sequence that takes no memory."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, rank: Any) -> Any:
        return number_name(rank, self._count)


class _Pseudonyms(Mapping[tuple[str, str], str]):
    """The pseudonyms in a bundle by kind and name; one that is missing is the bundle's fault."""

    def __init__(self, bundle: BundleArchive, known: dict[tuple[str, str], str]) -> None:
        self._bundle, self._known = bundle, known

    def __getitem__(self, asked: tuple[str, str]) -> str:
        if asked not in self._known:
            self._bundle.refuse(layout.PSEUDONYMS, f"there is none of {asked[0]} {asked[1]}")
        return self._known[asked]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


def _pseudonyms(bundle: BundleArchive, count: int) -> _Pseudonyms:
    known: dict[tuple[str, str], str] = {}
    for kind, columns in bundle.object(layout.PSEUDONYMS).items():
        ranks = columns.get("names") if isinstance(columns, dict) else None
        shown = columns.get("pseudonyms") if isinstance(columns, dict) else None
        if (
            not isinstance(ranks, list)
            or not isinstance(shown, list)
            or len(ranks) != len(shown)
            or not all(type(rank) is int and 0 <= rank < count for rank in ranks)
            or not all(isinstance(text, str) and PSEUDONYM.fullmatch(text) for text in shown)
        ):
            bundle.refuse(layout.PSEUDONYMS, f"{kind!r} is not of this format")
        known |= {(kind, number_name(rank, count)): text for rank, text in zip(ranks, shown, strict=True)}
    return _Pseudonyms(bundle, known)
