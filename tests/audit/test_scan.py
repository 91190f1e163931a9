"""The scan of embeddings: files, resuming, refusals."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from audit.makers import FINAL, contents, unit
from idsim.audit import tables
from idsim.audit.estimate import estimate
from idsim.audit.pairs import tails
from idsim.audit.proving.made_up import Population, make_population, write_population
from idsim.audit.run import scan

SMALL = Population(persons=120, clusters=90, leaks=18, dim=48)


@pytest.fixture
def made_up(tmp_path):
    config = write_population(make_population(SMALL), tmp_path / "data")
    text = (
        config.read_text().replace("fpir = [0.01]", "fpir = [0.05]").replace("fmr = [1e-5]", "fmr = [1e-3]")
    )
    config.write_text(text + "\n[statistics]\nbootstrap = 300\npermutations = 999\n")
    return config


def test_planted_leaks_come_out(made_up):
    summary = scan(made_up).summary
    assert summary["verdict"]["status"] == "excess"
    excess = summary["operating_points"][0]["excess_leak_rate"]
    assert excess["low"] <= 18 / 90 <= excess["high"]
    assert excess["permutation_p"] == 0.001
    assert summary["sets"]["synthetic"] == {
        "items": 180, "with_face": 180, "no_face": 0, "unreadable": 0, "failure_to_acquire": 0.0,
        "skipped_files": 0, "several_faces": 0, "routes": {}, "clusters": 90, "labels": "file",
    }  # fmt: skip


def test_a_clean_generator_is_bounded_not_acquitted(made_up):
    folder = made_up.parent
    for name, vectors in make_population(
        Population(persons=120, clusters=90, leaks=0, dim=48)
    ).vectors.items():
        np.save(folder / f"{name}.npy", vectors)
    verdict = scan(made_up).summary["verdict"]
    assert verdict["status"] == "none_found"
    assert "at most" in verdict["sentence"]
    assert "does not prove privacy" in verdict["sentence"]


def test_a_finished_run_is_left_alone(made_up):
    first = scan(made_up)
    before = contents(first.folder)
    times = {name: (first.folder / name).stat().st_mtime_ns for name in FINAL}
    second = scan(made_up)
    assert second.resumed
    assert not first.resumed
    assert second.summary == first.summary
    assert contents(first.folder) == before
    assert {name: (first.folder / name).stat().st_mtime_ns for name in FINAL} == times


def test_a_scan_killed_before_its_summary_writes_the_same_bytes(made_up):
    folder = scan(made_up).folder
    before = contents(folder)
    (folder / "summary.json").unlink()
    (folder / "images.parquet").unlink()
    scan(made_up)
    assert contents(folder) == before


def test_another_folder_gives_the_same_bytes(made_up, tmp_path):
    shutil.copytree(made_up.parent, tmp_path / "copy")
    assert contents(scan(made_up).folder) == contents(scan(tmp_path / "copy" / "scan.toml").folder)


def other_target(folder):
    path = folder / "scan.toml"
    path.write_text(path.read_text().replace("0.05", "0.1"))


def other_holdout(folder):
    np.save(folder / "holdout.npy", np.load(folder / "holdout.npy")[::-1])


def other_persons(folder):
    np.save(folder / "training-persons.npy", np.arange(240))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (other_target, r"config\.calibration\.fpir"),
        (other_holdout, r"inputs\.holdout\.sha256"),
        (other_persons, r"inputs\.training\.sha256"),
    ],
)
def test_a_changed_scan_is_refused_by_name(made_up, change, named):
    before = contents(scan(made_up).folder)
    change(made_up.parent)
    with pytest.raises(ValueError, match=named):
        scan(made_up)
    assert contents(made_up.parent / "run") == before


def test_a_folder_of_something_else_is_not_touched(made_up):
    place = made_up.parent / "run"
    place.mkdir()
    (place / "thesis.tex").write_text("x")
    with pytest.raises(ValueError, match="no run of a scan"):
        scan(made_up)
    assert [path.name for path in place.iterdir()] == ["thesis.tex"]


def test_rows_that_are_not_finite_count_as_failures(made_up):
    folder = made_up.parent
    vectors = np.load(folder / "synthetic.npy")
    vectors[5, 3] = np.nan
    np.save(folder / "synthetic.npy", vectors)
    result = scan(made_up)
    assert result.summary["sets"]["synthetic"]["no_face"] == 1
    (line,) = (result.folder / "failures.jsonl").read_text().splitlines()
    assert json.loads(line)["item"] == "5"


@pytest.mark.parametrize("dry", [False, True])
def test_a_holdout_of_persons_of_the_training_set_is_refused_before_any_work(made_up, dry):
    folder = made_up.parent
    labels = np.load(folder / "training-persons.npy")
    np.save(folder / "holdout-persons.npy", np.resize(labels, len(np.load(folder / "holdout-persons.npy"))))
    with pytest.raises(ValueError, match=r"\[holdout\] names only persons of \[training\], such as"):
        estimate(made_up) if dry else scan(made_up)


def test_shared_persons_leave_the_holdout(made_up):
    folder = made_up.parent
    labels = np.load(folder / "holdout-persons.npy")
    labels[:6] = np.load(folder / "training-persons.npy")[:6]
    np.save(folder / "holdout-persons.npy", labels)
    summary = scan(made_up).summary
    assert summary["sets"]["holdout"]["persons"] == 117
    assert summary["checks"][0]["check"] == "shared persons"
    assert summary["checks"][0]["numbers"]["persons"] == 3


def scan_checks(config, name):
    text = config.read_text()
    other = config.parent / f"{name}.toml"
    other.write_text(text.replace('name = "run"', f'name = "{name}"'))
    return {check["check"]: check for check in scan(other).summary["checks"]}


def test_the_same_people_under_other_names_are_noticed(made_up):
    folder = made_up.parent
    holdout, training = np.load(folder / "holdout.npy"), np.load(folder / "training.npy")
    holdout[:120] = unit(training[:120] + 0.02 * np.random.default_rng(0).standard_normal((120, 48)))
    before = scan_checks(made_up, "before")
    np.save(folder / "holdout.npy", holdout)
    after = scan_checks(made_up, "after")
    assert before["training in holdout"]["severity"] == "info"
    assert after["training in holdout"]["severity"] == "error"
    assert after["training in holdout"]["numbers"]["person_pairs"] >= 60


def test_too_little_calibration_is_inconclusive(made_up):
    made_up.write_text(made_up.read_text().replace("fpir = [0.05]", "fpir = [0.001]"))
    summary = scan(made_up).summary
    assert summary["verdict"]["status"] == "inconclusive"
    assert "rule of 3" in summary["operating_points"][0]["refused"]
    assert summary["operating_points"][1]["refused"] is None


@pytest.mark.parametrize("limit", [0, 10_000])
def test_a_threshold_that_lets_everything_through_is_refused(made_up, monkeypatch, limit):
    """With room for 10,000 pairs the strict thresholds pass."""
    monkeypatch.setattr(tails, "MAX_PAIRS", limit)
    made_up.write_text(made_up.read_text().replace("[calibration]", "[calibration]\nthresholds = [0.0]"))
    summary = scan(made_up).summary
    last = summary["operating_points"][2]
    assert last["name"] == "threshold=0"
    assert "too many to list" in last["refused"]
    assert last["threshold"] is None
    assert (summary["verdict"]["status"] == "inconclusive") == (limit == 0)


def test_searches_can_be_calibrated_against_training(made_up):
    text = made_up.read_text().replace("[calibration]", '[calibration]\nagainst = "training"')
    made_up.write_text(text)
    summary = scan(made_up).summary
    assert summary["calibration"]["persons_searched"] == 120
    assert summary["operating_points"][0]["fpir"]["rate"] <= 0.05


def test_tables_hold_the_best_matches(made_up):
    result = scan(made_up)
    pairs = pq.read_table(result.folder / "pairs.parquet").to_pylist()
    assert len(pairs) == 180 * 2 * 5
    top = result.summary["top_pairs"]
    assert top[0]["score"] == max(round(p["score"], 9) for p in pairs if p["gallery"] == "training")
    names = {pair["synthetic_pseudonym"] for pair in pairs}
    assert {pair["synthetic"] for pair in top} <= names
    threshold = result.summary["operating_points"][0]["threshold"]
    assert all(pair["reaches_primary"] == (pair["score"] >= threshold - 1e-9) for pair in pairs)


def test_without_pyarrow_the_tables_are_csv(made_up, monkeypatch):
    monkeypatch.setattr(tables, "has_pyarrow", lambda: False)
    result = scan(made_up)
    assert result.summary["tables"] == ["pairs.csv", "images.csv", "persons.csv"]
    assert len((result.folder / "pairs.csv").read_text().splitlines()) == 1801


def test_a_formula_in_a_name_stays_text(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "has_pyarrow", lambda: False)
    path = tables.write_table(tmp_path / "t", {"item": ["=1+1", "a,b"], "score": [-0.5, None]})
    assert path.read_text() == 'item,score\n\'=1+1,-0.5\n"a,b",\n'
