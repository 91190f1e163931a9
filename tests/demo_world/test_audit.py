"""The audit in the drawn world, where it is known who was trained on and who is in which picture."""

from __future__ import annotations

from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from idsim.audit.run import scan
from idsim.demo_world import draw, person, portrait
from idsim.demo_world.matchers import write_matchers
from idsim.demo_world.scans import GENERATORS, DrawnSet, write_world

SMALLER = tuple(
    replace(generator, training=training, holdout=holdout)
    for generator, training, holdout in zip(
        GENERATORS,
        (DrawnSet("training-few", 32, 4), DrawnSet("training-many", 500, 1)),
        (DrawnSet("holdout-few", 320, 4), DrawnSet("holdout-many", 800, 1)),
        strict=True,
    )
)
PLANTED, NEW = 60, 300
QUICK = "[statistics]\nbootstrap = 500\npermutations = 1000\n"
CONFIG = """\
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

[matcher]
kind = "drawn-arcface.onnx"

[calibration]
fpir = [0.02]
"""


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    configs = write_world(tmp_path_factory.mktemp("world") / "demo", 300, SMALLER)
    for config in configs.values():
        config.write_text(config.read_text() + QUICK)
    return {name: scan(config) for name, config in configs.items()}


def points(result):
    return [entry["operating_points"][0] for entry in result.summary["matchers"].values()]


def test_a_generator_that_knows_its_people_by_heart_is_found(drawn):
    for point in points(drawn["few"]):
        excess = point["excess_leak_rate"]
        assert excess["low"] > 0
        assert excess["permutation_p"] < 0.01
        assert point["exposure_training"]["exposed"] >= 3
        assert point["leak_rate_holdout"]["rate"] < point["leak_rate_training"]["rate"] / 3
    assert drawn["few"].summary["verdict"]["status"] == "excess"


def test_a_generator_that_does_not_is_left_alone(drawn):
    for point in points(drawn["many"]):
        excess = point["excess_leak_rate"]
        assert excess["low"] <= 0 <= excess["high"]
        assert excess["permutation_p"] > 0.01
    assert drawn["many"].summary["verdict"]["status"] != "excess"


def test_no_check_of_the_demonstration_is_an_error(drawn):
    for result in drawn.values():
        for entry in result.summary["matchers"].values():
            assert [check["check"] for check in entry["checks"] if check["severity"] == "error"] == []


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Further portraits of people of the training set among portraits of people whom nobody knows."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("planted")
    draw(folder / "training", "training", 400, 2)
    draw(folder / "holdout", "holdout", 600, 2)
    (folder / "synthetic").mkdir()
    for who in range(PLANTED):
        Image.fromarray(portrait(person("training", who), 7)).save(
            folder / "synthetic" / f"t{who + 1:04}.png"
        )
    for who in range(NEW):
        Image.fromarray(portrait(person("new", who), 7)).save(folder / "synthetic" / f"n{who:04}.png")
    write_matchers(folder)
    (folder / "scan.toml").write_text(CONFIG + QUICK)
    return scan(folder / "scan.toml")


def test_planted_people_are_found_and_named(planted):
    pairs = pq.read_table(planted.folder / "pairs.parquet").to_pylist()
    best = {row["synthetic"]: row for row in pairs if row["gallery"] == "training" and row["rank"] == 1}
    reached = {name: row for name, row in best.items() if row["reaches_primary"]}
    leaks = [name for name in reached if name.startswith("t")]
    right = [name for name in leaks if reached[name]["person"] == f"training-{name[1:5]}"]
    assert len(leaks) >= 0.5 * PLANTED
    assert len(right) >= 0.95 * len(leaks)
    # 2 % of the searches of people who are in neither set are expected to reach somebody.
    assert len(reached) - len(leaks) <= 0.06 * NEW


def test_the_excess_is_the_share_of_leaks_that_the_matcher_can_see(planted):
    point = planted.summary["operating_points"][0]
    excess = point["excess_leak_rate"]
    share = PLANTED / (PLANTED + NEW)
    seen = share * (1 - point["fnmr"]["rate"])
    assert excess["low"] <= 1.15 * seen
    assert excess["high"] >= 0.85 * seen
    assert excess["high"] <= share + 0.05
    assert excess["permutation_p"] < 0.01
