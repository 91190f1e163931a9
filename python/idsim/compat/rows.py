"""Rows that are kept to be searched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from idsim import Index

if TYPE_CHECKING:
    from idsim.options import Metric

__all__ = ["KeptRows"]


class KeptRows:
    """Rows that are searched as they are the first time, and prepared when they are searched again.

    The answers are the same bytes either way. Preparing takes about as long as a search of many queries, and the codes
    take up to three eighths of the memory of float32 rows: too much for rows that are searched once.

    Parameters
    ----------
    rows : array
        [n, d]; must not change.
    metric : {"cosine", "dot", "l2"}
        Of the searches.
    """

    def __init__(self, rows: Any, metric: Metric) -> None:
        self.rows = rows
        self.metric = metric
        self._searched = False
        self._index: Index | None = None

    def __len__(self) -> int:
        return int(self.rows.shape[0])

    def gallery(self) -> Any:
        """Return what to search: the rows, and from the second time on an `idsim.Index` of them."""
        # Two threads may both prepare; either index gives the same answers.
        if self._index is None and self._searched:
            self._index = Index(self.rows, metric=self.metric)
        self._searched = True
        return self.rows if self._index is None else self._index

    def __getstate__(self) -> dict[str, Any]:
        # The codes are cheaper to make again than to store.
        return {**self.__dict__, "_index": None}
