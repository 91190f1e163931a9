"""`--help`: every command has a summary, examples that it accepts, and options in panels; help stays fast."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from idsim.cli import main
from idsim.cli.help import COMMAND_PANELS, EXAMPLES, arrange, option_panel, paragraphs


def commands():
    """Return ``name -> command`` of every command and subcommand."""
    found = {}
    for name in main.COMMANDS | main.SECOND:
        command = main.load(name)
        found[name] = command
        found |= {f"{name} {each}": inner for each, inner in getattr(command, "commands", {}).items()}
    return found


COMMANDS = commands()


def shown(*arguments, width=100):
    done = CliRunner().invoke(
        main.app, [*arguments, "--help"], env={"COLUMNS": str(width)}, prog_name="idsim"
    )
    assert done.exit_code == 0, done.output
    return done.output


def split(name, words):
    """Return the command of an example, and the words that are left for it."""
    if name.split()[0] == "scan" and words[:2] == ["scan", "person"]:
        return COMMANDS["scan person"], words[2:]
    for count in (2, 1):
        if " ".join(words[:count]) in COMMANDS:
            return COMMANDS[" ".join(words[:count])], words[count:]
    raise AssertionError(f"{words} is no command")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_summary_of_one_line(name):
    summary = paragraphs(COMMANDS[name].help)[0]
    assert summary.endswith(".")
    assert len(summary) <= 150, summary


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_examples_of_its_own(name):
    examples = EXAMPLES[name]
    assert any(f"{line} ".startswith(f"idsim {name} ") for line, _ in examples)
    for line, what in examples:
        assert what.endswith("."), what
        assert len(line) <= 105, line


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_are_accepted_by_their_commands(name):
    for line, _ in EXAMPLES[name]:
        program, *words = shlex.split(line)
        assert program == "idsim"
        command, rest = split(name, words)
        command.make_context(name, list(rest))  # raises for what the command does not know


def test_an_example_that_no_command_accepts_is_seen():
    command, rest = split("demo", ["demo", "--no-such-option"])
    with pytest.raises(Exception, match="no-such-option"):
        command.make_context("demo", rest)


def test_no_examples_and_panels_of_commands_that_are_gone():
    assert set(EXAMPLES) <= set(COMMANDS)
    assert set(COMMAND_PANELS) <= set(main.COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_the_examples_and_the_whole_text(name):
    words = " ".join(shown(*name.split(), width=300).split())
    for line, what in EXAMPLES[name]:
        assert f"{line} {what}" in words
    for part in paragraphs(COMMANDS[name].help):
        assert part in words
    assert "--install-completion" not in words


def test_brackets_in_help_are_shown():
    assert "embeddings [n, d] of a person" in " ".join(shown("scan", "person", width=200).split())


def test_options_stand_in_panels():
    text = shown("sample")
    titles = re.findall(r"╭─ (.+?) ─", text)
    assert titles == ["Arguments", "Options", "What is written and shown", "The machine", "The screen"]
    screen = text[text.index("The screen") :]
    assert "--max-redraws" in screen
    assert "--threads" not in screen
    assert option_panel("gallery build", "--id") == "Columns and types"
    assert option_panel("scan person", "--id") is None


def test_panels_of_a_parameter_that_has_one_are_kept():
    command = main.load("scan")
    command.params[1].rich_help_panel = "Mine"
    assert arrange(command, "scan").params[1].rich_help_panel == "Mine"


def test_the_first_help_lists_commands_by_purpose_and_says_where_to_begin():
    text = shown()
    places = [
        text.index(f"─ {panel} ─")
        for panel in dict.fromkeys(["Audit of a generator", *COMMAND_PANELS.values()])
    ]
    assert places == sorted(places)
    assert "Begin with idsim demo." in text


def test_help_imports_neither_numpy_nor_torch():
    script = (
        "import sys\nsys.argv = ['idsim', '--help']\nfrom idsim.cli.main import run\n"
        "try:\n    run()\nexcept SystemExit as stop:\n    assert stop.code == 0\n"
        "heavy = {'numpy', 'torch', 'PIL', 'pyarrow', 'onnxruntime'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
