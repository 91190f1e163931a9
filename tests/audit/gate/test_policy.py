"""Policies: what is read, and what is refused by name."""

from __future__ import annotations

import tomllib
from dataclasses import fields
from datetime import date
from pathlib import Path

import pytest

from idsim.audit.policy.policy import Acceptance, Policy, policy_of, read_policy

FULL = """
schema = 1
[gate]
operating_point = "fpir=0.01"
max_excess = 0.001
bound = "lower"
max_false_matches = 0.5
min_holdout_persons = 1000
min_clusters = 500
max_failure_to_acquire = 0.05
fail_on = ["warning", "error"]
require_consensus = true

[[gate.allow]]
check = "hubs"
reason = "one statue, looked at by hand"
expires = 2027-01-31
scope = "arcface"
"""


def read(tmp_path, text):
    path = tmp_path / "policy.toml"
    path.write_text(text)
    return read_policy(path)


def test_every_key_is_read(tmp_path):
    assert read(tmp_path, FULL) == Policy(
        operating_point="fpir=0.01",
        max_excess=0.001,
        bound="lower",
        max_false_matches=0.5,
        min_holdout_persons=1000,
        min_clusters=500,
        max_failure_to_acquire=0.05,
        fail_on=("warning", "error"),
        require_consensus=True,
        allow=(Acceptance("hubs", "one statue, looked at by hand", date(2027, 1, 31), "arcface"),),
    )


def test_the_policy_of_the_guide_is_one():
    guide = (Path(__file__).parents[3] / "docs" / "gate.md").read_text()
    text = guide.split("```toml\n")[1].split("```")[0]
    policy = policy_of(tomllib.loads(text))
    assert set(tomllib.loads(text)["gate"]) == {field.name for field in fields(Policy)}
    assert policy.allow[0].expires == date(2027, 1, 31)


def test_defaults_and_a_list_in_one_line(tmp_path):
    policy = read(
        tmp_path,
        '[gate]\nmax_excess = 0\nallow = [{check = "hubs", reason = "r", expires = 2027-01-31}]\n',
    )
    assert (policy.bound, policy.fail_on, policy.max_excess) == ("upper", ("error",), 0.0)
    assert policy.allow[0].scope == ""


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("max_exces = 0.1", r"max_exces is not known \(did you mean max_excess\?\)"),
        ("max_excess = 1", "max_excess must be a number from 0 to less than 1, not 1"),
        ("max_excess = -0.1", "max_excess must be a number from 0"),
        ("max_excess = nan", "max_excess must be a number from 0"),
        ("max_excess = true", "max_excess must be a number from 0"),
        ('max_excess = "0.1"', "max_excess must be a number from 0"),
        ("max_failure_to_acquire = 5", "max_failure_to_acquire must be a number from 0"),
        ("min_clusters = 0", "min_clusters must be a whole number from 1 on, not 0"),
        ("min_clusters = true", "min_clusters must be a whole number"),
        ("min_holdout_persons = 10.5", "min_holdout_persons must be a whole number"),
        ('require_consensus = "yes"', "require_consensus must be true or false, not 'yes'"),
        ('fail_on = ["fatal"]', "fail_on must be a list of info, warning, error"),
        ("fail_on = [[]]", "fail_on must be a list of info"),
        ('max_excess = 0.1\nbound = "high"', "bound must be one of upper, estimate, lower, not 'high'"),
        ('max_excess = 0.1\noperating_point = ""', "operating_point must be a string that says something"),
        ("max_excess = 0.1\nmax_false_matches = inf", "max_false_matches must be a number above 0"),
        ('min_clusters = 5\nbound = "lower"', "bound belongs to max_excess"),
        ("min_clusters = 5\nmax_false_matches = 1", "max_false_matches belongs to max_excess"),
        ('allow = "hubs"', "allow must be a list of tables"),
        ('allow = ["hubs"]', "allow entry 1 must be a table"),
        ('allow = [{check = "a", reason = "r"}]', "allow entry 1 has no expires"),
        ('allow = [{check = "a", expires = 2027-01-01}]', "allow entry 1 has no reason"),
        ('allow = [{check = "a", reason = " ", expires = 2027-01-01}]', "entry 1 reason must be a string"),
        ('allow = [{check = "a", reason = "r", expires = "2027-01-01"}]', "entry 1 expires must be a date"),
        ("allow = [{check = 'a', reason = 'r', expires = 2027-01-01T00:00:00}]", "expires must be a date"),
        (
            "allow = [{check = 'a', reason = 'r', expires = 2027-01-01, until = 3}]",
            "entry 1 until is not known: known are check, reason, expires, scope",
        ),
    ],
)
def test_a_bad_value_is_named(tmp_path, line, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, f"[gate]\n{line}\n")


@pytest.mark.parametrize(
    "text",
    [
        "[gate]\n",
        "[gate]\nfail_on = []\n",
        "[gate]\nrequire_consensus = false\n",
        '[gate]\noperating_point = "fpir=0.01"\n',
        '[gate]\nallow = [{check = "hubs", reason = "r", expires = 2027-01-31}]\n',
    ],
)
def test_a_policy_that_checks_nothing_is_refused(tmp_path, text):
    with pytest.raises(ValueError, match="the policy checks nothing: .* max_excess, .* require_consensus"):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[gate", "not valid TOML"),
        ("", r"the table \[gate\] is missing"),
        ("gate = 3", r"the table \[gate\] is missing"),
        ("[gates]\nmax_excess = 0.1", r"\[gates\] is not known \(did you mean gate\?\)"),
        ("schema = 2\n[gate]\nmax_excess = 0.1", "schema 2 is not known"),
        ("schema = true\n[gate]\nmax_excess = 0.1", "schema True is not known"),
    ],
)
def test_another_file_is_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, text)


def test_a_large_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match="this is no policy"):
        read(tmp_path, "#" * (2 << 20))


def test_the_source_is_named():
    with pytest.raises(ValueError, match=r"^mine: \[gate\] max_excess must"):
        policy_of({"gate": {"max_excess": 2}}, "mine")
