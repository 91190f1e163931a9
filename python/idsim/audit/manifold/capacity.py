"""How many identities fit into the part of the sphere that a generator fills: an upper bound.

After Boddeti, Sreekumar and Ross, "On the Biometric Capacity of Generative Face Models" (IJCB 2023): the area of
the cap that holds all faces, over that of the cap that holds one person.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from idsim.audit.manifold.distances import embedded
from idsim.audit.rates.grouped import Estimate, group_codes
from idsim.audit.rates.intervals import Interval
from idsim.audit.rates.intervals import quantile as normal_quantile
from idsim.topk import search

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Capacity", "cap_fraction_log", "identity_capacity"]

FEWEST_FACES = 100
FEWEST_CLUSTERS = 30
BLOCK_VALUES = 1 << 23

ASSUMPTIONS = (
    "faces fill the cap evenly, in all directions of the space",
    "every person takes a cap of the same angle",
    "caps are packed without gaps, so the number is an upper bound",
)


@dataclass(frozen=True)
class Capacity:
    """Identity capacity at a threshold.

    Attributes
    ----------
    log10, log2 : Estimate
        Logarithms of the number of identities, at least 0.
    threshold : float
        Cosine from which on two faces count as one person.
    population_angle, identity_angle : Estimate
        Half angles of the two caps in radians, before half the angle of the threshold is added to both.
    identity_from : str
        ``clusters``: faces of one cluster; ``threshold``: half the angle of the threshold.
    dimension : float
        Of the space that the sphere lies in.
    assumptions : tuple of str
        What the number rests on.
    """

    log10: Estimate
    log2: Estimate
    threshold: float
    population_angle: Estimate
    identity_angle: Estimate
    identity_from: str
    dimension: float
    assumptions: tuple[str, ...] = ASSUMPTIONS


def cap_fraction_log(angle: float, dimension: float) -> float:
    """Return the natural logarithm of the share of the unit sphere that a cap of that half angle takes.

    ``I_x((d-1)/2, 1/2) / 2`` with ``x = sin^2 angle`` up to a right angle, and 1 less that of the rest beyond
    (Li 2011, "Concise formulas for the area and volume of a hyperspherical cap").

    Parameters
    ----------
    angle : float
        In (0, pi].
    dimension : float
        Of the space, more than 1; need not be whole.

    Raises
    ------
    ValueError
        Out of range.
    """
    if not 0 < angle <= math.pi:
        raise ValueError(f"the half angle of a cap must be in (0, pi], not {angle:g}")
    if not dimension > 1:
        raise ValueError(f"the dimension must be more than 1, not {dimension:g}")
    a = (dimension - 1) / 2
    # Beyond a right angle, the complement is what is small.
    small = _log_beta_share(math.sin(angle) ** 2, math.cos(angle) ** 2, a) - math.log(2)
    return small if angle <= math.pi / 2 else math.log1p(-math.exp(small))


def _log_beta_share(x: float, rest: float, a: float) -> float:
    """Return the logarithm of the regularised incomplete beta function ``I_x(a, 1/2)``, with ``rest = 1 - x``."""
    if x <= 0:
        return -math.inf
    if rest <= 0:
        return 0.0
    b = 0.5
    front = a * math.log(x) + b * math.log(rest) - (math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b))
    if x < (a + 1) / (a + b + 2):
        return front - math.log(a) + math.log(_beta_fraction(x, a, b))
    return math.log1p(-math.exp(front - math.log(b)) * _beta_fraction(rest, b, a))


def _beta_fraction(x: float, a: float, b: float) -> float:
    """Return the continued fraction of the incomplete beta function (DLMF 8.17.22) by Lentz's method."""
    c, d = 1.0, 1.0 / (1.0 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, 10_000):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1.0 / (1.0 + term * d)
            c = 1.0 + term / c
            value *= c * d
        if abs(c * d - 1.0) < 1e-15:
            break
    return value


def identity_capacity(
    vectors: NDArray[np.float32],
    threshold: float,
    *,
    metric: str = "cosine",
    clusters: NDArray[np.int64] | None = None,
    dimension: float | None = None,
    quantile: float = 0.05,
    confidence: float = 0.95,
) -> Capacity:
    """Return an upper bound of the number of identities that a generator can draw apart at a threshold.

    The half angle of the population is half the angle to the farthest other face, of which the wide `quantile`
    over faces is taken; that of a person is half the largest angle inside a cluster, the median over clusters, or
    without them half the angle of the threshold. Half the angle of the threshold is added to both, as in the
    reference code; that code counts caps beyond a right angle as a half plus their complement, here they have
    their area.

    Parameters
    ----------
    vectors : ndarray
        float32 ``[n, d]``: synthetic faces.
    threshold : float
        Cosine at the false match rate that counts.
    metric : {"cosine", "l2"}
        How the matcher compares; refused for ``l2``.
    clusters : ndarray, optional
        int64 ``[n]``: intended identity of every face. Used where 30 or more of them have two faces.
    dimension : float, optional
        Of the space; default d, as in the paper. With an intrinsic dimension the number is far smaller.
    quantile : float
        Of the cosine to the farthest face, 0.05 in the reference code.
    confidence : float
        Of the interval, from the limits of both angles together.

    Raises
    ------
    ValueError
        Arguments out of range, or a row is zero.
    """
    if not 0 < quantile < 1:
        raise ValueError(f"quantile must be between 0 and 1, not {quantile:g}")
    count = len(vectors)
    space = float(np.shape(vectors)[1]) if dimension is None else float(dimension)
    if metric != "cosine":
        return _refused("the matcher does not compare by cosine", count, threshold, space)
    if not -1 < threshold < 1:
        return _refused(f"{threshold:g} is no cosine between -1 and 1", count, threshold, space)
    if count < FEWEST_FACES:
        return _refused(f"fewer than {FEWEST_FACES} faces: {count}", count, threshold, space)
    points = embedded(vectors, metric)
    codes = group_codes(clusters, count, "clusters")
    farthest = -np.asarray(search(points, -points, 1, metric="cosine").scores)[:, 0].astype(np.float64)
    units = int(codes.max()) + 1
    population = _angle(farthest, 1.0 - quantile, units, count, confidence)
    inside = _widest_inside(points, codes)
    reach = math.acos(threshold) / 2
    if len(inside) >= FEWEST_CLUSTERS:
        identity, source = _angle(inside, 0.5, len(inside), count, confidence), "clusters"
    else:
        fixed = Interval(reach, reach, "half the angle of the threshold")
        identity, source = Estimate(reach, fixed, count, units), "threshold"
    assert population.value is not None
    assert population.interval is not None
    assert identity.value is not None
    assert identity.interval is not None
    if population.value <= identity.value:
        reason = "the faces of the whole set spread no wider than those of one person"
        return _refused(reason, count, threshold, space, population, identity, source)
    if identity.value + reach > math.pi / 2:
        reason = "the threshold is too loose: the cap of one person takes half of the sphere or more"
        return _refused(reason, count, threshold, space, population, identity, source)

    def size(whole: float, one: float) -> float:
        return max(0.0, cap_fraction_log(whole + reach, space) - cap_fraction_log(one + reach, space))

    value = size(population.value, identity.value)
    low = size(population.interval.low, identity.interval.high)
    high = size(population.interval.high, identity.interval.low)

    def logarithm(base: float) -> Estimate:
        scale = math.log(base)
        limits = Interval(low / scale, high / scale, "limits of both angles together")
        return Estimate(value / scale, limits, count, units)

    return Capacity(logarithm(10), logarithm(2), threshold, population, identity, source, space)


def _refused(
    reason: str,
    count: int,
    threshold: float,
    space: float,
    population: Estimate | None = None,
    identity: Estimate | None = None,
    source: str = "",
) -> Capacity:
    none = Estimate(None, None, count, 0, reason)
    return Capacity(none, none, threshold, population or none, identity or none, source, space)


def _angle(cosines: NDArray[np.float64], share: float, units: int, count: int, confidence: float) -> Estimate:
    """Return a quantile of half angles, with an interval from the ranks that bracket it (Conover 1999, 3.2)."""
    ascending = np.sort(np.arccos(np.clip(cosines, -1.0, 1.0)) / 2)
    half = normal_quantile(confidence) * math.sqrt(share * (1 - share) / units)
    low, high = (
        float(ascending[min(len(ascending) - 1, max(0, math.floor(limit * len(ascending))))])
        for limit in (share - half, share + half)
    )
    value = float(np.quantile(ascending, share))
    limits = Interval(min(low, value), max(high, value), "order statistics, over clusters")
    return Estimate(value, limits, count, units)


def _widest_inside(points: NDArray[np.float32], codes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return float64 ``[clusters with two faces or more]``: the least cosine inside each.

    Clusters of one size are worked on together, in blocks.
    """
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(codes[order]) != 0])
    sizes = np.diff(np.r_[starts, len(order)])
    least = np.full(len(starts), np.inf)
    for size in np.unique(sizes[sizes > 1]).tolist():
        places = np.flatnonzero(sizes == size)
        step = max(1, BLOCK_VALUES // (size * max(size, points.shape[1])))
        for start in range(0, len(places), step):
            chosen = places[start : start + step]
            faces = points[order[starts[chosen][:, None] + np.arange(size)]].astype(np.float64)
            least[chosen] = (faces @ faces.transpose(0, 2, 1)).min(axis=(1, 2))
    return np.asarray(least[sizes > 1])
