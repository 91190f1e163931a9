"""The benchmark of one pass against two."""

from __future__ import annotations

import json

import numpy as np
import pytest
from bench.compare_pass import ASKED, check, main, ratios, threshold_of

import idsim
from bench import compare_pass

SMALL = ["--queries", "40", "--rows", "2000", "--dim", "32", "--rounds", "2", "--share", "1e-4"]


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch):
    monkeypatch.setattr(compare_pass, "start_again_if_held", lambda: None)


@pytest.mark.parametrize("more", [[], ["--one-shot", "--data", "clustered"]])
def test_the_share_of_pairs_is_found(capsys, more):
    main([*SMALL, *more, "--json"])
    result = json.loads(capsys.readouterr().out)
    assert result["pairs"] == 8
    for kind in ("seconds", "processor_seconds"):
        assert {name: len(times) for name, times in result[kind].items()} == dict.fromkeys(ASKED, 2)
        assert list(result[f"ratios_of_{kind}"]) == ["search", "search + pairs_above"]


def test_the_table(capsys):
    main(SMALL)
    lines = capsys.readouterr().out.splitlines()
    assert "8 pairs reach" in lines[0]
    assert len(lines) == 8
    assert lines[-1].startswith("processors' time: compare / (search + pairs_above) ")


def test_ratios_are_of_one_round():
    found = ratios({"search": [1.0, 2.0], "pairs_above": [3.0, 2.0], "compare": [2.0, 2.0]})
    assert found == {"search": [2.0, 1.0], "search + pairs_above": [0.5, 0.5]}


def test_the_threshold_is_a_score_that_was_found():
    scores = np.float32([[0.9, 0.1], [0.5, 0.3]])
    assert threshold_of(scores, 2) == 0.5
    assert threshold_of(scores, 9) == np.float32(0.1)


def test_other_answers_end_the_run():
    rows = np.eye(4, dtype=np.float32)
    answers = {
        "compare": idsim.compare(rows, rows, threshold=0.5),
        "search": idsim.search(rows, rows, 1),
        "pairs_above": idsim.pairs_above(rows, rows, 0.5),
    }
    check(answers)
    answers["pairs_above"] = idsim.pairs_above(rows, rows, 1.5)
    with pytest.raises(SystemExit, match="differ"):
        check(answers)


def test_one_round_has_no_spread(capsys):
    with pytest.raises(SystemExit):
        main(["--rounds", "1"])
    assert "--rounds must be 2 or more" in capsys.readouterr().err
