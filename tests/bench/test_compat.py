"""The benchmark of the drop-in calls."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from bench import compat
from support import torch_threads

one_thread = torch_threads.one_thread
SMALL = ["--queries", "5", "--rows", "400", "--dim", "16", "--rounds", "2"]


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch):
    monkeypatch.setattr(compat, "start_again_if_held", lambda: None)


def test_every_call_finds_the_same(capsys):
    compat.main([*SMALL, "--data", "clustered", "--json"])
    results = json.loads(capsys.readouterr().out)["results"]
    assert len(results) == 8
    for result in results:
        assert result["ids_agree"] == 1.0, result["name"]
        assert [len(times) for times in result["seconds"].values()] == [2, 2]
        low, median, high = (result["ratio"][name] for name in ("low", "median", "high"))
        assert 0 < low <= median <= high


def test_the_lines(capsys):
    compat.main([*SMALL, "--only", "torch"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("5 queries, 400 rows, d=16, random, ")
    assert lines[1].startswith("torch normalize, matmul, topk ")
    assert lines[1].endswith("ids 100.00 %")
    assert len(lines) == 2


def test_the_ratio_is_of_one_round(monkeypatch):
    seconds = iter([9, 9, 8.0, 2.0, 1.0, 6.0])  # warm-up, then original and ours, then ours and original
    monkeypatch.setattr(compat, "timed", lambda call: (next(seconds), call()))
    result = compat.measure(compat.Pair("", lambda: np.array([[1, 2]]), lambda: np.array([[2, 3]])), 2)
    assert (result["ratio"]["median"], result["ids_agree"]) == (5.0, 0.5)


def test_the_stand_in_for_sentence_transformers():
    rng = np.random.default_rng(0)
    queries, corpus = (torch.from_numpy(rng.standard_normal((n, 8))) for n in (203, 30))
    cosines = torch.nn.functional.cosine_similarity(queries[:, None], corpus[None], dim=2)
    hits = compat.plain_semantic_search(queries, corpus, 4)
    assert [[hit["corpus_id"] for hit in best] for best in hits] == cosines.topk(4).indices.tolist()
    assert [best[0]["score"] for best in hits] == pytest.approx(cosines.max(1).values.tolist())


def test_two_rounds_at_least(capsys):
    with pytest.raises(SystemExit):
        compat.main(["--rounds", "1"])
    assert "--rounds must be 2 or more, not 1" in capsys.readouterr().err
