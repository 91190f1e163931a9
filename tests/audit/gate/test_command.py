"""``idsim gate``: what it prints and writes, and its exit status."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from audit.gate.makers import allowed, finding, of_matchers, outcome
from idsim.audit.policy.junit import to_junit
from idsim.cli import failures
from idsim.cli.main import app


def invoke(run, policy, *more):
    return CliRunner().invoke(app, ["gate", str(run), "--policy", str(policy), *map(str, more)])


@pytest.fixture
def policy(tmp_path):
    path = tmp_path / "policy.toml"
    path.write_text("[gate]\nmax_excess = 0.05\nmin_clusters = 50\n")
    return path


def test_the_command_prints_rules_and_exits_by_the_outcome(gated_runs, policy):
    done = invoke(gated_runs[18], policy)
    assert done.exit_code == 1
    for part in (
        "max_excess: fpir=0.05",
        "violated",
        "0.05",
        "min_clusters",
        "Violated: 1 of 3 checks fail.",
    ):
        assert part in done.stdout
    assert invoke(gated_runs[0], policy).exit_code == 0
    policy.write_text("[gate]\nmin_clusters = 5000\n")
    assert invoke(gated_runs[0], policy).exit_code == 3


def test_json_is_the_same_every_time(gated_runs, policy):
    first, second = (invoke(gated_runs[18], policy, "--json", "--date", "2026-12-01") for _ in range(2))
    assert first.stdout == second.stdout
    found = json.loads(first.stdout)
    assert (found["outcome"], found["exit_status"]) == ("violated", 1)
    assert found["rules"][0]["limit"] == 0.05


def test_unfinished_runs_and_bad_policies_have_their_own_status(gated_runs, policy, tmp_path):
    begun = tmp_path / "begun"
    begun.mkdir()
    (begun / "config.resolved.toml").write_text("")
    assert invoke(begun, policy).exit_code == 4
    policy.write_text("[gate]\n")
    error = invoke(gated_runs[0], policy).exception
    assert failures.describe(error)[0] == failures.BAD_INPUT
    error = invoke(gated_runs[0], tmp_path / "none.toml").exception
    assert failures.describe(error)[0] == failures.BAD_INPUT


def test_the_date_decides_what_has_expired(gated_runs, policy):
    policy.write_text(
        '[gate]\nmin_clusters = 1\nallow = [{check = "x", reason = "r", expires = 2026-01-01}]\n'
    )
    assert invoke(gated_runs[0], policy, "--date", "2025-12-31").exit_code == 0
    assert invoke(gated_runs[0], policy, "--date", "soon").exit_code == 2


def test_junit_has_a_case_for_every_rule(gated_runs, policy, tmp_path):
    path = tmp_path / "gate.xml"
    assert invoke(gated_runs[18], policy, "--junit", path).exit_code == 1
    root = ElementTree.parse(path).getroot()
    assert root.attrib | {"name": ""} == {
        "name": "", "tests": "3", "failures": "1", "errors": "0", "skipped": "0", "time": "0"
    }  # fmt: skip
    cases = root.findall("testsuite/testcase")
    assert [case.get("name") for case in cases] == ["max_excess: fpir=0.05", "min_clusters", "fail_on"]
    failure = cases[0].find("failure")
    assert failure.get("type") == "violated"
    assert "5.00 % is allowed" in failure.get("message")
    assert "limit: 0.05" in failure.text


HOSTILE = '\x00\x1b[31m<b attr="\'">&amp;]]>\ud800\ufffe\x85\n\ttext \u202e \U0001f600'


def test_hostile_names_are_text(clean, series):
    clean["checks"] = [finding(HOSTILE, "error", HOSTILE), finding("accepted one")]
    clean["run"] = HOSTILE
    series["series"][0]["name"] = HOSTILE
    summary = of_matchers(**{HOSTILE: clean, "two": series}) | {"run": HOSTILE}
    result = outcome(
        summary,
        max_excess=0.001,
        allow=[allowed(check="accepted one", reason=HOSTILE)],
        require_consensus=True,
    )
    text = to_junit(result)
    root = ElementTree.fromstring(text.encode())
    suite = root.find("testsuite")
    assert int(suite.get("tests")) == len(result.rows) == len(suite.findall("testcase"))
    assert len(suite.findall("testcase/failure")) == int(suite.get("failures")) > 0
    assert len(suite.findall("testcase/error")) == int(suite.get("errors")) > 0
    assert len(suite.findall("testcase/skipped")) == int(suite.get("skipped")) == 1
    messages = [element.get("message") for element in suite.findall("testcase/failure")]
    assert any('<b attr="\'">&amp;]]>' in message for message in messages)
    assert not any(ord(character) < 32 and character != "\n" for character in text)


def test_hostile_names_do_not_reach_the_terminal(gated_runs, policy, tmp_path, clean):
    clean["checks"] = [finding("\x1b]0;x\x07", "error", "\x1b[31mred")]
    (tmp_path / "summary.json").write_text(json.dumps(clean))
    done = invoke(tmp_path, policy)
    assert done.exit_code == 1
    assert "\x1b" not in done.stdout
