"""The tails of the comparisons: lift over the holdout, and rates and scores by size of the gallery."""

from __future__ import annotations

from typing import Any

from idsim.audit.analysis.context import Context, refused
from idsim.audit.persons.gallery_size import (
    gallery_sizes,
    growth_entry,
    rates_by_size,
    score_growth,
    score_growth_entry,
)
from idsim.audit.persons.lift import TailSide, impostor_thresholds, lift_curve, lift_entry, tail_lift
from idsim.audit.rates.dependence import pairs_of
from idsim.audit.rates.resampling import image_counts

__all__ = ["by_gallery_size", "lift"]


def lift(context: Context) -> dict[str, Any]:
    """Return the tail lift at false match rates of the holdout, and along the tail (P4)."""
    sides = []
    for name in ("training", "holdout"):
        found = context.compared("synthetic", name)
        if found is None:
            return refused(f"synthetic and {name} were not compared")
        sides.append(TailSide(found, context.persons(name)))
    own = context.compared("holdout", "holdout")
    persons = context.persons("holdout")
    images = image_counts(persons)
    at_rates = [] if own is None else impostor_thresholds(own, pairs_of(images), len(images))
    wanted = [*at_rates, *lift_curve(sides[1])]
    if not wanted:
        return refused("no pair is listed")
    clusters = context.persons("synthetic")
    replicates = context.config.statistics.bootstrap
    lifts = lift_entry(
        tail_lift(sides[0], sides[1], clusters, wanted, replicates, context.rng(2), context.confidence)
    )
    return {"at_false_match_rates": lifts[: len(at_rates)], "curve": lifts[len(at_rates) :]}


def by_gallery_size(context: Context) -> dict[str, Any]:
    """Return the leak rate at the primary point, and the best scores, by size of the gallery."""
    threshold = context.threshold
    result: dict[str, Any] = {}
    clusters = context.item_clusters()
    rows = context.sets.synthetic.rows
    for name in ("training", "holdout"):
        compared, persons = context.compared("synthetic", name), context.persons(name)
        if compared is None:
            result[name] = refused(f"synthetic and {name} were not compared")
            continue
        sizes = gallery_sizes(int(persons.max()) + 1)
        pairs = None if threshold is None else context.reaching("synthetic", name, threshold)
        if pairs is None:
            rates = refused("not all pairs that reach the threshold are known")
        else:
            rates = growth_entry(rates_by_size(pairs, persons, rows, clusters, sizes, context.confidence))
        scores = score_growth_entry(score_growth(compared, persons, clusters[rows], sizes))
        result[name] = {"leak_rate": rates, "best_score": scores}
    return result
