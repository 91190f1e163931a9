"""The shape of a set of face embeddings: spread, dimension, overlap with another set, distinct identities.

Everything here is exact, works in blocks of bounded memory, and asks the engine for all comparisons.
"""

from __future__ import annotations

from idsim.audit.manifold.balls import Overlap, expected_coverage, overlap
from idsim.audit.manifold.capacity import Capacity, cap_fraction_log, identity_capacity
from idsim.audit.manifold.dimension import Dimension, levina_bickel, two_nn
from idsim.audit.manifold.distances import (
    Neighbours,
    cosine_to_distance,
    distance_to_cosine,
    embedded,
    neighbours,
)
from idsim.audit.manifold.moments import Spread, spread
from idsim.audit.manifold.repetition import Duplication, Richness, chao1, duplication

__all__ = [
    "Capacity",
    "Dimension",
    "Duplication",
    "Neighbours",
    "Overlap",
    "Richness",
    "Spread",
    "cap_fraction_log",
    "chao1",
    "cosine_to_distance",
    "distance_to_cosine",
    "duplication",
    "embedded",
    "expected_coverage",
    "identity_capacity",
    "levina_bickel",
    "neighbours",
    "overlap",
    "spread",
    "two_nn",
]
