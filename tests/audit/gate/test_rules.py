"""The rules of the gate, on runs that were made with planted leaks."""

from __future__ import annotations

import copy
import math
from datetime import date

import pytest

from audit.gate.makers import allowed, finding, of_matchers, outcome
from idsim.audit.policy.gating import IncompleteRunError, read_run
from idsim.audit.policy.gating_rows import GateError


def only(result):
    (row,) = [row for row in result.rows if not row.rule.startswith("fail_on")]
    return row


# --- the excess -----------------------------------------------------------------------------------


def test_a_leak_violates_and_a_generous_policy_passes(leaking):
    result = outcome(leaking, max_excess=0.05)
    assert (result.outcome, result.exit_status) == ("violated", 1)
    row = only(result)
    assert row.rule == "max_excess: fpir=0.05"
    assert row.value == leaking["operating_points"][0]["excess_leak_rate"]["upper"]
    assert "5.00 % is allowed" in row.sentence
    assert outcome(leaking, max_excess=0.5).exit_status == 0


def test_a_clean_run_passes_at_its_bound_and_is_inconclusive_below(clean):
    upper = clean["operating_points"][0]["excess_leak_rate"]["upper"]
    assert only(outcome(clean, max_excess=upper)).outcome == "passed"
    result = outcome(clean, max_excess=0.01)
    assert (result.outcome, result.exit_status) == ("inconclusive", 3)
    assert "90 identities or seeds cannot show less than 3.27 %" in only(result).sentence


def test_the_bound_is_chosen(leaking):
    excess = leaking["operating_points"][0]["excess_leak_rate"]
    between = (excess["low"] + excess["rate"]) / 2
    assert only(outcome(leaking, max_excess=between, bound="lower")).outcome == "passed"
    assert only(outcome(leaking, max_excess=between, bound="estimate")).outcome == "violated"
    assert only(outcome(leaking, max_excess=between)).outcome == "violated"
    above = (excess["rate"] + excess["upper"]) / 2
    assert only(outcome(leaking, max_excess=above, bound="estimate")).outcome == "passed"
    undecided = only(outcome(leaking, max_excess=above))
    assert undecided.outcome == "inconclusive"
    assert "more synthetic images or people would decide" in undecided.sentence


def test_a_refused_point_is_inconclusive(leaking):
    row = only(outcome(leaking, max_excess=0.5, operating_point="fpir=0.0001"))
    assert (row.outcome, row.value) == ("inconclusive", None)
    assert "rule of 3" in row.sentence


def test_a_false_match_rate_that_means_nothing_at_this_size_is_refused(leaking):
    """FMR 0.01 and 120 people: more than one stranger on average."""
    row = only(outcome(leaking, max_excess=0.5, operating_point="fmr=0.01"))
    assert row.outcome == "inconclusive"
    assert "use an FPIR" in row.sentence
    assert (
        only(outcome(leaking, max_excess=0.5, operating_point="fmr=0.01", max_false_matches=2)).outcome
        == "passed"
    )
    assert only(outcome(leaking, max_excess=0.5, operating_point="fmr=0.0006")).outcome == "passed"


def test_a_fixed_threshold_is_judged_by_its_measured_rate(leaking):
    rate = leaking["operating_points"][-1]["fmr"]["rate"]
    expected = "passed" if rate * 120 <= 0.1 else "inconclusive"
    assert only(outcome(leaking, max_excess=0.5, operating_point="threshold=0.6")).outcome == expected
    leaking["operating_points"][-1]["fmr"] = None
    row = only(outcome(leaking, max_excess=0.5, operating_point="threshold=0.6"))
    assert row.outcome == "inconclusive"
    assert "was not measured" in row.sentence


def test_an_fpir_of_another_gallery_size_is_refused(leaking):
    leaking["operating_points"][0]["persons_searched"] = 100
    row = only(outcome(leaking, max_excess=0.5))
    assert row.outcome == "inconclusive"
    assert "100 people" in row.sentence
    leaking["operating_points"][0]["persons_searched"] = 108
    assert only(outcome(leaking, max_excess=0.5)).outcome == "passed"


def test_a_point_that_the_run_does_not_have_is_bad_usage(leaking):
    with pytest.raises(
        GateError, match=r"no operating point fpir=0.2: it has fpir=0.05, fpir=0.0001, fmr=0.01"
    ):
        outcome(leaking, max_excess=0.5, operating_point="fpir=0.2")


# --- sizes and failures ---------------------------------------------------------------------------


def test_too_little_data_is_inconclusive(clean):
    assert outcome(clean, min_clusters=90, min_holdout_persons=120).outcome == "passed"
    for rules in ({"min_clusters": 91}, {"min_holdout_persons": 121}):
        result = outcome(clean, **rules)
        assert result.exit_status == 3
        assert only(result).value in (90, 120)


def test_persons_without_a_face_do_not_count(clean):
    clean["calibration"]["persons"] = 110
    assert outcome(clean, min_holdout_persons=120).exit_status == 3


def test_failures_to_acquire(clean):
    clean["sets"]["training"]["failure_to_acquire"] = 0.06
    result = outcome(clean, max_failure_to_acquire=0.05)
    assert result.exit_status == 1
    assert [(row.rule, row.outcome) for row in result.rows[:3]] == [
        ("max_failure_to_acquire: synthetic", "passed"),
        ("max_failure_to_acquire: training", "violated"),
        ("max_failure_to_acquire: holdout", "passed"),
    ]
    assert outcome(clean, max_failure_to_acquire=0.06).exit_status == 0


def test_a_violation_counts_more_than_a_doubt(leaking):
    result = outcome(leaking, max_excess=0.01, min_clusters=1000)
    assert result.exit_status == 1
    assert "1 could not be decided" in result.sentence


# --- findings -------------------------------------------------------------------------------------


def test_findings_violate_by_their_severity(clean):
    clean["checks"] = [finding(), finding("few errors", "warning")]
    assert [row.outcome for row in outcome(clean, fail_on=["error"]).rows] == ["violated"]
    assert len(outcome(clean, fail_on=["warning", "error"]).rows) == 2
    assert outcome(clean, fail_on=["info"]).outcome == "passed"


def test_errors_violate_unless_the_policy_says_otherwise(clean):
    clean["checks"] = [finding()]
    assert outcome(clean, min_clusters=1).exit_status == 1
    assert outcome(clean, min_clusters=1, fail_on=[]).exit_status == 0


def test_checks_without_a_severity_are_warnings(clean):
    clean["checks"] = [{"check": "equal files", "count": 3, "meaning": "files are the same"}]
    assert outcome(clean, fail_on=["error"]).exit_status == 0
    (row,) = outcome(clean, fail_on=["warning"]).rows
    assert row.sentence == "3 files are the same."


@pytest.mark.parametrize(
    ("today", "status"), [(date(2027, 1, 31), "accepted"), (date(2027, 2, 1), "violated")]
)
def test_acceptances_expire(clean, today, status):
    clean["checks"] = [finding()]
    (row,) = outcome(clean, today, fail_on=["error"], allow=[allowed()]).rows
    assert row.outcome == status
    assert ("looked at by hand" if status == "accepted" else "expired on 2027-01-31") in row.sentence


def test_acceptances_are_of_a_check_and_a_scope(clean):
    clean["checks"] = [finding()]
    result = outcome(clean, fail_on=["error"], allow=[allowed(check="low psi"), allowed(scope="arcface")])
    assert [row.outcome for row in result.rows] == ["violated", "passed", "passed"]
    assert "needed to be accepted" in result.rows[1].sentence


# --- series and matchers --------------------------------------------------------------------------


def test_every_set_of_a_series_is_gated(series):
    result = outcome(series, max_excess=0.1, min_holdout_persons=100, fail_on=["warning", "error"])
    assert [(row.rule, row.scope, row.outcome) for row in result.rows] == [
        ("min_holdout_persons", "", "passed"),
        ("max_excess: fpir=0.05", "a", "passed"),
        ("max_excess: fpir=0.05", "b", "violated"),
        ("max_excess: fpir=0.05", "c", "inconclusive"),
        ("fail_on: shared persons", "", "violated"),
        ("fail_on: low psi", "b", "violated"),
    ]
    assert "no face was found" in result.rows[3].sentence


def test_people_without_a_face_do_not_make_the_gallery_of_a_series_larger(series):
    series["calibration"]["persons"] = 100
    for point in series["operating_points"]:
        point["persons_searched"] = 99
    assert [row.outcome for row in outcome(series, max_excess=0.1).rows[:2]] == ["passed", "violated"]
    series["operating_points"][0]["persons_searched"] = 89
    assert outcome(series, max_excess=0.1).rows[0].outcome == "inconclusive"


def test_the_thresholds_of_a_series_are_judged_as_well(series):
    rows = outcome(series, max_excess=0.5, operating_point="fmr=0.01").rows
    assert [row.outcome for row in rows[:3]] == ["inconclusive"] * 3
    assert "use an FPIR" in rows[0].sentence


def test_every_matcher_is_gated(clean, leaking, series):
    summary = of_matchers(arcface=clean, facenet=leaking, dlib=series) | {"checks": [finding("low psi")]}
    rows = outcome(summary, max_excess=0.1, max_failure_to_acquire=0.5).rows
    assert [row.scope for row in rows if row.rule.startswith("max_excess")] == [
        "arcface", "facenet", "dlib / a", "dlib / b", "dlib / c"
    ]  # fmt: skip
    counts = [row.scope for row in rows if row.rule == "max_failure_to_acquire: holdout"]
    assert counts == ["arcface", "facenet", "dlib"]
    assert [(row.rule, row.scope) for row in rows if row.rule.startswith("fail_on")] == [
        ("fail_on: shared persons", "dlib"),
        ("fail_on: low psi", ""),
    ]


def test_acceptances_for_one_matcher_or_set(series):
    summary = of_matchers(one=series, two=copy.deepcopy(series))
    rows = outcome(summary, fail_on=["warning"], allow=[allowed(check="low psi", scope="one / b")]).rows
    assert [(row.scope, row.outcome) for row in rows] == [("one / b", "accepted"), ("two / b", "violated")]
    rows = outcome(summary, fail_on=["warning"], allow=[allowed(check="low psi", scope="b")]).rows
    assert [row.outcome for row in rows] == ["accepted", "accepted"]


def test_consensus(clean, leaking):
    def row(summary):
        return outcome(summary, require_consensus=True).rows[0]

    assert row(of_matchers(a=clean, b=clean)).outcome == "passed"
    split = row(of_matchers(a=clean, b=leaking))
    assert split.outcome == "inconclusive"
    assert "a: none_found, b: excess" in split.sentence
    assert "at least two" in row(clean).sentence
    refused = copy.deepcopy(clean)
    refused["verdict"]["status"] = "inconclusive"
    assert row(of_matchers(a=refused, b=refused)).outcome == "inconclusive"


# --- summaries and runs that cannot be used -------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("schema_version",), 99, "schema_version 99"),
        (("schema_version",), None, "schema_version None"),
        (("operating_points",), None, "operating_points is None"),
        (("operating_points",), [], "names no primary"),
        (("sets",), {}, r"no sets\.training"),
        (("sets", "training", "persons"), "many", "persons is 'many'"),
        (("sets", "synthetic", "failure_to_acquire"), math.nan, "failure_to_acquire is nan"),
        (("operating_points", 0, "excess_leak_rate", "upper"), None, "upper is None"),
        (("checks",), [3], "entry of checks has no name"),
        (("checks",), [{"check": "x", "severity": "fatal"}], "severity 'fatal'"),
        (("matchers",), {}, "lists no matcher"),
        (("matchers",), {"a": 3}, r"matchers\.a is 3"),
        (("series",), [3], "entry of series is no object"),
    ],
)
def test_what_is_missing_in_a_summary_is_named(clean, path, value, message):
    place = clean
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    clean["operating_points"] and clean["operating_points"][0].update(kind="fmr")
    with pytest.raises(GateError, match=message):
        outcome(clean, max_excess=0.1, max_failure_to_acquire=0.1)


def test_folders_that_are_no_finished_run(tmp_path):
    with pytest.raises(ValueError, match="no run of a scan"):
        read_run(tmp_path)
    (tmp_path / "provenance.json").write_text("{}")
    with pytest.raises(IncompleteRunError, match="finish the scan"):
        read_run(tmp_path)
    for text, message in (("{", "damaged"), ("[]", "holds no object"), ("[" * 100_000, "damaged")):
        (tmp_path / "summary.json").write_text(text)
        with pytest.raises(ValueError, match=message):
            read_run(tmp_path)
