"""Everything beyond the leak rates that a scan says of one synthetic set: persons, tails, calibration, checks."""

from __future__ import annotations

from idsim.audit.analysis.all import Analysis, analyse

__all__ = ["Analysis", "analyse"]
