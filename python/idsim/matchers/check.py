"""Whether a specification looks right: what a matcher says of crops, of mirrored ones and of ones with swapped colours.

Most of what can be wrong (colour order, pixel map, alignment) leaves vectors that look like embeddings and compare
worse. Pairs of the same and of different people show it.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from idsim.matchers.base import Embedder

__all__ = ["Finding", "Pair", "check_embedder"]

BATCH_TOLERANCE = 1e-4  # of a vector's length, between a crop alone and among others
NORM_TOLERANCE = 1e-3  # of vectors that are compared by cosine and said to be normalised
FEW_PAIRS = 5  # of either kind; fewer say nothing
GOOD_AUC = 0.9  # matchers of the catalogue reach 0.99 on easy pairs, with a wrong pixel map still 0.7
COLOUR_MARGIN = 1.05  # ratio of separations from which an order of the channels is the better one


class Pair(NamedTuple):
    """Two crops, by their positions, and whether they show the same person."""

    first: int
    second: int
    same: bool


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes
    ----------
    check : str
        ``vectors``, ``batch``, ``norm``, ``flip``, ``pairs`` or ``colour``.
    ok : bool or None
        Whether it looks right; None: it cannot be said.
    values : dict
        The numbers behind it.
    sentence : str
        What was found.
    """

    check: str
    ok: bool | None
    values: dict[str, Any]
    sentence: str


def check_embedder(embedder: Embedder, crops: NDArray[np.uint8], pairs: Sequence[Pair]) -> list[Finding]:
    """Look at what an embedder makes of crops.

    Parameters
    ----------
    embedder : Embedder
        The matcher's network with its specification.
    crops : ndarray
        uint8 ``[n, height, width, 3]`` RGB, aligned as the specification says.
    pairs : sequence of Pair
        Pairs of crops of the same person and of different people.

    Returns
    -------
    list of Finding
        One for each check; the specification looks right where none of them is false and ``pairs`` is true.
    """
    if not len(crops):
        raise ValueError("there are no crops to check a matcher with")
    plain = embedder.embed(crops).astype(np.float64)
    mirrored = embedder.embed(np.ascontiguousarray(crops[:, :, ::-1])).astype(np.float64)
    swapped = embedder.embed(np.ascontiguousarray(crops[..., ::-1])).astype(np.float64)
    return [
        _vectors(plain, embedder),
        _batch(plain, embedder, crops),
        _norm(plain, embedder),
        _flip(plain, mirrored, pairs, embedder.metric),
        _pairs(_scores(plain, pairs, embedder.metric), pairs),
        _colour(_scores(plain, pairs, embedder.metric), _scores(swapped, pairs, embedder.metric), pairs),
    ]


def _vectors(plain: NDArray[np.float64], embedder: Embedder) -> Finding:
    good = plain.shape[1] == embedder.dim and bool(np.isfinite(plain).all())
    distinct = len(np.unique(plain.astype(np.float32), axis=0))
    values = {"crops": len(plain), "dim": plain.shape[1], "distinct": distinct}
    if len(plain) > 1 and distinct == 1:
        return Finding("vectors", False, values, "every crop has the same vector")
    return Finding(
        "vectors", good, values, f"{len(plain)} crops give finite vectors of {plain.shape[1]} elements"
    )


def _batch(plain: NDArray[np.float64], embedder: Embedder, crops: NDArray[np.uint8]) -> Finding:
    chosen = sorted({0, len(crops) // 2, len(crops) - 1})
    alone = np.concatenate([embedder.embed(crops[row : row + 1]) for row in chosen]).astype(np.float64)
    length = float(np.linalg.norm(plain[chosen], axis=1).max()) or 1.0
    difference = float(np.linalg.norm(alone - plain[chosen], axis=1).max()) / length
    sentence = f"a crop alone and among others differ by {difference:.1e} of a vector's length"
    return Finding("batch", difference <= BATCH_TOLERANCE, {"relative_difference": difference}, sentence)


def _norm(plain: NDArray[np.float64], embedder: Embedder) -> Finding:
    norms = np.linalg.norm(plain, axis=1)
    values = {"min": float(norms.min()), "mean": float(norms.mean()), "max": float(norms.max())}
    sentence = f"lengths of vectors from {values['min']:.4g} to {values['max']:.4g}"
    output = embedder.describe().get("output")
    if isinstance(output, dict) and output.get("normalise"):
        return Finding(
            "norm", bool(np.abs(norms - 1).max() <= NORM_TOLERANCE), values, f"{sentence}; 1 is stated"
        )
    return Finding("norm", None if values["min"] > 0 else False, values, sentence)


def _flip(
    plain: NDArray[np.float64], mirrored: NDArray[np.float64], pairs: Sequence[Pair], metric: str
) -> Finding:
    """See whether mirrored faces, which are the same person, are closer than other people are."""
    own = _similarity(plain, mirrored, metric)
    others = _scores(plain, pairs, metric)[[not pair.same for pair in pairs]]
    values: dict[str, Any] = {"min": float(own.min()), "mean": float(own.mean())}
    sentence = f"{_name(metric)} of a crop and its mirror image: {_shown(own.mean(), metric)} on average"
    if not len(others):
        return Finding("flip", None, values, f"{sentence}; there are no different people to compare with")
    values["different_people"] = float(others.mean())
    good = float(np.median(own)) > float(np.quantile(others, 0.95))
    return Finding("flip", good, values, f"{sentence}, of different people {_shown(others.mean(), metric)}")


def _pairs(scores: NDArray[np.float64], pairs: Sequence[Pair]) -> Finding:
    same, different = _split(scores, pairs)
    values: dict[str, Any] = {"same": len(same), "different": len(different)}
    if min(len(same), len(different)) < FEW_PAIRS:
        sentence = (
            f"{len(same)} same and {len(different)} different pairs: at least {FEW_PAIRS} of each are needed"
        )
        return Finding("pairs", None, values, sentence)
    values |= {"auc": _auc(same, different), "separation": _separation(same, different)}
    sentence = f"a same pair scores above a different one in {values['auc']:.1%} of cases"
    if values["auc"] < GOOD_AUC:
        sentence += ": size, pixel map, colour order or alignment may be wrong"
    return Finding("pairs", values["auc"] >= GOOD_AUC, values, sentence)


def _colour(scores: NDArray[np.float64], swapped: NDArray[np.float64], pairs: Sequence[Pair]) -> Finding:
    same, different = _split(scores, pairs)
    if min(len(same), len(different)) < FEW_PAIRS:
        return Finding("colour", None, {}, "too few pairs to tell the order of the channels")
    stated = _separation(same, different)
    other = _separation(*_split(swapped, pairs))
    values = {"separation": stated, "separation_swapped": other}
    text = f"separation {stated:.3g} with the stated order of the channels, {other:.3g} with the other"
    if other > COLOUR_MARGIN * max(stated, 0.0):
        return Finding("colour", False, values, f"{text}: the other order looks right")
    if stated > COLOUR_MARGIN * max(other, 0.0):
        return Finding("colour", True, values, text)
    return Finding("colour", None, values, f"{text}: these pairs do not tell them apart")


def _similarity(a: NDArray[np.float64], b: NDArray[np.float64], metric: str) -> NDArray[np.float64]:
    """Return the similarity of rows: the cosine, or the distance with its sign turned."""
    if metric == "l2":
        return -np.asarray(np.linalg.norm(a - b, axis=1))
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray((a * b).sum(axis=1) / np.where(lengths > 0, lengths, 1))


def _scores(vectors: NDArray[np.float64], pairs: Sequence[Pair], metric: str) -> NDArray[np.float64]:
    first, second = ([pair[side] for pair in pairs] for side in (0, 1))
    return _similarity(vectors[np.array(first, int)], vectors[np.array(second, int)], metric)


def _split(
    scores: NDArray[np.float64], pairs: Sequence[Pair]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    same = np.array([pair.same for pair in pairs], dtype=bool)
    return scores[same], scores[~same]


def _separation(same: NDArray[np.float64], different: NDArray[np.float64]) -> float:
    """Return the distance of the means in standard deviations, d'."""
    spread = float(np.sqrt((same.var() + different.var()) / 2))
    return float(same.mean() - different.mean()) / max(spread, 1e-12)


def _auc(same: NDArray[np.float64], different: NDArray[np.float64]) -> float:
    """Return the share of (same, different) where the same pair scores higher; ties count half."""
    ordered = np.sort(different)
    below = np.searchsorted(ordered, same, "left") + np.searchsorted(ordered, same, "right")
    return float(below.mean() / 2 / len(different))


def _name(metric: str) -> str:
    return "cosine" if metric == "cosine" else "distance"


def _shown(similarity: float, metric: str) -> str:
    return f"{similarity if metric == 'cosine' else -similarity:.3f}"
