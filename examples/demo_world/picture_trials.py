"""Does a matcher know people, or colours? And does it know them in softer, noisier pictures than it learned from?"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.matchers.pair_statistics import (
    Estimate,
    Pair,
    PairScores,
    auc,
    equal_error_rate,
    separation,
    similarity,
)

if TYPE_CHECKING:
    from idsim.matchers import Embedder

CAST = 0.15  # Standard deviation of the logarithm of each channel's gain in a colour cast.
NOISE = 8.0  # Standard deviation in levels of 255.
NEIGHBOURS = 10  # People of higher number whom each is compared with.


def pairs_of(people: int, images: int) -> list[Pair]:
    """All pairs of one person's portraits, and of each person's first with one portrait of the next ten people."""
    same = [
        Pair(person * images + first, person * images + second, same=True)
        for person in range(people)
        for first, second in combinations(range(images), 2)
    ]
    different = [
        Pair(person * images, (person + step) % people * images + step % images, same=False)
        for person in range(people)
        for step in range(1, NEIGHBOURS + 1)
    ]
    return same + different


def with_cast(pictures: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Give every picture a colour cast: each channel is multiplied by a number of its own."""
    gains = np.exp(CAST * random.standard_normal((len(pictures), 1, 1, 3)))
    return np.clip(np.rint(pictures * gains), 0, 255).astype(np.uint8)


def worn(pictures: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Filter pictures with [1, 2, 1] / 4 in both directions and add noise: what small generators do to faces."""
    wide = np.pad(pictures.astype(np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    across = (wide[:, :, :-2] + 2 * wide[:, :, 1:-1] + wide[:, :, 2:]) / 4
    soft = (across[:, :-2] + 2 * across[:, 1:-1] + across[:, 2:]) / 4
    return np.clip(np.rint(soft + NOISE * random.standard_normal(soft.shape)), 0, 255).astype(np.uint8)


def with_colours_of(pictures: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Give every picture the mean and the standard deviation of each channel of another picture."""
    mean, spread = (measure(pictures, axis=(1, 2), keepdims=True) for measure in (np.mean, np.std))
    wanted, reach = (measure(others, axis=(1, 2), keepdims=True) for measure in (np.mean, np.std))
    changed = (pictures - mean) / np.maximum(spread, 1) * reach + wanted
    return np.clip(np.rint(changed), 0, 255).astype(np.uint8)


def trials(embedder: Embedder, pictures: np.ndarray, threshold: float, seed: int) -> dict[str, Any]:
    """False match and false non-match rates at a threshold: of portraits as they are, and with changed colours.

    Parameters
    ----------
    pictures : ndarray
        uint8 ``[people, images, 32, 32, 3]``.

    Returns
    -------
    dict
        ``as_drawn``; ``cast``: both pictures have a colour cast of their own; ``exchanged``: the first picture of a
        pair of two people has the colours of the second, that of a pair of one person has those of somebody else;
        ``worn``: the first picture is soft and noisy.
    """
    random = np.random.default_rng(seed)
    people, images = pictures.shape[:2]
    flat = pictures.reshape(people * images, *pictures.shape[2:])
    pairs = pairs_of(people, images)
    first, second = (np.array([pair[side] for pair in pairs]) for side in (0, 1))
    same = np.array([pair.same for pair in pairs])
    # Somebody else's portrait, for pairs of one person: half the people further on.
    donors = np.where(same, (first + len(flat) // 2) % len(flat), second)
    cast = embedder.embed(with_cast(flat, random))
    plain = embedder.embed(flat)
    soft = embedder.embed(worn(flat, random))
    recoloured = embedder.embed(with_colours_of(flat[first], flat[donors]))
    scored = {
        "as_drawn": (plain[first], plain[second]),
        "cast": (cast[first], cast[second]),
        "exchanged": (recoloured, plain[second]),
        "worn": (soft[first], plain[second]),
    }
    return {name: _errors(pairs, *sides, threshold) for name, sides in scored.items()}


def clear_views(vectors: np.ndarray, occluded: np.ndarray, threshold: float) -> dict[str, Any]:
    """Error rates of pairs of portraits with nothing before either face.

    Parameters
    ----------
    vectors : ndarray
        ``[people, images, dim]``.
    occluded : ndarray
        bool ``[people, images]``: with sunglasses, a mask or a hand.
    """
    flat, hidden = vectors.reshape(occluded.size, -1), occluded.ravel()
    pairs = [pair for pair in pairs_of(*occluded.shape) if not hidden[[pair.first, pair.second]].any()]
    first, second = (np.array([pair[side] for pair in pairs]) for side in (0, 1))
    return _errors(pairs, flat[first], flat[second], threshold)


def _errors(pairs: list[Pair], a: np.ndarray, b: np.ndarray, threshold: float) -> dict[str, Any]:
    scores = PairScores(similarity(a.astype(np.float64), b.astype(np.float64), "cosine"), pairs)
    missed = scores.estimate(lambda same, _: float((same < threshold).mean()))
    matched = scores.estimate(lambda _, different: float((different >= threshold).mean()))
    return {
        "fnmr": _share(missed, len(scores.same)).plain(),
        "fmr": _share(matched, len(scores.different)).plain(),
        "d_prime": scores.estimate(separation).plain(),
    }


def _share(estimate: Estimate, n: int) -> Estimate:
    """The estimate of a share of n pairs, with ends from 0 to 1."""
    low, high = (float(np.clip(end, 0, 1)) for end in (estimate.low, estimate.high))
    return estimate._replace(low=low, high=high, n=n)


def by_colours_alone(pictures: np.ndarray) -> dict[str, Any]:
    """How well mean and standard deviation of the three channels tell people apart, by Euclidean distance."""
    people, images = pictures.shape[:2]
    flat = pictures.reshape(people * images, -1, 3)
    colours = np.concatenate([flat.mean(1), flat.std(1)], axis=1)
    colours = (colours - colours.mean(0)) / colours.std(0)
    pairs = pairs_of(people, images)
    first, second = (colours[[pair[side] for pair in pairs]] for side in (0, 1))
    scores = PairScores(similarity(first, second, "l2"), pairs)
    return {"auc": scores.estimate(auc).plain(), "eer": scores.estimate(equal_error_rate).plain()}
