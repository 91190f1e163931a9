"""Exact similarity search over embeddings, and an audit for identity leakage.

Scores are exact and the same bits on every backend; see ``docs/precision.md``. Importing this package loads
its compiled part; NumPy and what a name needs come when the name is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from idsim._core import build_info

if TYPE_CHECKING:
    from idsim import reference
    from idsim.audit import scan
    from idsim.comparison import compare
    from idsim.distribution import score_distribution
    from idsim.errors import CheckpointError, CudaError, GalleryError, IdsimError, MatcherError
    from idsim.gallery import Gallery
    from idsim.index import Index
    from idsim.memory import MemoryPlan
    from idsim.merge import merge_topk
    from idsim.results import Certificate, Comparison, Pairs, ScoreDistribution, TopK
    from idsim.tails import count_above, pairs_above
    from idsim.topk import TopKScan, memory_plan, search
    from idsim.unit_rows import normalize

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

# Name -> the module that it comes from. No name is also that of a module, which would replace it when imported.
_SOURCES = {
    "Certificate": "results",
    "CheckpointError": "errors",
    "Comparison": "results",
    "CudaError": "errors",
    "Gallery": "gallery",
    "GalleryError": "errors",
    "IdsimError": "errors",
    "Index": "index",
    "MatcherError": "errors",
    "MemoryPlan": "memory",
    "Pairs": "results",
    "ScoreDistribution": "results",
    "TopK": "results",
    "TopKScan": "topk",
    "compare": "comparison",
    "count_above": "tails",
    "memory_plan": "topk",
    "merge_topk": "merge",
    "normalize": "unit_rows",
    "pairs_above": "tails",
    "scan": "audit",
    "score_distribution": "distribution",
    "search": "topk",
}


def __getattr__(name: str) -> Any:
    if name == "reference":
        return importlib.import_module("idsim.reference")
    if name not in _SOURCES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(importlib.import_module(f"idsim.{_SOURCES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
