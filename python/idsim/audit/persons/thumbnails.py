"""Pictures as pictures, beside the matchers: thumbnails of every picture, to tell copies from people who look alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from idsim.audit.faces import encode_labels
from idsim.audit.persons.near_copies import (
    Gallery,
    copies_entry,
    copy_threshold,
    joint_entry,
    joint_table,
    measure_copies,
)
from idsim.audit.persons.perceptual import THUMBNAIL_SIDE, thumbnail
from idsim.matchers.base import Representation
from idsim.results import Pairs

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from idsim.audit.analysis.context import Context
    from idsim.audit.faces import FaceSet
    from idsim.audit.pairs.compared import Compared

__all__ = ["COPIES", "COPY_SHARE", "CopyScores", "ThumbnailMatcher", "near_copies"]

COPIES = "near-copies"  # label of the work that compares thumbnails
COPY_SHARE = 0.001  # of the pictures of the holdout may look like a copy of another there


class ThumbnailMatcher:
    """Takes any picture for a thumbnail of 16 x 16 grey values; one without contrast has none."""

    name = COPIES
    metric = "cosine"
    dim = THUMBNAIL_SIDE**2

    def describe(self) -> dict[str, Any]:
        """Return what thumbnails depend on."""
        return {
            "name": self.name,
            "metric": self.metric,
            "dim": self.dim,
            "licence": "Apache-2.0",
            "version": 1,
        }

    def represent(self, image: NDArray[np.uint8]) -> Representation:
        """Return the thumbnail of a picture."""
        vector = thumbnail(image)
        return Representation(vector if vector.any() else None, "picture", 1)


@dataclass(frozen=True)
class CopyScores:
    """Comparisons of thumbnails.

    Attributes
    ----------
    sets : dict
        The sets, by name; their rows are the numbers of pictures.
    training, holdout, calibration : Compared
        The synthetic set with either real set, and the holdout with itself.
    """

    sets: dict[str, FaceSet]
    training: Compared
    holdout: Compared
    calibration: Compared


def near_copies(context: Context, scores: CopyScores | None) -> dict[str, Any]:
    """Return how many synthetic pictures are near copies of real pictures (P8), beside whether the persons match."""
    if scores is None:
        return {"refused": "the sets are no pictures, or [analysis] near_copies is 'no'"}
    holdout = scores.sets["holdout"]
    found_threshold = copy_threshold(scores.calibration, holdout.codes()[0], COPY_SHARE)
    threshold = found_threshold.threshold
    if threshold is None:
        return copies_entry(found_threshold, None)
    # A mirrored set holds every picture twice: a pair with either counts once.
    copies = 2 if context.config.training.mirrored else 1
    listed = {
        name: _pictures(compared, threshold, scores.sets[name], scores.sets["synthetic"], copies)
        for name, compared in (("training", scores.training), ("holdout", scores.holdout))
    }
    if any(pairs is None for pairs in listed.values()):
        return {"refused": "so many pictures look alike that the pairs cannot be listed"}
    clusters = context.item_clusters()
    galleries = [
        Gallery(encode_labels(scores.sets[name].labels[::copies])[0], pairs)
        for name, pairs in listed.items()
        if pairs is not None
    ]
    permutations = context.config.statistics.permutations
    found = measure_copies(
        galleries[0], galleries[1], clusters, permutations, context.rng(6), context.confidence
    )
    entry = copies_entry(found_threshold, found)
    return entry | {"with_persons": _joint(context, galleries[0].pairs, copies)}


def _joint(context: Context, photographs: Pairs, copies: int) -> dict[str, Any] | None:
    """Return how often the same person and the same photograph go together, at the primary operating point."""
    threshold = context.threshold
    pairs = None if threshold is None else context.reaching("synthetic", "training", threshold)
    if pairs is None:
        return None
    synthetic, training = context.sets.synthetic, context.sets.training
    persons = Pairs(synthetic.rows[pairs.rows], training.rows[pairs.columns] // copies, pairs.scores)
    real = len(training.items) // copies
    return joint_entry(joint_table(persons, photographs, len(synthetic.items), real))


def _pictures(
    compared: Compared, threshold: float, real: FaceSet, synthetic: FaceSet, copies: int
) -> Pairs | None:
    """Return the pairs that reach a threshold, by numbers of pictures; None where not all are listed."""
    if not compared.holds(threshold):
        return None
    pairs = compared.reaching(threshold)
    return Pairs(synthetic.rows[pairs.rows], real.rows[pairs.columns] // copies, pairs.scores)
