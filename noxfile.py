"""Developer commands: `nox -s check` runs in the environment that nox itself stands in."""

from __future__ import annotations

import nox

nox.options.sessions = ["check"]

CXX = ("git", "ls-files", "csrc/*.cpp", "csrc/*.hpp", "tests/*.cpp", "tests/*.hpp")
CMAKE = ("git", "ls-files", "*CMakeLists.txt", "*.cmake")


def files(session: nox.Session, command: tuple[str, ...]) -> list[str]:
    listed = session.run(*command, external=True, silent=True)
    assert isinstance(listed, str)
    return listed.split()


@nox.session(python=False)
def lint(session: nox.Session) -> None:
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")
    session.run("clang-format", "--dry-run", "-Werror", *files(session, CXX))
    session.run("gersemi", "--check", *files(session, CMAKE))
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
    session.run("clang-format", "-i", *files(session, CXX))
    session.run("gersemi", "-i", *files(session, CMAKE))


@nox.session(python=False)
def check(session: nox.Session) -> None:
    lint(session)
    types(session)
    tests(session)
