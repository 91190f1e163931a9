"""Persons of the training set: membership, exposure, and the table with a row for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.audit.analysis.context import Context, refused
from idsim.audit.persons.exposure import PersonExposure, Reached, exposure_entry, measure_exposure
from idsim.audit.persons.membership import infer_membership, membership_entry, person_scores
from idsim.audit.persons.person_table import person_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["exposure", "membership", "persons_of"]


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
