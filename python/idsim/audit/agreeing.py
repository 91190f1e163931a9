"""What several matchers agree on: the same persons in the same synthetic images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from idsim.audit.diagnostics.inputs import without_shared
from idsim.audit.faces import encode_labels
from idsim.audit.rates.excess import Resampling
from idsim.audit.rates.resampling import unique_hits
from idsim.audit.significance.consensus import MatcherHits, consensus_entry, measure_consensus
from idsim.audit.significance.votes import pair_patterns

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from idsim.audit.configuration.config import ScanConfig
    from idsim.audit.faces import FaceSet
    from idsim.audit.pairs.comparing import Comparisons
    from idsim.audit.work import Work

    Compare = Callable[[Work, str], Comparisons]

__all__ = ["Agreed", "consensus_of"]


class Agreed(NamedTuple):
    """What matchers say together, as plain JSON values: the numbers, and what a figure needs beside them."""

    consensus: dict[str, Any]
    flagged: dict[str, Any]


def consensus_of(
    config: ScanConfig, works: list[Work], summaries: dict[str, dict[str, Any]], compare: Compare
) -> Agreed:
    """Return the consensus of the matchers for each synthetic set; a set without a name stands alone.

    `flagged` has an entry per set: ``training`` and ``holdout`` with every set of matchers that alone flag some
    (synthetic image, person) pairs, and how many pairs.

    Parameters
    ----------
    config : ScanConfig
        The scan.
    works : list of Work
        By matcher.
    summaries : dict
        Of the matchers, by their names.
    compare : callable
        Returns the scores of a matcher between the real sets and a synthetic one, by its name.
    """
    variants = list(dict.fromkeys(variant for work in works for variant in work.series))
    found = {variant: _of_variant(config, works, summaries, compare, variant) for variant in variants}
    flagged = {variant: agreed.flagged for variant, agreed in found.items()}
    if len(variants) == 1:
        return Agreed(found[variants[0]].consensus, flagged)
    return Agreed({variant: agreed.consensus for variant, agreed in found.items()}, flagged)


def _of_variant(
    config: ScanConfig,
    works: list[Work],
    summaries: dict[str, dict[str, Any]],
    compare: Compare,
    variant: str,
) -> Agreed:
    sets: list[dict[str, FaceSet]] = []
    hits = []
    for work in works:
        threshold = _threshold(summaries[work.label]["operating_points"][0])
        if threshold is None or variant not in work.series:
            continue
        training, holdout = work.real["training"].faces(), work.real["holdout"].faces()
        own = {
            "synthetic": work.series[variant].faces(),
            "training": training,
            "holdout": without_shared(work.config, training, holdout)[0],
        }
        comparisons = compare(work, variant)
        pairs = [_items(own, name, threshold, comparisons) for name in ("training", "holdout")]
        if pairs[0] is None or pairs[1] is None:
            continue
        sets.append(own)
        hits.append(MatcherHits(work.label, pairs[0], pairs[1]))
    if len(hits) < 2:
        return _refused(
            f"{len(hits)} matchers have a threshold for the primary operating point, and 2 are needed"
        )
    for name in sets[0]:
        if any(other[name].items != sets[0][name].items for other in sets[1:]):
            return _refused(f"the matchers do not have the same items in [{name}]")
    clusters = encode_labels(sets[0]["synthetic"].labels)[0]
    persons = encode_labels(sets[0]["training"].labels)[0], encode_labels(sets[0]["holdout"].labels)[0]
    statistics = config.statistics
    resampling = Resampling(
        statistics.confidence,
        statistics.bootstrap,
        statistics.permutations,
        statistics.draws,
        config.run.seed,
    )
    found = measure_consensus(hits, clusters, persons, resampling)
    return Agreed(consensus_entry(found, statistics.confidence), _flagged(hits, persons))


def _refused(sentence: str) -> Agreed:
    return Agreed({"refused": sentence}, {"refused": sentence})


def _flagged(hits: list[MatcherHits], persons: tuple[NDArray[np.int64], NDArray[np.int64]]) -> dict[str, Any]:
    names = [found.name for found in hits]
    entry: dict[str, Any] = {"matchers": names}
    for name, codes in zip(("training", "holdout"), persons, strict=True):
        pairs = [found.training if name == "training" else found.holdout for found in hits]
        flagged = [unique_hits(images, codes[columns]) for images, columns in pairs]
        entry[name] = [
            {"matchers": [names[place] for place in chosen], "pairs": count}
            for chosen, count in pair_patterns(flagged, int(codes.max()) + 1)
        ]
    return entry


def _items(
    sets: dict[str, FaceSet], name: str, threshold: float, comparisons: Comparisons
) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Return the items of the pairs that reach the threshold."""
    pairs = comparisons.reaching(sets["synthetic"], sets[name], threshold)
    if pairs is None:
        return None
    return sets["synthetic"].rows[pairs.rows], sets[name].rows[pairs.columns]


def _threshold(point: dict[str, Any]) -> float | None:
    """Return the threshold of a point: summaries show nine digits of float32 numbers, which tell them exactly."""
    value = point["threshold"]
    if value is None:
        return None
    return float(value) if point["kind"] == "threshold" else float(np.float32(value))
