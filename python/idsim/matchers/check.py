"""Whether a specification looks right: what a matcher says of crops, and of the same crops changed in known ways.

Most of what can be wrong (colour order, pixel map, alignment) leaves vectors that look like embeddings and compare
worse. Pairs of the same and of different people show it: with mirrored crops, with red and blue exchanged, with other
pixel maps, and with crops moved or zoomed.
"""

from __future__ import annotations

import dataclasses
from itertools import chain, zip_longest
from math import sinh
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from idsim.matchers.faces.resample import resized
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
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from idsim.matchers.base import Embedder

__all__ = ["Finding", "Pair", "Verdict", "check_embedder", "judge"]

BATCH_TOLERANCE = 1e-4  # of a vector's length, between a crop alone and among others
NORM_TOLERANCE = 1e-3  # of vectors that are compared by cosine and said to be normalised
FEW_PAIRS = 5  # of either kind; fewer say nothing
GOOD_AUC = 0.9  # matchers of the catalogue reach 0.99 on easy pairs, with a wrong pixel map still 0.7
MARGIN = 1.05  # ratio of separations from which one is the better one, if its interval says so too
LEVEL = 0.99  # of that interval: several things are tried
MOST_VARIED = 200  # crops for which other pixel maps and alignments are tried: each is one more run
SHIFT, ZOOM = 0.06, 0.10  # parts of a crop's side

MAJOR = ("vectors", "batch", "flip", "pairs")


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes
    ----------
    check : str
        ``pictures``, ``vectors``, ``batch``, ``norm``, ``flip``, ``pairs``, ``colour``, ``pixels`` or ``align``.
    ok : bool or None
        Whether it looks right; None: it cannot be said.
    values : dict
        The numbers behind it, plain JSON values.
    sentence : str
        What was found.
    """

    check: str
    ok: bool | None
    values: dict[str, Any]
    sentence: str


class Verdict(NamedTuple):
    """What all findings together say.

    Attributes
    ----------
    right : bool or None
        Whether the specification looks right; None: it cannot be said.
    severity : {"none", "minor", "major", "unknown"}
        ``major``: scores mean little; ``minor``: they mean something, and another setting does better.
    sentence : str
        The verdict in a sentence.
    """

    right: bool | None
    severity: str
    sentence: str


def check_embedder(
    embedder: Embedder,
    crops: NDArray[np.uint8],
    pairs: Sequence[Pair],
    others: Iterable[tuple[str, Embedder]] = (),
) -> list[Finding]:
    """Look at what an embedder makes of crops.

    Parameters
    ----------
    embedder : Embedder
        The matcher's network with its specification.
    crops : ndarray
        uint8 ``[n, height, width, 3]`` RGB, aligned as the specification says.
    pairs : sequence of Pair
        Pairs of crops of the same person and of different people.
    others : iterable of tuple
        Names of other pixel maps, and the same network with them. Each is asked for when it is needed.

    Returns
    -------
    list of Finding
        One for each check; see `judge`.
    """
    if not len(crops):
        raise ValueError("there are no crops to check a matcher with")
    plain = _vectors_of(embedder, crops)
    mirrored = _vectors_of(embedder, crops[:, :, ::-1])
    swapped = _vectors_of(embedder, crops[..., ::-1])
    stated = _scored(plain, pairs, embedder.metric)
    findings = [
        _vectors(plain, embedder),
        _batch(plain, embedder, crops),
        _norm(plain, embedder),
        _flip(plain, mirrored, stated, embedder.metric),
        _pairs(stated, embedder.metric),
    ]
    if _too_few(stated):
        return [*findings, Finding("colour", None, {}, "too few pairs to tell the order of the channels")]
    findings.append(_colour(stated, _scored(swapped, pairs, embedder.metric)))
    rows, kept = _subset(pairs)
    stated = _scored(plain[rows], kept, embedder.metric)
    if not _too_few(stated):
        exchanged = _scored(swapped[rows], kept, embedder.metric)
        findings += [
            *_pixels([stated, exchanged], _with_other_maps(others, crops[rows], kept)),
            _align(stated, _varied(embedder, crops[rows], kept)),
        ]
    return findings


def judge(findings: Sequence[Finding]) -> Verdict:
    """Return the verdict on a specification: right where no finding is wrong and pairs are told apart."""
    wrong = [entry for entry in findings if entry.ok is False]
    if wrong:
        severity = "major" if any(entry.check in MAJOR for entry in wrong) else "minor"
        advice = "; ".join(filter(None, map(_advice, wrong)))
        sentence = f"The specification looks wrong, severity {severity} ({', '.join(entry.check for entry in wrong)})"
        return Verdict(False, severity, f"{sentence}{': ' if advice else ''}{advice}.")
    if any(entry.check == "pairs" and entry.ok for entry in findings):
        return Verdict(True, "none", "The specification looks right.")
    why = "; ".join(
        entry.sentence for entry in findings if entry.check in ("pictures", "pairs") and not entry.ok
    )
    return Verdict(None, "unknown", f"The specification cannot be judged: {why}.")


def _advice(entry: Finding) -> str:
    return {
        "colour": "try the other order of the channels",
        "pixels": f"try the pixel map {entry.values.get('better')}",
        "align": "look at how crops are made",
    }.get(entry.check, "")


def _vectors_of(embedder: Embedder, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
    return embedder.embed(np.ascontiguousarray(crops)).astype(np.float64)


def _scored(vectors: NDArray[np.float64], pairs: Sequence[Pair], metric: str) -> PairScores:
    first, second = (np.array([pair[side] for pair in pairs], dtype=np.int64) for side in (0, 1))
    return PairScores(similarity(vectors[first], vectors[second], metric), pairs)


def _too_few(scores: PairScores) -> bool:
    return min(len(scores.same), len(scores.different)) < FEW_PAIRS


def _clearly_better(other: PairScores, stated: PairScores) -> bool:
    """Return whether other scores of the same pairs tell people apart better, by more than chance would have it."""
    by_much = separation(other.same, other.different) > MARGIN * max(
        separation(stated.same, stated.different), 0.0
    )
    return by_much and stated.estimate(_steady_separation, other, LEVEL).low > 0


def _steady_separation(same: NDArray[np.float64], different: NDArray[np.float64]) -> float:
    """Return the inverse hyperbolic sine of the separation: on its scale large ones vary no more than small ones."""
    return float(np.arcsinh(separation(same, different)))


# --- crops as they are ---------------------------------------------------------------------------------


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
    alone = np.concatenate([_vectors_of(embedder, crops[row : row + 1]) for row in chosen])
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
    plain: NDArray[np.float64], mirrored: NDArray[np.float64], stated: PairScores, metric: str
) -> Finding:
    """See whether mirrored faces, which are the same person, are closer than other people are."""
    own = similarity(plain, mirrored, metric)
    values: dict[str, Any] = {"min": float(own.min()), "mean": float(own.mean())}
    sentence = f"{_name(metric)} of a crop and its mirror image: {_shown(own.mean(), metric)} on average"
    others = stated.different
    if not len(others):
        return Finding("flip", None, values, f"{sentence}; there are no different people to compare with")
    values["different_people"] = float(others.mean())
    good = float(np.median(own)) > float(np.quantile(others, 0.95))
    return Finding("flip", good, values, f"{sentence}, of different people {_shown(others.mean(), metric)}")


def _pairs(stated: PairScores, metric: str) -> Finding:
    same, different = len(stated.same), len(stated.different)
    values: dict[str, Any] = {"same": same, "different": different}
    if _too_few(stated):
        sentence = f"{same} same and {different} different pairs: at least {FEW_PAIRS} of each are needed"
        return Finding("pairs", None, values, sentence)
    steady = stated.estimate(_steady_separation)
    sign = 1 if metric == "cosine" else -1
    measures = {
        "mean_same": stated.estimate(lambda scores, _: sign * float(scores.mean()))._replace(n=same),
        "mean_different": stated.estimate(lambda _, scores: sign * float(scores.mean()))._replace(
            n=different
        ),
        "auc": _share(stated.estimate(auc)),
        "equal_error_rate": _share(stated.estimate(equal_error_rate)),
        "separation": steady._replace(value=sinh(steady.value), low=sinh(steady.low), high=sinh(steady.high)),
    }
    values |= {name: entry.plain() for name, entry in measures.items()}
    good = measures["auc"].value >= GOOD_AUC
    means = [_with_ends(measures[name], "{:.3f}".format) for name in ("mean_same", "mean_different")]
    sentence = (
        f"a same pair scores above a different one in {_with_ends(measures['auc'], '{:.1%}'.format)} of cases"
        + ("" if good else ": size, pixel map, colour order or alignment may be wrong")
        + f"; {_name(metric)} of {same} same pairs {means[0]}, of {different} different ones {means[1]}; equal error "
        f"rate {_with_ends(measures['equal_error_rate'], '{:.1%}'.format)}"
        + ("" if np.isfinite(measures["auc"].low) else "; too few people for intervals")
    )
    return Finding("pairs", good, values, sentence)


# --- crops that were changed ---------------------------------------------------------------------------


def _colour(stated: PairScores, swapped: PairScores) -> Finding:
    own = separation(stated.same, stated.different)
    other = separation(swapped.same, swapped.different)
    values = {"separation": own, "separation_swapped": other}
    text = f"separation {own:.3g} with the stated order of the channels, {other:.3g} with the other"
    if _clearly_better(swapped, stated):
        return Finding("colour", False, values, f"{text}: the other order looks right")
    if _clearly_better(stated, swapped):
        return Finding("colour", True, values, text)
    return Finding("colour", None, values, f"{text}: these pairs do not tell them apart")


def _with_other_maps(
    others: Iterable[tuple[str, Embedder]], crops: NDArray[np.uint8], pairs: Sequence[Pair]
) -> Iterator[tuple[str, PairScores]]:
    for name, embedder in others:
        for order, channels in (("", slice(None)), (", red and blue exchanged", slice(None, None, -1))):
            vectors = _vectors_of(embedder, crops[..., channels])
            yield name + order, _scored(vectors, pairs, embedder.metric)


def _pixels(stated: Sequence[PairScores], others: Iterable[tuple[str, PairScores]]) -> list[Finding]:
    """Compare pixel maps, each with the better order of the channels: what is said of that is said by `_colour`."""
    best = max(stated, key=lambda scores: separation(scores.same, scores.different))
    own = separation(best.same, best.different)
    tried, better = {}, []
    for name, scores in others:
        tried[name] = separation(scores.same, scores.different)
        if _clearly_better(scores, best):
            better.append(name)
    if not tried:
        return []
    top = max(tried, key=lambda name: tried[name])
    values = {"separation": own, "others": tried}
    text = f"separation {own:.3g} with the stated pixel map, at most {tried[top]:.3g} with others ({top})"
    if better:
        winner = max(better, key=lambda name: tried[name])
        values["better"] = winner
        return [
            Finding(
                "pixels", False, values, f"{text}: {winner} tells people apart better by {tried[winner]:.3g}"
            )
        ]
    return [Finding("pixels", True if own >= tried[top] else None, values, text)]


def _varied(
    embedder: Embedder, crops: NDArray[np.uint8], pairs: Sequence[Pair]
) -> Iterator[tuple[str, PairScores]]:
    for name, changed in _misaligned(crops):
        yield name, _scored(_vectors_of(embedder, changed), pairs, embedder.metric)


def _misaligned(crops: NDArray[np.uint8]) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield crops moved by `SHIFT` and zoomed by `ZOOM`; what comes in at an edge repeats it."""
    height, width = crops.shape[1:3]
    down, right = max(1, round(SHIFT * height)), max(1, round(SHIFT * width))
    wide = np.pad(crops, ((0, 0), (down, down), (right, right), (0, 0)), mode="edge")
    for name, row, column in (
        ("left", down, 2 * right), ("right", down, 0), ("up", 2 * down, right), ("down", 0, right),
    ):  # fmt: skip
        yield f"moved {name}", wide[:, row : row + height, column : column + width]
    tall, broad = max(1, round(ZOOM * height / 2)), max(1, round(ZOOM * width / 2))
    wide = np.pad(crops, ((0, 0), (tall, tall), (broad, broad), (0, 0)), mode="edge")
    yield "smaller", np.stack([resized(crop, (height, width)) for crop in wide])
    if height > 2 * tall and width > 2 * broad:
        inner = crops[:, tall : height - tall, broad : width - broad]
        yield "larger", np.stack([resized(crop, (height, width)) for crop in inner])


def _align(stated: PairScores, varied: Iterable[tuple[str, PairScores]]) -> Finding:
    own = separation(stated.same, stated.different)
    tried, better = {}, []
    for name, scores in varied:
        tried[name] = separation(scores.same, scores.different)
        if _clearly_better(scores, stated):
            better.append(name)
    top, last = (choose(tried, key=lambda name: tried[name]) for choose in (max, min))
    text = (
        f"separation {own:.3g} as aligned; with crops moved by {SHIFT:.0%} or zoomed by {ZOOM:.0%} at least "
        f"{tried[last]:.3g} ({last}) and at most {tried[top]:.3g} ({top})"
    )
    values = {"separation": own, "others": tried}
    if better:
        return Finding("align", False, values, f"{text}: faces seem to lie elsewhere in the crops")
    return Finding("align", True if own * MARGIN >= tried[top] else None, values, text)


def _subset(pairs: Sequence[Pair]) -> tuple[NDArray[np.int64], list[Pair]]:
    """Return at most `MOST_VARIED` crops and the pairs of them, same and different ones in turn."""
    same = [pair for pair in pairs if pair.same]
    different = [pair for pair in pairs if not pair.same]
    places: dict[int, int] = {}
    for pair in chain.from_iterable(zip_longest(same, different)):
        if pair is None or len({pair.first, pair.second, *places}) > MOST_VARIED:
            continue
        for crop in (pair.first, pair.second):
            places.setdefault(crop, len(places))
    kept = [
        Pair(places[pair.first], places[pair.second], pair.same)
        for pair in pairs
        if pair.first in places and pair.second in places
    ]
    return np.array(list(places), dtype=np.int64), kept


# --- words ---------------------------------------------------------------------------------------------


def _share(estimate: Estimate) -> Estimate:
    """Return an estimate of a share, with ends from 0 to 1."""
    low, high = (float(np.clip(end, 0, 1)) for end in (estimate.low, estimate.high))
    return estimate._replace(low=low, high=high)


def _with_ends(estimate: Estimate, words: Callable[[float], str]) -> str:
    if not np.isfinite(estimate.low):
        return words(estimate.value)
    return f"{words(estimate.value)} ({words(estimate.low)} to {words(estimate.high)})"


def _name(metric: str) -> str:
    return "cosine" if metric == "cosine" else "distance"


def _shown(similarity: float, metric: str) -> str:
    return f"{similarity if metric == 'cosine' else -similarity:.3f}"
