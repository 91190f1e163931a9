"""The identity-leakage audit: sets, calibration, leak rates, and the numbers that stand up."""

from __future__ import annotations

from idsim.audit.run import scan

__all__ = ["scan"]
