"""What the Hopper kernels are made of: ``python -m bench.sass [--check] [FILE ...]``.

Disassembles machine code for compute capability 9.0a (nvdisasm of the toolkit, or of PyPI's nvidia-cuda-nvdisasm; no
GPU) and counts, kernel by kernel, the instructions that decide their speed. FILE is a cubin, or anything that holds
cubins as they are: an object, library or fatbinary built with ``nvcc -no-compress``, as ``python -m bench.kernels
--build FOLDER`` leaves one. Without a file the sources with tiles are compiled, a minute or two. ``--check`` fails
where a kernel ``scan_groups`` lacks the warp-group products of its codes or tensor copies, falls back on products of
single warps, or uses local memory.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.kernels import ROOT, demangled

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

TARGET = "sm_90a"
PACKAGE = "nvidia-cuda-nvdisasm"
EM_CUDA = 190  # the machine of a cubin's ELF header
HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
# Columns: what is counted, and how its instructions begin. IGMMA and HGMMA: warp-group products (wgmma); IMMA and HMMA:
# products of one warp (mma.sync); UTMALDG: tensor copies; SYNCS: mbarriers; VIMNMX3: the three-input maximum;
# WARPGROUP: waits for products and fences; local: loads and stores of local memory, spills among them.
COUNTED = {
    "IGMMA": ("IGMMA",), "HGMMA": ("HGMMA",), "IMMA": ("IMMA",), "HMMA": ("HMMA",), "UTMALDG": ("UTMALDG",),
    "SYNCS": ("SYNCS",), "VIMNMX3": ("VIMNMX3",), "WARPGROUP": ("WARPGROUP",), "local": ("STL", "LDL"),
}  # fmt: skip
CHECKED = "scan_groups"
PRODUCTS = {"Int8Codes": "IGMMA", "HalfCodes": "HGMMA"}
SECTION = re.compile(r"^\s*\.section\s+\.text\.([\w$]+),", re.MULTILINE)
# "/*0190*/  @!UP0 UTMALDG.2D [UR8], [UR4] ;": the operation without its modifiers.
INSTRUCTION = re.compile(r"^\s*/\*[0-9a-f]{4,}\*/\s+(?:@!?\w+\s+)?([A-Z][A-Z0-9]*)", re.MULTILINE)


@dataclass(frozen=True)
class Kernel:
    """A kernel's name without namespaces, and how often each operation stands in its code."""

    name: str
    operations: Counter[str]

    def count(self, column: str) -> int:
        """Return the instructions of one column."""
        return sum(self.operations[operation] for operation in COUNTED[column])


def parse(text: str) -> list[Kernel]:
    """Return the kernels of nvdisasm's output."""
    parts = SECTION.split(text)[1:]
    names = demangled(parts[::2])
    return [
        Kernel(name, Counter(INSTRUCTION.findall(code)))
        for name, code in zip(names, parts[1::2], strict=True)
    ]


def cubins(data: bytes) -> Iterator[bytes]:
    """Yield the cubins for compute capability 9.0 that lie uncompressed in a file's bytes, or are all of it."""
    at = data.find(b"\x7fELF")
    while at >= 0:
        if at + HEADER.size <= len(data):
            header = HEADER.unpack_from(data, at)
            _, _, machine, _, _, programs, sections, flags, _, size, count, section_size, section_count, _ = (
                header
            )
            # The capability stands in the second byte of the flags (CUDA 13), or in the first (before).
            if machine == EM_CUDA and 90 in (flags & 0xFF, flags >> 8 & 0xFF):
                end = max(programs + size * count, sections + section_size * section_count)
                yield data[at : at + end]
        at = data.find(b"\x7fELF", at + 4)


def nvdisasm() -> str | None:
    """Return the path of nvdisasm: on PATH, or where PyPI's package put it."""
    if found := shutil.which("nvdisasm"):
        return found
    try:
        files = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    return next((str(file.locate()) for file in files if file.name == "nvdisasm"), None)


def disassemble(program: str, cubin: Path) -> str:
    """Return the code of a cubin as text, empty where it is for another target than 9.0a.

    Raises
    ------
    SystemExit
        nvdisasm cannot read it.
    """
    done = subprocess.run([program, "-c", str(cubin)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"nvdisasm, status {done.returncode}: {done.stderr.strip()}")
    return done.stdout if re.search(rf"\.target\s+{TARGET}\b", done.stdout) else ""


def headers(source: Path, known: set[Path] | None = None) -> set[Path]:
    """Return the project's headers that a source includes, those of its headers too."""
    known = set() if known is None else known
    for name in re.findall(r'#include "(\S+)"', source.read_text("utf-8")):
        header = ROOT / "csrc" / name
        if header not in known and header.exists():
            known.add(header)
            headers(header, known)
    return known


def compile_tiles(folder: Path) -> list[Path]:
    """Compile the sources that include tile kernels, for 9.0a alone, and return their cubins."""
    tiles = {ROOT / "csrc/cuda" / name for name in ("tile.cuh", "tile_sm90.cuh")}
    made = []
    for source in sorted(ROOT.glob("csrc/cuda/*.cu")):
        if not tiles & headers(source):
            continue
        made.append(folder / f"{source.stem}.cubin")
        command = [
            os.environ.get("CUDACXX", "nvcc"), "-std=c++20", f"-I{ROOT / 'csrc'}", "-fmad=false", "-O3",
            "--expt-relaxed-constexpr", "-gencode", f"arch=compute_90a,code={TARGET}", "-cubin", "-o", str(made[-1]),
            str(source),
        ]  # fmt: skip
        if subprocess.run(command, check=False).returncode:
            raise SystemExit(f"{source} did not compile")
    return made


def read(program: str, files: Sequence[Path]) -> list[Kernel]:
    """Return the scans in files, each name once, in order of names."""
    found: dict[str, Kernel] = {}
    with tempfile.TemporaryDirectory() as scratch:
        cubin = Path(scratch) / "one.cubin"
        for file in files:
            parts = list(cubins(file.read_bytes()))
            if not parts:
                raise SystemExit(
                    f"{file} holds no machine code for {TARGET}, or holds it compressed: build with nvcc -no-compress"
                )
            for part in parts:
                if b"scan_" in part:
                    cubin.write_bytes(part)
                    found.update((kernel.name, kernel) for kernel in parse(disassemble(program, cubin)))
    return [found[name] for name in sorted(found) if name.startswith("scan_")]


def faults(kernels: Iterable[Kernel]) -> list[str]:
    """Return what the warp-group kernels lack or hold against their purpose; that there are none is a fault too."""
    checked = [kernel for kernel in kernels if kernel.name.startswith(f"{CHECKED}<")]
    found = []
    for codes, product in PRODUCTS.items():
        own = [kernel for kernel in checked if re.search(rf"\b{codes}\b", kernel.name)]
        if not own:
            found.append(f"there is no kernel {CHECKED} of {codes} for {TARGET}")
        for kernel in own:
            found += [
                f"{kernel.name} has no {column}"
                for column in (product, "UTMALDG")
                if not kernel.count(column)
            ]
    for kernel in checked:
        found += [
            f"{kernel.name} has {kernel.count(column)} {column}: products of single warps"
            for column in ("IMMA", "HMMA")
            if kernel.count(column)
        ]
        if kernel.count("local"):
            found.append(f"{kernel.name} uses local memory: {kernel.count('local')} loads and stores")
    return found


def table(kernels: Iterable[Kernel]) -> str:
    """Return Markdown: one line per kernel."""
    head = f"| kernel | instructions | {' | '.join(COUNTED)} |"
    lines = [head, "|" + "---|" * (2 + len(COUNTED))]
    for kernel in kernels:
        cells = [f"`{kernel.name}`", str(kernel.operations.total())]
        cells += [str(kernel.count(column) or "–") for column in COUNTED]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Disassemble, print the table, and check it. Status 5: there is no nvdisasm."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m bench.sass")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="default: the sources, compiled")
    parser.add_argument("--text", type=Path, help="read this output of nvdisasm -c instead")
    parser.add_argument("--find", action="store_true", help="print where nvdisasm is and stop")
    parser.add_argument(
        "--check", action="store_true", help="exit with status 1 where a kernel is not as meant"
    )
    chosen = parser.parse_args(arguments)
    if chosen.text:
        kernels = [
            kernel for kernel in parse(chosen.text.read_text("utf-8")) if kernel.name.startswith("scan_")
        ]
    else:
        program = nvdisasm()
        if program is None:
            print(
                f"nvdisasm was not found: it comes with the CUDA toolkit, or pip install {PACKAGE}",
                file=sys.stderr,
            )
            return 5
        if chosen.find:
            print(program)
            return 0
        with tempfile.TemporaryDirectory() as scratch:
            kernels = read(program, chosen.files or compile_tiles(Path(scratch)))
    print(table(kernels))
    wrong = faults(kernels) if chosen.check else []
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
