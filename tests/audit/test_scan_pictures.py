"""The scan of pictures, with a matcher of a few lines: what is counted, resuming, damage, privacy."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from audit.makers import contents
from idsim.audit import shards
from idsim.audit.run import scan
from idsim.matchers.base import Representation


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
    monkeypatch.setattr("idsim.audit.setting_up.matcher_of", lambda *_: matcher)
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
    (check,) = (check for check in checks if check["check"] == "equal files")
    assert check["sentence"] == "1 files have the same bytes in synthetic and in training."


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
