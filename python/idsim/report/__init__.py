"""Results of the audit in words and tables; reads ``summary.json``, computes nothing."""

from __future__ import annotations
