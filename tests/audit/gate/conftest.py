"""Finished runs, and their summaries as plain values that a test may change."""

from __future__ import annotations

import copy

import pytest

from audit.gate.makers import finding, made_run
from idsim.audit.policy.gating import read_run
from idsim.audit.series import series_row, with_correction


@pytest.fixture(scope="session")
def gated_runs(tmp_path_factory):
    """Folders of finished runs, by the number of planted leaks."""
    base = tmp_path_factory.mktemp("runs")
    return {leaks: made_run(base / f"leaks-{leaks}", leaks) for leaks in (0, 18)}


@pytest.fixture
def clean(gated_runs):
    return read_run(gated_runs[0])


@pytest.fixture
def leaking(gated_runs):
    return read_run(gated_runs[18])


@pytest.fixture
def series(clean, leaking):
    """A series as the scan writes it, of a clean set, a leaking one, and one without any face."""
    rows = [series_row(name, f"sets/{name}", part, []) for name, part in (("a", clean), ("b", leaking))]
    empty = copy.deepcopy(clean)
    empty |= {"operating_points": [], "verdict": {"status": "inconclusive"}}
    rows.append(series_row("c", "sets/c", empty, []))
    for row in rows:
        row["checks"] = []
    rows[1]["checks"] = [finding("low psi", "warning")]
    summary = copy.deepcopy(clean)
    del summary["top_pairs"], summary["analysis"]
    for point in summary["operating_points"]:
        for rate in ("leak_rate_training", "leak_rate_holdout", "excess_leak_rate", "matched_galleries"):
            point.pop(rate, None)
    real = {name: clean["sets"][name] for name in ("training", "holdout")}
    return summary | {
        "sets": real,
        "series": with_correction(rows, 0.95),
        "checks": [finding("shared persons")],
    }
