"""The script behind the shipped generators, with a recipe for seconds."""

from __future__ import annotations

import csv
import importlib.util
import math
import sys
from pathlib import Path

import pytest

from idsim.generators.stylegan2 import load_checkpoint

SCRIPT = Path(__file__).parents[2] / "examples" / "demo_world" / "train_generators.py"


@pytest.fixture
def script(monkeypatch, tmp_path):
    spec = importlib.util.spec_from_file_location("train_generators", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "train_generators", module)
    spec.loader.exec_module(module)
    tiny = ("--channel-base", "64", "--channel-max", "4", "--latent", "8", "--mixing", "0", "--device", "cpu")
    monkeypatch.setitem(module.RECIPES, "few", module.Recipe("tiny", 2, 3, 7, 32, tiny))
    monkeypatch.setattr(module, "LOGS", tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return module


def test_a_recipe_is_drawn_trained_and_exported(script, tmp_path, monkeypatch):
    work = tmp_path / "work"
    for arguments in (["train", "few", str(work)], ["export", "few", str(work), str(tmp_path)]):
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *arguments])
        script.main()
    assert len(list((work / "few-pictures").glob("tiny-000[12]/00[012].png"))) == 6
    read = load_checkpoint(tmp_path / "few.safetensors")
    trained = load_checkpoint(work / "few" / "generator.safetensors")
    assert read.weights_sha256 == trained.weights_sha256
    origin = read.provenance.converted_from
    assert origin["file_sha256"] == trained.provenance.converted_from["file_sha256"]
    assert origin["training_set"].startswith("2 people of the population 'tiny' of idsim.demo_world, 3 drawn")
    assert origin["training"].endswith("--device cpu --seed 7")
    with (tmp_path / "generator-few.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["images"] for row in rows] == ["32"]
    assert all(math.isfinite(float(rows[0][name])) for name in script.COLUMNS)


def test_the_small_log_has_means_and_ends_with_the_exported_picture(script, tmp_path):
    """Steps of 4,000 pictures: 2 in the first row, 3 in the second, and what came after the checkpoint is left out."""
    columns = ["step", "images", *script.COLUMNS]
    with (tmp_path / "losses.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for step in range(1, 8):
            row = dict.fromkeys(script.COLUMNS, step) | {"path": step if step == 4 else "", "r1": ""}
            writer.writerow({"step": step, "images": 4000 * step} | row)
    script.write_log(tmp_path / "losses.csv", tmp_path / "log.csv", 20_000)
    with (tmp_path / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["images"], row["generator"], row["path"], row["r1"]) for row in rows] == [
        ("8000", "1.5", "", ""),
        ("20000", "4", "4", ""),
    ]


def test_another_name_is_refused(script, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "train", "several", "work"])
    with pytest.raises(SystemExit):
        script.main()
    assert "invalid choice: 'several'" in capsys.readouterr().err
