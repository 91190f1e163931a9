"""Exact similarity search over embeddings, and an audit for identity leakage.

Scores are exact and the same bits on every backend; see ``docs/precision.md``. Importing this package
costs NumPy only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from idsim import reference
from idsim._core import build_info
from idsim.comparison import compare
from idsim.distribution import score_distribution
from idsim.errors import CheckpointError, CudaError, GalleryError, IdsimError, MatcherError
from idsim.memory import MemoryPlan
from idsim.merge import merge_topk
from idsim.results import Certificate, Comparison, Pairs, ScoreDistribution, TopK
from idsim.search import TopKScan, memory_plan, search
from idsim.tails import count_above, pairs_above
from idsim.unit_rows import normalize

if TYPE_CHECKING:
    from idsim.audit import scan
    from idsim.gallery import Gallery
    from idsim.index import Index

__version__: str = build_info()["version"]

__all__ = [
    "Certificate",
    "CheckpointError",
    "Comparison",
    "CudaError",
    "Gallery",
    "GalleryError",
    "IdsimError",
    "Index",
    "MatcherError",
    "MemoryPlan",
    "Pairs",
    "ScoreDistribution",
    "TopK",
    "TopKScan",
    "build_info",
    "compare",
    "count_above",
    "memory_plan",
    "merge_topk",
    "normalize",
    "pairs_above",
    "reference",
    "scan",
    "score_distribution",
    "search",
]


def __getattr__(name: str) -> Any:
    # The layers above the search are imported when they are first asked for.
    if name == "Gallery":
        from idsim.gallery import Gallery  # noqa: PLC0415

        return Gallery
    if name == "Index":
        from idsim.index import Index  # noqa: PLC0415

        return Index
    if name == "scan":
        from idsim.audit import scan  # noqa: PLC0415

        return scan
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
