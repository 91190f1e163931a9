"""Does a matcher know people, or colours?"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.matchers.pair_statistics import Pair, PairScores, auc, equal_error_rate, similarity

if TYPE_CHECKING:
    from idsim.matchers import Embedder

CAST = 0.15  # Standard deviation of the logarithm of each channel's gain in a colour cast.
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
        pair of two people has the colours of the second, that of a pair of one person has those of somebody else.
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
    recoloured = embedder.embed(with_colours_of(flat[first], flat[donors]))
    scored = {
        "as_drawn": (plain[first], plain[second]),
        "cast": (cast[first], cast[second]),
        "exchanged": (recoloured, plain[second]),
    }
    return {name: _errors(pairs, *sides, threshold) for name, sides in scored.items()}


def _errors(pairs: list[Pair], a: np.ndarray, b: np.ndarray, threshold: float) -> dict[str, Any]:
    scores = PairScores(similarity(a.astype(np.float64), b.astype(np.float64), "cosine"), pairs)
    missed = scores.estimate(lambda same, _: float((same < threshold).mean()))
    matched = scores.estimate(lambda _, different: float((different >= threshold).mean()))
    return {
        "fnmr": missed._replace(n=len(scores.same)).plain(),
        "fmr": matched._replace(n=len(scores.different)).plain(),
    }


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
