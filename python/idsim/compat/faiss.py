"""Exact search as FAISS calls it: ``import idsim.compat.faiss as faiss``.

The flat part of FAISS's Python interface: `knn`, `IndexFlat`, `IndexFlatIP`, `IndexFlatL2` and `normalize_L2`, with its
defaults, its dtypes, its padding (id -1) and its squared distances. What differs:

- Equal scores stand in ascending order of id, and the first k of a longer list are the list for k. FAISS promises
  neither.
- Inner products are the canonical ones of ``docs/precision.md``, rounded once; FAISS sums in float32. A squared
  distance is the canonical float32 distance, squared and rounded once more: the same bits everywhere, within a relative
  1.8e-7 of the true square, and exactly 0 for equal rows. The order is that of the distances.
- NaN or infinity in a row is a `ValueError` when it is searched for or against. FAISS returns no neighbour.
- PyTorch tensors in, tensors out, as with ``faiss.contrib.torch_utils``; on a CUDA device the work is done there.
- There is nothing approximate, nothing to train, and no `IDSelector`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim import normalize, pairs_above, search
from idsim.arrays import is_torch
from idsim.compat.rows import KeptRows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from idsim.options import Metric

__all__ = [
    "METRIC_INNER_PRODUCT",
    "METRIC_L2",
    "IndexFlat",
    "IndexFlatIP",
    "IndexFlatL2",
    "ShapeError",
    "knn",
    "normalize_L2",
]

METRIC_INNER_PRODUCT = 0
METRIC_L2 = 1

_METRICS: dict[int, Metric] = {METRIC_INNER_PRODUCT: "dot", METRIC_L2: "l2"}
_FLOAT_MAX = float(np.finfo(np.float32).max)


class ShapeError(ValueError, AssertionError):
    """An array does not fit the index; also an `AssertionError`, as which FAISS tells of it."""


def knn(xq: Any, xb: Any, k: int, metric: int = METRIC_L2) -> tuple[Any, Any]:
    """Find the k nearest rows without an index.

    Parameters
    ----------
    xq, xb : array
        [nq, d] queries and [nb, d] rows; float32, float16, bfloat16, or rounded to float32.
    k : int
        Results per query.
    metric : int
        `METRIC_L2` (default, as in FAISS) or `METRIC_INNER_PRODUCT`.

    Returns
    -------
    D : array
        float32 [nq, k] squared distances, ascending, or inner products, descending; ±3.4e38 where there is no row.
    I : array
        int64 [nq, k] rows; -1 where there is none.

    Raises
    ------
    ShapeError
        Not two dimensions, or the columns differ.
    NotImplementedError
        Another metric.
    """
    name = _metric(metric)
    rows = _matrix(xb, "xb")
    queries = _matrix(xq, "xq", int(rows.shape[1]))
    return _as_faiss(*search(queries, rows, k, metric=name), name)


def normalize_L2(x: Any) -> None:  # noqa: N802 - FAISS's name
    """Scale the rows of a float32 array to unit length, in place; a zero row stays zero.

    Raises
    ------
    TypeError
        Not float32.
    """
    if str(x.dtype).removeprefix("torch.") != "float32":
        msg = f"x must be float32, not {x.dtype}: it is changed in place"
        raise TypeError(msg)
    x[...] = normalize(_matrix(x, "x"))


class IndexFlat:
    """Rows in memory, all of which are compared.

    The first search reads the rows as they are; the second prepares them (see `idsim.Index`), once for all that
    follow until rows are added. The answers are the same.

    Parameters
    ----------
    d : int
        Columns.
    metric : int
        `METRIC_L2` or `METRIC_INNER_PRODUCT`.

    Attributes
    ----------
    d : int
        Columns.
    metric_type : int
        The metric.
    is_trained : bool
        True.

    Examples
    --------
    >>> import numpy as np
    >>> import idsim.compat.faiss as faiss
    >>> index = faiss.IndexFlatIP(3)
    >>> index.add(np.eye(3, dtype=np.float32))
    >>> D, I = index.search(np.array([[0.0, 1.0, 0.5]], np.float32), 2)
    >>> I
    array([[1, 2]])
    """

    is_trained = True

    def __init__(self, d: int, metric: int = METRIC_L2) -> None:
        self._name = _metric(metric)
        self.d = int(d)
        self.metric_type = metric
        self._blocks: list[NDArray[np.float32]] = []
        self._kept: KeptRows | None = None

    @property
    def ntotal(self) -> int:
        """Number of rows."""
        return sum(len(block) for block in self._blocks)

    def train(self, x: Any) -> None:
        """Do nothing but check the columns: there is nothing to learn."""
        _matrix(x, "x", self.d)

    def add(self, x: Any) -> None:
        """Append a float32 copy of rows [n, d]; they get the next ids.

        Raises
        ------
        ShapeError
            Not two dimensions, or other columns than d.
        """
        rows = _matrix(x, "x", self.d)
        self._blocks.append(_float32_copy(rows))
        self._kept = None

    def reset(self) -> None:
        """Remove all rows."""
        self._blocks = []
        self._kept = None

    def search(self, x: Any, k: int, *, D: Any = None, I: Any = None) -> tuple[Any, Any]:  # noqa: E741 - FAISS's name
        """Find the k nearest rows for each query.

        Parameters
        ----------
        x : array
            [n, d].
        k : int
            1 or more.
        D, I : array, optional
            float32 and int64 [n, k] to write to.

        Returns
        -------
        D, I : array
            As of `knn`.

        Raises
        ------
        ShapeError
            The shape of x, D or I, or k, does not fit.
        """
        queries = _matrix(x, "x", self.d)
        if k <= 0:
            msg = f"k must be 1 or more, not {k}"
            raise ShapeError(msg)
        shape = (int(queries.shape[0]), k)
        for name, array in (("D", D), ("I", I)):
            if array is not None and tuple(array.shape) != shape:
                msg = f"{name} must have shape {shape}, not {tuple(array.shape)}"
                raise ShapeError(msg)
        found = _as_faiss(*search(queries, self._rows().gallery(), k, metric=self._name), self._name)
        return _written(D, found[0]), _written(I, found[1])

    def range_search(self, x: Any, thresh: float) -> tuple[Any, Any, Any]:
        """Find all rows nearer than a threshold.

        Parameters
        ----------
        x : array
            [n, d].
        thresh : float
            Squared distances below it, or inner products above it, are returned; as in FAISS it is rounded to float32.

        Returns
        -------
        lims : array
            uint64 [n + 1] (of tensors int64): the results of query i stand at ``lims[i]`` to ``lims[i + 1]``.
        D, I : array
            float32 and int64 [lims[n]], by ascending id within a query.

        Raises
        ------
        ShapeError
            The shape of x does not fit.
        ValueError
            More than 100,000,000 results.
        """
        queries = _matrix(x, "x", self.d)
        limit = np.float32(thresh)
        inner = self._name == "dot"
        # All that may count, the border included; what FAISS leaves out is taken away below.
        loosest = float(limit) if inner else float(np.sqrt(max(float(limit), 0.0)) * (1 + 1e-6))
        pairs = pairs_above(queries, self._rows().gallery(), loosest, metric=self._name)
        values, _ = _as_faiss(pairs.scores, pairs.columns, self._name)
        kept = values > limit if inner else values < limit
        counts = np.bincount(pairs.rows[kept], minlength=int(queries.shape[0]))
        parts = (np.concatenate([[0], np.cumsum(counts)]), values[kept], pairs.columns[kept])
        if is_torch(queries):
            torch = sys.modules["torch"]
            lims, found, ids = (torch.from_numpy(part).to(queries.device) for part in parts)
            return lims, found, ids
        return parts[0].astype(np.uint64), parts[1], parts[2]

    def reconstruct(self, key: int) -> NDArray[np.float32]:
        """Return row `key`, float32 [d].

        Raises
        ------
        RuntimeError
            There is no such row.
        """
        row: NDArray[np.float32] = self.reconstruct_n(key, 1)[0]
        return row

    def reconstruct_n(self, n0: int = 0, ni: int = -1) -> NDArray[np.float32]:
        """Return a copy of `ni` rows (-1: all) from row `n0` on, float32 [ni, d].

        Raises
        ------
        RuntimeError
            There are no such rows.
        """
        count = self.ntotal - n0 if ni == -1 else ni
        if count and not 0 <= n0 <= n0 + count <= self.ntotal:
            msg = f"rows {n0} to {n0 + count} are asked for, and there are {self.ntotal}"
            raise RuntimeError(msg)
        rows: NDArray[np.float32] = self._rows().rows[n0 : n0 + count].copy()
        return rows

    def _rows(self) -> KeptRows:
        if self._kept is None:
            if len(self._blocks) != 1:
                self._blocks = [np.concatenate([np.empty((0, self.d), np.float32), *self._blocks])]
            (rows,) = self._blocks
            self._kept = KeptRows(rows, self._name)
        return self._kept


class IndexFlatIP(IndexFlat):
    """An `IndexFlat` of inner products.

    Parameters
    ----------
    d : int
        Columns.
    """

    def __init__(self, d: int) -> None:
        super().__init__(d, METRIC_INNER_PRODUCT)


class IndexFlatL2(IndexFlat):
    """An `IndexFlat` of squared Euclidean distances.

    Parameters
    ----------
    d : int
        Columns.
    """

    def __init__(self, d: int) -> None:
        super().__init__(d, METRIC_L2)


def _metric(metric: int) -> Metric:
    if metric not in _METRICS:
        msg = f"metric must be METRIC_INNER_PRODUCT (0) or METRIC_L2 (1), not {metric!r}"
        raise NotImplementedError(msg)
    return _METRICS[metric]


def _matrix(x: Any, name: str, d: int | None = None) -> Any:
    """Return rows that idsim reads, integers as float32, as FAISS takes them."""
    if is_torch(x):
        rows = x if x.is_floating_point() else x.float()
    else:
        rows = x if hasattr(x, "__dlpack__") else np.asarray(x)
        if isinstance(rows, np.ndarray) and rows.dtype.kind in "biu":
            rows = rows.astype(np.float32)
    if len(rows.shape) != 2:
        msg = f"{name} must have 2 dimensions [rows, d], not {len(rows.shape)}"
        raise ShapeError(msg)
    if d is not None and int(rows.shape[1]) != d:
        msg = f"{name} must have {d} columns, not {int(rows.shape[1])}"
        raise ShapeError(msg)
    return rows


def _float32_copy(rows: Any) -> NDArray[np.float32]:
    if is_torch(rows):
        rows = rows.detach().cpu().float().numpy()
    elif not isinstance(rows, np.ndarray):
        rows = np.from_dlpack(rows)
    return np.array(rows, dtype=np.float32, order="C")


def _as_faiss(scores: Any, ids: Any, metric: Metric) -> tuple[Any, Any]:
    """Return squared distances in place of distances, and FAISS's padding."""
    values = scores
    if metric == "l2":
        with np.errstate(over="ignore", under="ignore"):
            values = scores * scores  # rounded once, as the float32 of the exact product is
    values[ids < 0] = _FLOAT_MAX if metric == "l2" else -_FLOAT_MAX
    return values, ids


def _written(given: Any, found: Any) -> Any:
    if given is None:
        return found
    given[...] = found
    return given
