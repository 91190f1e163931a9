"""The commands scan and demo: what they print, and their exit status."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from idsim.audit.proving.made_up import Population, make_population, write_population
from idsim.cli import failures
from idsim.cli.main import app

SMALL = Population(persons=120, clusters=90, leaks=18, dim=48)


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def config(tmp_path):
    path = write_population(make_population(SMALL), tmp_path / "data")
    path.write_text(
        path.read_text().replace("fpir = [0.01]", "fpir = [0.05]").replace("fmr = [1e-5]", "fmr = [1e-3]")
    )
    return path


def test_tables_and_the_verdict_are_printed(config):
    done = invoke("scan", config)
    assert done.exit_code == 0, done.output
    for part in (
        "Thresholds, calibrated on the holdout (120 persons",
        "fpir=0.05 *",
        "Excess found",
        "Run folder",
    ):
        assert part in done.stdout
    assert "finished before" in invoke("scan", config).stdout


def test_json_is_the_summary(config):
    done = invoke("scan", config, "--json")
    folder = config.parent / "run"
    assert json.loads(done.stdout) == json.loads((folder / "summary.json").read_text())


def test_names_are_shown_when_asked(config):
    names = np.load(config.parent / "training-persons.npy")
    assert not any(name in invoke("scan", config).stdout for name in set(names))
    assert any(name in invoke("scan", config, "--names").stdout for name in set(names))


def test_inconclusive_has_its_own_status(config):
    config.write_text(config.read_text().replace("fpir = [0.05]", "fpir = [0.001]"))
    done = invoke("scan", config)
    assert done.exit_code == 3
    assert "Inconclusive" in done.stdout
    assert "is refused" in done.stdout


def test_a_bad_configuration_is_bad_usage(config):
    config.write_text(config.read_text() + "\n[outptu]\n")
    error = invoke("scan", config).exception
    assert failures.describe(error)[0] == failures.BAD_INPUT
    assert "did you mean output" in str(error)


def test_a_missing_extra_is_a_missing_capability(tmp_path, monkeypatch):
    monkeypatch.setattr("idsim.matchers.dlib.MODELS_PACKAGE", "no_such_models_package")
    monkeypatch.setitem(failures.EXTRAS, "no_such_models_package", "dlib")
    sets = "".join(f'[{name}]\nimages = "x"\n' for name in ("synthetic", "training", "holdout"))
    (tmp_path / "scan.toml").write_text(f'[run]\nname = "r"\n{sets}')
    code, message = failures.describe(invoke("scan", tmp_path / "scan.toml").exception)
    assert code == failures.MISSING_CAPABILITY
    assert "idsim[dlib]" in message


def test_a_full_disk_is_resumable(config, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("idsim.audit.outcome.write_json", full)
    assert invoke("scan", config).exit_code == 4
    monkeypatch.undo()
    assert invoke("scan", config).exit_code == 0


def test_the_demo_finds_what_was_planted(tmp_path):
    done = invoke("demo", "--vectors", "-o", tmp_path / "demo", "--json")
    assert done.exit_code == 0, done.output
    planted = json.loads(done.stdout)["planted"]
    assert planted["rate_planted"] == 0.03
    assert planted["low"] <= 0.03 <= planted["high"]
    assert planted["low"] > 0.01


def test_the_demo_says_what_its_data_are(tmp_path):
    done = invoke("demo", "--vectors", "-o", tmp_path / "demo", "--leaks", 0)
    assert "random vectors that stand for face embeddings" in done.stdout
    assert "No excess was found" in done.stdout
    again = invoke("demo", "--vectors", "-o", tmp_path / "demo")
    assert isinstance(again.exception, ValueError)


def test_the_demo_says_at_once_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr("idsim.cli.demo.NEEDED", ("PIL", "no_such_package"))
    done = invoke("demo", "-o", tmp_path / "demo")
    assert done.exit_code == failures.MISSING_CAPABILITY
    assert "needs no_such_package: pip install 'idsim[demo]'" in done.stderr
    assert not (tmp_path / "demo").exists()


def test_the_demo_takes_a_free_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("idsim-demo").mkdir()
    assert invoke("demo", "--vectors", "--json").exit_code == 0
    assert Path("idsim-demo-2", "run", "summary.json").is_file()
