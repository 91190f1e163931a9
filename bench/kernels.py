"""Registers, spills and shared memory of every CUDA kernel: ``python -m bench.kernels [--check] [--into PAGE]``.

Compiles the backend for every architecture with ptxas's report (no GPU, no cuobjdump) and prints one table.
``--check`` fails when a tile kernel spills more than ``--most-spill`` bytes or a wgmma was serialised.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.page import put_into
from bench.shared_memory import dynamic_shared

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ROOT = Path(__file__).parent.parent
MARKS = ("<!-- bench.kernels begins -->", "<!-- bench.kernels ends -->")
# Of the scans, whose inner loop it may touch. 128 registers leave the epilogues of 64 products a few short (measured:
# at most 28 bytes with nvcc 13.0).
MOST_SPILL = 32
# scan_direct has 36 sums and 16 loads under way in its 128 registers: fewer loads would cost more than what spills
# (measured: 60 bytes on sm_100).
MORE_SPILL = {"scan_direct": 64}


@dataclass(frozen=True)
class Usage:
    """What ptxas says of one kernel on one architecture; bytes but for registers."""

    kernel: str
    architecture: str
    registers: int
    spilled: int
    shared: int


def demangled(names: Sequence[str]) -> list[str]:
    """Return readable names without namespaces and parameters."""
    text = subprocess.run(
        ["c++filt", "-p"], input="\n".join(names), capture_output=True, text=True, check=True
    ).stdout
    return [
        re.sub(r"(\w+|\(anonymous namespace\))::", "", line).replace("> >", ">>")
        for line in text.splitlines()
    ]


def parse(log: str) -> list[Usage]:
    """Return what the output of ``nvcc -Xptxas -v`` says of every kernel."""
    found = []
    entry = re.compile(r"Compiling entry function '(\w+)' for 'sm_(\w+)'")
    spills = re.compile(r"(\d+) bytes spill stores, (\d+) bytes spill loads")
    used = re.compile(r"Used (\d+) registers(?:.*?(\d+) bytes smem)?")
    name, architecture, spilled = "", "", 0
    for line in log.splitlines():
        if match := entry.search(line):
            (name, architecture), spilled = match.groups(), 0
        elif name and (match := spills.search(line)):
            spilled = max(int(match[1]), int(match[2]))
        elif name and (match := used.search(line)):
            found.append(Usage(name, architecture, int(match[1]), spilled, int(match[2] or 0)))
            name = ""
    names = demangled([usage.kernel for usage in found])
    return [
        Usage(plain, usage.architecture, usage.registers, usage.spilled, usage.shared)
        for plain, usage in zip(names, found, strict=True)
    ]


def compile_all(folder: Path, options: Sequence[str]) -> str:
    """Compile the backend anew in a folder and return what the compiler said."""
    configure = [
        "cmake", "-S", str(ROOT), "-B", str(folder), "-G", "Ninja", "-DIDSIM_PYTHON=OFF", "-DIDSIM_CUDA=ON",
        "-DCMAKE_CUDA_FLAGS=-Xptxas=-v -no-compress", *options,
    ]  # fmt: skip
    build = ["cmake", "--build", str(folder), "--target", "idsim_cuda", "--clean-first"]
    said = ""
    for command in (configure, build):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        said = done.stdout + done.stderr
        if done.returncode:
            raise SystemExit(f"{said}\n{' '.join(command)}: status {done.returncode}")
    return said


def faults(usages: Iterable[Usage], log: str, most_spill: int) -> list[str]:
    """Return what is wrong: tile kernels that spill too much, wgmma that ptxas serialised."""
    scans = [
        (u, max(most_spill, MORE_SPILL.get(u.kernel.partition("<")[0], 0)))
        for u in usages
        if u.kernel.startswith("scan_")
    ]
    found = [
        f"{u.kernel} spills {u.spilled} bytes on sm_{u.architecture}, {most} are allowed"
        for u, most in scans
        if u.spilled > most
    ]
    return found + sorted({line.strip() for line in log.splitlines() if re.search(r"\bC75(08|10)\b", line)})


def shown_name(kernel: str) -> str:
    """Return a kernel's name without the element type of its rows: these variants share a line."""
    return re.sub(r"<\(DType\)\d>", "", kernel)


def shown_size(size: int | str) -> str:
    """Return bytes, or the expression that makes them."""
    return f"`{size}`" if isinstance(size, str) else str(size)


def span(values: Iterable[int]) -> str:
    """Return one number, or the least and the greatest."""
    low, *_, high = sorted([*values] * 2)
    return f"{low}" if low == high else f"{low}–{high}"


def table(usages: Sequence[Usage], dynamic: Mapping[str, int | str]) -> str:
    """Return Markdown: one line per kernel, one column per architecture."""
    architectures = list(dict.fromkeys(usage.architecture for usage in usages))
    lines = [
        f"| kernel | static shared | dynamic shared | {' | '.join(f'sm_{each}' for each in architectures)} |",
        "|" + "---|" * (3 + len(architectures)),
    ]
    for name in sorted(
        {shown_name(usage.kernel) for usage in usages}, key=lambda n: (not n.startswith("scan_"), n)
    ):
        own = [usage for usage in usages if shown_name(usage.kernel) == name]
        given = sorted({shown_size(dynamic[usage.kernel]) for usage in own})
        cells = [f"`{name}`", span(usage.shared for usage in own), ", ".join(given)]
        for architecture in architectures:
            here = [usage for usage in own if usage.architecture == architecture]
            spilled = max((usage.spilled for usage in here), default=0)
            registers = span(usage.registers for usage in here) if here else "–"
            cells.append(f"{registers} (spills {spilled})" if spilled else registers)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def compiler() -> str:
    """Return nvcc's version as the log of a configuration cannot say it."""
    said = subprocess.run(
        [os.environ.get("CUDACXX", "nvcc"), "--version"], capture_output=True, text=True, check=True
    ).stdout
    return said.split("release ")[-1].splitlines()[0].split(", ")[-1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Compile, print the table, and check it."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m bench.kernels")
    parser.add_argument("--log", type=Path, help="read this output of nvcc -Xptxas -v instead of compiling")
    parser.add_argument("--build", type=Path, help="folder to compile in; default: a temporary one")
    parser.add_argument("--architectures", help="semicolons between them; default: all that the package has")
    parser.add_argument("--into", type=Path, help="page whose table is replaced")
    parser.add_argument(
        "--check", action="store_true", help="exit with status 1 where a kernel spills too much"
    )
    parser.add_argument(
        "--most-spill", type=int, default=MOST_SPILL, help="bytes that a tile kernel may spill"
    )
    chosen = parser.parse_args(arguments)
    if chosen.log:
        log = chosen.log.read_text(encoding="utf-8")
    else:
        options = [f"-DIDSIM_CUDA_ARCHITECTURES={chosen.architectures}"] if chosen.architectures else []
        with tempfile.TemporaryDirectory() as scratch:
            log = compile_all(chosen.build or Path(scratch), options)
    usages = parse(log)
    if not usages:
        raise SystemExit("no report of ptxas was found")
    text = table(usages, dynamic_shared(ROOT, {usage.kernel for usage in usages}))
    if chosen.into is None:
        print(text)
    else:
        page = chosen.into.read_text(encoding="utf-8")
        chosen.into.write_text(put_into(page, f"nvcc {compiler()}.\n\n{text}", MARKS), encoding="utf-8")
    wrong = faults(usages, log, chosen.most_spill) if chosen.check else []
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
