"""What figures need and no number of the summary tells: distributions of scores, leak rates along the threshold.

It goes into ``curves.json`` (docs/report-figures.md).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from idsim.audit.analysis.context import Context, refused
from idsim.audit.pairs.compared import better_is_higher
from idsim.audit.rates.clustered import effective_number, reweighting_variance, two_way_variance
from idsim.audit.rates.dependence import pairs_of
from idsim.audit.rates.intervals import wilson
from idsim.audit.rates.resampling import hit_cells, image_counts, matched_draws, unique_hits
from idsim.audit.thresholds.sampled_impostors import estimated_below

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from idsim.audit.pairs.compared import Compared
    from idsim.audit.persons.exposure import PersonExposure

__all__ = ["SCHEMA_VERSION", "curves_of"]

SCHEMA_VERSION = 1

BINS = 80
STEPS = 64
# A curve starts where this many pairs reach the threshold, on the side that has more: some seconds of work.
MOST_PAIRS = 1 << 20
# Matched galleries over which the variance is averaged; rates are over all of them.
VARIANCE_DRAWS = 4

METHOD = "Wilson with effective n from the two-way clustered variance, at each threshold for itself"


def curves_of(context: Context, exposure: PersonExposure | str) -> dict[str, Any]:
    """Return the content of ``curves.json`` of one synthetic set; ``refused`` says why a curve is not there."""
    return {
        "schema_version": SCHEMA_VERSION,
        "score_distributions": _distributions(context),
        "leak_rate_by_threshold": _leak_rates(context),
        "clusters_per_person": refused(exposure) if isinstance(exposure, str) else _exposed(exposure),
    }


# --- distributions --------------------------------------------------------------------------------


def _distributions(context: Context) -> dict[str, Any]:
    """Return histograms with common edges: genuine and impostor scores of the holdout, best matches of each image.

    Impostor scores below the listed ones are estimated from random pairs; where there are none (`sampled` 0) the
    histogram starts at `listed_from`.
    """
    best, own = {}, context.compared("holdout", "holdout")
    for name in ("training", "holdout"):
        found = context.compared("synthetic", name)
        if found is None or not found.scores.shape[1]:
            return refused(f"synthetic and {name} were not compared")
        best[name] = _finite(found.scores[:, 0])
    mated, persons = context.baseline.mated_scores
    sample = context.baseline.impostor_sample
    listed = np.empty(0, np.float32) if own is None else own.tail.scores
    parts = [*best.values(), _finite(mated), _finite(listed), sample]
    if not sum(len(part) for part in parts):
        return refused("no score is known")
    edges = _edges(
        min(part.min() for part in parts if len(part)), max(part.max() for part in parts if len(part))
    )
    result: dict[str, Any] = {"metric": context.metric, "edges": edges, "genuine": None, "impostor": None}
    if len(mated):
        counts = np.histogram(_finite(mated), edges)[0]
        result["genuine"] = {"counts": counts, "comparisons": len(mated), "persons": persons}
    if own is not None:
        comparisons = pairs_of(image_counts(context.persons("holdout")))
        counts = np.histogram(_finite(listed), edges)[0]
        more, sampled = estimated_below(own, sample, comparisons, edges)
        result["impostor"] = {
            "counts": counts + more,
            "comparisons": comparisons,
            "listed_from": own.level if len(listed) < comparisons else None,
            "sampled": sampled,
        }
    for name, scores in best.items():
        counts = np.histogram(scores, edges)[0]
        result[f"best_in_{name}"] = {"counts": counts, "images": len(context.sets.synthetic.rows)}
    return {key: _plain(value) for key, value in result.items()}


def _finite(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    return scores[np.isfinite(scores)]


def _edges(low: float, high: float) -> NDArray[np.float64]:
    """Return about `BINS` edges at round numbers that hold both ends."""
    rough = max(float(high) - float(low), 1e-6) / BINS
    power = 10.0 ** math.floor(math.log10(rough))
    width = power * next(step for step in (1, 2, 5, 10) if step * power >= rough * (1 - 1e-9))
    first, last = math.floor(float(low) / width), math.floor(float(high) / width) + 1
    return np.round(np.arange(first, last + 1) * width, 9)


# --- leak rates along the threshold ---------------------------------------------------------------


class _Side(NamedTuple):
    """Pairs with one real set: synthetic item, column, and score with higher being better."""

    items: NDArray[np.int64]
    columns: NDArray[np.int64]
    scores: NDArray[np.float64]
    persons: NDArray[np.int64]


def _leak_rates(context: Context) -> dict[str, Any]:
    """Return the leak rates of both galleries along the threshold.

    The galleries are matched as for the leak rates of the operating points, with the same draws: at the threshold
    of an operating point the curve has its rate. Bands are pointwise.
    """
    compared = {name: context.compared("synthetic", name) for name in ("training", "holdout")}
    found = {name: side for name, side in compared.items() if side is not None}
    if len(found) < len(compared):
        return refused("the synthetic set was not compared with both real sets")
    thresholds = _thresholds(context, list(found.values()))
    if not len(thresholds):
        return refused("no pair is listed")
    sides = [_side(context, name, side, float(thresholds[0])) for name, side in found.items()]
    statistics = context.config.statistics
    rng = np.random.default_rng([context.config.run.seed, 0])
    draws = matched_draws(sides[0].persons, sides[1].persons, statistics.draws, rng)
    size = min(context.baseline.persons)
    clusters, weights = context.item_clusters(), context.item_weights()
    result: dict[str, Any] = {
        "thresholds": thresholds if context.metric != "l2" else -thresholds,
        "metric": context.metric,
        "persons": size,
        "draws": len(draws),
        "clusters": int(clusters.max()) + 1,
        "images": len(weights),
        "confidence": context.confidence,
        "method": METHOD,
    }
    for name, side, kept in zip(found, sides, zip(*draws, strict=True), strict=True):
        rates = np.mean([_rates(side, keep, weights, thresholds) for keep in kept], axis=0)
        variances = np.mean(
            [_variances(side, keep, weights, clusters, size, thresholds) for keep in kept[:VARIANCE_DRAWS]],
            axis=0,
        )
        bands = [
            wilson(rate, effective_number(rate, variance, result["clusters"]), context.confidence)
            for rate, variance in zip(rates.tolist(), variances.tolist(), strict=True)
        ]
        low, high = zip(*bands, strict=True)
        result[name] = {"rate": rates, "low": list(low), "high": list(high)}
    oriented = np.asarray(result["thresholds"], dtype=np.float32)
    result["fpir"] = context.baseline.calibrator.share_at(oriented)
    return {key: _plain(value) for key, value in result.items()}


def _side(context: Context, name: str, compared: Compared, loosest: float) -> _Side:
    """Return the pairs with a real set that reach the loosest threshold."""
    rows, columns, scores = compared.tail
    oriented = better_is_higher(scores, compared.metric)
    keep = oriented >= loosest
    items = context.sets.synthetic.rows[rows[keep]]
    return _Side(items, columns[keep], oriented[keep], context.persons(name))


def _thresholds(context: Context, sides: list[Compared]) -> NDArray[np.float64]:
    """Return thresholds in even steps, and those of the operating points; higher is stricter, ascending."""
    scores = [better_is_higher(side.tail.scores, side.metric) for side in sides]
    known = [part for part in scores if len(part)]
    if not known:
        return np.empty(0)
    level = max(float(better_is_higher(side.level, side.metric)) for side in sides)
    loosest = max(level, _everybody(sides), *(_reached_by(part, MOST_PAIRS) for part in known))
    strictest = max(float(part.max()) for part in known)
    points = [result.point.threshold for result in context.points if result.point.threshold is not None]
    wanted = better_is_higher(points, context.metric)
    inside = wanted[(wanted >= loosest) & (wanted <= strictest)]
    return np.unique(np.concatenate([np.linspace(loosest, strictest, STEPS), inside]))


def _everybody(sides: list[Compared]) -> float:
    """Return the threshold at which every image finds somebody in both sets: there the curves are flat."""
    best = np.concatenate([better_is_higher(side.scores[:, :1], side.metric).reshape(-1) for side in sides])
    known = best[np.isfinite(best)]
    return float(known.min()) if len(known) else -math.inf


def _reached_by(scores: NDArray[np.float64], pairs: int) -> float:
    """Return the loosest threshold that at most so many pairs reach, ties aside."""
    place = max(0, len(scores) - pairs)
    return float(np.partition(scores, place)[place])


def _rates(
    side: _Side, keep: NDArray[np.bool_], weights: NDArray[np.float64], thresholds: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the leak rate at every threshold, if only the images in `keep` were enrolled."""
    there = keep[side.columns]
    best = np.full(len(weights), -np.inf)
    np.maximum.at(best, side.items[there], side.scores[there])
    order = np.argsort(best, kind="stable")
    above = np.concatenate([np.cumsum(weights[order][::-1])[::-1], [0.0]])
    return np.asarray(
        above[np.searchsorted(best[order], thresholds, "left")] / weights.sum(), dtype=np.float64
    )


def _variances(
    side: _Side,
    keep: NDArray[np.bool_],
    weights: NDArray[np.float64],
    clusters: NDArray[np.int64],
    persons: int,
    thresholds: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the two-way clustered variance of the leak rate at every threshold: what `bootstrap_rates` estimates."""
    there = keep[side.columns]
    items, people, scores = side.items[there], side.persons[side.columns[there]], side.scores[there]
    total = int(clusters.max()) + 1
    found = []
    for threshold in thresholds.tolist():
        reached = scores >= threshold
        hits = unique_hits(items[reached], people[reached])
        cluster, person, mass = hit_cells(hits, weights, clusters)
        mass = mass / total
        found.append(
            two_way_variance(
                reweighting_variance(cluster, mass, total),
                reweighting_variance(person, mass, persons),
                float((mass**2).sum()),
            )
        )
    return np.asarray(found)


# --- persons --------------------------------------------------------------------------------------


def _exposed(found: PersonExposure) -> dict[str, Any]:
    """Return how many persons are reached by 0, 1, 2, ... clusters, as pairs of numbers."""
    sides = {}
    for name, counts in zip(("training", "holdout"), found.counts, strict=True):
        clusters, persons = np.unique(counts, return_counts=True)
        sides[name] = [list(pair) for pair in zip(clusters.tolist(), persons.tolist(), strict=True)]
    return sides


def _plain(value: Any) -> Any:
    """Return plain JSON values."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return value.tolist() if isinstance(value, np.ndarray) else value
