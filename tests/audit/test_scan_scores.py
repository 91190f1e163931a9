"""Scans of scores: equal to the scan of the embeddings behind them, and honest about what is not listed."""

from __future__ import annotations

import json

import numpy as np
import pytest

from audit.score_makers import PAIRS, TAIL, config_text, rows_of, write_rows, write_sets
from idsim.audit.run import scan
from idsim.audit.scores import score_tables


def scanned(folder, text):
    path = folder / "scores.toml"
    path.write_text(text)
    return scan(path)


def write_all(folder, scores, ids, suffix, keys=PAIRS):
    files = {}
    for key in keys:
        left, right = PAIRS[key]
        files[key] = f"of-{key}{suffix}"
        if suffix == ".npy":
            np.save(folder / files[key], scores[key])
        else:
            write_rows(folder / files[key], rows_of(scores[key], ids[left], ids[right]))
    return files


MEASURED = (
    "threshold", "fmr", "fpir", "leak_rate_training", "leak_rate_holdout", "excess_leak_rate",
    "training_holdout_pairs", "exposure_training", "exposure_holdout", "tail_lift",
)  # fmt: skip


def same_rates(expected, found):
    assert found["verdict"] == expected["verdict"]
    for one, other in zip(expected["operating_points"], found["operating_points"], strict=True):
        assert {name: other[name] for name in MEASURED} == {name: one[name] for name in MEASURED}


@pytest.fixture
def made(tmp_path):
    folder = tmp_path / "data"
    scores, ids = write_sets(folder)
    return folder, scores, ids


@pytest.mark.parametrize(
    ("metric", "against"), [("cosine", "holdout"), ("l2", "holdout"), ("cosine", "training")]
)
def test_scores_give_what_their_embeddings_give(tmp_path, metric, against, monkeypatch):
    monkeypatch.setattr(score_tables, "BLOCK_ELEMENTS", 1000)
    folder = tmp_path / "data"
    scores, ids = write_sets(folder, metric)
    tail = TAIL.replace("fmr = [1e-2]", f'fmr = [1e-2]\nagainst = "{against}"')
    path = folder / "scan.toml"
    path.write_text(path.read_text().replace(TAIL, tail))
    expected = scan(path).summary
    assert expected["verdict"]["status"] == "excess"
    more = (
        'higher_is_better = false\nscore_scale = "distance"\n'
        if metric == "l2"
        else 'score_scale = "cosine"\n'
    )
    found = scanned(folder, config_text(write_all(folder, scores, ids, ".npy"), more=more, tail=tail)).summary
    same_rates(expected, found)
    assert found["analysis"]["closeness"] == expected["analysis"]["closeness"]
    assert [pair["score"] for pair in found["top_pairs"]] == [pair["score"] for pair in expected["top_pairs"]]
    assert [pair["calibration_share"] for pair in found["top_pairs"]] == [
        pair["calibration_share"] for pair in expected["top_pairs"]
    ]


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".txt"])
def test_tables_give_what_the_matrix_gives(made, suffix):
    folder, scores, ids = made
    expected = scan(folder / "scan.toml").summary
    found = scanned(folder, config_text(write_all(folder, scores, ids, suffix))).summary
    same_rates(expected, found)
    assert found["matcher"]["scores"] == "true"


def test_thresholded_scores_support_thresholds_from_their_floor_on(made):
    folder, scores, ids = made
    files = {}
    for key, (left, right) in PAIRS.items():
        files[key] = f"of-{key}.csv"
        write_rows(folder / files[key], rows_of(scores[key], ids[left], ids[right], scores[key] >= 0.3))
    tail = TAIL.replace("fpir = [0.05]", "fpir = [0.05]\nthresholds = [0.2]")
    summary = scanned(folder, config_text(files, "thresholded", "floor = 0.3\n", tail)).summary
    expected = scan(folder / "scan.toml").summary
    supported = expected["operating_points"][0]
    assert supported["threshold"] > 0.3
    assert {name: summary["operating_points"][0][name] for name in MEASURED} == {
        name: supported[name] for name in MEASURED
    }
    refused = next(point for point in summary["operating_points"] if point["name"] == "threshold=0.2")
    assert "complete from 0.3 on" in refused["refused"]
    assert "not complete" in summary["analysis"]["closeness"]["refused"]
    json.dumps(summary, allow_nan=False)


def test_the_best_of_every_probe_support_thresholds_above_the_worst_of_them(made):
    folder, scores, ids = made
    files = {}
    for key, (left, right) in PAIRS.items():
        matrix = scores[key].copy()
        if left == right:
            np.fill_diagonal(matrix, -2)
        rank = np.argsort(np.argsort(-matrix, axis=1, kind="stable"), axis=1)
        files[key] = f"of-{key}.parquet"
        write_rows(folder / files[key], rows_of(scores[key], ids[left], ids[right], rank < 12))
    summary = scanned(
        folder, config_text(files, "topk", tail=TAIL.replace("fmr = [1e-2]", "fmr = [0.3]"))
    ).summary
    expected = scan(folder / "scan.toml").summary
    assert {name: summary["operating_points"][0][name] for name in MEASURED} == {
        name: expected["operating_points"][0][name] for name in MEASURED
    }
    assert summary["operating_points"][1]["refused"]


def test_a_scale_that_claims_rates_needs_no_calibration(made):
    folder, scores, ids = made
    whole = {key: np.maximum(0, np.rint(120 * matrix)).astype(np.int16) for key, matrix in scores.items()}
    nearest = whole["training"].max(axis=1).argmax()
    whole["training"][nearest] = np.minimum(whole["training"][nearest], 48)  # just reaches the threshold
    files = write_all(folder, whole, ids, ".npy", ("training", "holdout"))
    tail = TAIL.replace("fpir = [0.05]\nfmr = [1e-2]", "fpir = [0.05]\nfmr = [1e-4]\nprimary = 'fmr=0.0001'")
    result = scanned(folder, config_text(files, more='score_scale = "-12log10far"\n', tail=tail))
    first, second = result.summary["operating_points"]
    assert first["threshold"] == 48
    assert first["claimed_fmr"] == pytest.approx(1e-4)
    assert first["fmr"] is None
    assert first["leak_rate_training"]["images"] == (whole["training"] >= 48).any(axis=1).sum()
    assert second["refused"] == "the holdout was not compared with itself"
    assert result.summary["calibration"]["impostor_comparisons"] == 0
    assert result.summary["top_pairs"][0]["calibration_share"] is None
    from idsim.report.summary import notes, tables

    shown = tables(result.summary)
    assert "not calibrated" in shown[1].title
    assert any("claimed 0.0001" in row for row in shown[1].rows)
    assert notes(result.summary)


def test_misses_are_counted_on_the_holdout(made):
    folder, scores, ids = made
    tail = TAIL.replace("fpir = [0.05]", "fpir = [0.05]\nthresholds = [0.5]")
    mated = scores["calibration"][np.arange(0, 120, 2), np.arange(1, 120, 2)]
    for complete, more, least in (("true", "", -1), ("thresholded", "floor = 0.4\n", 0.4)):
        files = {}
        for key, (left, right) in PAIRS.items():
            files[key] = f"of-{key}-{complete}.csv"
            rows = rows_of(scores[key], ids[left], ids[right], scores[key] >= least)
            write_rows(folder / files[key], rows)
        text = config_text(files, complete, more, tail).replace('"scores"\ndir', f'"{complete}"\ndir')
        point = scanned(folder, text).summary["operating_points"][-1]
        assert point["fnmr"] == {
            "rate": (mated < 0.5).mean().round(9),
            "missed": (mated < 0.5).sum(),
            "pairs": 60,
            "persons": 60,
        }


def test_failures_to_enrol_stay_in_the_denominator(made):
    folder, scores, ids = made
    files = write_all(folder, scores, ids, ".npy", ("training", "holdout", "calibration"))
    path = folder / "synthetic.csv"
    lines = path.read_text().splitlines()
    path.write_text(
        "\n".join([lines[0] + ",status", lines[1] + ",no_face", *(f"{line},ok" for line in lines[2:])])
    )
    for key in ("training", "holdout"):
        scores[key][0] = np.nan
        np.save(folder / files[key], scores[key])
    summary = scanned(folder, config_text(files)).summary
    assert summary["sets"]["synthetic"]["no_face"] == 1
    assert summary["sets"]["synthetic"]["items"] == 100


def test_another_file_of_scores_is_another_scan(made):
    folder, scores, ids = made
    files = write_all(folder, scores, ids, ".npy")
    assert not scanned(folder, config_text(files)).resumed
    assert scanned(folder, config_text(files)).resumed
    scores["training"][0, 0] = 0.5
    np.save(folder / files["training"], scores["training"])
    with pytest.raises(ValueError, match=r"inputs\.scores\.training\.sha256"):
        scanned(folder, config_text(files))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('kind = "scores"', 'kind = "dlib"', "must be 'scores'"),
        ('kind = "scores"', 'kind = "scores"\nmetric = "l2"', "score_scale says"),
        ('complete = "true"', 'complete = "all"', "true, topk, thresholded"),
        ('complete = "true"', 'complete = "thresholded"', "floor belongs"),
        ('complete = "true"', "floor = 3", "floor belongs"),
        ('complete = "true"', 'score_scale = "far"', "score_scale must be"),
        ('complete = "true"', 'score_scale = "distance"', "higher_is_better does not fit"),
        ('complete = "true"', "against = 3", r"\[scores\] against is not known"),
        ('training = "of-training.npy"\n', "", "training must name"),
        ('cross = "of-cross.npy"\n', "", "needs .scores. cross"),
        ('ids = "holdout.csv"', 'embeddings = "holdout.npy"', "all sets"),
        ('labels = "group"', 'labels = "folder"', "'group' or a .npy file for ids"),
    ],
)
def test_descriptions_that_do_not_fit_are_refused(made, old, new, words):
    folder, _, _ = made
    text = config_text({key: f"of-{key}.npy" for key in PAIRS})
    text = text.replace("fpir = [0.05]", 'fpir = [0.05]\nagainst = "training"')
    assert old in text
    with pytest.raises(ValueError, match=words):
        scanned(folder, text.replace(old, new, 1))
