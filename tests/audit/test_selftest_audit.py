"""The self-test of the audit: it passes, it is repeatable, and it fails on every planted bug."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner

from idsim.audit.proving import selftest, simulation
from idsim.audit.proving.judging import kolmogorov_p
from idsim.audit.proving.naive import naive_rates
from idsim.audit.proving.simulation import World, draw, mated_hits
from idsim.cli.main import app


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Fewer samples, and one processor: in searches as small as these, threads mostly wait for each other."""
    monkeypatch.setattr(simulation, "MATED_SAMPLES", 5000)
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


def rows(report):
    return {(row.scenario, row.quantity): row for row in report.rows}


def test_every_scenario_in_small():
    told = []
    report = selftest.run(10, 3, progress=lambda *state: told.append(state))
    assert {row.scenario for row in report.rows} == set(selftest.SCENARIOS)
    assert report.passed, [row for row in report.rows if not row.passed]
    assert told[-1] == ("leaks in large clusters", 4, 4)
    found = rows(report)
    for scenario, quantity in (
        ("no leaks", "mean excess (naive: rate)"),
        ("no leaks", "mean excess (naive: fixed)"),
        ("leaks 1 %", "interval holds the leak rate"),
        ("T 3 times as large as H", "interval holds 0"),
        ("T 3 times as large as H", "p at most 5 %"),
    ):
        assert found[scenario, quantity].naive_fails, (scenario, quantity)


@pytest.mark.parametrize(
    ("plant", "name", "runs"),
    [
        ("interval", "leaks in large clusters", 200),
        ("plus-one", "leaks 10 %", 10),
        ("tail", "leaks 10 %", 10),
        ("weights", "leaks in large clusters", 20),
        ("galleries", "T 3 times as large as H", 20),
        ("threshold", "no leaks", 12),
    ],
)
def test_a_planted_bug_is_found(plant, name, runs):
    assert not selftest.run(runs, names=[name], plant=plant).passed


def test_every_bug_that_can_be_planted_is_tested():
    marks = next(mark for mark in test_a_planted_bug_is_found.pytestmark if mark.name == "parametrize")
    assert {case[0] for case in marks.args[1]} == set(selftest.PLANTS)


def test_the_same_seed_gives_the_same_report():
    first, again, other = (selftest.run(2, seed, names=["leaks 10 %"]) for seed in (1, 1, 2))
    assert first == again
    assert first.rows != other.rows


def test_nothing_checked_is_no_pass():
    assert not selftest.Report([], 1000, 0).passed


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="no scenario 'leeks'"):
        selftest.run(names=["leeks"])
    with pytest.raises(ValueError, match=r"no bug 'bug' to plant: known are interval, "):
        selftest.run(plant="bug")
    with pytest.raises(ValueError, match="at least 2, not 1"):
        selftest.run(1)


def test_the_command(monkeypatch):
    monkeypatch.setattr(selftest, "SCENARIOS", {"leaks 10 %": selftest.SCENARIOS["leaks 10 %"]})
    words = ["selftest", "audit", "--runs", "8", "--processes", "1"]
    shown = CliRunner().invoke(app, words)
    assert shown.exit_code == 0, shown.output
    assert "4 quantities, 0 outside their limits" in shown.stdout
    planted = CliRunner().invoke(app, [*words, "--plant", "tail", "--json"])
    assert planted.exit_code == 1
    told = json.loads(planted.stdout)
    assert not told["passed"]
    assert [row["result"] for row in told["rows"]].count("fail") >= 1


# --- the parts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [5, 40, 1000])
def test_kolmogorov_smirnov_as_scipy_has_it(rng, n):
    for power in (1.0, 1.2, 0.8):
        values = rng.random(n) ** power
        assert kolmogorov_p(values) == pytest.approx(stats.kstest(values, "uniform").pvalue, abs=0.02)


def test_a_drawn_world_is_as_it_is_described(rng):
    world = World(training=30, holdout=40, images=3, clusters=500, sizes=(1, 4), leaks=(0.0, 1.0), twins=0.5)
    sample = draw(world, rng)
    assert len(sample.training.items) == 90
    codes = sample.synthetic.codes()[0]
    sizes = np.bincount(codes)
    assert set(sizes) == {1, 4}
    assert abs((sizes == 4).mean() - 0.5) < 0.1
    best = (sample.synthetic.vectors @ sample.training.vectors.T).max(axis=1)
    leaked = sizes[codes] == 4
    assert best[leaked].mean() > best[~leaked].mean() + 0.1
    own = sample.holdout.vectors @ sample.holdout.vectors.T
    strangers = own[sample.holdout.codes()[0][:, None] != sample.holdout.codes()[0][None, :]]
    assert (strangers > 0.6).sum() > 0  # the same person under two labels
    assert world.rate == 0.5


def test_hubs_resemble_everybody(rng):
    sample = draw(World(common=0.7, hubs=0.05, images=1), rng)
    mean = (sample.synthetic.vectors @ sample.training.vectors.T).mean(axis=0)
    assert mean.max() > 2 * np.median(mean)


def test_mated_hits_fall_from_one_to_zero(rng):
    hits = mated_hits(World(), rng)
    found = [hits(threshold) for threshold in (-1.0, 0.3, 0.5, 0.7, 1.0)]
    assert found == sorted(found, reverse=True)
    assert found[0] == 1.0
    assert found[-1] == 0.0
    assert 0.5 < found[2] < 0.9


def test_naive_rates_by_hand(rng):
    sample = draw(World(clusters=50, leaks=(0.5,)), rng)
    found = naive_rates(sample.synthetic, sample.training, sample.holdout, 0.4)
    best = (sample.synthetic.vectors @ sample.training.vectors.T).max(axis=1)
    assert found.training == pytest.approx((best >= 0.4).mean())
    assert found.excess_interval[0] < found.training - found.holdout < found.excess_interval[1]
    counts = np.array([round(found.training * 50), round(found.holdout * 50)])
    table = [counts, 50 - counts]
    expected = stats.chi2_contingency(table, correction=False).pvalue / 2
    assert found.p_value == pytest.approx(expected, rel=1e-6)
    assert naive_rates(sample.synthetic, sample.training, sample.holdout, 2.0).p_value == 1.0
