"""The Tab key: commands, options and values, as a shell asks for them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from idsim.cli import completion
from idsim.gallery.format import MANIFEST
from idsim.matchers.catalogue import catalogue_names

PROGRAM = [sys.executable, "-c", "from idsim.cli.main import run; run()"]


def complete(line, folder=None):
    """Return what bash is offered for the last word of a line (empty behind a space)."""
    words = line.split()
    place = len(words) if line.endswith(" ") else len(words) - 1
    asked = {"COMP_WORDS": line, "COMP_CWORD": str(place), "_IDSIM_COMPLETE": "complete_bash"}
    done = subprocess.run(
        PROGRAM, check=False, capture_output=True, text=True, cwd=folder, env={**os.environ, **asked}
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from idsim import Gallery

    place = tmp_path_factory.mktemp("typed")
    Gallery.from_arrays(place / "faces", np.eye(4, dtype=np.float32))
    (place / "data").mkdir()
    Gallery.from_arrays(place / "data" / "more", np.eye(4, dtype=np.float32))
    np.save(place / "probes.npy", np.eye(4, dtype=np.float32))
    (place / "runs" / "audit").mkdir(parents=True)
    (place / "runs" / "audit" / "config.resolved.toml").write_text("schema = 1\n")
    (place / "scan.toml").write_text("schema = 1\n")
    (place / "notes.txt").write_text("")
    return place


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("idsim sc", ["scan"]),
        ("idsim gallery ve", ["verify"]),
        ("idsim scan --dr", ["--dry-run"]),
        ("idsim search a b --metric ", ["cosine", "dot", "l2"]),
        ("idsim search a b --device cu", ["cuda", "cuda:0", "cuda:all"]),
        ("idsim embed x -m arcface-w", ["arcface-w600k-mbf", "arcface-w600k-r50"]),
        ("idsim embed x --detector s", ["scrfd:"]),
        ("idsim sample net.pkl --noise s", ["seeded-tf"]),
        ("idsim selftest --plant t", ["ties"]),
        ("idsim search ", ["data/more", "faces", "probes.npy"]),
        ("idsim gallery info ", ["data/more", "faces"]),
        ("idsim gallery info da", ["data/more"]),
        ("idsim gallery info data/", ["data/more"]),
        ("idsim gate ", ["runs/audit"]),
        ("idsim scan ", ["scan.toml"]),
        ("idsim scan person ", ["runs/audit"]),
        ("idsim gallery info nothing", []),
    ],
)
def test_bash_is_offered(folder, line, offered):
    assert complete(line, folder) == offered


def test_all_matchers_of_the_catalogue_are_offered_with_their_titles():
    names, titles = zip(*completion.matchers(""), strict=True)
    assert set(catalogue_names()) <= set(names)
    assert all(titles)


def test_a_gallery_is_told_by_its_manifest(tmp_path):
    (tmp_path / "g").mkdir()
    assert completion.galleries(f"{tmp_path}/") == []
    (tmp_path / "g" / MANIFEST).write_text("{}")
    assert completion.galleries(f"{tmp_path}/") == [str(tmp_path / "g")]


def test_a_folder_that_cannot_be_read_offers_nothing(tmp_path):
    assert completion.vectors(f"{tmp_path}/gone/x") == []


@pytest.mark.parametrize(
    ("shell", "place", "content"),
    [
        ("bash", ".bash_completions/idsim.sh", "complete -o default -F _idsim_completion idsim"),
        ("zsh", ".zfunc/_idsim", "#compdef idsim"),
        ("fish", ".config/fish/completions/idsim.fish", "complete --command idsim"),
    ],
)
def test_completion_is_installed(tmp_path, shell, place, content):
    # The shell is named here instead of found out from the parent process.
    env = {**os.environ, "HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = subprocess.run(
        [*PROGRAM, "--install-completion", shell], check=False, capture_output=True, text=True, env=env
    )
    assert done.returncode == 0, done.stderr
    assert content in (tmp_path / place).read_text()


def test_bash_completes_what_was_installed(tmp_path, folder):
    """The installed script in a real bash: the function is called as the Tab key calls it."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("needs bash")
    program = tmp_path / "bin" / "idsim"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nfrom idsim.cli.main import run\nrun()\n")
    program.chmod(0o755)
    env = {**os.environ, "HOME": str(tmp_path), "PATH": f"{program.parent}:{os.environ['PATH']}"}
    script = (
        "idsim --install-completion >/dev/null && source ~/.bash_completions/idsim.sh\n"
        'COMP_WORDS=(idsim gallery info f) COMP_CWORD=3 && _idsim_completion idsim && echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        [bash, "--norc", "-c", script], check=False, capture_output=True, text=True, env=env, cwd=folder
    )
    assert (done.stdout, done.stderr) == ("faces\n", "")
