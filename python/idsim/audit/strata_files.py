"""Which cell, such as a sex and an age group, every item of a set belongs to, as it is given in files."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np

from idsim.audit.parts import PicturePart
from idsim.audit.scores.score_files import read_columns

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from idsim.audit.embedding import ShardPlan
    from idsim.audit.faces import FaceSet
    from idsim.matchers.base import Matcher

__all__ = ["StratifiedPart", "is_file", "one_per_item", "read_strata", "strata_hash"]

ITEM, STRATUM = "item", "stratum"


def is_file(given: str) -> bool:
    """Whether strata are given as a file: anything else names a column of the embeddings' table."""
    return given.endswith((".npy", ".csv"))


def one_per_item(title: str, path: Path, count: int) -> list[str]:
    """Return the strings or integers of a ``.npy`` file, one per item.

    Parameters
    ----------
    title : str
        What errors start with, such as ``[holdout] labels``.
    path : Path
        The file.
    count : int
        Items.

    Raises
    ------
    ValueError
        It is no such file.
    OSError
        It cannot be read.
    """
    try:
        values = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{title}: {path} is no .npy file of labels ({error})") from error
    if not isinstance(values, np.ndarray):
        raise ValueError(f"{title}: {path} is no .npy file of labels (it is an archive)")
    if values.shape != (count,) or values.dtype.kind not in "iuU":
        raise ValueError(
            f"{title}: {path} must hold {count} integers or strings, not {values.dtype} {list(values.shape)}"
        )
    return [str(value) for value in values.tolist()]


def read_strata(name: str, path: Path, items: Sequence[str]) -> list[str]:
    """Return the stratum of every item; empty where it is not known.

    Parameters
    ----------
    name : str
        Of the set.
    path : Path
        A ``.npy`` file with one string or integer per item, or a ``.csv`` file with the columns ``item`` and
        ``stratum``, which may name other items too.
    items : sequence of str
        Names of the items.

    Raises
    ------
    MatcherError
        The CSV file cannot be read.
    ValueError
        There is no stratum for an item, or there are two.
    OSError
        The ``.npy`` file cannot be read.
    """
    title = f"[{name}] strata"
    if path.suffix == ".npy":
        return one_per_item(title, path, len(items))
    header, rows = read_columns(path, (ITEM, STRATUM), ITEM)
    if STRATUM not in header:
        raise ValueError(f"{title}: {path} has no column {STRATUM}")
    known: dict[str, str] = {}
    for row in rows:
        if known.setdefault(row[ITEM], row[STRATUM]) != row[STRATUM]:
            raise ValueError(f"{title}: {path} has two strata for {row[ITEM]!r}")
    missing = [item for item in items if item not in known]
    if missing:
        raise ValueError(
            f"{title}: {path} has no row for {len(missing)} of {len(items)} items, such as {missing[0]!r}"
        )
    return [known[item] for item in items]


def strata_hash(strata: list[str]) -> str:
    """Return the SHA-256 of the strata of a set."""
    return hashlib.sha256(json.dumps(strata).encode()).hexdigest()


class StratifiedPart(PicturePart):
    """A set of pictures whose strata are known.

    Parameters
    ----------
    plan : ShardPlan
        Its shards.
    matcher : Matcher
        What represents a picture.
    strata : list of str
        Of every picture.
    """

    def __init__(self, plan: ShardPlan, matcher: Matcher, strata: list[str]) -> None:
        super().__init__(plan, matcher)
        self._strata = strata

    def faces(self) -> FaceSet:
        """Return the whole set."""
        faces = super().faces()
        faces.strata = self._strata
        return faces
