"""Pictures of generators on disk: drawn by seeds, resumable, with a row for every one."""

from __future__ import annotations

from idsim.sampling.config import SampleConfig
from idsim.sampling.run import SampleResult, sample
from idsim.sampling.screen_config import ScreenConfig

__all__ = ["SampleConfig", "SampleResult", "ScreenConfig", "sample"]
