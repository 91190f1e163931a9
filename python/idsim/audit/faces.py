"""The embeddings of one set of the audit, with the items and persons they belong to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.errors import IdsimError

if TYPE_CHECKING:
    from typing import NoReturn

    from numpy.typing import NDArray

__all__ = [
    "NOT_REDONE",
    "AbsentVectors",
    "EmbeddingsNeededError",
    "FaceSet",
    "encode_labels",
    "require_faces",
]

# Stands in a summary for what rests on embeddings that are not there.
NOT_REDONE = {"not_redone": "it needs embeddings, and there are none"}


class EmbeddingsNeededError(IdsimError):
    """Embeddings are needed, and of this set there are only comparisons."""


class AbsentVectors:
    """Stands for embeddings that are not there: their number and length are known, and nothing else is told.

    Parameters
    ----------
    rows, dim : int
        What shape they have.
    """

    def __init__(self, rows: int, dim: int) -> None:
        self.shape = (rows, dim)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> AbsentVectors:
        """Return some of the rows; as absent as all of them."""
        return AbsentVectors(len(np.arange(self.shape[0])[rows]), self.shape[1])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NoReturn:
        raise EmbeddingsNeededError("these embeddings are not in the bundle")

    def __getattr__(self, name: str) -> NoReturn:
        raise EmbeddingsNeededError(f"these embeddings are not in the bundle, and {name} is asked of them")


def encode_labels(labels: list[str]) -> tuple[NDArray[np.int64], list[str]]:
    """Return codes int64 ``[n]`` into the distinct labels, ascending, and those labels."""
    if not labels:
        return np.empty(0, np.int64), []
    distinct, codes = np.unique(np.asarray(labels, dtype=object).astype(str), return_inverse=True)
    return codes.reshape(-1).astype(np.int64), [str(label) for label in distinct]


@dataclass
class FaceSet:
    """One set: all its items, and the embeddings of those that have one.

    Attributes
    ----------
    name : str
        ``synthetic``, ``training`` or ``holdout``.
    items : list of str
        Name of every item: relative path, or id or row number of an embedding.
    labels : list of str
        Person (synthetic: cluster) of every item.
    vectors : ndarray
        float32 ``[m, d]``: the embeddings, in the order of the items.
    rows : ndarray
        int64 ``[m]``: number of the item of every embedding; ascending.
    records : list of dict
        What is known of every item: status, route, faces, box, confidence, sha256.
    origin : dict
        What drew the set, in plain values; empty where that is not known.
    strata : list of str or None
        The cell of every item, such as a sex and an age group; empty for an item whose cell is not known. None where
        none is known.
    """

    name: str
    items: list[str]
    labels: list[str]
    vectors: NDArray[np.float32]
    rows: NDArray[np.int64]
    records: list[dict[str, Any]] = field(default_factory=list)
    origin: dict[str, Any] = field(default_factory=dict)
    strata: list[str] | None = None
    _codes: tuple[NDArray[np.int64], list[str]] | None = field(default=None, init=False, repr=False)

    def codes(self) -> tuple[NDArray[np.int64], list[str]]:
        """Return the person of every embedding as a code, and the labels of the codes."""
        if self._codes is None:
            self._codes = encode_labels([self.labels[row] for row in self.rows.tolist()])
        return self._codes

    def without(self, labels: set[str]) -> FaceSet:
        """Return the set without the persons in `labels`."""
        keep = [row for row, label in enumerate(self.labels) if label not in labels]
        place = np.full(len(self.items), -1, np.int64)
        place[keep] = np.arange(len(keep))
        kept = place[self.rows] >= 0
        return FaceSet(
            self.name,
            [self.items[row] for row in keep],
            [self.labels[row] for row in keep],
            self.vectors[kept],
            place[self.rows][kept],
            [self.records[row] for row in keep] if self.records else [],
            self.origin,
            None if self.strata is None else [self.strata[row] for row in keep],
        )


def require_faces(faces: FaceSet) -> None:
    """Raise ValueError where a set has no embedding."""
    if not len(faces.rows):
        raise ValueError(f"[{faces.name}] has {len(faces.items)} items, and none of them has a face")
