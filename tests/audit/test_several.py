"""Scans by several matchers, jobs and devices; probes, mirrored sets, plans."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from audit.makers import contents
from audit.test_scan_pictures import GridMatcher, use
from idsim.audit.execution import Unfinished
from idsim.audit.proving.made_up import Population, make_population, write_population
from idsim.audit.run import scan
from idsim.audit.work import Job
from idsim.cli.main import app

SMALL = Population(persons=120, clusters=90, leaks=18, dim=48)
NAMES = ("synthetic", "training", "holdout")


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr("idsim.audit.work.RANGE_PAIRS", 1 << 13)
    monkeypatch.setattr("idsim.audit.embedding.SHARD_ITEMS", 16)


@pytest.fixture
def made_up(tmp_path, small_shards):
    config = write_population(make_population(SMALL), tmp_path / "data")
    text = (
        config.read_text().replace("fpir = [0.01]", "fpir = [0.05]").replace("fmr = [1e-5]", "fmr = [1e-3]")
    )
    config.write_text(text + "\n[statistics]\nbootstrap = 300\npermutations = 999\n")
    return config


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def two_matchers(config):
    """The same sets for another matcher: noise on the vectors, and no leak that it would see."""
    folder = config.parent
    other = make_population(Population(persons=120, clusters=90, leaks=0, dim=32, seed=7))
    for name in NAMES:
        np.save(folder / f"{name}-other.npy", other.vectors[name])
    sets = "".join(
        f'[{name}]\nlabels = "{name}-{"clusters" if name == "synthetic" else "persons"}.npy"\n'
        for name in NAMES
    )
    matchers = ""
    for label, end in (("first", ""), ("second", "-other")):
        paths = "".join(f'{name} = "{name}{end}.npy"\n' for name in NAMES)
        matchers += f'[[matcher]]\nname = "{label}"\nkind = "embeddings"\nmetric = "cosine"\n{paths}'
    more = "[calibration]\nfpir = [0.05]\nfmr = [1e-3]\n[statistics]\nbootstrap = 300\npermutations = 999\n"
    config.write_text(f'[run]\nname = "two"\ndir = "."\n{sets}{matchers}{more}')
    return config


def test_each_matcher_says_what_it_says_alone(made_up):
    alone = scan(made_up).summary
    result = scan(two_matchers(made_up))
    summary = result.summary
    assert summary["matchers"]["first"]["operating_points"] == alone["operating_points"]
    assert [row["name"] for row in summary["rows"]] == ["first", "second"]
    assert [row["excess_stands"] for row in summary["rows"]] == [True, False]
    assert summary["rows"][0]["permutation_p_corrected"] == pytest.approx(0.002)
    assert summary["verdict"]["status"] == "excess"
    assert "1 of 2 matchers" in summary["verdict"]["sentence"]
    own = json.loads((result.folder / "matchers" / "second" / "summary.json").read_bytes())
    assert own == summary["matchers"]["second"]
    assert own["verdict"]["status"] == "none_found"


def test_matchers_that_see_the_same_agree(made_up):
    text = two_matchers(made_up).read_text()
    made_up.write_text(text.replace("-other.npy", ".npy"))
    found = scan(made_up).summary
    levels = found["consensus"]["levels"]
    alone = found["matchers"]["first"]["operating_points"][0]["excess_leak_rate"]["rate"]
    assert [level["matchers"] for level in levels] == [1, 2]
    assert [level["excess_leak_rate"]["rate"] for level in levels] == pytest.approx([alone, alone])
    assert found["consensus"]["agreements"][0]["jaccard"] == 1


def test_a_leak_that_one_of_two_matchers_sees_is_no_consensus(made_up):
    consensus = scan(two_matchers(made_up)).summary["consensus"]
    one, both = (level["excess_leak_rate"] for level in consensus["levels"])
    assert one["low"] > 0
    assert both["rate"] < 0.3 * one["rate"]


def test_other_items_have_no_consensus(made_up):
    text = two_matchers(made_up).read_text()
    folder = made_up.parent
    np.save(folder / "synthetic-other.npy", np.load(folder / "synthetic-other.npy")[:90])
    for name in NAMES:
        text = text.replace(f'labels = "{name}-{"clusters" if name == "synthetic" else "persons"}.npy"\n', "")
    made_up.write_text(text)
    assert "same items in [synthetic]" in scan(made_up).summary["consensus"]["refused"]


def test_matchers_that_cannot_be_told_apart_are_refused(made_up):
    text = two_matchers(made_up).read_text()
    made_up.write_text(text.replace('name = "second"', 'name = "first"'))
    with pytest.raises(ValueError, match="two matchers are called 'first'"):
        scan(made_up)
    made_up.write_text(text.replace('name = "second"', 'name = "../second"'))
    with pytest.raises(ValueError, match="must be a folder name"):
        scan(made_up)
    made_up.write_text(text.replace('holdout = "holdout-other.npy"\n', ""))
    with pytest.raises(ValueError, match=r"\[holdout\] must have either .* for the matcher second"):
        scan(made_up)


def test_jobs_share_a_scan_and_any_of_them_finishes_it(made_up):
    folder = scan(made_up).folder
    whole = contents(folder)
    shutil.rmtree(folder)
    for number in (2, 0):
        with pytest.raises(Unfinished, match="shards of comparisons are left"):
            scan(made_up, job=Job(number, 3))
    with pytest.raises(Unfinished):
        scan(made_up, merge_only=True)
    scan(made_up, job=Job(1, 3))
    assert contents(folder) == whole
    assert scan(made_up, merge_only=True).resumed


def test_the_commands_of_jobs(made_up):
    config = two_matchers(made_up)
    folder = config.parent / "two"
    assert "no run of a scan" in str(run("status", folder).exception)
    first = run("scan", config, "--shard", "1/2")
    assert first.exit_code == 4
    assert "shards of comparisons are left" in first.stderr
    half = run("status", folder, "--json")
    assert half.exit_code == 4
    state = json.loads(half.stdout)
    assert not state["finished"]
    assert 0 < len(state["missing"]) < sum(stage["shards"] for stage in state["stages"])
    assert run("merge", config).exit_code == 4
    assert run("scan", config, "--shard", "2/2").exit_code == 0
    assert run("status", folder).exit_code == 0
    assert "All matchers at fpir=0.05" in run("merge", config).stdout
    for wrong in ("0/2", "3/2", "half", "1/0", "-1/2"):
        refused = run("scan", config, f"--shard={wrong}")
        assert refused.exception is not None
        assert "like 3/8" in str(refused.exception)


def test_a_dry_run_writes_nothing(made_up):
    before = sorted(made_up.parent.iterdir())
    shown = run("scan", made_up, "--dry-run")
    assert shown.exit_code == 0, shown.output
    assert "compare HxH" in shown.stdout
    assert sorted(made_up.parent.iterdir()) == before
    told = json.loads(run("scan", made_up, "--dry-run", "--json").stdout)
    assert {stage["stage"]: stage["amount"] for stage in told["stages"]}["compare SxT"] == 180 * 240
    assert told["seconds"] > 0


def test_a_damaged_shard_is_the_only_one_compared_again(made_up, monkeypatch):
    from idsim.audit.pairs.pairing import Pairing

    folder = scan(made_up).folder
    before = contents(folder)
    shards = sorted((folder / "compare").rglob("*.bin"))
    assert len(shards) > 10
    data = bytearray(shards[3].read_bytes())
    data[len(data) // 2] ^= 1
    shards[3].write_bytes(data)
    (folder / "summary.json").unlink()
    compared, real = [], Pairing.run
    monkeypatch.setattr(Pairing, "run", lambda self, task: compared.append(task) or real(self, task))
    scan(made_up)
    assert len(compared) == 1
    assert contents(folder) == before


def test_other_levels_give_the_same_results(made_up, monkeypatch):
    before = contents(scan(made_up).folder)
    for name, value in (("ALL_PAIRS", 0), ("LISTED", 50)):
        monkeypatch.setattr(f"idsim.audit.thresholds.levels.{name}", value)
        again = made_up.parent / f"{name}"
        text = made_up.read_text().replace('dir = "."', f'dir = "{again}"')
        config = made_up.parent / f"{name}.toml"
        config.write_text(text)
        found = json.loads(contents(scan(config).folder)["summary.json"])
        expected = json.loads(before["summary.json"])
        assert found["operating_points"] == expected["operating_points"]
        assert found["analysis"]["closeness"] == expected["analysis"]["closeness"]


def test_processes_on_devices_share_a_scan(made_up):
    alone = json.loads(contents(scan(made_up).folder)["summary.json"])
    text = made_up.read_text().replace('name = "run"', 'name = "shared"')
    made_up.write_text(text)
    shared = scan(made_up, devices=["cpu", "cpu"]).summary
    assert shared["operating_points"] == alone["operating_points"]


def test_pictures_go_to_every_matcher_once_decoded(tmp_path, monkeypatch, small_shards):
    from PIL import Image

    rng = np.random.default_rng(0)
    for name in NAMES:
        for number in range(24):
            path = tmp_path / name / f"{number}.png"
            path.parent.mkdir(exist_ok=True)
            pixels = np.kron(rng.integers(1, 256, (4, 4, 3)), np.ones((4, 4, 1))).astype(np.uint8)
            Image.fromarray(pixels).save(path)

    class Other(GridMatcher):
        name = "mirrored grid"

        def represent(self, image):
            return super().represent(image[:, ::-1])

    matchers = iter([GridMatcher(), Other()] * 4)
    monkeypatch.setattr("idsim.audit.setting_up.matcher_of", lambda *_: next(matchers))
    sets = "".join(f'[{name}]\nimages = "{name}"\n' for name in NAMES)
    config = tmp_path / "scan.toml"
    config.write_text(
        f'[run]\nname = "run"\ndir = "."\n{sets}[[matcher]]\nname = "a"\n[[matcher]]\nname = "b"\n'
        "[calibration]\nfpir = [0.15]\nfmr = [0.02]\n[statistics]\nbootstrap = 200\npermutations = 99\n"
    )
    read = []
    from idsim.sources.folders import FolderImages

    real = FolderImages.read
    monkeypatch.setattr(FolderImages, "read", lambda self, number: read.append(number) or real(self, number))
    summary = scan(config).summary
    assert set(summary["matchers"]) == {"a", "b"}
    assert len(read) == 2 * 3 * 24  # hashed once, decoded once, for both matchers
    assert all(entry["sets"]["training"]["with_face"] == 24 for entry in summary["matchers"].values())


def test_mirrored_sets_hold_both_pictures_of_a_person(tmp_path, monkeypatch, small_shards):
    from PIL import Image

    rng = np.random.default_rng(0)
    for name in NAMES:
        for number in range(24):
            path = tmp_path / name / f"{number:02d}.png"
            path.parent.mkdir(exist_ok=True)
            pixels = np.kron(rng.integers(1, 256, (4, 4, 3)), np.ones((4, 4, 1))).astype(np.uint8)
            Image.fromarray(pixels).save(path)
            if name == "training" and number < 8:  # the leaks show the mirror images of their persons
                (tmp_path / "synthetic").mkdir(exist_ok=True)
                Image.fromarray(np.ascontiguousarray(pixels[:, ::-1])).save(
                    tmp_path / "synthetic" / f"leak{number}.png"
                )
    rates = {}
    for mirrored in (False, True):
        use(monkeypatch, GridMatcher())
        more = "mirrored = true\n" if mirrored else ""
        sets = "".join(
            f'[{name}]\nimages = "{name}"\n{more if name != "synthetic" else ""}' for name in NAMES
        )
        config = tmp_path / f"{mirrored}.toml"
        config.write_text(
            f'[run]\nname = "{mirrored}"\ndir = "."\n{sets}'
            "[calibration]\nfpir = [0.15]\nfmr = [0.02]\n[statistics]\nbootstrap = 200\npermutations = 99\n"
        )
        summary = scan(config).summary
        rates[mirrored] = summary["operating_points"][0]["leak_rate_training"]["rate"]
        assert summary["sets"]["training"]["items"] == (48 if mirrored else 24)
        assert summary["sets"]["training"]["persons"] == 24
    assert rates[False] < 0.25 <= rates[True]


def test_mirrored_on_one_side_only_is_refused(tmp_path):
    sets = "".join(f'[{name}]\nimages = "x"\n' for name in NAMES) + "mirrored = true\n"
    (tmp_path / "scan.toml").write_text(f'[run]\nname = "r"\n{sets}')
    with pytest.raises(ValueError, match="both be mirrored, or neither"):
        scan(tmp_path / "scan.toml")
