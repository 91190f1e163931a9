"""The site fails for what would mislead its reader; its navigation comes from the first page."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest
from docs._extensions import commands, contents, public_names

from docs.pages import DOCS
from idsim.cli import main
from idsim.cli.help import EXAMPLES

INDEX = "# A\n\n## Start\n\n- [one](one.md), and [commands](cli.md)\n\n## More\n\n- [again](one.md), [two](two.md)\n"
GOOD = {
    "index.md": INDEX,
    "one.md": "# One\n\n## A part\n\n[here](#a-part), [there](two.md#its-part)\n",
    "two.md": "# Two\n\n## Its part\n\n[back](one.md#a-part)\n\n"
    "```{eval-rst}\n.. autofunction:: idsim.audit.scan\n```\n",
    "cli.md": "# Commands\n\n```{commands}\n```\n",
}


def build(folder, pages, *options):
    """Build pages with the site's own configuration, and return the exit status and the messages."""
    for name in ("conf.py", "_extensions", "_static"):
        copy = shutil.copytree if (DOCS / name).is_dir() else shutil.copy
        copy(DOCS / name, folder / name)
    for name, text in pages.items():
        (folder / name).write_text(text)
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-b",
        "dummy",
        "-W",
        "-q",
        *options,
        str(folder),
        str(folder / "out"),
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stderr


def test_good_pages_build(tmp_path):
    assert build(tmp_path, GOOD, "-D", "documented_modules=idsim.audit") == (0, "")


def test_what_misleads_is_an_error(tmp_path):
    pages = {
        **GOOD,
        "one.md": "# One\n\n[gone](gone.md) [nowhere](two.md#nowhere) [neither](#neither)\n\n"
        "```{eval-rst}\n:func:`idsim.serach`\n```\n",
        "lost.md": "# Lost\n",
        "two.md": "# Two\n",
        "cli.md": "# Commands\n",
    }
    status, messages = build(tmp_path, pages, "-D", "documented_modules=idsim.audit")
    assert status != 0
    for text in (
        "'gone.md'",
        "'nowhere'",
        "'neither'",
        "idsim.serach",
        "lost.md: WARNING: document isn't included in any toctree",
        "the command 'idsim gallery build' has no section on any page",
        "the command 'idsim scan person' has no section on any page",
        "idsim.audit.scan is public and has no entry",
    ):
        assert text in messages, (text, messages)


def test_the_navigation_is_what_the_first_page_links():
    assert contents.sections(INDEX) == [("Start", ["one", "cli"]), ("More", ["two"])]


def test_every_page_is_linked_by_the_first_one():
    linked = {
        page
        for _, pages in contents.sections(contents.inside((DOCS / "index.md").read_text()))
        for page in pages
    }
    there = {path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.rglob("*.md")}
    there |= {path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.rglob("*.rst")}
    assert there - linked == {"index"}


def test_pages_link_only_what_is_there():
    """As a code host reads them: relative paths, without the site."""
    for path in [*DOCS.rglob("*.md"), DOCS.parent / "README.md", DOCS.parent / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_a_public_name_may_be_described_under_any_of_its_names():
    modules = ["idsim", "idsim.audit"]
    missing = set(public_names.missing_names(modules, {"idsim.scan"}))
    assert not {"idsim.scan", "idsim.audit.scan"} & missing
    assert "idsim.search" in missing


@pytest.mark.parametrize("name", ["bench", "scan person"])
def test_the_section_of_a_command_says_all_of_it(name):
    command = main.load(name)
    text = commands.describe(name, command).astext()
    for parameter in command.params:
        assert all(spelling in text for spelling in (*parameter.opts, *parameter.secondary_opts))
        assert (parameter.help or "") in text
    assert all(line in text for line, _ in EXAMPLES[name])
    if name == "bench":
        assert "Default: 200000." in text
        assert "--no-rivals" in text
