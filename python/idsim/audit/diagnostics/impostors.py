"""What two different people usually score inside a set: exact mean and deviation, sampled quantiles.

A matcher that was fed with crops it was not made for gives everybody the same features. Published embeddings of one
synthetic set have an impostor mean of 0.624, because pictures were resized without detection or alignment, and 96 %
of its images "match" at 0.5; properly aligned sets lie between 0 and 0.1. Means do not tell leaks, but they tell this.

Sums make the mean exact at any size: the cosines of all pairs add up to the squared length of the sum of the unit
vectors, and their squares to the squared Frobenius norm of the second moment matrix.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from idsim import reference
from idsim.audit.diagnostics.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from idsim.options import Metric

__all__ = ["ImpostorScores", "cross_mean", "impostor_findings", "impostor_scores", "sampled_quantiles"]

SLICE_ELEMENTS = 1 << 22
QUANTILES = (0.01, 0.5, 0.99)

# Cosines. Angular-margin networks put different people near 0; from here on crops or weights are suspect.
WARN_MEAN = 0.15
ERROR_MEAN = 0.30
# Differences of means: real sets of one source hardly differ; generated faces are somewhat alike anyway.
WARN_REAL = 0.05
WARN_SYNTHETIC = 0.10
SYNTHETIC_DIFFERS = (
    "generated faces resemble one another more, or less, than real ones do: a low psi, few modes, images of one "
    "identity in several clusters, or another processing"
)


@dataclass(frozen=True)
class ImpostorScores:
    """Scores of all pairs of images of different people in one set.

    Attributes
    ----------
    persons, pairs : int
        People (clusters of the synthetic set), and pairs of images of different ones.
    mean, deviation : float or None
        Over all pairs, exactly; None without pairs. ``l2``: of the squared distance.
    low, high : float or None
        95 % interval of the mean over persons, from the variance of a U-statistic's projection; None below five
        persons.
    """

    persons: int
    pairs: int
    mean: float | None
    deviation: float | None
    low: float | None
    high: float | None


def impostor_scores(
    vectors: NDArray[np.float32], persons: NDArray[np.int64], metric: str = "cosine"
) -> ImpostorScores:
    """Return mean and deviation of the impostor scores of a set, over all pairs.

    Parameters
    ----------
    vectors : ndarray
        float32 ``[n, d]``.
    persons : ndarray
        int64 ``[n]``: person, or cluster, of each: codes 0 .. k-1, each present.
    metric : {"cosine", "l2"}
        ``l2``: the numbers are of squared distances, whose mean is exact too.

    Raises
    ------
    ValueError
        The arrays differ in length, or the metric is another one.
    """
    if metric not in ("cosine", "l2"):
        raise ValueError(f"metric must be cosine or l2, not {metric!r}")
    if len(vectors) != len(persons):
        raise ValueError(f"{len(vectors)} vectors need one person each, not {len(persons)}")
    n, k = len(vectors), int(persons.max()) + 1 if len(persons) else 0
    sizes = np.bincount(persons, minlength=k)
    pairs = (n * n - int((sizes.astype(object) ** 2).sum())) // 2
    if not pairs:
        return ImpostorScores(k, 0, None, None, None, None)
    total, moments = _totals(vectors, metric)
    own_sum, own_square = _mated_sums(vectors, np.argsort(persons, kind="stable"), sizes, metric)
    # The sum of the scores of every person with everybody else.
    per_person = -own_sum
    for start, (left, _) in _sliced(vectors, metric):
        part = persons[start : start + len(left)]
        per_person += np.bincount(part, weights=left @ total, minlength=k)
    mean = float(per_person.sum()) / (2 * pairs)
    square = float(moments.sum()) - float(own_square.sum())
    deviation = math.sqrt(max(0.0, square / (2 * pairs) - mean**2))
    low, high = _interval(per_person, sizes.astype(np.float64), mean)
    return ImpostorScores(k, pairs, mean, deviation, low, high)


def cross_mean(
    first: NDArray[np.float32], second: NDArray[np.float32], metric: str = "cosine"
) -> float | None:
    """Return the mean score of all pairs between two sets, exactly (``l2``: of the squared distance)."""
    if not len(first) or not len(second):
        return None
    left = sum(part.sum(axis=0) for _, (part, _) in _sliced(first, metric)) / len(first)
    return float(left @ _totals(second, metric)[0]) / len(second)


def sampled_quantiles(
    vectors: NDArray[np.float32],
    persons: NDArray[np.int64],
    metric: Metric,
    rng: np.random.Generator,
    pairs: int = 100_000,
) -> dict[str, float]:
    """Return quantiles of the scores of random pairs of different people: ``{"0.01": ..., "0.5": ..., "0.99": ...}``.

    Parameters
    ----------
    vectors, persons, metric
        As in `impostor_scores`; the numbers are scores or distances themselves.
    rng : numpy.random.Generator
        Draws the pairs.
    pairs : int
        Drawn; pairs of one person are left out. Empty where none is left.
    """
    if len(vectors) < 2:
        return {}
    drawn = rng.integers(0, len(vectors), (2, pairs))
    drawn = drawn[:, persons[drawn[0]] != persons[drawn[1]]]
    if not drawn.shape[1]:
        return {}
    step = max(1, SLICE_ELEMENTS // vectors.shape[1])
    scores = np.concatenate(
        [
            reference.paired_scores(vectors[part[0]], vectors[part[1]], metric)
            for part in (drawn[:, start : start + step] for start in range(0, drawn.shape[1], step))
        ]
    )
    return {f"{level:g}": float(np.quantile(scores, level)) for level in QUANTILES}


def impostor_findings(
    sets: Mapping[str, ImpostorScores],
    metric: str,
    quantiles: Mapping[str, Mapping[str, float]] | None = None,
) -> list[Finding]:
    """Return a finding per set, and one where two sets differ.

    Parameters
    ----------
    sets : mapping
        Of ``synthetic``, ``training``, ``holdout``, where they are known.
    metric : str
        Only cosines have a value that is plausible for every matcher; distances are reported.
    quantiles : mapping, optional
        Of `sampled_quantiles`, by set.
    """
    found = []
    for name, one in sets.items():
        numbers = {"set": name, "metric": metric, **asdict(one)}
        if quantiles and name in quantiles:
            numbers["sampled_quantiles"] = dict(quantiles[name])
        found.append(_level(name, one, metric, numbers))
    if metric == "cosine":
        found += _differences(sets)
    return found


def _level(name: str, one: ImpostorScores, metric: str, numbers: dict[str, object]) -> Finding:
    check = "impostor scores"
    if one.mean is None:
        return Finding(check, "info", f"The {name} set has no two people to compare.", numbers)
    if metric != "cosine":
        sentence = f"Different people of the {name} set have a mean squared distance of {one.mean:.3g}."
        return Finding(check, "info", sentence, numbers)
    sentence = f"Different people of the {name} set have a mean cosine of {one.mean:.3f}"
    if one.mean >= ERROR_MEAN:
        sentence += (
            "; that is far from 0: the matcher hardly tells faces of this set apart, as happens when pictures are "
            "not aligned in the way the matcher expects, or its weights are wrong"
        )
        return Finding(check, "error", sentence + ".", numbers)
    if one.mean >= WARN_MEAN:
        sentence += "; most matchers give values near 0: check the alignment of the pictures"
        return Finding(check, "warning", sentence + ".", numbers)
    return Finding(check, "info", sentence + ".", numbers)


def _differences(sets: Mapping[str, ImpostorScores]) -> list[Finding]:
    found = []
    known = {name: one.mean for name, one in sets.items() if one.mean is not None}
    for left, right, limit, meaning in (
        ("training", "holdout", WARN_REAL, "the two differ in people, cameras or processing"),
        (
            "synthetic",
            "holdout",
            WARN_SYNTHETIC,
            SYNTHETIC_DIFFERS,
        ),
    ):
        if left not in known or right not in known:
            continue
        difference = known[left] - known[right]
        if abs(difference) < limit:
            continue
        sentence = (
            f"Different people score {known[left]:.3f} in the {left} set and {known[right]:.3f} in the {right} set "
            f"on average: {meaning}."
        )
        numbers = {"sets": [left, right], "difference": difference, "limit": limit}
        found.append(Finding("impostor scores differ", "warning", sentence, numbers))
    return found


# --- sums -----------------------------------------------------------------------------------------


def _features(vectors: NDArray[np.float32], metric: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return two matrices whose rows have the scores as dot products, the second one with the first.

    Cosine: unit rows, twice. Squared distance: ``[|x|^2, 1, -2x] . [1, |y|^2, y]``.
    """
    wide = vectors.astype(np.float64)
    squares = np.einsum("ij,ij->i", wide, wide)[:, None]
    if metric == "l2":
        ones = np.ones_like(squares)
        return np.hstack([squares, ones, -2 * wide]), np.hstack([ones, squares, wide])
    norms = np.sqrt(squares)
    unit = np.divide(wide, norms, out=np.zeros_like(wide), where=norms > 0)
    return unit, unit


def _sliced(
    vectors: NDArray[np.float32], metric: str
) -> Iterator[tuple[int, tuple[NDArray[np.float64], NDArray[np.float64]]]]:
    """Yield the features of rows in slices, each with the number of its first row."""
    step = max(1, SLICE_ELEMENTS // max(1, vectors.shape[1]))
    for start in range(0, len(vectors), step):
        yield start, _features(vectors[start : start + step], metric)


def _totals(vectors: NDArray[np.float32], metric: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the sum of the right features, and the product of the second moments of left and right ones."""
    sums = []
    totals: list[NDArray[np.float64]] | None = None
    for _, (left, right) in _sliced(vectors, metric):
        sums.append(right.sum(axis=0))
        moments = [part.T @ part for part in ([left] if metric == "cosine" else [left, right])]
        totals = (
            moments if totals is None else [total + part for total, part in zip(totals, moments, strict=True)]
        )
    assert totals is not None
    return np.sum(sums, axis=0), totals[0] * totals[-1]


def _mated_sums(
    vectors: NDArray[np.float32], order: NDArray[np.int64], sizes: NDArray[np.int64], metric: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return per person the sums of scores and of squared scores over ordered pairs of own images, self included.

    `order` lists the images by person. Persons of equal size are worked on together; one of more images than
    dimensions through second moments.
    """
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    sums, squares = np.zeros(len(sizes)), np.zeros(len(sizes))
    dim = vectors.shape[1]
    for size in np.unique(sizes[sizes > 0]).tolist():
        people = np.flatnonzero(sizes == size)
        step = max(1, SLICE_ELEMENTS // max(size * dim, min(size, dim) ** 2))
        for first in range(0, len(people), step):
            part = people[first : first + step]
            places = order[starts[part][:, None] + np.arange(size)]
            features = _features(vectors[places.reshape(-1)], metric)
            one, two = (rows.reshape(len(part), size, -1) for rows in features)
            sums[part] = np.einsum("pd,pd->p", one.sum(axis=1), two.sum(axis=1))
            if size <= dim:
                squares[part] = (np.matmul(one, two.transpose(0, 2, 1)) ** 2).sum(axis=(1, 2))
            else:
                moments = np.matmul(one.transpose(0, 2, 1), one) * np.matmul(two.transpose(0, 2, 1), two)
                squares[part] = moments.sum(axis=(1, 2))
    return sums, squares


def _interval(
    per_person: NDArray[np.float64], sizes: NDArray[np.float64], mean: float
) -> tuple[float | None, float | None]:
    """Return a 95 % interval of the mean: 2 sd / sqrt(persons) of the persons' own contributions.

    The statistic is a ratio of sums over pairs of persons; its projection on one person is twice the person's
    residual sum over the mean number of pairs of a person. Where persons do not matter this is wider than needed, by
    up to a factor of 1.4.
    """
    people = len(sizes)
    if people < 5:
        return None, None
    pairs = sizes * (sizes.sum() - sizes)
    residual = (per_person - mean * pairs) / pairs.mean()
    half = 1.959963985 * 2 * float(residual.std(ddof=1)) / math.sqrt(people)
    return mean - half, mean + half
