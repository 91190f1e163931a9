"""How much denser the synthetic images are around a real face than other real faces are.

A member in a crowded region is near many synthetic images without any leak, one in an empty region is betrayed by
a single image that is not even close. The ratio of both densities knows the difference (DOMIAS: van Breugel et
al. 2023); here densities come from nearest neighbours (Loftsgaarden and Quesenberry 1965).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["density_ratios", "reference_half"]

# Cosines are float32: above 1 - 2^-23 they cannot be told from 1, which is this distance of unit vectors.
LEAST_DISTANCE = 2.0**-11


def density_ratios(synthetic: NDArray[Any], reference: NDArray[Any], metric: str) -> NDArray[np.float64]:
    """Return a score per real embedding that rises with the ratio of synthetic to reference density.

    The density at a point is ``k / (n V r_k^d)`` with r_k the distance of its k-th nearest neighbour, so
    ``log(p_S / p_R) = d (log r_R - log r_S) + constant``: the score is ``log r_R - log r_S``, which orders
    embeddings in the same way for every dimension d and all sizes of the sets. Its values are in units of
    1 / d, where d is the dimension in which the embeddings really vary.

    Parameters
    ----------
    synthetic, reference : ndarray
        float ``[n]``: score of every real embedding with its k-th nearest neighbour among the synthetic
        embeddings, and among those of reference persons: real persons in neither compared set, or one half of
        the holdout. Column k - 1 of ``idsim.search(queries, gallery, k).scores``; k need not be the same.
    metric : {"cosine", "l2"}
        What the scores are.

    Returns
    -------
    ndarray
        float64 ``[n]``; higher means nearer to the synthetic images than to real ones.

    Raises
    ------
    ValueError
        The metric is no distance, or a neighbour is missing because a set has fewer than k embeddings.
    """
    if synthetic.shape != reference.shape:
        raise ValueError(f"neighbours have shapes {synthetic.shape} and {reference.shape}")
    near, far = (_distances(scores, metric) for scores in (synthetic, reference))
    return np.asarray(np.log(far) - np.log(near), dtype=np.float64)


def _distances(scores: NDArray[Any], metric: str) -> NDArray[np.float64]:
    wide = np.asarray(scores, dtype=np.float64)
    if not np.isfinite(wide).all():
        raise ValueError(
            f"embedding {int((~np.isfinite(wide)).argmax())} has no k-th neighbour: k exceeds the set that is searched"
        )
    if metric == "cosine":
        wide = np.sqrt(np.maximum(0.0, 2 - 2 * wide))
    elif metric != "l2":
        raise ValueError(f"a density needs distances: metric must be cosine or l2, not {metric}")
    return np.maximum(wide, LEAST_DISTANCE)


def reference_half(persons: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return bool ``[n]``: the embeddings of half of the persons, at random, to serve as the reference.

    Parameters
    ----------
    persons : ndarray
        int64 ``[n]``: code of the person of every embedding of the holdout; codes 0 .. k-1.
    rng : numpy.random.Generator
        Source of the choice.
    """
    total = int(persons.max()) + 1 if len(persons) else 0
    chosen = np.zeros(total, np.bool_)
    chosen[rng.permutation(total)[: total // 2]] = True
    return chosen[persons]
