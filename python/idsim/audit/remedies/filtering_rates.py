"""Leak rates of a synthetic set before and after images were left out, and what they cannot say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.audit.plain_values import plain_values
from idsim.audit.rates.excess import Excess, Gallery, measure_excess
from idsim.audit.remedies.filtering import REASONS
from idsim.audit.summary import percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from idsim.audit.rates.excess import Resampling
    from idsim.audit.remedies.filtering import Decision, View

__all__ = ["Change", "change_entry", "counts_entry", "limits", "measure_change", "measure_kept"]


def measure_kept(
    view: View, clusters: NDArray[np.int64], kept: NDArray[np.bool_], resampling: Resampling
) -> Excess:
    """Return the leak rates and their difference over the kept items alone.

    Parameters
    ----------
    view : View
        What a matcher sees.
    clusters : ndarray
        int64 ``[n]``: code of the cluster of every item. The weight of an item is 1 / kept items of its cluster.
    kept : ndarray
        bool ``[n]``, at least one.
    resampling : Resampling
        Replicates and seed.
    """
    place = np.cumsum(kept) - 1
    left = np.unique(clusters[kept], return_inverse=True)[1].reshape(-1).astype(np.int64)

    def reduced(gallery: Gallery) -> Gallery:
        stays = kept[gallery.images]
        return Gallery(gallery.persons, place[gallery.images[stays]], gallery.columns[stays])

    return measure_excess([reduced(view.training), reduced(view.holdout)], left, resampling)


@dataclass(frozen=True)
class Change:
    """What one matcher measures before and after.

    Attributes
    ----------
    matcher : str
        Its name.
    decides : bool
        Whether the images were chosen by it.
    threshold : float
        Of the operating point.
    before, after : Excess
        Leak rates and excess.
    no_face : int
        Kept items in which it finds no face.
    """

    matcher: str
    decides: bool
    threshold: float
    before: Excess
    after: Excess
    no_face: int


def measure_change(
    view: View, decides: bool, clusters: NDArray[np.int64], kept: NDArray[np.bool_], resampling: Resampling
) -> Change:
    """Return what a matcher measures on all items, and on the kept ones."""
    return Change(
        matcher=view.matcher,
        decides=decides,
        threshold=view.threshold,
        before=measure_kept(view, clusters, np.ones_like(kept), resampling),
        after=measure_kept(view, clusters, kept, resampling),
        no_face=int((kept & ~view.faces).sum()),
    )


def change_entry(change: Change) -> dict[str, Any]:
    """Return plain JSON values."""
    found: dict[str, Any] = plain_values(change)
    return found


def counts_entry(decision: Decision, clusters: NDArray[np.int64]) -> dict[str, Any]:
    """Return how many images and clusters there were, and are left; dropped ones by reason."""
    kept = decision.kept
    return {
        "images": {"before": len(kept), "after": int(kept.sum())},
        "clusters": {
            "before": len(np.unique(clusters)),
            "after": len(np.unique(clusters[kept])),
        },
        "dropped": {
            reason: int((decision.reasons == code).sum()) for code, reason in enumerate(REASONS) if code
        },
    }


def limits(changes: Sequence[Change]) -> list[str]:
    """Return in sentences what the list of kept images cannot promise.

    Parameters
    ----------
    changes : sequence of Change
        Of all matchers of the run.
    """
    sentences = [
        (
            "The images were chosen by the very scores that the numbers of the deciding matchers are computed "
            "from: after filtering these numbers are small by construction, and are no measurement of what leaks."
        ),
        (
            "The threshold is an estimate from people of this run, and the same people decided what went: a threshold "
            "from other people would have chosen other images."
        ),
    ]
    sentences += [_after_a_deciding(change) for change in changes if change.decides]
    others = [change for change in changes if not change.decides]
    sentences += [_after_another(change) for change in others]
    if not others:
        sentences.append(
            "No other matcher of the run checks the list: another matcher, or a looser threshold, may still find "
            "people of the training set in what is kept. Scan the kept images with one that decided nothing."
        )
    sentences += [
        f"{change.matcher} finds no face in {change.no_face} of the kept images: it says nothing of them."
        for change in changes
        if change.no_face
    ]
    return [
        *sentences,
        (
            "Some of what went resembles a training person by chance, as it resembles people of the holdout: the "
            "kept set is no random sample of the generator any more."
        ),
        (
            "Filtering reads the training set. Whoever knows the images before and after, or can draw the missing "
            "seeds again, learns which of them resemble somebody in it: do not publish dropped.csv, the names or "
            "seeds of what went, nor numbers with gaps."
        ),
    ]


def _after_a_deciding(change: Change) -> str:
    before, after = change.before, change.after
    return (
        f"{change.matcher} decided: the rate against the training set falls from {percent(before.training.rate)} to "
        f"{percent(after.training.rate)}, the one against the holdout from {percent(before.holdout.rate)} to "
        f"{percent(after.holdout.rate)}, by what went and reached somebody there too. Their difference after "
        f"filtering, {percent(after.rate)}, is pushed down by the choice: it is no evidence that nothing leaks."
    )


def _after_another(change: Change) -> str:
    before, after = change.before, change.after
    return (
        f"{change.matcher} decided nothing: its excess leak rate is {percent(before.rate)} before and "
        f"{percent(after.rate)} after (interval {percent(after.interval.low)} to {percent(after.interval.high)}, at "
        f"most {percent(after.upper)}). Matchers agree on look-alikes, so this is still not independent of the choice."
    )
