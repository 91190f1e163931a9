"""Tests beside that of the excess leak rate, single synthetic identities, the matcher's own bias, and power."""

from __future__ import annotations

from typing import Any

import numpy as np

from idsim.audit.analysis.context import Context, refused
from idsim.audit.rates.excess import Resampling
from idsim.audit.rates.resampling import unique_hits
from idsim.audit.significance.closeness import closeness_entry, measure_closeness
from idsim.audit.significance.conformal import (
    conformal_entry,
    conformal_test,
    real_probe_values,
    same_probe_values,
)
from idsim.audit.significance.did import did_entry, gallery_at, measure_did
from idsim.audit.significance.nearest import Searches
from idsim.audit.significance.permutations import permutation_entry, permutation_tests
from idsim.audit.significance.power import excess_power, power_entry

__all__ = ["closeness", "difference_in_differences", "identities", "power", "tests"]

MISSING = "the synthetic set was not compared with both real sets, or no match is listed"
INCOMPLETE = "the scores are not complete"
FALSE_DISCOVERIES = 0.05


def _resampling(context: Context) -> Resampling:
    statistics = context.config.statistics
    persons = sum(context.baseline.persons)
    return Resampling(
        statistics.confidence,
        statistics.bootstrap,
        context.permutations(10 * persons),
        statistics.draws,
        context.config.run.seed,
    )


def _sides(context: Context) -> tuple[Any, Any, Any] | None:
    """Return both comparisons of the synthetic set, and the persons of the real ones."""
    training, holdout = (context.compared("synthetic", name) for name in ("training", "holdout"))
    if training is None or holdout is None or not training.scores.shape[1] or not holdout.scores.shape[1]:
        return None
    return training, holdout, (context.persons("training"), context.persons("holdout"))


def tests(context: Context) -> dict[str, Any]:
    """Return the permutation tests of mean best match, largest excess over all thresholds, and exposure."""
    sides = _sides(context)
    if sides is None or not context.comparisons.complete:
        return refused(MISSING if sides is None else INCOMPLETE)
    training, holdout, persons = sides
    hits = None
    threshold, rows = context.threshold, context.sets.synthetic.rows
    if threshold is not None and training.holds(threshold) and holdout.holds(threshold):
        pairs = training.reaching(threshold), holdout.reaching(threshold)
        first, second = (
            unique_hits(rows[found.rows], codes[found.columns])
            for found, codes in zip(pairs, persons, strict=True)
        )
        hits = first, second
    found = permutation_tests(
        training,
        holdout,
        persons,
        Searches.of(context.sets.synthetic),
        hits,
        context.permutations(10 * sum(context.baseline.persons)),
        context.rng(3),
    )
    return {"permutation": [permutation_entry(test) for test in found]}


def closeness(context: Context) -> dict[str, Any]:
    """Return how often, and how much, synthetic images are closer to training than to holdout (P6)."""
    sides = _sides(context)
    if sides is None or not context.comparisons.complete:
        return refused(MISSING if sides is None else INCOMPLETE)
    training, holdout, persons = sides
    found = measure_closeness(
        training, holdout, persons, Searches.of(context.sets.synthetic), _resampling(context)
    )
    return closeness_entry(found)


def identities(context: Context) -> dict[str, Any]:
    """Return how many synthetic identities are nearer to training than chance explains, one by one."""
    sides = _sides(context)
    if sides is None:
        return refused(MISSING)
    training, holdout, persons = sides
    searches = Searches.of(context.sets.synthetic)
    rng = context.rng(4)
    same = same_probe_values(training, holdout, persons, searches, rng)
    entry = {
        "holdout_galleries": conformal_entry(
            conformal_test(same, searches.clusters, FALSE_DISCOVERIES, "benjamini-yekutieli")
        )
    }
    name = "probes" if context.baseline.probes is not None else "holdout"
    probes = context.compared(name, "training")
    if probes is None or not probes.scores.shape[1]:
        return entry | {"real_probes": refused(f"{name} and training were not compared")}
    called = "probes" if name == "probes" else "people of the holdout"
    values = real_probe_values(training, probes, context.persons(name), searches, persons[0], rng, called)
    return entry | {
        "real_probes": conformal_entry(conformal_test(values, searches.clusters, FALSE_DISCOVERIES))
    }


def difference_in_differences(context: Context) -> dict[str, Any]:
    """Return the excess leak rate less what real probes have of it: the bias of the matcher."""
    if context.baseline.probes is None:
        return refused(
            "there is no set of probes: whether the matcher favours the training set is not measured"
        )
    threshold = context.threshold
    if threshold is None:
        return refused("the primary operating point is refused")
    galleries = {}
    for rows in ("synthetic", "probes"):
        for columns in ("training", "holdout"):
            found = context.compared(rows, columns)
            faces = context.faces(rows)
            if found is None or faces is None or not found.holds(threshold):
                return refused(f"not all pairs of {rows} and {columns} that reach the threshold are known")
            galleries[rows, columns] = gallery_at(
                found, threshold, Searches.of(faces), context.persons(columns)
            )
    found_did = measure_did(
        (galleries["synthetic", "training"], galleries["synthetic", "holdout"]),
        context.item_clusters(),
        (galleries["probes", "training"], galleries["probes", "holdout"]),
        Searches.of(context.baseline.probes).clusters,
        _resampling(context),
    )
    entry = did_entry(found_did)
    return refused("there is no difference") if entry is None else entry


def power(context: Context) -> dict[str, Any]:
    """Return the smallest excess that the scan could have found at the primary operating point."""
    leakage = context.points[0].leakage
    if leakage is None:
        return refused("the primary operating point is refused")
    statistics = context.config.statistics
    persons = tuple(int(np.max(context.persons(name))) + 1 for name in ("training", "holdout"))
    return power_entry(
        excess_power(
            leakage.measured, (persons[0], persons[1]), statistics.permutations, statistics.confidence
        )
    )
