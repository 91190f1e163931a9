"""Measure exact top-k search against the libraries that people would use otherwise.

One process, one thread count, one machine: every tool searches the same rows, the rounds of all tools
are interleaved, answers are checked after the timing, and every number is stated beside what the
machine can do. ``idsim bench`` runs a short form; the repository's ``bench/`` runs the whole table.
"""

from __future__ import annotations

from idsim.benchmark.cases import Case
from idsim.benchmark.line import case_line
from idsim.benchmark.machine import Peaks, describe_machine, measure_peaks, pin_threads
from idsim.benchmark.measure import Effort, measure_case
from idsim.benchmark.registry import all_tools, installed_tools
from idsim.benchmark.tools import Tool

__all__ = [
    "Case",
    "Effort",
    "Peaks",
    "Tool",
    "all_tools",
    "case_line",
    "describe_machine",
    "installed_tools",
    "measure_case",
    "measure_peaks",
    "pin_threads",
]
