"""`idsim doctor`: all that a bug report needs and that decides what can be done here."""

from __future__ import annotations

import json
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from typer.testing import CliRunner

from idsim import __version__, _core
from idsim.cli import doctor, examination, main

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]


def run(*arguments):
    done = CliRunner().invoke(main.app, ["doctor", *arguments], prog_name="idsim")
    assert (done.exit_code, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture(scope="module")
def report():
    return json.loads(run("--json"))


def lines(report):
    return [f"{name} {text}" for name, text in doctor._lines(report)]


def test_the_machine(report):
    assert report["idsim"] == __version__
    assert report["isa"] == _core.active_isa()
    assert report["isas_available"][0] == "portable"
    assert report["cores"] >= report["threads"] >= 1
    assert report["cpu"]
    assert report["memory_bytes"] >= report["memory_available_bytes"] > 0
    assert report["disk_free_bytes"] > 0
    assert report["temporary_free_bytes"] > 0
    assert bool(report["cuda"]["devices"]) != bool(report["cuda"]["reason"])


def test_providers_are_those_that_a_session_gets(report):
    runtime = report["onnxruntime"]
    assert runtime["version"] == metadata.version("onnxruntime")
    assert runtime["active"][-1] == "CPUExecutionProvider"
    assert set(runtime["active"]) <= set(runtime["offered"])


def test_every_extra_for_users_has_a_purpose():
    assert set(PROJECT["optional-dependencies"]) - {"all", "demo", "test"} == set(examination.PURPOSES)


def test_packages_are_those_of_the_extras_with_their_versions():
    requirements = [
        f'{text}; extra == "{extra}"'
        for extra, texts in PROJECT["optional-dependencies"].items()
        for text in texts
    ]
    found = examination.extras(requirements)
    assert set(found) == set(examination.PURPOSES)
    assert found["audit"]["packages"] == {name: metadata.version(name) for name in ("pillow", "pyarrow")}
    assert found["audit"]["missing"] == []


def test_what_is_missing_or_too_old_is_said_with_what_needs_it(report):
    wanted = [
        'pyarrow>=18; extra == "audit"',
        'numpy>=9999; extra == "onnx"',
        'no-such-package>=1; extra == "dlib"',
        'pytest>=8; extra == "test"',
        'idsim[audit]; extra == "all"',
        "rich>=13.9",
    ]
    found = examination.extras(wanted)
    assert {name: extra["missing"] for name, extra in found.items()} == {
        "audit": [], "onnx": ["numpy>=9999"], "dlib": ["no-such-package>=1"],
    }  # fmt: skip
    shown = lines({**report, "extras": found})
    assert (
        "[dlib] missing no-such-package>=1: pip install 'idsim[dlib]', needed for the matcher dlib" in shown
    )
    assert any(line.startswith("[audit] pyarrow ") for line in shown)


@pytest.mark.parametrize(
    ("version", "least", "enough"),
    [
        ("2.13.0+cpu", ">=2.10", True),
        ("2.9.1", ">=2.10", False),
        ("20.0.1.post1", ">=20.0", True),
        ("1.0.0b2", ">=1.0", True),
        ("3", "", True),
    ],
)
def test_versions_are_compared_as_numbers(version, least, enough):
    assert examination._new_enough(version, least) == enough


def test_the_text_says_what_json_says(report):
    shown = "\n".join(lines(report))
    for value in (__version__, report["cpu"], report["isa"], "/dev/shm", report["temporary_folder"]):
        assert value in shown
    assert "active: CPUExecutionProvider" in shown or "active: CUDAExecutionProvider" in shown


def test_devices_of_the_driver_are_shown_where_idsim_cannot_use_them(report, tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA H200, 580.95.05, 9.0, 143771 MiB'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    gpus = examination._gpus()
    assert gpus == [
        {
            "name": "NVIDIA H200",
            "driver_version": "580.95.05",
            "compute_cap": "9.0",
            "memory.total": "143771 MiB",
        }
    ]
    shown = lines({**report, "cuda": {**report["cuda"], "gpus": gpus}})
    assert "GPU NVIDIA H200, 143771 MiB, compute capability 9.0, driver 580.95.05" in shown


def test_a_driver_that_fails_is_no_device(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nexit 9\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert examination._gpus() == []


def test_plug_ins_of_other_packages_are_listed_and_not_imported(report, monkeypatch):
    entry = metadata.EntryPoint("blocks", "no_such_module:embed", "idsim.matchers")
    monkeypatch.setattr(
        examination.metadata, "entry_points", lambda group: [entry] if group == entry.group else []
    )
    plugins = {group: examination._plugins(f"idsim.{group}") for group in ("matchers", "generators")}
    assert plugins == {"matchers": {"blocks": "no_such_module:embed"}, "generators": {}}
    shown = lines({**report, "plugins": plugins})
    assert "plug-ins matchers: blocks (no_such_module:embed)" in shown
    assert "plug-ins generators: none from other packages" in shown


def test_variables_that_change_what_is_found_are_shown(monkeypatch, tmp_path):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert examination.examine(tmp_path)["environment"]["OMP_NUM_THREADS"] == "3"
