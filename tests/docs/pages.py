"""Pages of the documentation that are run as written.

In order: a ``python`` or ``toml`` block whose first line is ``# NAME`` becomes the file NAME; a ``sh`` block is run
by bash in the same folder and must succeed; every line of a ``text`` block must stand in what the last ``sh`` block
printed, but for white space. Other blocks (``bash``, ``console``) are only read.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["DOCS", "Block", "blocks", "run_page"]

DOCS = Path(__file__).parents[2] / "docs"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAME = re.compile(r"# ([\w./-]+\.(?:py|toml))\n")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    text: str


def blocks(page: str) -> list[Block]:
    return [Block(*found) for found in FENCE.findall(page)]


def run_page(page: str, folder: Path) -> int:
    """Run the blocks of a page in an empty folder, and return how many did something."""
    printed, count = "", 0
    for block in blocks(page):
        named = NAME.match(block.text)
        if block.language in {"python", "toml"} and named:
            (folder / named[1]).write_text(block.text)
            count += 1
        elif block.language == "sh":
            printed = _run(block.text, folder)
            count += 1
        elif block.language == "text":
            for line in block.text.splitlines():
                assert _words(line) in _words(printed), f"{line!r} is not in:\n{printed}"
            count += 1
    return count


def _run(script: str, folder: Path) -> str:
    tools = folder / ".tools"
    tools.mkdir(exist_ok=True)
    for name, words in (("python", '"$@"'), ("idsim", '-c "from idsim.cli.main import run; run()" "$@"')):
        (tools / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words}\n')
        (tools / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], check=False, capture_output=True, text=True, cwd=folder,
        env=environment, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def _words(text: str) -> str:
    return " ".join(text.split())
