"""The scan as a whole: files, resuming, refusals, privacy."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from audit.makers import unit
from idsim.audit import run, shards, tables, tails
from idsim.audit.made_up import Population, make_population, write_population
from idsim.audit.run import scan
from idsim.matchers.base import Representation

FINAL = [
    "config.resolved.toml",
    "provenance.json",
    "summary.json",
    "pairs.parquet",
    "images.parquet",
    "failures.jsonl",
]
SMALL = Population(persons=120, clusters=90, leaks=18, dim=48)


def contents(folder):
    return {name: (folder / name).read_bytes() for name in FINAL}


@pytest.fixture
def made_up(tmp_path):
    config = write_population(make_population(SMALL), tmp_path / "data")
    text = (
        config.read_text().replace("fpir = [0.01]", "fpir = [0.05]").replace("fmr = [1e-5]", "fmr = [1e-3]")
    )
    config.write_text(text + "\n[statistics]\nbootstrap = 300\npermutations = 999\n")
    return config


# --- embeddings -----------------------------------------------------------------------------------


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


def test_shared_persons_leave_the_holdout(made_up):
    folder = made_up.parent
    labels = np.load(folder / "holdout-persons.npy")
    labels[:6] = np.load(folder / "training-persons.npy")[:6]
    np.save(folder / "holdout-persons.npy", labels)
    summary = scan(made_up).summary
    assert summary["sets"]["holdout"]["persons"] == 117
    assert summary["checks"][0]["check"] == "shared persons"
    assert summary["checks"][0]["count"] == 3


def test_the_same_people_under_other_names_are_noticed(made_up):
    folder = made_up.parent
    holdout, training = np.load(folder / "holdout.npy"), np.load(folder / "training.npy")
    holdout[:120] = unit(training[:120] + 0.02 * np.random.default_rng(0).standard_normal((120, 48)))
    np.save(folder / "holdout.npy", holdout)
    checks = scan(made_up).summary["checks"]
    assert [check["check"] for check in checks] == ["training against holdout"]


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
    assert result.summary["tables"] == ["pairs.csv", "images.csv"]
    assert len((result.folder / "pairs.csv").read_text().splitlines()) == 1801


def test_a_formula_in_a_name_stays_text(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "has_pyarrow", lambda: False)
    path = tables.write_table(tmp_path / "t", {"item": ["=1+1", "a,b"], "score": [-0.5, None]})
    assert path.read_text() == 'item,score\n\'=1+1,-0.5\n"a,b",\n'


# --- pictures, with a matcher of a few lines ------------------------------------------------------


class GridMatcher:
    """Mean colours of a 4 x 4 grid; a black picture has no face."""

    name = "grid"
    metric = "l2"
    dim = 48

    def __init__(self, fail_after=None):
        self.calls = 0
        self.fail_after = fail_after

    def describe(self):
        return {"name": self.name, "metric": self.metric, "dim": self.dim, "licence": "none"}

    def represent(self, image):
        if self.calls == self.fail_after:
            raise KeyboardInterrupt
        self.calls += 1
        if not image.any():
            return Representation(None)
        size = image.shape[0] // 4
        grid = image.reshape(4, size, 4, size, 3).mean(axis=(1, 3)).reshape(-1)
        return Representation((grid / 64).astype(np.float32), "detected", 1, (0, 0, 4 * size, 4 * size), 1.0)


SCAN = """
[run]
name = "run"
dir = "."
[synthetic]
images = "synthetic"
[training]
images = "training"
labels = "folder"
[holdout]
images = "holdout"
labels = "folder"
[calibration]
fpir = [0.15]
fmr = [0.02]
[statistics]
bootstrap = 200
permutations = 99
"""


@pytest.fixture
def photographs(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    monkeypatch.setattr(shards, "SHARD_ITEMS", 8)
    monkeypatch.setattr("idsim.audit.embedding.SHARD_ITEMS", 8)

    def save(pixels, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)

    def face():
        return np.kron(rng.integers(1, 256, (4, 4, 3)), np.ones((4, 4, 1))).astype(np.uint8)

    for name in ("training", "holdout"):
        for person in range(24):
            pixels = face()
            save(pixels, tmp_path / name / f"secret-person-{name}-{person}" / "canary-photo.png")
            if name == "training" and person < 8:
                noisy = np.clip(pixels.astype(int) + rng.integers(-5, 6, pixels.shape), 0, 255).astype(
                    np.uint8
                )
                save(noisy, tmp_path / "synthetic" / f"leak-{person}.png")
    for number in range(22):
        save(face(), tmp_path / "synthetic" / f"clean-{number:02d}.png")
    save(np.zeros((16, 16, 3), np.uint8), tmp_path / "synthetic" / "black.png")
    (tmp_path / "synthetic" / "broken.jpg").write_bytes(b"no picture")
    (tmp_path / "synthetic" / "notes.txt").write_text("x")
    (tmp_path / "scan.toml").write_text(SCAN)
    return tmp_path


def use(monkeypatch, matcher):
    monkeypatch.setattr(run, "_dlib", lambda config: matcher)
    return matcher


def test_pictures_are_counted_and_never_dropped(photographs, monkeypatch):
    use(monkeypatch, GridMatcher())
    result = scan(photographs / "scan.toml")
    entry = result.summary["sets"]["synthetic"]
    assert (entry["items"], entry["with_face"], entry["no_face"], entry["unreadable"]) == (32, 30, 1, 1)
    assert entry["skipped_files"] == 1
    assert entry["routes"] == {"detected": 30}
    lines = [json.loads(line) for line in (result.folder / "failures.jsonl").read_text().splitlines()]
    assert [(line["item"], line["status"]) for line in lines] == [
        ("black.png", "no_face"), ("broken.jpg", "unreadable"), ("notes.txt", "skipped"),
    ]  # fmt: skip
    point = result.summary["operating_points"][0]
    assert point["leak_rate_training"]["rate"] >= 8 / 32
    assert point["excess_leak_rate"]["rate"] > 0


def test_an_interrupted_scan_goes_on_where_it_was(photographs, monkeypatch, tmp_path):
    whole = use(monkeypatch, GridMatcher())
    before = contents(scan(photographs / "scan.toml").folder)
    shutil.rmtree(photographs / "run")
    total = 0
    for stop in (3, 13, 20, 30):
        matcher = use(monkeypatch, GridMatcher(fail_after=stop))
        with pytest.raises(KeyboardInterrupt):
            scan(photographs / "scan.toml")
        total += matcher.calls
    last = use(monkeypatch, GridMatcher())
    result = scan(photographs / "scan.toml")
    assert contents(result.folder) == before
    assert last.calls < whole.calls
    assert not list(result.folder.rglob("*.tmp"))


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "swap"])
def test_a_damaged_shard_is_computed_again(photographs, monkeypatch, damage):
    use(monkeypatch, GridMatcher())
    folder = scan(photographs / "scan.toml").folder
    before = contents(folder)
    shard = folder / "embed" / "grid" / "synthetic" / "shard-000001.bin"
    good = shard.read_bytes()
    bad = {
        "flip": good[:200] + bytes([good[200] ^ 1]) + good[201:],
        "truncate": good[:-7],
        "empty": b"",
        "swap": (shard.parent / "shard-000002.bin").read_bytes(),
    }[damage]
    shard.write_bytes(bad)
    (folder / "summary.json").unlink()
    again = use(monkeypatch, GridMatcher())
    scan(photographs / "scan.toml")
    assert contents(folder) == before
    assert shard.read_bytes() == good
    assert 0 < again.calls <= 8


def test_a_changed_picture_is_refused(photographs, monkeypatch):
    use(monkeypatch, GridMatcher())
    scan(photographs / "scan.toml")
    shutil.copy(photographs / "synthetic" / "clean-00.png", photographs / "synthetic" / "clean-01.png")
    with pytest.raises(ValueError, match=r"inputs\.synthetic\.sha256"):
        scan(photographs / "scan.toml")


def test_a_touched_picture_is_the_same_picture(photographs, monkeypatch):
    use(monkeypatch, GridMatcher())
    scan(photographs / "scan.toml")
    (photographs / "synthetic" / "clean-00.png").touch()
    assert scan(photographs / "scan.toml").resumed


def test_equal_files_are_reported(photographs, monkeypatch):
    use(monkeypatch, GridMatcher())
    source = next((photographs / "training").rglob("*.png"))
    shutil.copy(source, photographs / "synthetic" / "copied.png")
    checks = scan(photographs / "scan.toml").summary["checks"]
    assert {
        "check": "equal files",
        "count": 1,
        "meaning": "files have the same bytes in synthetic and in training",
    } in checks


def test_the_summary_names_nobody(photographs, monkeypatch):
    use(monkeypatch, GridMatcher())
    result = scan(photographs / "scan.toml")
    text = (result.folder / "summary.json").read_text()
    for word in ("canary", "secret", "leak-0", "clean-", str(photographs)):
        assert word not in text
    assert (result.folder.stat().st_mode & 0o077) == 0
    pairs = pq.read_table(result.folder / "pairs.parquet").to_pylist()
    assert pairs[0]["image"].endswith("canary-photo.png")


def test_an_empty_folder_is_named(photographs, monkeypatch):
    use(monkeypatch, GridMatcher())
    shutil.rmtree(photographs / "holdout")
    (photographs / "holdout").mkdir()
    with pytest.raises(ValueError, match=r"\[holdout\] images"):
        scan(photographs / "scan.toml")


def test_a_set_without_a_face_is_named(photographs, monkeypatch):
    use(monkeypatch, GridMatcher())
    for path in (photographs / "training").rglob("*.png"):
        Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(path)
    with pytest.raises(ValueError, match=r"\[training\] has 24 items, and none"):
        scan(photographs / "scan.toml")
