"""The frame of the command line: help, version, exit codes and one-sentence errors."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import typer

from idsim import __version__, errors
from idsim.cli import examination, failures, main


def idsim(*arguments, code=None):
    program = "from idsim.cli.main import run; run()" if code is None else code
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], check=False, capture_output=True, text=True, timeout=120
    )


def run_with(monkeypatch, capsys, error):
    """Run the command line with a command that raises, and return its exit code and standard error."""

    def raises():
        raise error

    monkeypatch.setattr(main, "load", lambda name: typer.main.get_command(as_app(raises)))
    monkeypatch.setattr(sys, "argv", ["idsim", "doctor"])
    with pytest.raises(SystemExit) as stop:
        main.run()
    return stop.value.code, capsys.readouterr().err


def as_app(function):
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command("doctor")(function)
    return app


def test_version():
    done = idsim("--version")
    assert (done.returncode, done.stdout) == (0, f"idsim {__version__}\n")


def test_help_lists_every_command():
    done = idsim("--help")
    assert done.returncode == 0
    for name in main.COMMANDS:
        assert f" {name} " in done.stdout


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_command_loads_and_has_help(name):
    done = idsim(name, "--help")
    assert done.returncode == 0, done.stderr
    assert f"idsim {name}" in done.stdout


def test_no_arguments_is_bad_usage_with_help():
    done = idsim()
    assert done.returncode == 2
    assert "Usage" in done.stdout + done.stderr


@pytest.mark.parametrize("arguments", [["no-such-command"], ["--no-such-option"], ["doctor", "surplus"]])
def test_bad_usage(arguments):
    done = idsim(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ValueError("k must be at least 1, not 0"), 2, "k must be at least 1, not 0"),
        (TypeError("gallery must be an array"), 2, "gallery must be an array"),
        (FileNotFoundError(2, "No such file or directory", "x.npy"), 2, "x.npy: No such file or directory"),
        (errors.GalleryError("g", "manifest", "is not JSON"), 2, "g: manifest: is not JSON"),
        (MemoryError("needs 3 GB"), 2, "needs 3 GB"),
        (errors.CudaError("no device"), 5, "no device"),
        (
            ModuleNotFoundError("No module named 'onnxruntime'", name="onnxruntime.capi"),
            5,
            "This needs onnxruntime, which is not installed: pip install 'idsim[onnx]'.",
        ),
    ],
)
def test_errors_of_the_user_are_one_sentence(monkeypatch, capsys, error, code, message):
    assert run_with(monkeypatch, capsys, error) == (code, f"idsim: {message}\n")


@pytest.mark.parametrize("name", ["PIL", "pyarrow", "torch", "onnx", "onnxruntime", "dlib", "mtcnn", "lz4"])
def test_a_missing_extra_is_a_missing_capability(monkeypatch, capsys, name):
    code, message = run_with(monkeypatch, capsys, ModuleNotFoundError("No module", name=name))
    assert code == failures.MISSING_CAPABILITY
    extra = re.search(r"pip install 'idsim\[(\w+)\]'", message)[1]
    assert extra in examination.PURPOSES
    assert f"This needs {name}, which is not installed" in message


def test_an_interrupt_is_130(monkeypatch, capsys):
    assert run_with(monkeypatch, capsys, KeyboardInterrupt())[0] == failures.INTERRUPTED == 130


def test_a_result_of_a_command_is_its_exit_code(monkeypatch, capsys):
    assert run_with(monkeypatch, capsys, typer.Exit(3)) == (3, "")


@pytest.mark.parametrize("error", [ZeroDivisionError("oops"), ModuleNotFoundError("x", name="idsim.gone")])
def test_an_error_of_idsim_keeps_its_traceback(monkeypatch, capsys, error):
    code, shown = run_with(monkeypatch, capsys, error)
    assert code == failures.INTERNAL
    assert "Traceback" in shown


def test_traceback_on_demand(monkeypatch, capsys):
    monkeypatch.setattr(main, "load", lambda name: typer.main.get_command(as_app(lambda: int("x"))))
    monkeypatch.setattr(sys, "argv", ["idsim", "--traceback", "doctor"])
    with pytest.raises(SystemExit) as stop:
        main.run()
    shown = capsys.readouterr().err
    assert stop.value.code == failures.BAD_INPUT
    assert "Traceback" in shown
    assert shown.endswith("idsim: invalid literal for int() with base 10: 'x'\n")
