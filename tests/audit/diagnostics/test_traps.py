"""Findings themselves; thresholds; what is declared about the sets."""

from __future__ import annotations

import json

import numpy as np
import pytest

from idsim.audit.diagnostics.declared import (
    ffhq_finding,
    matcher_training_finding,
    mirror_finding,
    psi_finding,
    sampling_finding,
)
from idsim.audit.diagnostics.findings import Finding
from idsim.audit.diagnostics.thresholds import holdout_finding, threshold_findings
from idsim.audit.rates.intervals import Interval
from idsim.audit.thresholds.calibration import ErrorRate, OperatingPoint, Target


def test_findings_become_plain_json():
    finding = Finding(
        "x",
        "info",
        "s",
        {"a": np.int64(3), "b": np.array([1.5, np.inf]), "c": (True, None), 4: {"d": np.float32(0.5)}},
    )
    entry = finding.entry()
    assert json.loads(json.dumps(entry, allow_nan=False)) == entry
    assert entry["numbers"] == {"a": 3, "b": [1.5, None], "c": [True, None], "4": {"d": 0.5}}
    assert type(entry["numbers"]["c"][0]) is bool


def test_findings_refuse_what_is_not_plain():
    with pytest.raises(ValueError, match="severity must be one of info"):
        Finding("x", "fatal", "s")
    with pytest.raises(TypeError, match="set is no plain value"):
        Finding("x", "info", "s", {"a": {1}})


# --- thresholds -----------------------------------------------------------------------------------


def point(kind="fpir", errors=100, threshold=0.5):
    rate = ErrorRate(errors / 10_000, errors, 10_000, errors, Interval(0, 1, ""))
    refusal = "" if threshold is not None else "too few people"
    measured = rate if threshold is not None else None
    return OperatingPoint(Target(kind, 0.01), threshold, refusal, measured, measured, 999)


def test_a_point_on_enough_errors_needs_no_word():
    assert threshold_findings(point(errors=30), True) == []


@pytest.mark.parametrize(("errors", "words"), [(29, "uncertain by more than 30 %"), (2, "upper bound")])
def test_few_errors(errors, words):
    (found,) = threshold_findings(point(errors=errors), True)
    assert (found.check, found.severity) == ("few errors", "warning")
    assert words in found.sentence
    assert threshold_findings(point(errors=errors), False)[0].severity == "info"


def test_the_errors_of_a_point_are_those_of_its_kind():
    both = OperatingPoint(Target("fmr", 1e-3), 0.5, "", point(errors=5).fmr, point(errors=50).fpir, 999)
    (found,) = threshold_findings(both, True)
    assert found.numbers["rate"] == "fmr"
    assert found.numbers["errors"] == 5


def test_a_refused_point():
    (found,) = threshold_findings(point(threshold=None), True)
    assert found.severity == "error"
    assert "too few people; the scan has no verdict" in found.sentence
    assert threshold_findings(point(threshold=None), False)[0].severity == "info"


def test_extrapolation():
    (near,) = threshold_findings(point(errors=0), True, extrapolated_decades=1.5)
    assert (near.check, near.severity) == ("threshold extrapolated", "warning")
    (far,) = threshold_findings(point(errors=0), True, extrapolated_decades=2.5)
    assert far.severity == "error"
    assert threshold_findings(point(errors=0), False, extrapolated_decades=2.5)[0].severity == "warning"


def test_a_declared_threshold_was_not_measured():
    claimed = OperatingPoint(Target("threshold", 0.6), 0.6, "", None, None, 0)
    assert "No error rate was measured" in threshold_findings(claimed, True)[0].sentence


def test_a_small_holdout():
    found = holdout_finding(100, 100, 1000, fpir=0.01)
    assert found.severity == "warning"
    assert "3000 people" in found.sentence
    # 1000 / (101 x 0.05) = 198.02
    assert found.numbers["together"] == 199
    large = holdout_finding(30_000, 30_000, 1000, fpir=0.01)
    assert (large.severity, large.numbers["together"]) == ("info", 1)


def test_the_number_of_images_that_must_stand_out_is_benjamini_hochbergs():
    """r p-values of 1 / (n + 1) among m of 1 are rejected from the stated r on."""
    n, m = 99, 400
    least = holdout_finding(n, n, m).numbers["together"]
    for r in (least - 1, least):
        p = np.sort(np.concatenate([np.full(r, 1 / (n + 1)), np.ones(m - r)]))
        assert (p <= 0.05 * np.arange(1, m + 1) / m).any() == (r >= least)


# --- declarations ---------------------------------------------------------------------------------

FFHQ = [f"6{number // 1000}000/6{number:04d}.png" for number in range(0, 9999, 97)]


@pytest.mark.parametrize(
    ("holdout", "items", "split"),
    [
        ("images/faces", FFHQ, ""),
        ("data/ffhq", ["a.png"], "validation"),
        ("data/FFHQ-val", ["a.png"], ""),
        ("ffhq_validation/", ["a.png"], ""),
    ],
)
def test_the_validation_part_of_ffhq_is_no_holdout_of_its_networks(holdout, items, split):
    found = ffhq_finding(holdout, items, ["stylegan2-ffhq-config-f.pkl"], split=split)
    assert found.severity == "warning"
    assert "all 70,000 images" in found.sentence
    assert "NVlabs/ffhq-dataset" in found.sentence


@pytest.mark.parametrize(
    ("holdout", "items", "generator", "seen"),
    [
        ("faces", [f"{number:05d}.png" for number in range(500)], ["ffhq.pkl"], None),
        ("celeba/val", ["a.png"], ["ffhq.pkl"], None),
        ("ffhq-values", ["a.png"], ["ffhq.pkl"], None),
        ("interval/ffhq", ["a.png"], ["ffhq.pkl"], None),
        ("faces", FFHQ, ["afhq-cat.pkl"], None),
        ("faces", FFHQ, ["ffhq30k-paper256-ada.pkl"], None),
        ("faces", FFHQ, ["ffhq.pkl"], 60_000),
        ("faces", [], ["ffhq.pkl"], None),
    ],
)
def test_other_holdouts_and_networks_are_left_alone(holdout, items, generator, seen):
    assert ffhq_finding(holdout, items, generator, seen) is None


def test_a_network_that_says_that_it_saw_everything():
    assert ffhq_finding("faces", FFHQ, ["my ffhq run"], 70_000) is not None
    assert ffhq_finding("faces", FFHQ, ["ffhq70k-paper256"]) is not None
    assert ffhq_finding("faces", FFHQ, ["stylegan2-ffhq-1024x1024.pkl"]) is not None


@pytest.mark.parametrize(
    ("overlap", "severity"), [("yes", "warning"), ("unknown", "warning"), ("no", "info")]
)
def test_what_the_matcher_was_trained_on(overlap, severity):
    found = matcher_training_finding(overlap, "arcface")
    assert found.severity == severity
    assert "arcface" in found.sentence


def test_a_declaration_has_three_values():
    with pytest.raises(ValueError, match="yes, no or unknown"):
        matcher_training_finding("maybe", "arcface")


def test_mirrored_training_needs_a_mirrored_search():
    assert mirror_finding(True, False).severity == "warning"
    for trained, searched in ((True, True), (False, False), (None, False)):
        assert mirror_finding(trained, searched) is None


def test_low_psi():
    found = psi_finding([1.0, 0.5, 0.5, -0.3])
    assert found.numbers["psi"] == [-0.3, 0.5]
    assert "0.5" in found.sentence
    assert psi_finding([0.7, 1.0, -1.0]) is None
    assert psi_finding([]) is None


@pytest.mark.parametrize(
    ("items", "clusters", "largest", "selection", "words"),
    [
        (10_000, 56, 200, "unknown", "only 56 independent"),
        (10_000, 5000, 2000, "random", "2000 of them are of one cluster"),
        (10_000, 10_000, 1, "first", "no random sample"),
        (0, 0, 0, "unknown", "there are none"),
    ],
)
def test_samples_that_stand_for_little(items, clusters, largest, selection, words):
    found = sampling_finding(items, clusters, largest, selection)
    assert found.severity == "warning"
    assert words in found.sentence


def test_a_good_sample():
    assert sampling_finding(10_000, 10_000, 1, "random").severity == "info"
    assert sampling_finding(1200, 300, 4).severity == "info"
