"""The checks of a scan: whether its numbers mean what they seem to."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.audit.diagnostics.acquisition import acquisition, acquisition_findings
from idsim.audit.diagnostics.declared import (
    ffhq_finding,
    matcher_training_finding,
    mirror_finding,
    psi_finding,
    sampling_finding,
)
from idsim.audit.diagnostics.exchange import exchange_finding
from idsim.audit.diagnostics.hubs import hub_finding, hub_rows, hub_statistics, rate_without_rows
from idsim.audit.diagnostics.impostors import impostor_findings, impostor_scores, sampled_quantiles
from idsim.audit.diagnostics.influence import (
    excess_without_persons,
    expected_excess,
    influence,
    influence_finding,
)
from idsim.audit.diagnostics.overlap import cross_overlap, holdout_to_drop, overlap_finding
from idsim.audit.diagnostics.thresholds import holdout_finding, threshold_findings
from idsim.audit.faces import EmbeddingsNeededError, encode_labels
from idsim.audit.rates.resampling import unique_hits
from idsim.audit.records import pseudonym

if TYPE_CHECKING:
    from idsim.audit.analysis.context import Context
    from idsim.audit.diagnostics.findings import Finding
    from idsim.audit.faces import FaceSet
    from idsim.audit.rates.resampling import Hits
    from idsim.audit.records import Key
    from idsim.results import Pairs

__all__ = ["findings_of"]

SAMPLED_PAIRS = 20_000  # for quantiles: 1 % rests on 200 of them


def findings_of(context: Context, key: Key) -> list[Finding]:
    """Return what all checks found; `key` is that of the pseudonyms."""
    found = [*_threshold_checks(context), *_set_checks(context), *_declared_checks(context)]
    threshold = context.threshold
    if threshold is None:
        return found
    pairs = {name: context.reaching("synthetic", name, threshold) for name in ("training", "holdout")}
    if pairs["training"] is None or pairs["holdout"] is None:
        return found
    hits = {name: _hits(context, name, some) for name, some in pairs.items() if some is not None}
    found += _hub_checks(context, pairs["training"], pairs["holdout"])
    found += _influence_check(context, hits, key)
    found += _overlap_check(context, hits)
    return found


def _hits(context: Context, name: str, pairs: Pairs) -> Hits:
    return unique_hits(context.sets.synthetic.rows[pairs.rows], context.persons(name)[pairs.columns])


def _threshold_checks(context: Context) -> list[Finding]:
    found = [
        finding
        for number, result in enumerate(context.points)
        for finding in threshold_findings(result.point, number == 0)
    ]
    persons, holdout = len(np.unique(context.persons("holdout"))), context.sets.holdout
    clusters = len(set(context.sets.synthetic.labels))
    fpir = context.points[0].point.target
    wanted = fpir.value if fpir.kind == "fpir" else None
    return [*found, holdout_finding(persons, len(holdout.rows), clusters, wanted)]


def _set_checks(context: Context) -> list[Finding]:
    sets = context.sets.faces
    acquired = {}
    for name, faces in sets.items():
        failed = np.ones(len(faces.items), np.bool_)
        failed[faces.rows] = False
        acquired[name] = acquisition(failed, encode_labels(faces.labels)[0], context.confidence)
    found = acquisition_findings(acquired, confidence=context.confidence)
    found.append(exchange_finding(context.persons("training"), context.persons("holdout")))
    with contextlib.suppress(EmbeddingsNeededError):
        found += _impostor_checks(context)
    return found


def _impostor_checks(context: Context) -> list[Finding]:
    if not context.has_vectors:
        return []
    scores, quantiles = {}, {}
    for stage, (name, faces) in enumerate(context.sets.faces.items()):
        persons = faces.codes()[0]
        scores[name] = impostor_scores(faces.vectors, persons, context.metric)
        metric: Any = context.metric
        quantiles[name] = sampled_quantiles(
            faces.vectors, persons, metric, context.rng(20 + stage), SAMPLED_PAIRS
        )
    return impostor_findings(scores, context.metric, quantiles)


def _declared_checks(context: Context) -> list[Finding]:
    config, synthetic = context.config, context.sets.synthetic
    declared = config.declared
    generator = [*config.synthetic.generator, declared.generator]
    clusters = np.unique(encode_labels(synthetic.labels)[0], return_counts=True)[1]
    psi = [value for value in (synthetic.origin.get("psi"),) if value is not None]
    holdout = config.holdout
    mirrored = {"yes": True, "no": False}.get(declared.generator_mirrored)
    answer: Any = declared.matcher_saw_training
    possible = [
        ffhq_finding(
            f"{holdout.images or holdout.embeddings or holdout.ids} {holdout.kind}",
            context.sets.holdout.items,
            generator,
            split=holdout.split,
        ),
        matcher_training_finding(answer, context.baseline.matcher),
        mirror_finding(mirrored, config.training.mirrored or config.matcher.mirror),
        psi_finding(psi) if psi else None,
        sampling_finding(
            len(synthetic.items),
            len(clusters),
            int(clusters.max()),
            "random" if config.synthetic.drawn else "unknown",
        ),
    ]
    return [finding for finding in possible if finding is not None]


def _hub_checks(context: Context, training: Pairs, holdout: Pairs) -> list[Finding]:
    synthetic = context.sets.synthetic
    clusters, weights = context.item_clusters(), context.item_weights()
    hubs, rates = {}, {}
    found = []
    for name, pairs in (("training", training), ("holdout", holdout)):
        persons = context.persons(name)
        units = clusters[synthetic.rows[pairs.rows]]
        hubs[name] = hub_rows(units, pairs.columns, len(persons))
        items = synthetic.rows[pairs.rows]
        nobody = np.zeros(len(persons), np.bool_)
        rates[name] = [
            rate_without_rows(items, pairs.columns, mask, weights) for mask in (nobody, hubs[name])
        ]
    excess = tuple(rates["training"][side] - rates["holdout"][side] for side in (0, 1))
    for name, pairs in (("training", training), ("holdout", holdout)):
        compared = context.compared("synthetic", name)
        if compared is None:
            continue
        items = synthetic.rows[pairs.rows]
        statistics = hub_statistics(
            compared.ids,
            weights[synthetic.rows],
            clusters[items],
            weights[items],
            pairs.columns,
            context.persons(name),
        )
        any_hub = hubs["training"].any() or hubs["holdout"].any()
        found.append(hub_finding(name, statistics, (excess[0], excess[1]) if any_hub else None))
    return found


def _influence_check(context: Context, hits: dict[str, Hits], key: Key) -> list[Finding]:
    leakage = context.points[0].leakage
    if leakage is None:
        return []
    sizes = context.baseline.persons
    clusters, weights = context.item_clusters(), context.item_weights()
    found = influence(hits["training"], hits["holdout"], sizes, weights, clusters)
    name = ""
    if found.code >= 0:
        title, _, what = found.kind.partition(" ")
        faces: FaceSet = context.sets.faces[title]
        labels = encode_labels(faces.labels)[1] if title == "synthetic" else faces.codes()[1]
        name = pseudonym(key, f"{title} {what}", labels[found.code])
    return [influence_finding(found, leakage.excess_interval, name)]


def _overlap_check(context: Context, hits: dict[str, Hits]) -> list[Finding]:
    cross, own = context.compared("holdout", "training"), context.compared("holdout", "holdout")
    if cross is None or own is None:
        return []
    persons = {name: context.persons(name) for name in ("training", "holdout")}
    threshold = _strict(context)
    if threshold is None or not cross.holds(threshold) or not own.holds(threshold):
        return []
    turned, within = _turned(cross.reaching(threshold)), own.reaching(threshold)
    overlap = cross_overlap(
        turned, within, persons["training"], persons["holdout"], threshold, context.metric
    )
    dropped = holdout_to_drop(turned, within, persons["training"], persons["holdout"])
    holdout = len(np.unique(persons["holdout"]))
    excess = None
    if 0 < len(dropped) < holdout:
        sizes, weights = context.baseline.persons, context.item_weights()
        sides = hits["training"], hits["holdout"]
        excess = (
            expected_excess(*sides, sizes, weights),
            excess_without_persons(*sides, sizes, weights, dropped),
        )
    return [overlap_finding(overlap, len(dropped), holdout, excess)]


def _strict(context: Context) -> float | None:
    """Return the threshold of the strictest operating point: there a pair of persons says most."""
    thresholds = [result.point.threshold for result in context.points if result.point.threshold is not None]
    if not thresholds:
        return None
    return min(thresholds) if context.metric == "l2" else max(thresholds)


def _turned(pairs: Pairs) -> Pairs:
    return type(pairs)(pairs.columns, pairs.rows, pairs.scores)
