"""Made-up embeddings on a curved set of known dimension."""

from __future__ import annotations

import numpy as np


def curved(rng, count, dim=24, inner=5, noise=0.0):
    """Points of `inner` dimensions in a space of `dim`, always the same space."""
    axes = np.random.default_rng(11).standard_normal((inner, dim))
    points = rng.standard_normal((count, inner)) @ axes + noise * rng.standard_normal((count, dim))
    return points.astype(np.float32)


def on_sphere(rng, count, dim):
    rows = rng.standard_normal((count, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
