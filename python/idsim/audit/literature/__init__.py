"""Statistics of earlier work on copying and leakage, over all faces instead of a subsample.

They are here so that results can be laid beside published ones. docs/literature.md says of each what it can and
cannot show.
"""

from __future__ import annotations

from idsim.audit.literature.copying import CopyingCell, DataCopying, copying_cells, data_copying
from idsim.audit.literature.mixture import LikelihoodGap, likelihood_gap
from idsim.audit.literature.nearest import (
    Authenticity,
    CloserShare,
    Similarities,
    TopPairs,
    authenticity,
    closer_record_share,
    nearest_others,
    similarity_percentiles,
    top_pairs,
)
from idsim.audit.literature.partition import Partition, k_means, principal_axes

__all__ = [
    "Authenticity",
    "CloserShare",
    "CopyingCell",
    "DataCopying",
    "LikelihoodGap",
    "Partition",
    "Similarities",
    "TopPairs",
    "authenticity",
    "closer_record_share",
    "copying_cells",
    "data_copying",
    "k_means",
    "likelihood_gap",
    "nearest_others",
    "principal_axes",
    "similarity_percentiles",
    "top_pairs",
]
