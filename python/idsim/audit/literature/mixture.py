"""The generalisation gap of the Feature Likelihood Divergence (Jiralerspong, Bose, Gemp, Qin, Bachrach, Gidel 2023).

A mixture of Gaussians, one around every synthetic face, all of weight 1/m, gets a width per component from the
training set. If training faces are then more likely under it than faces of the holdout, synthetic faces sit on them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from idsim.audit.plain_values import NOT_LISTED
from idsim.audit.rates.grouped import Estimate, group_codes, grouped_variance, normal_interval
from idsim.topk import search

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.random import Generator
    from numpy.typing import NDArray

__all__ = ["LikelihoodGap", "likelihood_gap"]

FEWEST_FACES = 30
BLOCK_ROWS = 16_384
GRID = 2048

# Of the reference code: the component around the mean of the training set that takes faces which no synthetic
# one explains, while widths are fitted; the least squared distance; the limits of the logarithm of a variance.
ORIGIN_SHARE = 0.9
LEAST_SQUARED = 1e-3
LOG_VARIANCE = (-40.0, 20.0)

MOST_ROUNDS = 200
TOLERANCE = 1e-7  # nats per dimension and round


@dataclass(frozen=True)
class LikelihoodGap:
    """The generalisation gap.

    Attributes
    ----------
    gap : Estimate
        ``100 (NLL_training - NLL_holdout) / d``: below 0, training faces are the likelier ones. The interval is over
        faces of both sets, the mixture being given.
    bounds : tuple of float or None
        Within these limits lies the gap of the same mixture over all its components, not only the nearest ones.
    nll_training, nll_holdout : float or None
        Mean negative log likelihood per dimension, in nats.
    memorization : dict of str to float
        Percentiles 50, 95, 99 and 100 of the scores of the synthetic faces.
    memorization_scores : ndarray
        float64 ``[m]``: ``O_j = max_i log N(t_i; g_j, sigma_j) / d``, high where a synthetic face is as good as on a
        training face.
    training_faces, holdout_faces : int
        That took part.
    centres : int
        Nearest components per face.
    rounds : int
        Of the fit.
    converged : bool
        Whether the fit ended before its last round.
    """

    gap: Estimate
    bounds: tuple[float, float] | None
    nll_training: float | None
    nll_holdout: float | None
    memorization: dict[str, float]
    memorization_scores: NDArray[np.float64] = field(metadata=NOT_LISTED)
    training_faces: int
    holdout_faces: int
    centres: int
    rounds: int
    converged: bool


class _Near(NamedTuple):
    """Squared distances float64 ``[n, k]`` and components int64 ``[n, k]`` near every face."""

    squared: NDArray[np.float64]
    ids: NDArray[np.int64]


class _Likelihood(NamedTuple):
    """Log likelihood per dimension float64 ``[n]``, and what it is at most with all components."""

    least: NDArray[np.float64]
    most: NDArray[np.float64]


def likelihood_gap(
    synthetic: NDArray[np.float32],
    training: NDArray[np.float32],
    holdout: NDArray[np.float32],
    *,
    centres: int = 16,
    sample: int | None = None,
    rng: Generator | None = None,
    training_persons: NDArray[np.int64] | None = None,
    holdout_persons: NDArray[np.int64] | None = None,
    confidence: float = 0.95,
) -> LikelihoodGap:
    """Return the gap over all faces, with the components nearest to each.

    The objective is that of the reference code (features scaled to the holdout's mean and standard deviation, a
    component around the mean of training during the fit only); its optimum is found by expectation maximisation
    instead of 50 epochs of gradient descent. A face sees its `centres` nearest components, found exactly; what the
    others could add is bounded (`LikelihoodGap.bounds`).

    Parameters
    ----------
    synthetic, training, holdout : ndarray
        float32 ``[m, d]``, ``[n, d]``, ``[h, d]``: points, as `idsim.audit.manifold.embedded` gives them.
    centres : int
        Components per face.
    sample : int, optional
        Take at most this many random faces of training and of the holdout. Copies of training faces that were not
        drawn are then invisible: prefer all of them (the default).
    rng : numpy.random.Generator, optional
        Draws the sample.
    training_persons, holdout_persons : ndarray, optional
        int64 ``[n]`` and ``[h]``: units of the interval.
    confidence : float
        Of the interval.

    Raises
    ------
    ValueError
        A sample without `rng`, or arguments that do not fit.
    """
    if centres < 1:
        raise ValueError(f"centres must be 1 or more, not {centres}")
    units = [
        group_codes(training_persons, len(training), "training_persons"),
        group_codes(holdout_persons, len(holdout), "holdout_persons"),
    ]
    real = [np.asarray(training), np.asarray(holdout)]
    for side, points in enumerate(real):
        if sample is not None and len(points) > sample:
            if rng is None:
                raise ValueError("a sample needs an rng")
            rows = np.sort(rng.permutation(len(points))[:sample])
            real[side], units[side] = points[rows], units[side][rows]
    sizes = len(synthetic), len(real[0]), len(real[1])
    if min(sizes) < FEWEST_FACES:
        return _refused(f"fewer than {FEWEST_FACES} faces in a set: {sizes}", sizes)
    scaled = _standardised(np.asarray(synthetic), *real)
    if scaled is None:
        return _refused("all faces of the holdout are equal", sizes)
    made, known, unknown = scaled
    dim, k = made.shape[1], min(centres, len(made))
    nearest = np.asarray(search(made, known, 1, metric="l2").scores)[:, 0].astype(np.float64) ** 2
    near = [_near(points, made, k) for points in (known, unknown)]
    log_variance, rounds, converged = _fit(near[0], nearest, known, dim)
    grid = _tail_bound(log_variance, dim, [part.squared[:, -1] for part in near]) if k < len(made) else None
    likelihoods = [_likelihood(part, log_variance, dim, grid) for part in near]
    low, high = ([float(part[which].mean()) for part in likelihoods] for which in (0, 1))
    gap = 100 * (low[1] - low[0])
    variances = [grouped_variance(part.least, codes) for part, codes in zip(likelihoods, units, strict=True)]
    variance, people = (sum(column) for column in zip(*variances, strict=True))
    interval = (
        normal_interval(gap, 1e4 * variance, confidence, "over faces of both sets, by persons")
        if math.isfinite(variance)
        else None
    )
    scores = _log_density(nearest, log_variance, dim) / dim
    return LikelihoodGap(
        gap=Estimate(gap, interval, sizes[1] + sizes[2], people),
        bounds=(100 * (low[1] - high[0]), 100 * (high[1] - low[0])),
        nll_training=-low[0],
        nll_holdout=-low[1],
        memorization={str(q): float(np.percentile(scores, q)) for q in (50, 95, 99, 100)},
        memorization_scores=scores,
        training_faces=sizes[1],
        holdout_faces=sizes[2],
        centres=k,
        rounds=rounds,
        converged=converged,
    )


def _refused(reason: str, sizes: tuple[int, int, int]) -> LikelihoodGap:
    none = Estimate(None, None, sizes[1] + sizes[2], 0, reason)
    return LikelihoodGap(none, None, None, None, {}, np.empty(0), sizes[1], sizes[2], 0, 0, False)


def _standardised(
    synthetic: NDArray[np.float32], training: NDArray[np.float32], holdout: NDArray[np.float32]
) -> list[NDArray[np.float32]] | None:
    """Return the points scaled to mean 0 and standard deviation 1 of the holdout, without constant columns."""
    mean = sum(block.sum(axis=0) for block in _blocks(holdout)) / len(holdout)
    squares = sum(((block - mean) ** 2).sum(axis=0) for block in _blocks(holdout))
    deviation = np.sqrt(squares / (len(holdout) - 1))
    varies = deviation > 1e-7 * max(float(deviation.max()), 1e-30)
    if not varies.any():
        return None
    scaled = []
    for points in (synthetic, training, holdout):
        result = np.empty((len(points), int(varies.sum())), np.float32)
        for number, block in enumerate(_blocks(points)):
            place = slice(number * BLOCK_ROWS, (number + 1) * BLOCK_ROWS)
            result[place] = (block[:, varies] - mean[varies]) / deviation[varies]
        scaled.append(result)
    return scaled


def _blocks(points: NDArray[np.float32]) -> Iterator[NDArray[np.float64]]:
    for start in range(0, len(points), BLOCK_ROWS):
        yield points[start : start + BLOCK_ROWS].astype(np.float64)


def _near(points: NDArray[np.float32], made: NDArray[np.float32], k: int) -> _Near:
    scores, ids = search(points, made, k, metric="l2")
    return _Near(np.asarray(scores).astype(np.float64) ** 2, np.asarray(ids))


def _log_density(
    squared: NDArray[np.float64], log_variance: NDArray[np.float64], dim: int
) -> NDArray[np.float64]:
    """Return the log density of a Gaussian at squared distances from its centre."""
    return -0.5 * (dim * (log_variance + math.log(2 * math.pi)) + squared * np.exp(-log_variance))


def _fit(
    near: _Near, nearest: NDArray[np.float64], known: NDArray[np.float32], dim: int
) -> tuple[NDArray[np.float64], int, bool]:
    """Return the logarithm of the variance of every component, the rounds, and whether they sufficed."""
    count = len(nearest)
    log_variance = np.clip(np.log((nearest + LEAST_SQUARED) / dim), *LOG_VARIANCE)
    origin = np.empty(len(known))
    centre = sum(block.sum(axis=0) for block in _blocks(known)) / len(known)
    for number, block in enumerate(_blocks(known)):
        place = slice(number * BLOCK_ROWS, (number + 1) * BLOCK_ROWS)
        origin[place] = ORIGIN_SHARE**2 * ((block - centre) ** 2).sum(axis=1)
    origin_log = np.zeros(1)
    before = -math.inf
    for rounds in range(1, MOST_ROUNDS + 1):
        mass, spread, origin_sums, total = np.zeros(count), np.zeros(count), np.zeros(2), 0.0
        for start in range(0, len(known), BLOCK_ROWS):
            stop = start + BLOCK_ROWS
            squared, ids = near.squared[start:stop], near.ids[start:stop]
            logs = np.column_stack(
                [
                    _log_density(squared, log_variance[ids], dim) - math.log(count),
                    _log_density(origin[start:stop], origin_log, dim),
                ]
            )
            sums = np.logaddexp.reduce(logs, axis=1)
            shares = np.exp(logs - sums[:, None])
            mass += np.bincount(ids.ravel(), shares[:, :-1].ravel(), count)
            spread += np.bincount(ids.ravel(), (shares[:, :-1] * squared).ravel(), count)
            origin_sums += shares[:, -1].sum(), shares[:, -1] @ origin[start:stop]
            total += float(sums.sum())
        mean = total / len(known) / dim
        if mean - before < TOLERANCE:
            return log_variance, rounds, True
        before = mean
        # A component that explains no face keeps its width.
        moved = mass > 1e-12
        with np.errstate(divide="ignore"):
            log_variance[moved] = np.clip(np.log(spread[moved] / (dim * mass[moved])), *LOG_VARIANCE)
            if origin_sums[0] > 1e-12:
                origin_log = np.clip(np.log(origin_sums[1:] / (dim * origin_sums[0])), *LOG_VARIANCE)
    return log_variance, MOST_ROUNDS, False


def _tail_bound(
    log_variance: NDArray[np.float64], dim: int, farthest: list[NDArray[np.float64]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return squared distances, ascending, and the log density of all components together if all were there.

    It falls with the distance: at that of the k-th nearest component, no more can come from those beyond.
    """
    low = min(float(part.min()) for part in farthest)
    high = max(float(part.max()) for part in farthest)
    grid = np.linspace(math.sqrt(low), math.sqrt(high), GRID) ** 2
    kinds, times = np.unique(log_variance, return_counts=True)
    weights = np.log(times / len(log_variance))
    bound = np.array([np.logaddexp.reduce(weights + _log_density(at, kinds, dim)) for at in grid])
    return grid, bound


def _likelihood(
    near: _Near,
    log_variance: NDArray[np.float64],
    dim: int,
    grid: tuple[NDArray[np.float64], NDArray[np.float64]] | None,
) -> _Likelihood:
    least, most = np.empty(len(near.squared)), np.empty(len(near.squared))
    for start in range(0, len(least), BLOCK_ROWS):
        stop = start + BLOCK_ROWS
        logs = _log_density(near.squared[start:stop], log_variance[near.ids[start:stop]], dim)
        sums = np.logaddexp.reduce(logs, axis=1) - math.log(len(log_variance))
        least[start:stop] = sums / dim
        if grid is None:
            most[start:stop] = least[start:stop]
            continue
        place = np.searchsorted(grid[0], near.squared[start:stop, -1], side="right") - 1
        most[start:stop] = np.logaddexp(sums, grid[1][np.maximum(place, 0)]) / dim
    return _Likelihood(least, most)
