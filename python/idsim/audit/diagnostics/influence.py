"""Whether the result hangs on one identity: the excess leak rate without each person and each cluster in turn.

Everything is computed from the hits, the few (image, person) pairs that reach the threshold, for all identities at
once. Galleries of unequal size enter with their expected rate over all subsets of the smaller one's size, as in the
permutation test; images per person are not matched.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from idsim.audit.diagnostics.findings import Finding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from idsim.audit.rates.intervals import Interval
    from idsim.audit.rates.resampling import Hits

__all__ = [
    "Influence",
    "excess_without_persons",
    "expected_excess",
    "influence",
    "influence_finding",
    "share_with_any",
]

WARN_SHARE = 0.5  # of the excess, by one identity


@dataclass(frozen=True)
class Influence:
    """The identity whose absence changes the excess leak rate most.

    Attributes
    ----------
    excess : float
        With everybody, at equal sizes.
    kind : str
        ``training person``, ``holdout person`` or ``synthetic cluster``; empty where there is no hit.
    code : int
        Which one; -1 where there is no hit.
    without : float
        Excess leak rate without it.
    change : float
        ``without`` less ``excess``.
    lowest, highest : float
        Range of the excess leak rate over everybody left out in turn.
    """

    excess: float
    kind: str
    code: int
    without: float
    change: float
    lowest: float
    highest: float


def share_with_any(persons: int, size: int, most: int) -> NDArray[np.float64]:
    """Return float64 ``[most + 1]``: the chance that `size` of `persons` at random include one of h, h = 0 .. most.

    ``1 - C(persons - h, size) / C(persons, size)``, the fraction being the product over j < h of
    ``(persons - size - j) / (persons - j)``.

    Raises
    ------
    ValueError
        `size` is not from 0 to `persons`, or `most` exceeds `persons`.
    """
    if not (0 <= size <= persons and 0 <= most <= persons):
        raise ValueError(f"size and most must be from 0 to {persons}, not {size} and {most}")
    j = np.arange(most)
    factors = np.maximum(0, persons - size - j) / np.maximum(1, persons - j)
    return 1.0 - np.concatenate([[1.0], np.cumprod(factors)])


def expected_excess(
    training: Hits, holdout: Hits, persons: tuple[int, int], weights: NDArray[np.float64]
) -> float:
    """Return the excess leak rate over galleries of as many persons as the smaller one has.

    Parameters
    ----------
    training, holdout : Hits
        Distinct (image, person) pairs that reach the threshold.
    persons : tuple of int
        In either gallery, with a face.
    weights : ndarray
        float64 ``[n]``: 1 / size of its cluster, for every synthetic image.
    """
    size = min(persons)
    rates = [
        float(weights @ share_with_any(total, size, _most(hits))[_per_image(hits, len(weights))])
        for hits, total in zip((training, holdout), persons, strict=True)
    ]
    return (rates[0] - rates[1]) / float(weights.sum())


def excess_without_persons(
    training: Hits,
    holdout: Hits,
    persons: tuple[int, int],
    weights: NDArray[np.float64],
    dropped: NDArray[np.int64],
) -> float:
    """Return `expected_excess` after the holdout persons `dropped` are taken out."""
    keep = ~np.isin(holdout.persons, dropped)
    kept = type(holdout)(holdout.images[keep], holdout.persons[keep])
    return expected_excess(training, kept, (persons[0], persons[1] - len(np.unique(dropped))), weights)


def influence(
    training: Hits,
    holdout: Hits,
    persons: tuple[int, int],
    weights: NDArray[np.float64],
    clusters: NDArray[np.int64],
) -> Influence:
    """Return which identity the excess leak rate depends on most.

    Parameters
    ----------
    training, holdout, persons, weights
        As in `expected_excess`.
    clusters : ndarray
        int64 ``[n]``: code of the cluster of every synthetic image; codes 0 .. c-1.
    """
    excess = expected_excess(training, holdout, persons, weights)
    total = float(weights.sum())
    candidates: list[tuple[str, NDArray[np.int64], NDArray[np.float64]]] = []
    for side, kind in ((0, "training person"), (1, "holdout person")):
        hits = (training, holdout)[side]
        codes = np.unique(hits.persons)
        if len(codes) and persons[side] > 1:
            candidates.append((kind, codes, _without_each(training, holdout, persons, weights, side) / total))
    touched = np.unique(clusters[np.concatenate([training.images, holdout.images])])
    if len(touched) and total - 1 > 0.5:
        size = min(persons)
        share = [share_with_any(n, size, _most(h)) for h, n in zip((training, holdout), persons, strict=True)]
        each = weights * (
            share[0][_per_image(training, len(weights))] - share[1][_per_image(holdout, len(weights))]
        )
        by_cluster = np.bincount(clusters, weights=each)
        of_cluster = np.bincount(clusters, weights=weights)
        left = (each.sum() - by_cluster[touched]) / (total - of_cluster[touched])
        candidates.append(("synthetic cluster", touched, left))
    if not candidates:
        return Influence(excess, "", -1, excess, 0.0, excess, excess)
    largest = [int(np.argmax(np.abs(values - excess))) for _, _, values in candidates]
    kind, codes, values = max(
        zip(candidates, largest, strict=True), key=lambda entry: abs(entry[0][2][entry[1]] - excess)
    )[0]
    place = int(np.argmax(np.abs(values - excess)))
    every = np.concatenate([values for _, _, values in candidates])
    return Influence(
        excess=excess,
        kind=kind,
        code=int(codes[place]),
        without=float(values[place]),
        change=float(values[place]) - excess,
        lowest=min(excess, float(every.min())),
        highest=max(excess, float(every.max())),
    )


def influence_finding(found: Influence, interval: Interval, name: str = "") -> Finding:
    """Return whether the result rests on one identity.

    The interval is moved along with the estimate: where it then no longer excludes 0, the verdict would change. (The
    interval without that identity would be slightly wider.)

    Parameters
    ----------
    found : Influence
        At the primary operating point.
    interval : Interval
        Of the excess leak rate there.
    name : str
        Pseudonym of the identity, for the sentence.
    """
    moved = interval.low + found.change
    changes = bool(found.kind) and (interval.low > 0) != (moved > 0)
    numbers = {**asdict(found), "low": interval.low, "low_without": moved, "verdict_changes": changes}
    if not found.kind:
        return Finding(
            "one identity", "info", "No image reaches anybody: no identity carries the result.", numbers
        )
    who = f"{found.kind} {name}".strip()
    sentence = (
        f"Without the most influential identity (a {who}) the excess leak rate is {found.without:.4g} instead of "
        f"{found.excess:.4g}"
    )
    if changes:
        return Finding(
            "one identity", "warning", sentence + "; the verdict hangs on that one identity.", numbers
        )
    if abs(found.change) > WARN_SHARE * abs(found.excess):
        return Finding(
            "one identity", "warning", sentence + ": more than half of it is due to one identity.", numbers
        )
    return Finding("one identity", "info", sentence + "; no single identity decides the result.", numbers)


# --- sums over hits -------------------------------------------------------------------------------


def _per_image(hits: Hits, images: int) -> NDArray[np.int64]:
    return np.bincount(hits.images, minlength=images)


def _most(hits: Hits) -> int:
    return int(np.bincount(hits.images).max()) if len(hits.images) else 0


def _without_each(
    training: Hits, holdout: Hits, persons: tuple[int, int], weights: NDArray[np.float64], side: int
) -> NDArray[np.float64]:
    """Return the weighted excess without each person of one gallery that has a hit, by ascending code."""
    left = (persons[0] - (side == 0), persons[1] - (side == 1))
    size = min(left)
    galleries = (training, holdout)
    # An image that hits the whole gallery still has most - 1 hits after one person left.
    shares = [share_with_any(n, size, min(n, _most(hits))) for hits, n in zip(galleries, left, strict=True)]
    counts = [_per_image(hits, len(weights)) for hits in galleries]
    # Counts above what is left belong to images that hit everybody: they hit for certain in any case.
    rates = [
        float(weights @ share[np.minimum(count, len(share) - 1)])
        for share, count in zip(shares, counts, strict=True)
    ]
    hits, share, count = galleries[side], shares[side], counts[side]
    before = share[np.minimum(count[hits.images], len(share) - 1)]
    after = share[count[hits.images] - 1]
    _, place = np.unique(hits.persons, return_inverse=True)
    lost = np.bincount(place.reshape(-1), weights=weights[hits.images] * (after - before))
    excess = rates[0] - rates[1]
    return np.asarray(excess + lost if side == 0 else excess - lost, dtype=np.float64)
