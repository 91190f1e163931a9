"""The numbers of earlier work on copying, for comparison with what was published."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from idsim.audit.analysis.context import Context, refused
from idsim.audit.faces import NOT_REDONE, EmbeddingsNeededError
from idsim.audit.literature import (
    authenticity,
    closer_record_share,
    copying_cells,
    likelihood_gap,
    nearest_others,
    similarity_percentiles,
    top_pairs,
)
from idsim.audit.manifold import embedded
from idsim.audit.plain_values import plain_values
from idsim.audit.records import pseudonym

if TYPE_CHECKING:
    from idsim.audit.pairs.compared import Compared
    from idsim.audit.records import Key

__all__ = ["listed_pairs", "published"]

TOP_PAIRS = 100


def published(context: Context) -> dict[str, Any]:
    """Return C_T, AuthPct, the FLD gap, the DCR share and Somepalli's percentiles, over all faces."""
    training, holdout = (context.compared("synthetic", name) for name in ("training", "holdout"))
    if training is None or holdout is None or not training.scores.shape[1] or not holdout.scores.shape[1]:
        return refused("the synthetic set was not compared with both real sets, or no match is listed")
    clusters = context.persons("synthetic")
    entries: dict[str, Any] = {
        "closer_record_share": closer_record_share(
            training.scores[:, 0],
            holdout.scores[:, 0],
            context.baseline.persons,
            context.metric,
            clusters=clusters,
            confidence=context.confidence,
        )
    }
    own = context.compared("training", "training")
    if own is not None and own.scores.shape[1] and (own.ids[:, 0] >= 0).all():
        entries["similarities"] = similarity_percentiles(
            training.scores[:, 0],
            own.scores[:, 0],
            context.metric,
            clusters=clusters,
            persons=context.persons("training"),
            confidence=context.confidence,
        )
    result: dict[str, Any] = {name: plain_values(value) for name, value in entries.items()}
    if not context.has_vectors:
        return result | {"refused_others": "the matcher gives scores, and these need embeddings"}
    if not context.affordable("literature"):
        return result | {"refused_others": context.too_much("literature")}
    try:
        return result | _of_vectors(context, training)
    except EmbeddingsNeededError:
        return result | NOT_REDONE


def _of_vectors(context: Context, compared: Compared) -> dict[str, Any]:
    metric: Any = context.metric
    sets = context.sets
    points = {name: embedded(faces.vectors, metric, name) for name, faces in sets.faces.items()}
    clusters, persons = context.persons("synthetic"), context.persons("holdout")
    nearest = np.unique(compared.ids[:, 0])
    scores = nearest_others(sets.training.vectors, nearest, metric)
    found = {
        "authenticity": authenticity(
            compared.scores[:, 0],
            compared.ids[:, 0],
            nearest,
            scores,
            metric,
            clusters=clusters,
            confidence=context.confidence,
        ),
        "data_copying": copying_cells(
            points["synthetic"],
            points["training"],
            points["holdout"],
            context.rng(5),
            clusters=clusters,
            persons=persons,
            confidence=context.confidence,
        ),
        "likelihood_gap": likelihood_gap(
            points["synthetic"],
            points["training"],
            points["holdout"],
            training_persons=context.persons("training"),
            holdout_persons=persons,
            confidence=context.confidence,
        ),
    }
    return {name: plain_values(value) for name, value in found.items()}


def listed_pairs(context: Context, key: Key) -> list[dict[str, Any]]:
    """Return the 100 nearest pairs of all between the synthetic set and training, under pseudonyms."""
    compared = context.compared("synthetic", "training")
    if compared is None:
        return []
    found = top_pairs(compared, context.persons("synthetic"), context.persons("training"), TOP_PAIRS)
    synthetic, training = context.sets.synthetic, context.sets.training
    return [
        {
            "synthetic": pseudonym(key, "synthetic", synthetic.items[int(synthetic.rows[row])]),
            "training_image": pseudonym(key, "training", training.items[int(training.rows[column])]),
            "score": float(score),
        }
        for row, column, score in zip(found.rows, found.columns, found.scores, strict=True)
    ]
