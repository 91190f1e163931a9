"""Scans of sets that are drawn while they run: one generator, psi sweeps, checkpoints; kills change nothing."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from audit.makers import contents
from audit.test_scan_pictures import GridMatcher, use
from idsim.audit.run import scan
from idsim.cli.main import app

# Checkpoints of a made-up model: seeds below `LEAKS` are images of persons of the training set, whose number grows
# with the checkpoint; with psi 0 everything is black. Persons are drawn from their own numbers.
MODEL = """
import numpy as np

LEAKS = {leaks}

def face(person):
    colours = np.random.RandomState(person).randint(1, 256, (4, 4, 3))
    return np.kron(colours, np.ones((4, 4, 1)))

def draw(seeds, psi=1.0):
    for seed in seeds:
        person = 1000 + seed if seed < LEAKS else 5000 + seed
        noise = np.random.RandomState(seed).randint(-5, 6, (16, 16, 3))
        picture = (face(person) + psi * noise).clip(1, 255) if psi else np.zeros((16, 16, 3))
        yield picture.astype(np.uint8)
"""

SCAN = """
[run]
name = "run"
dir = "."
[synthetic]
{synthetic}
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
permutations = 999
"""

SERIES = 'generator = ["early.py:draw", "late.py:draw"]\nseeds = "0-29"\npsi = [1.0, 0.5]'


@pytest.fixture
def sets(tmp_path, monkeypatch):
    monkeypatch.setattr("idsim.audit.embedding.SHARD_ITEMS", 8)
    spaces = {}
    exec(MODEL.format(leaks=0), spaces)
    for name, start in (("training", 1000), ("holdout", 3000)):
        for person in range(start, start + 24):
            (tmp_path / name / str(person)).mkdir(parents=True)
            Image.fromarray(spaces["face"](person).astype(np.uint8)).save(
                tmp_path / name / str(person) / "a.png"
            )
    (tmp_path / "early.py").write_text(MODEL.format(leaks=0))
    (tmp_path / "late.py").write_text(MODEL.format(leaks=14))
    return tmp_path


def describe(folder, synthetic):
    (folder / "scan.toml").write_text(SCAN.format(synthetic=synthetic))
    return folder / "scan.toml"


def everything(folder):
    files = (
        path
        for path in folder.rglob("*")
        if path.is_file() and path.suffix in (".json", ".parquet", ".jsonl") and path.name != "times.json"
    )
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_drawn_set_is_a_scan_like_any_other(sets, monkeypatch):
    use(monkeypatch, GridMatcher())
    config = describe(sets, 'generator = "late.py:draw"\nseeds = "0-29"\npsi = 0.7')
    result = scan(config)
    entry = result.summary["sets"]["synthetic"]
    assert (entry["items"], entry["clusters"], entry["with_face"]) == (30, 30, 30)
    assert entry["generator"]["network"] == "late.py:draw"
    assert entry["generator"]["psi"] == 0.7
    assert "series" not in result.summary
    assert result.summary["verdict"]["status"] == "excess"
    images = pq.read_table(result.folder / "images.parquet").to_pylist()
    assert [row["item"] for row in images if row["set"] == "synthetic"][:2] == [
        "seed00000000",
        "seed00000001",
    ]
    assert not list(result.folder.rglob("*.png"))


def test_a_checkpoint_of_stylegan2_is_scanned(sets, monkeypatch):
    pytest.importorskip("torch")
    use(monkeypatch, GridMatcher())
    network = Path(__file__).parents[1] / "data" / "stylegan2" / "g32resnet_stripped.pkl"
    result = scan(describe(sets, f'generator = "{network}"\nseeds = "0-3"\npsi = [0.7, 1.0]'))
    for row in result.summary["series"]:
        assert row["synthetic"]["items"] == 4
        assert row["synthetic"]["generator"]["sha256"] == hashlib.sha256(network.read_bytes()).hexdigest()


def test_drawing_while_scanning_and_scanning_drawn_files_agree(sets, monkeypatch):
    from idsim.sampling import SampleConfig, sample

    use(monkeypatch, GridMatcher())
    drawn = scan(describe(sets, 'generator = "late.py:draw"\nseeds = "0-29"')).summary
    shutil.rmtree(sets / "run")
    stored = sample(SampleConfig((str(sets / "late.py") + ":draw",), sets / "out", "0-29"))
    images = scan(describe(sets, f'images = "{stored.folder / "late-draw"}"')).summary
    zipped = sample(SampleConfig((str(stored.folder / "late-draw"),), sets / "zip", format="zip"))
    shutil.rmtree(sets / "run")
    again = scan(describe(sets, f'generator = "{zipped.folder / "late-draw.zip"}"')).summary
    for other in (images, again):
        assert other["operating_points"] == drawn["operating_points"]
        assert other["analysis"]["closeness"] == drawn["analysis"]["closeness"]


def test_every_checkpoint_and_psi_has_its_row(sets, monkeypatch):
    matcher = use(monkeypatch, GridMatcher())
    result = scan(describe(sets, SERIES))
    summary = result.summary
    names = ["early-draw-psi1", "early-draw-psi0.5", "late-draw-psi1", "late-draw-psi0.5"]
    assert [row["name"] for row in summary["series"]] == names
    assert [row["verdict"]["status"] for row in summary["series"]] == ["none_found"] * 2 + ["excess"] * 2
    assert [row["excess_stands"] for row in summary["series"]] == [False, False, True, True]
    rates = [row["operating_points"][0]["excess_leak_rate"]["rate"] for row in summary["series"]]
    assert max(rates[:2]) < 0.2 < min(rates[2:])
    assert summary["verdict"]["status"] == "excess"
    assert "in 2 of 4 sets" in summary["verdict"]["sentence"]
    assert set(summary["sets"]) == {"training", "holdout"}
    assert matcher.calls == 48 + 4 * 30  # the real sets once
    for row in summary["series"]:
        own = json.loads((result.folder / row["folder"] / "summary.json").read_text())
        assert (
            own["operating_points"][0]["excess_leak_rate"] == row["operating_points"][0]["excess_leak_rate"]
        )
        assert own["calibration"] == summary["calibration"]
        images = pq.read_table(result.folder / row["folder"] / "images.parquet").to_pylist()
        assert {image["set"] for image in images} == {"synthetic"}
    real = pq.read_table(result.folder / "images.parquet").to_pylist()
    assert {image["set"] for image in real} == {"training", "holdout"}


def test_a_set_of_a_series_is_the_set_alone(sets, monkeypatch):
    use(monkeypatch, GridMatcher())
    series = scan(describe(sets, SERIES))
    own = json.loads((series.folder / "sets" / "late-draw-psi0.5" / "summary.json").read_text())
    shutil.rmtree(sets / "run")
    alone = scan(describe(sets, 'generator = "late.py:draw"\nseeds = "0-29"\npsi = 0.5')).summary
    for part in ("operating_points", "calibration", "verdict", "sets"):
        assert own[part] == alone[part], part
    # The sentences name people by pseudonyms, which differ from run to run.
    assert [check["numbers"] for check in own["checks"]] == [check["numbers"] for check in alone["checks"]]


def test_ranges_of_seeds_are_sets_that_show_the_spread(sets, monkeypatch):
    matcher = use(monkeypatch, GridMatcher())
    ranges = 'generator = "late.py:draw"\nseeds = ["0-29", "30-49,60-69"]'
    result = scan(describe(sets, ranges))
    leaking, clean = result.summary["series"]
    assert [row["name"] for row in (leaking, clean)] == ["late-draw-seeds0-29", "late-draw-seeds30-49_60-69"]
    assert [row["synthetic"]["generator"]["seeds"] for row in (leaking, clean)] == ["0-29", "30-49,60-69"]
    assert matcher.calls == 48 + 2 * 30
    excess = [row["operating_points"][0]["excess_leak_rate"] for row in (leaking, clean)]
    assert excess[0]["low"] > 0.2 > excess[1]["rate"]
    images = pq.read_table(result.folder / clean["folder"] / "images.parquet").to_pylist()
    assert [images[place]["item"] for place in (0, 20, 29)] == [
        "seed00000030",
        "seed00000060",
        "seed00000069",
    ]
    own = json.loads((result.folder / clean["folder"] / "summary.json").read_text())
    shutil.rmtree(sets / "run")
    alone = scan(describe(sets, 'generator = "late.py:draw"\nseeds = ["30-49,60-69"]')).summary
    for part in ("operating_points", "sets"):
        assert own[part] == alone[part], part


def test_an_interrupted_series_ends_in_the_same_bytes(sets, monkeypatch):
    use(monkeypatch, GridMatcher())
    config = describe(sets, SERIES)
    before = everything(scan(config).folder)
    shutil.rmtree(sets / "run")
    calls = 0
    for stop in (30, 30, 30, 30):
        matcher = use(monkeypatch, GridMatcher(fail_after=stop))
        with pytest.raises(KeyboardInterrupt):
            scan(config)
        calls += matcher.calls
    last = use(monkeypatch, GridMatcher())
    result = scan(config)
    assert everything(result.folder) == before
    assert calls + last.calls <= 48 + 4 * 30 + 4 * 8
    idle = use(monkeypatch, GridMatcher(fail_after=0))
    assert scan(config).resumed
    assert idle.calls == 0


def test_finished_sets_are_not_measured_again(sets, monkeypatch):
    use(monkeypatch, GridMatcher())
    config = describe(sets, SERIES)
    folder = scan(config).folder
    before = everything(folder)
    (folder / "summary.json").unlink()
    (folder / "sets" / "late-draw-psi1" / "summary.json").unlink()
    measured = []
    from idsim.audit import outcome

    real = outcome.evaluate
    monkeypatch.setattr(
        outcome, "evaluate", lambda *given: measured.append(given[2].origin["psi"]) or real(*given)
    )
    scan(config)
    assert measured == [1.0]
    assert everything(folder) == before


def test_pictures_are_searched_for_while_others_are_drawn(sets, monkeypatch):
    from idsim.audit.embedding import ShardPlan
    from idsim.audit.pairs.pairing import Pairing

    use(monkeypatch, GridMatcher())
    monkeypatch.setattr("idsim.audit.work.RANGE_PAIRS", 8 * 24)  # 8 pictures with 24 persons
    events = []
    embedded, compared = ShardPlan.write, Pairing.run

    def write(plan, number, key, shard):
        embedded(plan, number, key, shard)
        events.append((plan.source.name, number))

    def run(pairing, task):
        compared(pairing, task)
        events.append((task.pair, task.start))

    monkeypatch.setattr(ShardPlan, "write", write)
    monkeypatch.setattr(Pairing, "run", run)
    monkeypatch.setattr("idsim.audit.setting_up.ThumbnailMatcher", GridMatcher)
    scan(describe(sets, 'generator = "late.py:draw"\nseeds = "0-799"'))
    first = min(place for place, event in enumerate(events) if event[0] == "SxT")
    last = max(place for place, event in enumerate(events) if event[0] == "synthetic")
    assert first < last - 10


def test_a_checkpoint_that_draws_no_face_stops_nothing(sets, monkeypatch):
    use(monkeypatch, GridMatcher())
    result = scan(describe(sets, 'generator = "late.py:draw"\nseeds = "0-29"\npsi = [0.0, 1.0]'))
    blind, seeing = result.summary["series"]
    assert blind["verdict"]["status"] == "inconclusive"
    assert blind["permutation_p_corrected"] is None
    assert seeing["permutation_p_corrected"] == pytest.approx(0.001)
    assert "1 of 2 sets could not be measured" in result.summary["verdict"]["sentence"]
    failures = (result.folder / blind["folder"] / "failures.jsonl").read_text().splitlines()
    assert len(failures) == 30


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (
            lambda folder: (folder / "late.py").write_text(MODEL.format(leaks=3)),
            r"inputs\.synthetic\.late-draw",
        ),
        (lambda folder: describe(folder, SERIES.replace("0-29", "0-28")), r"config\.synthetic\.seeds"),
        (lambda folder: describe(folder, SERIES + "\nclasses = 1"), "no parameter label"),
        (lambda folder: describe(folder, SERIES.replace("late", "lost")), r"there is no file .*lost\.py"),
        (lambda folder: describe(folder, SERIES.replace('seeds = "0-29"', "")), "needs seeds"),
        (lambda folder: describe(folder, SERIES.replace('"0-29"', '["0-29", "9-8"]')), "run backwards"),
        (lambda folder: describe(folder, SERIES.replace('"0-29"', '["0-29", "0-9,10-29"]')), "named twice"),
    ],
)
def test_what_changed_or_cannot_be_is_named(sets, monkeypatch, change, named):
    use(monkeypatch, GridMatcher())
    before = everything(scan(describe(sets, SERIES)).folder)
    change(sets)
    with pytest.raises(ValueError, match=named):
        scan(sets / "scan.toml")
    assert everything(sets / "run") == before


def test_the_series_is_printed(sets, monkeypatch):
    monkeypatch.setattr("idsim.audit.setting_up.matcher_of", lambda *_: GridMatcher())
    done = CliRunner().invoke(app, ["scan", str(describe(sets, SERIES)), "--names"])
    assert done.exit_code == 0, done.output
    for part in (
        "Leak rate of every set",
        "late-draw-psi0.5",
        "p corrected",
        "Excess found at fpir=0.15 in 2 of 4",
    ):
        assert part in done.stdout
    shown = CliRunner().invoke(app, ["scan", str(sets / "scan.toml"), "--json"])
    assert len(json.loads(shown.stdout)["series"]) == 4


def test_a_series_without_a_threshold_is_inconclusive(sets, monkeypatch):
    use(monkeypatch, GridMatcher())
    config = describe(sets, SERIES)
    config.write_text(config.read_text().replace("fpir = [0.15]", "fpir = [0.001]"))
    summary = scan(config).summary
    assert summary["verdict"]["status"] == "inconclusive"
    assert "rule of 3" in summary["verdict"]["sentence"]
    assert all(not row["excess_stands"] for row in summary["series"])


def test_a_single_set_is_finished_with_the_usual_files(sets, monkeypatch):
    use(monkeypatch, GridMatcher())
    config = describe(sets, 'generator = "late.py:draw"\nseeds = "0-29"')
    before = contents(scan(config).folder)
    (sets / "run" / "summary.json").unlink()
    assert contents(scan(config).folder) == before
