"""Names of items and persons in a bundle: their own, or numbers that keep their order and say nothing else.

Results depend on which names are equal and on their order, and on nothing else of them (but for one check, see
`idsim.audit.bundling.taken`): a number in the order of all names gives the same results. The pseudonyms of the report
are kept beside the numbers, because they cannot be computed from them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from idsim.audit.faces import FaceSet
from idsim.audit.records import pseudonym
from idsim.audit.strata_files import is_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from idsim.audit.records import Key

__all__ = ["Names", "PseudonymsOf", "hidden_hashes", "number_name", "plain_config"]

HASH = re.compile(r"[0-9a-f]{64}")
HASH_DIGITS = 64
SETS = ("synthetic", "training", "holdout", "probes")
RULES = ("each", "folder", "identity", "group")
HIDDEN = b"idsim bundle 1\n"  # before the hash of a hash


def number_name(rank: int, count: int) -> str:
    """Return the name that stands for name number `rank` of `count`: digits, whose order is that of the numbers."""
    return f"{rank:0{len(str(max(0, count - 1)))}d}"


class Names:
    """All names of a run, in their order.

    Parameters
    ----------
    names, hashes : iterable of str
        Names of items and persons, and hashes of files, any number of times.
    shown : bool
        Whether they stay as they are.
    """

    def __init__(self, names: Iterable[str], hashes: Iterable[str], shown: bool) -> None:
        self.known = sorted(set(names))
        self.shown = shown
        self.rank = {name: rank for rank, name in enumerate(self.known)}
        self._hashes = {found: rank for rank, found in enumerate(sorted(set(hashes)))}

    def of(self, name: str) -> str:
        """Return the name in the bundle."""
        return name if self.shown else number_name(self.rank[name], len(self.known))

    def real(self, name: str) -> str:
        """Return the name that one in the bundle stands for."""
        return name if self.shown else self.known[int(name)]

    def faces(self, faces: FaceSet) -> FaceSet:
        """Return a set with the names of the bundle."""
        if self.shown:
            return faces
        kept: dict[int, dict[str, Any]] = {}  # one record may stand for millions of items
        for record in faces.records:
            if id(record) not in kept:
                kept[id(record)] = self._record(record)
        return FaceSet(
            faces.name,
            [self.of(item) for item in faces.items],
            [self.of(label) for label in faces.labels],
            faces.vectors,
            faces.rows,
            [kept[id(record)] for record in faces.records],
            faces.origin,
            faces.strata,
        )

    def _record(self, record: dict[str, Any]) -> dict[str, Any]:
        plain = dict(record)
        if HASH.fullmatch(str(record.get("sha256"))):
            plain["sha256"] = f"{self._hashes[record['sha256']]:0{HASH_DIGITS}d}"
        if record.get("reason"):
            plain["reason"] = self.reason(str(record["reason"]))
        return plain

    def reason(self, text: str) -> str:
        """Return why an item failed, without what could be a path."""
        return text if self.shown or "/" not in text else "the reason names a file"


class PseudonymsOf(Mapping[tuple[str, str], str]):
    """The pseudonyms of a run by kind and name in the bundle; those that were asked for are noted.

    Parameters
    ----------
    key : bytes
        The key of the run.
    names : Names
        Its names.
    """

    def __init__(self, key: bytes, names: Names) -> None:
        self._key, self._names = key, names
        self.noted: dict[str, dict[str, str]] = {}

    def __getitem__(self, asked: tuple[str, str]) -> str:
        kind, name = asked
        known = self.noted.setdefault(kind, {})
        if name not in known:
            known[name] = pseudonym(self._key, kind, self._names.real(name))
        return known[name]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return ((kind, name) for kind, known in self.noted.items() for name in known)

    def __len__(self) -> int:
        return sum(map(len, self.noted.values()))

    @property
    def key(self) -> Key:
        """What pseudonyms in the bundle are made with."""
        return self._key if self._names.shown else self


def hidden_hashes(value: Any) -> Any:
    """Return the description of inputs with the hash of every hash, and with paths cut to their last part.

    Who has an input can check it; who has not cannot find the key of the pseudonyms, which is a hash over these.
    """
    if isinstance(value, dict):
        return {key: hidden_hashes(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [hidden_hashes(entry) for entry in value]
    if isinstance(value, str):
        if HASH.fullmatch(value):
            return hashlib.sha256(HIDDEN + value.encode()).hexdigest()
        return _last(value)
    return value


def plain_config(tables: dict[str, Any]) -> dict[str, Any]:
    """Return the resolved configuration of a scan without the paths of its inputs."""
    plain = {name: dict(table) if isinstance(table, dict) else table for name, table in tables.items()}
    plain["run"]["dir"] = "."
    for name in SETS:
        if name in plain:
            plain[name] = _plain_set(name, plain[name])
    if isinstance(plain["matcher"], list):
        plain["matcher"] = [_plain_matcher(number, entry) for number, entry in enumerate(plain["matcher"])]
    else:
        plain["matcher"] = _plain_matcher(0, plain["matcher"])
    if "scores" in plain:
        plain["scores"] = _plain_scores("", plain["scores"])
    return plain


def _plain_set(name: str, table: dict[str, Any]) -> dict[str, Any]:
    plain = dict(table)
    for key in ("images", "embeddings", "ids"):
        if plain.get(key):
            plain[key] = name
    if plain.get("labels") not in RULES:
        plain["labels"] = f"{name}-labels.npy"
    if plain.get("strata") and is_file(plain["strata"]):
        plain["strata"] = f"{name}-strata{PurePath(plain['strata']).suffix}"
    generators = [_last(text) for text in plain.get("generator", ())]
    if generators:  # of several in folders of their own, the names may be equal
        same = len(set(generators)) < len(generators)
        plain["generator"] = [f"{number}-{text}" if same else text for number, text in enumerate(generators)]
    return plain


def _plain_matcher(number: int, table: dict[str, Any]) -> dict[str, Any]:
    plain = dict(table)
    for key in ("kind", "model", "detector"):
        plain[key] = _last(plain.get(key, ""))
    if plain.get("models"):
        plain["models"] = "models"
    for key in SETS:
        if plain.get(key):
            plain[key] = f"{key}-{number}"
    if "scores" in plain:
        plain["scores"] = _plain_scores(f"-{number}", plain["scores"])
    return plain


def _plain_scores(end: str, table: dict[str, Any]) -> dict[str, Any]:
    files = {key: f"{key}{end}" for key in ("training", "holdout", "calibration", "cross") if table.get(key)}
    return table | files


def _last(text: str) -> str:
    """Return a text with the path in it cut to its last part: ``scrfd:a/b.onnx`` becomes ``scrfd:b.onnx``."""
    return re.sub(r"[^:]*/", "", text)
