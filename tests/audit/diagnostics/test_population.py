"""All checks on the made-up population of the demo: silent where all is well, and not where a fault was planted."""

from __future__ import annotations

import numpy as np
import pytest

from audit.makers import unit
from idsim.audit.diagnostics.hubs import hub_finding, hub_rows, hub_statistics, rate_without_rows
from idsim.audit.diagnostics.impostors import impostor_findings, impostor_scores
from idsim.audit.diagnostics.influence import influence, influence_finding
from idsim.audit.diagnostics.overlap import cross_overlap, holdout_to_drop
from idsim.audit.faces import FaceSet
from idsim.audit.pairs.comparing import VectorComparisons
from idsim.audit.pairs.tails import reaching_pairs
from idsim.audit.proving.made_up import Population, make_population
from idsim.audit.rates.leakage import Resampling, measure
from idsim.audit.rates.resampling import unique_hits

POPULATION = Population(persons=600, clusters=400, leaks=40, dim=64)
THRESHOLD = 0.45
NAMES = ("synthetic", "training", "holdout")


@pytest.fixture
def sets():
    made = make_population(POPULATION)
    found = {}
    for name in NAMES:
        labels = [str(label) for label in made.labels[name].tolist()]
        items = [str(row) for row in range(len(labels))]
        found[name] = FaceSet(name, items, labels, made.vectors[name], np.arange(len(labels)))
    return found


def tail(sets, first, second=None, threshold=THRESHOLD):
    other = None if second is None else sets[second].vectors
    persons = sets[first].codes()[0] if second is None else None
    return reaching_pairs(
        sets[first].vectors, other, threshold, "cosine", None if persons is None else (persons, persons)
    )


def spread(sets, gallery):
    clusters = sets["synthetic"].codes()[0]
    weights = 1.0 / np.bincount(clusters)[clusters]
    pairs = tail(sets, "synthetic", gallery)
    ids = VectorComparisons("cosine").best(sets["synthetic"], sets[gallery], 5)[1]
    persons = sets[gallery].codes()[0]
    found = hub_statistics(ids, weights, clusters[pairs.rows], weights[pairs.rows], pairs.columns, persons)
    return found, pairs, clusters, weights


def test_a_sound_population_has_nothing_to_report(sets):
    statistics, *_ = spread(sets, "training")
    assert hub_finding("training", statistics).severity == "info"
    assert statistics.effective_identities > 30
    moments = {name: impostor_scores(faces.vectors, faces.codes()[0]) for name, faces in sets.items()}
    assert {f.severity for f in impostor_findings(moments, "cosine")} == {"info"}
    codes = sets["training"].codes()[0], sets["holdout"].codes()[0]
    overlap = cross_overlap(
        tail(sets, "training", "holdout"), tail(sets, "holdout"), *codes, THRESHOLD, "cosine"
    )
    assert not overlap.more_than_chance
    found = influence_of(sets)
    assert influence_finding(*found).severity == "info"


def influence_of(sets):
    clusters = sets["synthetic"].codes()[0]
    weights = 1.0 / np.bincount(clusters)[clusters]
    hits = []
    for gallery in ("training", "holdout"):
        pairs = tail(sets, "synthetic", gallery)
        hits.append(unique_hits(pairs.rows, sets[gallery].codes()[0][pairs.columns]))
    resampling = Resampling(bootstrap=200, permutations=99)
    measured = measure(*(sets[name] for name in NAMES), THRESHOLD, VectorComparisons("cosine"), resampling)
    found = influence(*hits, (600, 600), weights, clusters)
    # The galleries agree in persons and images: this is the excess that the scan reports.
    assert found.excess == pytest.approx(measured.excess)
    return found, measured.excess_interval


def test_a_planted_hub_is_named_and_taken_out(sets):
    """One training image is the mean of eighty clusters: it resembles them all, and nobody leaked."""
    clusters = sets["synthetic"].codes()[0]
    victims = np.flatnonzero(clusters < 80)
    before = rate_against_training(sets)
    middle = np.eye(1, 64)
    sets["synthetic"].vectors[victims] = unit(sets["synthetic"].vectors[victims] + 0.9 * middle)
    sets["training"].vectors[17] = middle[0]
    statistics, pairs, clusters, weights = spread(sets, "training")
    marked = hub_rows(clusters[pairs.rows], pairs.columns, len(sets["training"].rows))
    assert np.flatnonzero(marked).tolist() == [17]
    without = rate_without_rows(pairs.rows, pairs.columns, marked, weights)
    assert rate_against_training(sets) > before + 0.1
    assert without == pytest.approx(before, abs=0.02)
    assert hub_finding("training", statistics, (0.2, without)).severity == "warning"
    # Real faces of other people are not drawn to it, for it is no hub among them.
    real = tail(sets, "holdout", "training")
    assert not hub_rows(sets["holdout"].codes()[0][real.rows], real.columns, len(marked)).any()


def rate_against_training(sets):
    _, pairs, _, weights = spread(sets, "training")
    return rate_without_rows(pairs.rows, pairs.columns, np.zeros(len(sets["training"].rows), bool), weights)


def test_people_of_the_training_set_in_the_holdout_are_found(sets):
    noise = 0.02 * np.random.default_rng(0).standard_normal((100, 64))
    sets["holdout"].vectors[:100] = unit(sets["training"].vectors[:100] + noise)
    codes = sets["training"].codes()[0], sets["holdout"].codes()[0]
    cross, within = tail(sets, "training", "holdout", 0.6), tail(sets, "holdout", None, 0.6)
    overlap = cross_overlap(cross, within, *codes, 0.6, "cosine")
    assert overlap.more_than_chance
    dropped = holdout_to_drop(cross, within, *codes)
    planted = np.unique(codes[1][:100])
    assert set(planted.tolist()) <= set(dropped.tolist())
    assert {(pair.training, pair.holdout) for pair in overlap.persons[:50]} == {
        (code, code) for code in planted
    }
