"""``idsim sample``: what it prints, and its exit status; and the example that plugs in another model."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from idsim.cli import failures
from idsim.cli.main import app
from sampling.makers import write_model

EXAMPLE = Path(__file__).parents[2] / "examples" / "generators" / "other_model.py"


def invoke(*arguments):
    return CliRunner().invoke(app, ["sample", *map(str, arguments)])


def test_sets_and_the_table_are_printed(tmp_path):
    arguments = [write_model(tmp_path), "--seeds", "0-9", "--psi", "0.5,0.7", "-o", tmp_path / "out"]
    done = invoke(*arguments)
    assert done.exit_code == 0, done.output
    assert f"{tmp_path / 'out' / 'model-draw-psi0.7'}: 10 pictures" in done.stdout
    assert "finished before" in invoke(*arguments).stdout
    shown = json.loads(invoke(*arguments, "--json").stdout)
    assert shown["sets"] == {"model-draw-psi0.5": 10, "model-draw-psi0.7": 10}
    assert shown["resumed"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--psi", "much"], "--psi must be numbers"),
        (["--label", "0.5"], "--label must be numbers"),
        (["--seeds", "a-b"], "seeds must be like"),
        (["--noise", "none"], "has no parameter noise"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path, arguments, words):
    done = invoke(write_model(tmp_path), "--seeds", "0-9", *arguments, "-o", tmp_path / "out")
    code, message = failures.describe(done.exception)
    assert code == 2
    assert words in message


def test_a_full_disk_can_be_resumed(tmp_path, monkeypatch):
    def full(*given):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("idsim.sampling.workers.draw_part", full)
    done = invoke(write_model(tmp_path), "--seeds", "0-9", "-o", tmp_path / "out")
    assert done.exit_code == 4
    assert "the same command goes on" in done.stderr


def test_the_example_plugs_in_another_model_in_ten_lines(tmp_path):
    done = invoke(f"{EXAMPLE}:draw", "--seeds", "0-9", "--psi", "0.7", "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert len(list((tmp_path / "out").rglob("*.png"))) == 10
    lines = [line for line in EXAMPLE.read_text().split('"""', 2)[2].splitlines() if line.strip()]
    assert len(lines) <= 10
