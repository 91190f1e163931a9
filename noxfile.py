"""Developer commands: `nox -s check` runs in the environment that nox itself stands in."""

from __future__ import annotations

from pathlib import Path

import nox

nox.options.sessions = ["check"]


def cxx() -> list[str]:
    found = [*Path("csrc").rglob("*.[ch]pp"), *Path("tests/cpp").glob("*.[ch]pp")]
    return [str(path) for path in sorted(found)]


def cmake() -> list[str]:
    return ["CMakeLists.txt", "tests/cpp/CMakeLists.txt", *map(str, sorted(Path("cmake").glob("*.cmake")))]


@nox.session(python=False)
def lint(session: nox.Session) -> None:
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")
    session.run("clang-format", "--dry-run", "-Werror", *cxx())
    session.run("gersemi", "--check", *cmake())
    session.run("lint-imports", "--no-cache")


@nox.session(python=False)
def types(session: nox.Session) -> None:
    session.run("mypy")
    session.run("python", "-m", "mypy.stubtest", "idsim._core", "--allowlist", ".stubtest-allowlist")


@nox.session(python=False)
def tests(session: nox.Session) -> None:
    session.run("pytest", "-q", *session.posargs)


@nox.session(python=False, name="format")
def format_(session: nox.Session) -> None:
    session.run("ruff", "format", ".")
    session.run("ruff", "check", "--fix", ".")
    session.run("clang-format", "-i", *cxx())
    session.run("gersemi", "-i", *cmake())


@nox.session(python=False)
def check(session: nox.Session) -> None:
    lint(session)
    types(session)
    tests(session)
