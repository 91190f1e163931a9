"""The dynamic shared memory of every kernel, from the expressions that its launches hand over.

Each expression is put before a C++ compiler together with the file it stands in, so that the value is made of the
code's own constants. The dimension stands for 512, the queries of a row scan for the most that the instance takes; a
kernel's template arguments are those of the instance.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

DIM = 512
OPEN, CLOSE = "([{", ")]}"


@dataclass(frozen=True)
class Launch:
    """A call of ``launch``: the kernel's name without template arguments, and its dynamic shared memory."""

    file: str
    kernel: str
    shared: str


def arguments_at(text: str, start: int) -> list[str]:
    """Return the arguments of the call whose first one begins at ``start``."""
    parts, depth, begin = [], 0, start
    for at in range(start, len(text)):
        c, before = text[at], text[at - 1]
        if c in OPEN or (c == "<" and (before.isalnum() or before == "_")):
            depth += 1
        elif depth == 0 and c in (",", ")"):
            parts.append(" ".join(text[begin:at].split()))
            begin = at + 1
            if c == ")":
                return parts
        elif c in CLOSE or (c == ">" and before != "-" and depth):
            depth -= 1
    raise ValueError(f"a call has no end: {text[start : start + 60]!r}")


def kernel_names(text: str) -> set[str]:
    """Return the kernels that a source file defines."""
    return set(re.findall(r"__global__(?:\s+__launch_bounds__\([^)]*\))?\s+void\s+(\w+)\(", text))


def meaning(text: str, name: str) -> str:
    """Return what the last variable of a name before the end of the text is made of, or the name itself."""
    made = re.findall(rf"\b(?:auto|size_t|int64_t) {name} = ([^;]*);", text) if name.isidentifier() else []
    return " ".join(made[-1].split()) if made else name


def launches(text: str, file: str, kernels: set[str]) -> list[Launch]:
    """Return the launches of a source file; kernels and sizes may be handed over as local variables."""
    found = []
    for call in re.finditer(r"(?<!void )\blaunch(_clusters)?\(\s*(?:\"[^\"]*\"|\w+),", text):
        arguments = arguments_at(text, call.end())
        if arguments[-1] == "given...":  # handed on by `launch` itself
            continue
        before = text[: call.start()]
        # Of clusters, their size comes before the threads.
        kernel, shared = meaning(before, arguments[0]), meaning(before, arguments[4 if call[1] else 3])
        shared = re.sub(r"\b\w+_bytes\b(?!\()", lambda name, known=before: meaning(known, name[0]), shared)
        named = [name for name in re.findall(r"\w+", kernel) if name in kernels]
        found += [Launch(file, name, shared) for name in named or [kernel.split("<")[0]]]
    return found


def template_names(text: str) -> dict[str, list[str]]:
    """Return the names of the template parameters of a source file's kernels."""
    pattern = r"template <([^<>]*)>\s*__global__(?:\s+__launch_bounds__\([^)]*\))?\s+void\s+(\w+)\("
    return {
        name: [part.split()[-1] for part in given.split(",")] for given, name in re.findall(pattern, text)
    }


def split_instance(name: str) -> tuple[str, list[str]]:
    """Return a demangled kernel's plain name and its template arguments."""
    plain, _, rest = name.partition("<")
    return plain, arguments_at(rest[:-1] + ")", 0) if rest else []


def expression_for(launch: Launch, names: Sequence[str], given: Sequence[str]) -> str:
    """Return the shared memory of an instance, with its arguments and the dimension put in."""
    pitch = 2 * DIM if "HalfCodes" in given else DIM
    text = re.sub(r"(\b\w+(\.|->))?\bd_pad\b|\bqueries\.dim\b", f"int64_t{{{DIM}}}", launch.shared)
    text = re.sub(r"\b\w+\.pitch\b", f"int64_t{{{pitch}}}", text)
    text = re.sub(r"\bstaged\b", "true", text)
    if shape := re.search(r"RowScanShape<(\d+)>", " ".join(given)):
        text = re.sub(r"\bqueries\b", str(8 * int(shape[1])), text)
    for name, value in zip(names, given, strict=False):
        text = re.sub(rf"\b{name}\b", value, text)
    return text


def evaluate(root: Path, file: str, expressions: Sequence[str]) -> dict[str, int]:
    """Return the values of the constant ones among the expressions, as a C++ compiler sees them in a file.

    Nothing is compiled to the end: the values stand in the compiler's message about a type that is not there.
    """
    program = [
        f'#include "{file}"',
        "namespace idsim::cuda { namespace {",
        "template <int, int64_t> struct Bytes;",
    ]
    program += [f"Bytes<{i}, static_cast<int64_t>({text})> b{i};" for i, text in enumerate(expressions)]
    command = [
        *os.environ.get("CXX", "c++").split(), "-std=c++20", "-fsyntax-only", "-x", "c++", "-",
        "-DIDSIM_CUDA_EMULATED", f"-I{root / 'tests/emulator'}", f"-I{root / 'csrc'}",
    ]  # fmt: skip
    source = "\n".join([*program, "}}"])
    said = subprocess.run(command, input=source, capture_output=True, text=True, check=False).stderr
    return {expressions[int(i)]: int(value) for i, value in re.findall(r"Bytes<(\d+), (\d+)", said)}


def dynamic_shared(root: Path, kernels: Iterable[str]) -> Mapping[str, int | str]:
    """Return the bytes of every kernel instance, or the expression where it is not constant at d = 512."""
    calls: list[Launch] = []
    names: dict[str, list[str]] = {}
    sources = {path: path.read_text(encoding="utf-8") for path in sorted((root / "csrc/cuda").rglob("*.cu*"))}
    defined = {name for text in sources.values() for name in kernel_names(text)}
    for path, text in sources.items():
        calls += launches(text, path.relative_to(root / "csrc").as_posix(), defined)
        names.update(template_names(text))
    wanted: dict[str, list[tuple[str, str]]] = {}
    for instance in kernels:
        plain, given = split_instance(instance)
        wanted[instance] = [
            (call.file, expression_for(call, names.get(plain, []), given))
            for call in calls
            if call.kernel == plain
        ]
    asked: dict[str, set[str]] = {}
    for each in wanted.values():
        for file, text in each:
            asked.setdefault(file, set()).add(text)
    values = {file: evaluate(root, file, sorted(texts)) for file, texts in asked.items()}
    found: dict[str, int | str] = {}
    for instance, each in wanted.items():
        known = [values[file].get(text) for file, text in each]
        numbers = [value for value in known if value is not None]
        unknown = [text for (_, text), value in zip(each, known, strict=True) if value is None]
        found[instance] = unknown[0] if unknown else max(numbers, default="not launched")
    return found
