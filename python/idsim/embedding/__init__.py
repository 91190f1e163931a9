"""Pictures to a gallery of embeddings: resumable, with a row and a reason for every picture."""

from __future__ import annotations

from idsim.embedding.config import EmbedConfig
from idsim.embedding.run import EmbedResult, embed

__all__ = ["EmbedConfig", "EmbedResult", "embed"]
