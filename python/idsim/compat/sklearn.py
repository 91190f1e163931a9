"""Nearest neighbours as scikit-learn calls them: ``from idsim.compat.sklearn import ExactNeighbors``.

In place of ``sklearn.neighbors.NearestNeighbors(metric="cosine")`` and ``metric="euclidean"``; scikit-learn need not be
installed.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from idsim import pairs_above, search
from idsim.compat.rows import KeptRows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from idsim.options import Metric

__all__ = ["ExactNeighbors", "NotFittedError"]

_METRICS: dict[str, Metric] = {"cosine": "cosine", "euclidean": "l2", "l2": "l2"}
# float32 scores lie this near to those of which a distance was made, and the mapping rounds once more.
_SLACK = 1e-6


class NotFittedError(ValueError, AttributeError):
    """`fit` was not called; of the same builtin kinds as scikit-learn's."""


class ExactNeighbors:
    """Nearest neighbours by comparison with all rows.

    Same as scikit-learn's ``NearestNeighbors``: the methods, their arguments and defaults, the shapes and dtypes of
    what they return, the rule that ``X=None`` asks for the neighbours of the fitted rows without themselves, and the
    kinds of errors. It can be cloned, pickled, and asked for its parameters. What differs:

    - The metric is "cosine" by default; "cosine", "euclidean" and "l2" (the same) are all there is. So there is no
      ``p``, no ``metric_params`` and, without a tree, no ``leaf_size``.
    - Rows are float32: float64 is rounded once. Distances are the canonical scores of ``docs/precision.md``, as
      1 - cosine or as Euclidean distance, in the dtype that scikit-learn returns; so a cosine distance of float64 rows
      is exact to about 1e-7, not to 1e-16.
    - Equal distances stand in ascending order of row; in `radius_neighbors` where they are sorted.
    - Sparse matrices are a `TypeError`.

    Parameters
    ----------
    n_neighbors : int
        Of `kneighbors`.
    radius : float
        Of `radius_neighbors`.
    algorithm : str
        Taken and not used: all of scikit-learn's give the same neighbours.
    metric : {"cosine", "euclidean", "l2"}
        Of the distance.
    n_jobs : int, optional
        Threads; None or negative: one per core.

    Attributes
    ----------
    n_samples_fit_, n_features_in_ : int
        Shape of what was fitted.
    effective_metric_ : str
        The metric.

    Examples
    --------
    >>> import numpy as np
    >>> from idsim.compat.sklearn import ExactNeighbors
    >>> rows = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    >>> distances, ids = ExactNeighbors(n_neighbors=1).fit(rows).kneighbors([[0.0, 2.0]])
    >>> ids, distances
    (array([[2]]), array([[0.]]))
    """

    _parameters: ClassVar = {
        "n_neighbors": 5,
        "radius": 1.0,
        "algorithm": "auto",
        "metric": "cosine",
        "n_jobs": None,
    }

    def __init__(
        self,
        *,
        n_neighbors: int = 5,
        radius: float = 1.0,
        algorithm: str = "auto",
        metric: str = "cosine",
        n_jobs: int | None = None,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.radius = radius
        self.algorithm = algorithm
        self.metric = metric
        self.n_jobs = n_jobs

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: ARG002 - there is nothing below
        """Return the parameters by name."""
        return {name: getattr(self, name) for name in self._parameters}

    def set_params(self, **params: Any) -> ExactNeighbors:
        """Set parameters by name; the metric counts from the next `fit` on.

        Raises
        ------
        ValueError
            There is no such parameter.
        """
        for name, value in params.items():
            if name not in self._parameters:
                msg = f"Invalid parameter {name!r} for ExactNeighbors; valid are {sorted(self._parameters)}"
                raise ValueError(msg)
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        given = (f"{n}={getattr(self, n)!r}" for n, d in self._parameters.items() if getattr(self, n) != d)
        return f"ExactNeighbors({', '.join(given)})"

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import Tags, TargetTags  # it is scikit-learn that asks

        return Tags(estimator_type=None, target_tags=TargetTags(required=False))

    def fit(self, X: Any, y: Any = None) -> ExactNeighbors:  # noqa: ARG002 - as every estimator
        """Keep the rows to compare with; float32 and float64 arrays are not copied and must not change.

        Parameters
        ----------
        X : array_like
            [n, d] numbers, 1 row or more.
        y : object
            Not used.

        Raises
        ------
        ValueError
            A parameter or the shape of X is no good. (NaN and infinity are found by the first search.)
        """
        if self.metric not in _METRICS:
            msg = f"The 'metric' parameter must be one of {sorted(_METRICS)}, not {self.metric!r}"
            raise ValueError(msg)
        _checked_neighbors(self.n_neighbors)
        rows = self._checked(X)
        self._kept = KeptRows(rows, _METRICS[self.metric])
        self.n_samples_fit_, self.n_features_in_ = (int(size) for size in rows.shape)
        self.effective_metric_ = self.metric
        return self

    def kneighbors(
        self, X: Any = None, n_neighbors: int | None = None, return_distance: bool = True
    ) -> tuple[NDArray[Any], NDArray[np.int64]] | NDArray[np.int64]:
        """Find the nearest rows.

        Parameters
        ----------
        X : array_like, optional
            [q, d]. Default: the fitted rows, each without itself.
        n_neighbors : int, optional
            Default: that of the estimator.
        return_distance : bool
            Whether to return the distances too.

        Returns
        -------
        distances : ndarray
            [q, n_neighbors], ascending; cosine of float32 rows as float32, else float64.
        ids : ndarray
            int64 [q, n_neighbors].

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            More neighbours than there are rows, no rows, other columns, or NaN or infinity in a row.
        """
        kept, queries = self._kept_and(X)
        count = _checked_neighbors(self.n_neighbors if n_neighbors is None else n_neighbors)
        if count > len(kept) - (X is None):
            sign = "<" if X is None else "<="
            msg = (
                f"Expected n_neighbors {sign} n_samples_fit, but n_neighbors = {count}, "
                f"n_samples_fit = {len(kept)}, n_samples = {len(queries)}"
            )
            raise ValueError(msg)
        scores, ids = search(
            queries,
            kept.gallery(),
            count,
            metric=kept.metric,
            exclude="self" if X is None else None,
            threads=self._threads(),
        )
        return (_distances(scores, kept, queries), ids) if return_distance else ids

    def radius_neighbors(
        self,
        X: Any = None,
        radius: float | None = None,
        return_distance: bool = True,
        sort_results: bool = False,
    ) -> tuple[NDArray[Any], NDArray[Any]] | NDArray[Any]:
        """Find all rows within a distance, the border included.

        Parameters
        ----------
        X : array_like, optional
            [q, d]. Default: the fitted rows, each without itself.
        radius : float, optional
            Default: that of the estimator.
        return_distance : bool
            Whether to return the distances too.
        sort_results : bool
            By distance; else by row.

        Returns
        -------
        distances, ids : ndarray
            object [q]: an array for each query.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            As `kneighbors`; or more than 100,000,000 results, or they are to be sorted and not returned.
        """
        kept, queries = self._kept_and(X)
        if sort_results and not return_distance:
            raise ValueError("return_distance must be True if sort_results is True.")
        reach = float(self.radius if radius is None else radius)
        pairs = pairs_above(
            queries,
            kept.gallery(),
            reach if kept.metric == "l2" else 1.0 - reach - _SLACK,
            metric=kept.metric,
            exclude="self" if X is None else None,
            threads=self._threads(),
        )
        distances = _distances(pairs.scores, kept, queries)
        within = distances.astype(np.float64) <= reach
        rows, ids, distances = pairs.rows[within], pairs.columns[within], distances[within]
        if sort_results:
            order = np.lexsort((ids, distances, rows))
            ids, distances = ids[order], distances[order]
        ends = np.cumsum(np.bincount(rows, minlength=len(queries)))
        found = _split(ids, ends)
        return (_split(distances, ends), found) if return_distance else found

    def kneighbors_graph(
        self, X: Any = None, n_neighbors: int | None = None, mode: str = "connectivity"
    ) -> Any:
        """Return the neighbours as a sparse matrix; needs SciPy.

        Parameters
        ----------
        X, n_neighbors
            As of `kneighbors`.
        mode : {"connectivity", "distance"}
            What the entries are: 1, or the distance.

        Returns
        -------
        scipy.sparse.csr_matrix
            [q, n].

        Raises
        ------
        ValueError
            Another mode, and as `kneighbors`.
        """
        from scipy.sparse import csr_matrix

        if mode not in {"connectivity", "distance"}:
            msg = f'Unsupported mode, must be one of "connectivity", or "distance" but got "{mode}" instead'
            raise ValueError(msg)
        distances, ids = self.kneighbors(X, n_neighbors)
        entries = np.ones(ids.size) if mode == "connectivity" else distances.ravel()
        starts = np.arange(0, ids.size + 1, ids.shape[1])
        return csr_matrix((entries, ids.ravel(), starts), shape=(len(ids), self.n_samples_fit_))

    def _threads(self) -> int | None:
        return self.n_jobs if self.n_jobs is not None and self.n_jobs > 0 else None

    def _kept_and(self, X: Any) -> tuple[KeptRows, NDArray[Any]]:
        kept: KeptRows | None = getattr(self, "_kept", None)
        if kept is None:
            msg = (
                "This ExactNeighbors instance is not fitted yet. Call 'fit' with appropriate arguments "
                "before using this estimator."
            )
            raise NotFittedError(msg)
        return kept, kept.rows if X is None else self._checked(X, self.n_features_in_)

    def _checked(self, X: Any, columns: int | None = None) -> NDArray[Any]:
        if hasattr(X, "tocsr"):
            raise TypeError("X is a sparse matrix, which is not read; give X.toarray()")
        rows = np.asarray(X)
        if rows.dtype.kind in "biuO":
            rows = rows.astype(np.float64)
        if rows.dtype.kind in "USc":
            msg = f"X must hold real numbers, not {rows.dtype}"
            raise ValueError(msg)
        if rows.ndim != 2:
            msg = f"Expected 2D array, got {rows.ndim}D array instead; X must have shape (n_samples, n_features)"
            raise ValueError(msg)
        if rows.size == 0:
            msg = f"Found array of shape {rows.shape} while 1 sample and 1 feature are the least"
            raise ValueError(msg)
        if columns is not None and rows.shape[1] != columns:
            msg = f"X has {rows.shape[1]} features, but ExactNeighbors is expecting {columns} features as input."
            raise ValueError(msg)
        return rows


def _checked_neighbors(count: Any) -> int:
    try:
        checked = operator.index(count)
    except TypeError:
        msg = f"n_neighbors does not take {type(count)} value, enter integer value"
        raise TypeError(msg) from None
    if checked < 1:
        msg = f"Expected n_neighbors > 0. Got {checked}"
        raise ValueError(msg)
    return checked


def _distances(scores: NDArray[np.float32], kept: KeptRows, queries: NDArray[Any]) -> NDArray[Any]:
    """Return scores as distances, in the dtype that scikit-learn gives them."""
    if kept.metric == "l2":
        return scores.astype(np.float64)
    narrow = kept.rows.dtype == queries.dtype == np.float32
    return np.subtract(1.0, scores, dtype=np.float32 if narrow else np.float64)


def _split(values: NDArray[Any], ends: NDArray[np.int64]) -> NDArray[Any]:
    parts = np.empty(len(ends), dtype=object)
    start = 0
    for place, end in enumerate(ends.tolist()):
        parts[place] = values[start:end]
        start = end
    return parts
