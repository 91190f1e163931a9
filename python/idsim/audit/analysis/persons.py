"""Persons of the training set: membership, exposure, and the table with a row for each."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.audit.analysis.context import Context, refused
from idsim.audit.persons.density_ratio import density_ratios, reference_half
from idsim.audit.persons.exposure import PersonExposure, Reached, exposure_entry, measure_exposure
from idsim.audit.persons.membership import infer_membership, membership_entry, person_scores
from idsim.audit.persons.membership_curve import (
    best_within,
    membership_curve,
    membership_curve_entry,
    nested_subsets,
)
from idsim.audit.persons.person_table import person_table
from idsim.topk import search

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from idsim.audit.pairs.compared import Compared

__all__ = ["density", "exposure", "membership", "membership_by_images", "persons_of"]

HALVINGS = 3
CURVE_PERMUTATIONS = 999  # for each point of a curve that shows a trend; the whole set has more


def membership(context: Context) -> dict[str, Any]:
    """Return how well the best synthetic match of each person tells members from non-members (P5)."""
    scores = []
    for name in ("training", "holdout"):
        found = context.compared(name, "synthetic")
        if found is None or not found.scores.shape[1]:
            return refused(f"{name} was not compared with the synthetic set")
        scores.append(person_scores(found.scores[:, 0], context.persons(name), context.metric))
    permutations = context.permutations(sum(len(side.scores) for side in scores))
    return membership_entry(
        infer_membership(scores[0], scores[1], permutations, context.rng(0), context.confidence)
    )


def density(context: Context) -> dict[str, Any]:
    """Return membership by the ratio of synthetic to real density around each face (P5).

    Real density is that of the probes, or of a random half of the holdout's people, who are then no non-members.
    """
    sides = _real_in_synthetic(context)
    if isinstance(sides, str):
        return refused(sides)
    keep = {name: np.ones(len(compared.scores), np.bool_) for name, compared in sides.items()}
    probes, holdout = context.baseline.probes, context.sets.holdout
    if probes is None:
        chosen = reference_half(context.persons("holdout"), context.rng(7))
        keep["holdout"], reference = ~chosen, holdout.vectors[chosen]
    else:
        reference = probes.vectors
    k = min(compared.scores.shape[1] for compared in sides.values())
    if len(reference) < k or not keep["holdout"].any():
        return refused(f"the reference has {len(reference)} faces, and {k} neighbours are needed")
    metric: Any = context.metric
    scores = []
    for name, compared in sides.items():
        vectors = context.sets.faces[name].vectors[keep[name]]
        near = context.comparisons.further(
            ("nearest among real people", name, str(k)), partial(_kth, vectors, reference, k, metric)
        )
        ratios = density_ratios(compared.scores[keep[name], k - 1], near, metric)
        _, codes = np.unique(context.persons(name)[keep[name]], return_inverse=True)
        scores.append(person_scores(ratios, codes.reshape(-1), "score"))
    found = infer_membership(
        scores[0],
        scores[1],
        context.permutations(sum(len(side.scores) for side in scores)),
        context.rng(8),
        context.confidence,
    )
    about = {"reference": "half of the holdout" if probes is None else "probes", "neighbour": k}
    return membership_entry(found) | about


def membership_by_images(context: Context) -> dict[str, Any]:
    """Return membership with an eighth, a quarter, half and all of the synthetic clusters (P5)."""
    sides = _real_in_synthetic(context)
    if isinstance(sides, str):
        return refused(sides)
    metric: Any = context.metric
    synthetic = context.sets.synthetic.vectors

    def best(keep: NDArray[np.bool_]) -> tuple[NDArray[Any], NDArray[Any]]:
        found = []
        for name, compared in sides.items():
            scores, known = best_within(compared, keep)
            if not known.all():
                missing = context.sets.faces[name].vectors[~known]
                scores[~known] = context.comparisons.further(
                    ("nearest of a part of the images", name, str(int(keep.sum()))),
                    partial(_kth, missing, synthetic[keep], 1, metric),
                )
            found.append(scores)
        return found[0], found[1]

    persons = context.persons("training"), context.persons("holdout")
    permutations = min(CURVE_PERMUTATIONS, context.permutations(sum(context.baseline.persons)))
    subsets = nested_subsets(context.persons("synthetic"), HALVINGS, context.rng(9))
    points = membership_curve(
        subsets, best, persons, metric, permutations, context.rng(10), context.confidence
    )
    return {"points": membership_curve_entry(points)}


def _kth(queries: Any, gallery: Any, k: int, metric: Any) -> NDArray[np.float32]:
    """Return the score of the k-th best match of every query."""
    return np.asarray(search(queries, gallery, k, metric=metric).scores)[:, k - 1]


def _real_in_synthetic(context: Context) -> dict[str, Compared] | str:
    """Return the comparisons of the real sets with the synthetic one, where more searches are affordable."""
    if not context.has_vectors:
        return "the matcher gives scores, and this needs embeddings"
    if not context.small:
        return "it needs further searches, which are made for smaller sets only"
    found = {}
    for name in ("training", "holdout"):
        compared = context.compared(name, "synthetic")
        if compared is None or not compared.scores.shape[1]:
            return f"{name} was not compared with the synthetic set"
        found[name] = compared
    return found


def exposure(context: Context) -> PersonExposure | str:
    """Return how many synthetic clusters reach each person at the primary operating point (P7)."""
    threshold = context.threshold
    if threshold is None:
        return "the primary operating point is refused"
    sides = []
    for name in ("training", "holdout"):
        pairs = context.reaching("synthetic", name, threshold)
        if pairs is None:
            return f"not all pairs of synthetic and {name} that reach the threshold are known"
        sides.append(Reached(context.persons(name), pairs))
    clusters = context.item_clusters()
    return measure_exposure(
        sides[0],
        sides[1],
        clusters[context.sets.synthetic.rows],
        int(clusters.max()) + 1,
        context.config.statistics.permutations,
        context.rng(1),
        context.confidence,
    )


def persons_of(
    context: Context, found: PersonExposure | str
) -> tuple[dict[str, Any], dict[str, NDArray[Any]] | None]:
    """Return the entry of the exposure, and the table of the persons of the training set where there is one."""
    entry = exposure_entry(found)
    if isinstance(found, str):
        return entry, None
    best = []
    for name in ("training", "holdout"):
        compared = context.compared(name, "synthetic")
        if compared is None or not compared.scores.shape[1]:
            return entry, None
        best.append((compared.scores[:, 0], compared.ids[:, 0]))
    persons = context.persons("training"), context.persons("holdout")
    table = person_table(found, persons, (best[0], best[1]), context.metric)
    return entry, {name: np.asarray(column) for name, column in table.items()}
