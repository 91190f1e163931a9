"""Results of the audit in words, tables and figures; reads the run folder, computes nothing."""

from __future__ import annotations
