"""The scripts that measure the matchers: agreement with the truth known, changed pictures, the tables."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from idsim.demo_world.matchers import MATCHERS, write_matchers

pytest.importorskip("onnxruntime")
SCRIPTS = Path(__file__).parents[2] / "examples" / "demo_world"


@pytest.fixture
def script(monkeypatch):
    """Import one of the scripts by its name."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def test_matchers_that_share_half_of_what_they_see_agree_by_half(script):
    random = np.random.default_rng(3)
    shared, first, second = (random.standard_normal((1000, 2, 8)) for _ in range(3))
    own = [unit(np.concatenate([shared, part], axis=2)) for part in (first, second)]
    alone = [unit(np.concatenate([part, part], axis=2)) for part in (first, second)]
    agreement = script("agreement").agreement
    half = agreement(*((vectors, 0.6) for vectors in own))
    nothing = agreement(*((vectors, 0.6) for vectors in alone))
    assert half["impostor_correlation"]["low"] < 0.5 < half["impostor_correlation"]["high"]
    assert nothing["impostor_correlation"]["low"] < 0 < nothing["impostor_correlation"]["high"]
    assert half["impostor_correlation"]["n"] == 500
    # Independent matchers: of the pairs that one takes for one person the other does as large a share as of all.
    n = nothing["both"]["n"]
    assert n == 4 * 1000 * 999 / 2
    rates = [nothing["also_first"], nothing["also_second"]]
    assert nothing["both"]["low"] < rates[0]["value"] * rates[1]["value"] < nothing["both"]["high"]
    assert half["also_first"]["low"] > rates[0]["high"]
    # Two of the same agree on everything.
    same = script("agreement").shared_errors((own[0], 0.6), (own[0], 0.6))
    assert same["also_first"]["value"] == same["also_second"]["value"] == 1


def test_colours_are_those_of_the_other_picture(script):
    random = np.random.default_rng(0)
    pictures, others = random.integers(60, 180, (2, 5, 32, 32, 3), dtype=np.uint8)
    others = (others // 3 + np.array([100, 20, 60])).astype(np.uint8)
    found = script("picture_trials").with_colours_of(pictures, others)
    np.testing.assert_allclose(found.mean((1, 2)), others.mean((1, 2)), atol=0.5)
    np.testing.assert_allclose(found.std((1, 2)), others.std((1, 2)), atol=0.5)
    # What lies where stays as it was.
    assert np.corrcoef(found[0, ..., 0].ravel(), pictures[0, ..., 0].ravel())[0, 1] > 0.99


def test_pairs_are_what_they_are_said_to_be(script):
    pairs = script("picture_trials").pairs_of(30, 3)
    assert len(pairs) == 30 * 3 + 30 * 10
    assert all((pair.first // 3 == pair.second // 3) == pair.same for pair in pairs)
    assert len(set(pairs)) == len(pairs)


def test_the_tables_hold_what_was_measured(script, monkeypatch, tmp_path):
    measuring = script("measure_matchers")
    monkeypatch.setattr(measuring, "CHECKED", (12, 3))
    files = [str(path) for path in write_matchers(tmp_path)]
    arguments = ["measure_matchers.py", *files, "-o", str(tmp_path), "--people", "90", "--images", "2"]
    monkeypatch.setattr(sys, "argv", arguments)
    measuring.main()
    report = json.loads((tmp_path / "matchers.json").read_text())
    for name, entry in zip(MATCHERS, report["matchers"], strict=True):
        assert entry["name"] == name
        assert entry["bytes"] == (tmp_path / f"{name}.onnx").stat().st_size
        assert entry["separation"]["eer"]["value"] < 0.1
        assert entry["separation"]["eer"]["value"] < report["colours_alone"]["eer"]["low"]
        point = {point["target"]: point for point in entry["operating_points"]}[0.01]
        assert point["fmr"]["rate"] <= 0.01
        text = (tmp_path / "matchers.md").read_text()
        assert f"{point['threshold']:.3f}" in text
        assert f"{100 * point['fnmr']['rate']:.3g} %" in text
    monkeypatch.setattr(sys, "argv", [*arguments[:5], "--people", "20", "--images", "2"])
    with pytest.raises(SystemExit, match=r"too few people: a false match rate of 0\.001 is not supported"):
        measuring.main()
