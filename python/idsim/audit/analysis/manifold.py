"""The face manifold: spread and dimension of the sets, how one covers another, how many persons are drawn."""

from __future__ import annotations

from typing import Any

import numpy as np

from idsim.audit.analysis.context import Context, refused
from idsim.audit.manifold import (
    duplication,
    embedded,
    identity_capacity,
    levina_bickel,
    neighbours,
    overlap,
    spread,
    two_nn,
)
from idsim.audit.plain_values import plain_values

__all__ = ["face_manifold", "repetition"]

NEIGHBOURS = 5  # as in the papers on precision, recall, density and coverage


def repetition(context: Context) -> dict[str, Any]:
    """Return how many distinct persons the generator draws, at the primary threshold."""
    threshold = context.threshold
    if threshold is None:
        return refused("the primary operating point is refused")
    pairs = context.reaching("synthetic", "synthetic", threshold)
    if pairs is None:
        return refused("not all pairs of synthetic images that reach the threshold are known")
    clusters = context.persons("synthetic")
    images = np.bincount(clusters).astype(np.int64)
    rate = context.points[0].point.fmr
    mated = context.points[0].mated
    found = duplication(
        clusters[pairs.rows],
        clusters[pairs.columns],
        images,
        fmr=rate.rate if rate is not None else 0.0,
        fmr_interval=(rate.interval.low, rate.interval.high) if rate is not None else None,
        fnmr=mated.missed / mated.pairs if mated is not None and mated.missed < mated.pairs else 0.0,
        confidence=context.confidence,
    )
    entry: dict[str, Any] = plain_values(found)
    return entry


def face_manifold(context: Context) -> dict[str, Any]:
    """Return spread and dimension of every set, how S covers T and H, and the identity capacity."""
    if not context.has_vectors:
        return refused("the matcher gives scores, and the manifold needs embeddings")
    if not context.affordable("manifold"):
        return refused(context.too_much("manifold"))
    metric: Any = context.metric
    sets, near, points, result = context.sets.faces, {}, {}, {}
    for stage, (name, faces) in enumerate(sets.items()):
        if len(faces.rows) <= NEIGHBOURS:
            return refused(f"{name} has {len(faces.rows)} faces, and {NEIGHBOURS + 1} are needed")
        persons = context.persons(name)
        points[name] = embedded(faces.vectors, metric, name)
        near[name] = neighbours(points[name], NEIGHBOURS)
        result[name] = {
            "spread": plain_values(
                spread(
                    faces.vectors,
                    metric,
                    context.rng(30 + stage),
                    persons=persons,
                    confidence=context.confidence,
                )
            ),
            "two_nn": plain_values(two_nn(near[name], persons=persons, confidence=context.confidence)),
            "levina_bickel": plain_values(
                levina_bickel(near[name], persons=persons, confidence=context.confidence)
            ),
        }
    for name in ("training", "holdout"):
        result[f"synthetic_in_{name}"] = plain_values(
            overlap(
                points["synthetic"],
                points[name],
                near["synthetic"].distances[:, -1],
                near[name].distances[:, -1],
                NEIGHBOURS,
                clusters=context.persons("synthetic"),
                persons=context.persons(name),
                confidence=context.confidence,
            )
        )
    if context.threshold is not None and metric == "cosine":
        result["identity_capacity"] = plain_values(
            identity_capacity(
                sets["synthetic"].vectors,
                context.threshold,
                clusters=context.persons("synthetic"),
                confidence=context.confidence,
            )
        )
    return result
