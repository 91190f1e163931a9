"""StyleGAN2: every public checkpoint format, read without running code from it, and drawn as the originals do."""

from __future__ import annotations

from idsim.generators.stylegan2.checkpoint import (
    Checkpoint,
    Provenance,
    find_problems,
    save_checkpoint,
)
from idsim.generators.stylegan2.config import GeneratorConfig
from idsim.generators.stylegan2.generator import StyleGan2
from idsim.generators.stylegan2.loading import load_checkpoint

__all__ = [
    "Checkpoint",
    "GeneratorConfig",
    "Provenance",
    "StyleGan2",
    "find_problems",
    "load_checkpoint",
    "save_checkpoint",
]
