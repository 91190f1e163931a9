"""The certificate checker passes right answers and fires on every planted bug."""

from __future__ import annotations

import json

import numpy as np
import pytest

import idsim
from idsim import reference, selftest
from support.data import ADVERSARIAL


@pytest.mark.parametrize("data", selftest.DATA)
@pytest.mark.parametrize("k", [1, 7, 40])
def test_the_definition_passes(rng, data, k):
    queries, gallery = selftest.DATA[data](rng, 20, 600, 33)
    found = selftest.check(queries, gallery, reference.search(queries, gallery, k))
    assert found.differences == []
    assert found.pairs == 20 * 600
    assert found.summed_exactly > 0


@pytest.mark.parametrize("name", ["all_equal", "tie_groups", "few_values", "one_hot", "negative_zeros"])
def test_ties_are_decided_by_id(rng, name):
    queries, gallery = ADVERSARIAL[name](rng, 10, 300, 12)
    scores, ids = reference.search(queries, gallery, 9)
    assert selftest.check(queries, gallery, (scores, ids)).differences == []
    turned = reference.search(queries, gallery[::-1], 9)
    found = selftest.check(queries, gallery, (turned[0], 299 - turned[1]))
    assert found.differences


def test_close_rows_are_decided_canonically(rng):
    """The cosines of these rows lie within 3e-13 of the border between the two best float32 scores."""
    steps = rng.permutation(np.arange(-32, 32))
    gallery = np.ones((64, 2), np.float32)
    gallery[:, 1] = 2.0**-12 * (1 + steps * 2.0**-23)
    queries = np.float32([[1, 0]])
    answer = reference.search(queries, gallery, 10)
    found = selftest.check(queries, gallery, answer)
    assert found.differences == []
    assert found.decided_canonically == 54
    turned = reference.search(queries, gallery[::-1], 10)
    assert selftest.check(queries, gallery, (turned[0], 63 - turned[1])).differences


@pytest.mark.parametrize("bug", selftest.BUGS)
def test_planted_bugs_are_found(bug):
    search = selftest.planted(bug, reference.search)
    report = selftest.run(300_000, 24, search=search)
    assert report.total.differences, "the checker is blind to this bug"
    assert not report.passed


def test_one_missing_row_among_many_is_found(rng):
    queries, gallery = selftest.DATA["clustered"](rng, 40, 2000, 64)
    scores, ids = reference.search(queries, gallery, 6)
    lost = reference.search(queries[17:18], np.delete(gallery, ids[17, 3], axis=0), 6)
    scores[17], ids[17] = lost[0], lost[1] + (lost[1] >= ids[17, 3])
    found = selftest.check(queries, gallery, (scores, ids))
    assert [text for text in found.differences if "query 17" in text]
    assert all("query 17" in text for text in found.differences)


def test_the_engine_passes(isa):
    report = selftest.run(20_000_000, 64)
    assert report.total.differences == []
    assert report.total.pairs >= 20_000_000
    assert report.passed


@pytest.mark.slow
@pytest.mark.parametrize("dim", [128, 512, 513])
def test_the_engine_passes_many_pairs(isa, dim):
    report = selftest.run(200_000_000, dim, seed=1000)
    assert report.total.differences == []


@pytest.mark.slow
@pytest.mark.parametrize("noise", ["noise_1e-4", "noise_1e-3", "noise_1e-2"])
def test_near_duplicates(isa, noise, rng):
    queries, gallery = ADVERSARIAL[noise](rng, 1000, 10_000, 512)
    found = selftest.check(queries, gallery, idsim.search(queries, gallery, 10))
    assert found.differences == []


def test_no_pairs_is_a_failure():
    report = selftest.run(0)
    assert report.total.pairs == 0
    assert not report.passed


def command(*arguments):
    from typer.testing import CliRunner

    from idsim.cli.main import app

    return CliRunner().invoke(app, ["selftest", *arguments])


def test_command():
    result = command("--pairs", "2e6", "--dim", "32", "--json")
    assert result.exit_code == 0, result.output
    values = json.loads(result.stdout)
    assert values["pairs"] >= 2_000_000
    assert values["differences"] == 0
    assert "2 000 000" not in result.stdout
    plain = command("--pairs", "2e6", "--dim", "32")
    assert "0 differences" in plain.stdout


@pytest.mark.parametrize("bug", selftest.BUGS)
def test_command_fails_on_a_planted_bug(bug):
    result = command("--pairs", "1e6", "--dim", "16", "--plant", bug, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["differences"] > 0


def test_command_fails_when_nothing_ran():
    result = command("--pairs", "0")
    assert result.exit_code == 1
    assert "No pairs" in result.stderr


@pytest.mark.parametrize(
    "arguments", [("--pairs", "many"), ("--pairs", "-1"), ("--dim", "0"), ("--plant", "moth")]
)
def test_command_refuses_bad_arguments(arguments):
    assert command(*arguments).exit_code != 0
