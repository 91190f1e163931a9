"""Exact top-k as an operator of PyTorch, ``torch.ops.idsim.topk``, that `torch.compile` does not break the graph at.

Importing this module imports PyTorch and registers the operator.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from idsim import search

if TYPE_CHECKING:
    from idsim.options import Metric

__all__ = ["topk"]


def _search(
    queries: Tensor, gallery: Tensor, k: int, metric: str = "cosine", exclude_self: bool = False
) -> tuple[Tensor, Tensor]:
    name: Metric = metric  # type: ignore[assignment] # the schema of an operator has no literals; search checks it
    scores, ids = search(queries, gallery, k, metric=name, exclude="self" if exclude_self else None)
    return scores, ids


def _shapes(
    queries: Tensor, gallery: Tensor, k: int, metric: str = "cosine", exclude_self: bool = False
) -> tuple[Tensor, Tensor]:
    shape = (queries.shape[0], k)
    return queries.new_empty(shape, dtype=torch.float32), queries.new_empty(shape, dtype=torch.int64)


_operator = torch.library.custom_op("idsim::topk", _search, mutates_args=())
_operator.register_fake(_shapes)


def topk(
    queries: Tensor, gallery: Tensor, k: int, *, metric: str = "cosine", exclude_self: bool = False
) -> tuple[Tensor, Tensor]:
    """Find the k gallery rows with the best score for each query; `idsim.search` as an operator.

    Parameters
    ----------
    queries, gallery : Tensor
        [q, d] and [n, d] float32, float16, bfloat16 or float64, on the CPU or on a CUDA device, where it runs on the
        current stream.
    k : int
        Results per query.
    metric : {"cosine", "dot", "l2"}
        Score.
    exclude_self : bool
        Leave out query i against gallery row i.

    Returns
    -------
    scores, ids : Tensor
        float32 and int64 [q, k], with the queries; the same bytes compiled and not. There is no gradient: ``backward``
        through the scores is a `RuntimeError`.

    Raises
    ------
    ValueError, TypeError
        As `idsim.search`, when it runs.

    Examples
    --------
    >>> import torch
    >>> from idsim.compat.torch_op import topk
    >>> find = torch.compile(lambda q, g: topk(q / 2, g, 1), backend="eager", fullgraph=True)
    >>> find(torch.eye(3), torch.eye(3))[1].ravel()
    tensor([0, 1, 2])
    """
    scores, ids = _operator(queries, gallery, k, metric, exclude_self)
    return scores, ids
