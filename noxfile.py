"""Developer commands: `nox -s check` runs in the environment that nox itself stands in."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path

import nox

nox.options.sessions = ["check"]


def cxx() -> list[str]:
    folders = (Path("csrc"), Path("tests/cpp"), Path("tests/emulator"))
    suffixes = {".cpp", ".hpp", ".cu", ".cuh", ".h"}
    found = [path for folder in folders for path in folder.rglob("*") if path.suffix in suffixes]
    return [str(path) for path in sorted(found)]


def cmake() -> list[str]:
    return [
        "CMakeLists.txt",
        *map(str, sorted(Path("tests").rglob("CMakeLists.txt"))),
        *map(str, sorted(Path("cmake").glob("*.cmake"))),
    ]


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


# Out of memory, the sanitizers end the process where `new` should throw.
TOO_LARGE = "tests/engine/test_options.py::test_k_that_cannot_be_held"
SUITE = ["tests/engine", "tests/gallery", "tests/audit", "tests/cli"]


def in_own_environment(
    session: nox.Session, name: str, build: dict[str, str], env: dict[str, str], tests: list[str]
) -> None:
    """Build the extension in its own way into an environment of its own and run tests in it.

    The environment sees the packages of the one that nox stands in, so nothing is downloaded.
    """
    site = Path(session.virtualenv.location, Path(sysconfig.get_path("purelib")).relative_to(sys.prefix))
    others = [path for path in sys.path if path.endswith("-packages")]
    Path(site, "packages.pth").write_text("\n".join(others) + "\n")
    session.run(
        "python", "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation",
        f"--config-settings=build-dir=build/{name}-python",
        "--config-settings=cmake.build-type=RelWithDebInfo", ".",
        env=build,
    )  # fmt: skip
    session.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests, env=env)


def sanitized(
    session: nox.Session, sanitizer: str, library: str, env: dict[str, str], tests: list[str]
) -> None:
    """Run tests with an extension that was built with a sanitizer."""
    # Without libstdc++ beside it the first C++ exception ends the process.
    names = [f"-print-file-name={name}" for name in (library, "libstdc++.so.6")]
    compiler = os.environ.get("CXX", "g++")
    found = [str(session.run(compiler, name, external=True, silent=True)).strip() for name in names]
    chosen = ["-s", "--deselect", TOO_LARGE, *(session.posargs or tests)]
    build, env = {"IDSIM_SANITIZE": sanitizer, "IDSIM_CUDA": "OFF"}, {"LD_PRELOAD": " ".join(found), **env}
    in_own_environment(session, sanitizer, build, env, chosen)


@nox.session(venv_backend="venv", venv_params=["--without-pip"])
def asan(session: nox.Session) -> None:
    """Addresses and undefined behaviour. CPython keeps memory at exit, and guard pages must crash."""
    options = "detect_leaks=0:detect_stack_use_after_return=1:strict_string_checks=1:handle_segv=0"
    env = {"ASAN_OPTIONS": options, "UBSAN_OPTIONS": "halt_on_error=1", "PYTHONMALLOC": "malloc"}
    sanitized(session, "address", "libasan.so", env, SUITE)


@nox.session(venv_backend="venv", venv_params=["--without-pip"])
def tsan(session: nox.Session) -> None:
    """Data races. OpenBLAS gives false reports with threads; the tests of response times are too slow."""
    env = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "TSAN_OPTIONS": "die_after_fork=0"}
    modules = ("exactness", "collectors", "invariance", "control", "index", "merge", "certificate")
    tests = [f"tests/engine/test_{module}.py" for module in modules]
    sanitized(session, "thread", "libtsan.so", env, [*tests, "-k", "not quarter_second"])


@nox.session(venv_backend="venv", venv_params=["--without-pip"])
def emulated(session: nox.Session) -> None:
    """The tests of the CUDA backend on an emulated device: its logic, not its speed."""
    tests = session.posargs or ["-m", "gpu", "tests/cuda"]
    in_own_environment(session, "emulated", {"IDSIM_CUDA": "EMULATE"}, {}, tests)


@nox.session(venv_backend="venv")
def cuda_wheels(session: nox.Session) -> None:
    """The CUDA backend for every listed architecture, compiled by the toolkit of PyPI's wheels."""
    parts = ("cuda-nvcc", "cuda-runtime", "cuda-crt", "cuda-cccl", "nvvm")
    session.install(*(f"nvidia-{part}==13.0.*" for part in parts))
    site = Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
    nvcc = Path(session.virtualenv.location, site, "nvidia/cu13/bin/nvcc")
    session.run("python", "-m", "bench.kernels", "--check", *session.posargs, env={"CUDACXX": str(nvcc)})


@nox.session(python=False)
def docs(session: nox.Session) -> None:
    """The documentation as a site in build/docs; a broken link, an anchor or a missing entry is an error."""
    options = ["-b", "html", "--fail-on-warning", "--nitpicky", "--quiet"]
    session.run("python", "-m", "sphinx", *options, *session.posargs, "docs", "build/docs")


@nox.session(python=False)
def check(session: nox.Session) -> None:
    lint(session)
    types(session)
    tests(session)
