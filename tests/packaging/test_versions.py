"""The version stands in one place; the pinned versions satisfy what the package asks for."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]


def pinned() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = (line.split("==") for line in lines if not line.startswith("#"))
    return {name.lower().replace("_", "-"): version for name, version in pairs}


def requirements() -> list[tuple[str, str]]:
    extras = PROJECT["optional-dependencies"]
    texts = [*PROJECT["dependencies"], *(text for name in extras for text in extras[name])]
    return sorted({tuple(text.split(">=")) for text in texts if not text.startswith("idsim[")})


def test_the_installed_version_is_the_declared_one():
    assert metadata.version("idsim") == PROJECT["version"]


def test_the_extension_was_built_from_this_version():
    from idsim import _core

    assert _core.build_info()["version"] == PROJECT["version"]


@pytest.mark.parametrize(("name", "least"), requirements())
def test_the_pinned_version_is_new_enough(name, least):
    pin = pinned().get(name.lower().replace("_", "-"))
    assert pin is not None, f"{name} is not in constraints.txt"
    assert numbers(pin) >= numbers(least)


def test_the_changelog_names_the_version():
    assert f"## {PROJECT['version']}" in (ROOT / "CHANGELOG.md").read_text()
